"""Training a head on a data set, cold and warm, against a plain forward pass over the same images.

    python benchmarks/training.py DATA_DIR [--backbone efficientnet_lite0]

The rival decodes everything first and is timed on the compiled forward pass alone, in batches of 32, once
before and once after the trainings. Each training is a process of its own with an empty or a filled cache.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

PROJECT = Path(__file__).resolve().parents[1]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(PROJECT))

FORWARD = """
import sys, time
import numpy as np, tensorflow as tf
from core.config import TrainConfig
from core.models.classifier import build_classifier
pixels = np.load(sys.argv[1], mmap_mode="r")
model = build_classifier(TrainConfig(backbone=sys.argv[2])).model
forward = tf.function(lambda x: model(tf.cast(x, tf.float32), training=False))
forward(pixels[:32])
started = time.perf_counter()
for start in range(0, len(pixels), 32):
    forward(pixels[start : start + 32]).numpy()
print(time.perf_counter() - started)
"""


def forward_seconds(pixels: Path, backbone: str) -> float:
    """How long the plain forward pass takes, in a process of its own."""
    command = [sys.executable, "-c", FORWARD, str(pixels), backbone]
    return float(subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout)


def train_seconds(data: Path, places: Path, *options: str) -> tuple[float, float, float, str]:
    """Seconds to the finished run, seconds that its examination took, peak memory in GB, and what was printed."""
    environment = os.environ | {"DERMLENS_CACHE": str(places / "cache"), "DERMLENS_RUNS": str(places / "runs")}
    command = [sys.executable, "train.py", "--data-dir", str(data), "--recipe", "tutorial", "--train-from", "head",
               "--views", "1", *options]  # fmt: skip
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    printed = process.stdout or ()
    watched, peak = psutil.Process(process.pid), 0
    lines: list[tuple[float, str]] = []
    reader = threading.Thread(target=lambda: lines.extend((time.perf_counter(), line) for line in printed))
    reader.start()
    while process.poll() is None:
        try:
            peak = max(peak, watched.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.2)
    ended = time.perf_counter()
    reader.join()
    output = "".join(line for _, line in lines)
    if process.returncode:
        raise SystemExit(output)
    finished = next(moment for moment, line in lines if line.startswith("Finished in"))
    return finished - started, ended - finished, peak / 1e9, output[output.index("Finished in") :]


def decode(data: Path, path: Path) -> None:
    """Every image of the folder as the network takes it, in one file."""
    from core.config import TrainConfig
    from core.data.ham10000 import index_dataset
    from core.data.loading import PixelSource, in_batches, read_ahead

    images = index_dataset(data).images
    source = PixelSource(images, 224, TrainConfig())
    pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (len(images), 224, 224, 3))
    rows = np.arange(len(images))
    batches = in_batches(rows, np.zeros(len(rows), int), 64)
    for (some, _), batch in zip(batches, read_ahead(source.take, batches), strict=True):
        pixels[some] = batch
    pixels.flush()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--backbone", default="efficientnet_lite0")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        places = Path(folder)
        decode(options.data_dir, places / "pixels.npy")
        before = forward_seconds(places / "pixels.npy", options.backbone)
        backbone = ("--backbone", options.backbone)
        cold, first, cold_peak, words = train_seconds(options.data_dir, places, *backbone)
        warm, second, warm_peak, _ = train_seconds(options.data_dir, places, *backbone, "--learning-rate", "0.002")
        after = forward_seconds(places / "pixels.npy", options.backbone)
    forward = (before + after) / 2
    print(words)
    print(f"forward pass alone  {before:.0f} s before, {after:.0f} s after")
    print(f"cold training       {cold:.0f} s, then examined in {first:.0f} s (bar: 360 s), peak {cold_peak:.2f} GB")
    print(f"warm training       {warm:.0f} s (bar: 45 s), then examined in {second:.0f} s, peak {warm_peak:.2f} GB")
    print(f"cold / forward      {cold / forward:.2f} (bar: at most 1.6, under 3 GB)")


if __name__ == "__main__":
    main()
