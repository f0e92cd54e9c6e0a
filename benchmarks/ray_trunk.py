"""What a Ray cluster makes of trunk outputs: images a second against this process alone, and what its driver can do.

    python benchmarks/ray_trunk.py DATA_DIR [--images 640] [--rounds 3] [--train-from block6] [--workers 1 2]

trunk: the same images without Ray and on clusters of one-core workers on this machine, in turn, so that whatever else
the machine does burdens all alike. The first images of each, while workers load the network, are not timed. ratio: of
speeds within one round; its median counts, not the speeds. Each round compares the bytes.
driver: the same way with a trunk that computes nothing: workers give outputs of the right size at once. What is left is
what the driver does: read files, send them, receive outputs, write them to disk. Sender and receiver share this
machine's cores and no network lies between them.
"""

import argparse
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd

from core.config import TrainConfig
from core.data.dataset import Dataset
from core.data.ham10000 import load_dataset
from core.models import ray_trunk
from core.models.classifier import build_classifier
from core.models.cluster import ENVIRONMENT
from core.models.trunk_cache import TrunkCache
from core.models.trunk_pass import BATCH
from core.places import PROJECT

WARM = 2  # blocks for each worker that are not timed
NETWORK = "efficientnet_lite0"


def speed(cache: TrunkCache, dataset: Dataset, images: pd.DataFrame, warm: int) -> tuple[float, bytes]:
    """Images a second after the first `warm` ones, and the file."""
    marks: list[tuple[float, int]] = []

    def step(done: int, total: int, already: int) -> None:
        if not marks or done > marks[-1][1]:
            marks.append((time.perf_counter(), done))

    path = cache.entry(dataset, images, 0)
    path.unlink(missing_ok=True)
    cache.outputs(dataset, images, 0, step)
    start = next(mark for mark in marks if mark[1] >= warm)
    return (marks[-1][1] - start[1]) / (marks[-1][0] - start[0]), path.read_bytes()


def null_task(shape: tuple[int, ...]) -> Callable[..., np.ndarray]:
    """A worker's task without the work."""

    def outputs(file: list, digest: str, wanted: list, ids: list, files: list, *_: object) -> np.ndarray:
        return np.zeros((len(files), *shape), np.float32)

    return outputs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--train-from", default="block6")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--driver-images", type=int, default=6400)
    options = parser.parse_args()
    dataset = load_dataset(options.data_dir)
    config = TrainConfig(backbone=NETWORK, train_from=options.train_from)
    trunk = build_classifier(config).trunk
    assert trunk is not None, "with --train-from all there are no trunk outputs"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DERMLENS_CACHE"] = folder
        alone = TrunkCache(trunk, config)
        longest = max(options.images, options.driver_images)
        repeated = pd.concat([dataset.images] * (longest // len(dataset.images) + 1))
        images = repeated.iloc[: options.images]
        found: dict[int, list[float]] = {workers: [] for workers in options.workers}
        for round_ in range(options.rounds):
            plain, expected = speed(alone, dataset, images, BATCH * WARM)
            print(f"round {round_ + 1}: without Ray {plain:.1f} images/s", flush=True)
            for workers in options.workers:
                with_cluster(workers)
                cluster = TrunkCache(trunk, config)
                there, got = speed(cluster, dataset, images, BATCH * WARM * workers)
                os.environ[ENVIRONMENT] = ""
                found[workers].append(there / plain)
                same = "the same bytes" if got == expected else "OTHER BYTES"
                print(f"  {workers} workers {there:.1f} images/s, ratio {there / plain:.2f}, {same}", flush=True)
        for workers, ratios in found.items():
            print(f"{workers} workers: median ratio {statistics.median(ratios):.2f} of {len(ratios)}")

        many = repeated.iloc[: options.driver_images]
        per_image = sum(os.path.getsize(path) for path in images["path"]) / len(images)
        ray_trunk._outputs = null_task(trunk.output.shape[1:])
        speeds = []
        for _ in range(options.rounds):
            with_cluster(max(options.workers))
            speeds.append(speed(TrunkCache(trunk, config), dataset, many, BATCH * WARM * 10)[0])
        print(
            f"driver alone: {', '.join(f'{each:,.0f}' for each in speeds)} images/s; {per_image / 1e3:.1f} kB sent and "
            f"{alone.row_bytes / 1e3:.1f} kB received an image"
        )


def with_cluster(workers: int) -> None:
    """A new cluster on this machine, of so many one-core workers."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    import ray

    ray.shutdown()
    ray.init(
        address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
        runtime_env={"py_modules": [str(PROJECT / "core")], "env_vars": {"TF_CPP_MIN_LOG_LEVEL": "3"}},
    )  # fmt: skip
    os.environ[ENVIRONMENT] = "local"


if __name__ == "__main__":
    main()
