"""Training above a cut against training every layer of the same network, and either against itself with the depthwise
gradients that TensorFlow has: images a second, in turns.

    python benchmarks/cut.py DATA_DIR [--backbone efficientnet_lite0] [--cut block6] [--images 960] [--rounds 2]

Both take what a training takes: above the cut trunk outputs from disk, which are computed beforehand, once for all
epochs; without one the images' files, a fresh view of each. The second of two epochs is timed.
"""

import argparse
import os
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from core.backbones import ALL, BACKBONES  # noqa: E402
from core.data.dataset import Dataset  # noqa: E402
from core.data.ham10000 import load_dataset  # noqa: E402
from core.data.loading import PixelSource  # noqa: E402
from core.diagnoses import CODES  # noqa: E402
from core.models.classifier import build_classifier  # noqa: E402
from core.models.depthwise import FastDepthwiseConv2D  # noqa: E402
from core.models.fitting import Examples, Objective, fit  # noqa: E402
from core.models.trunk_cache import TrunkCache  # noqa: E402
from core.presets import configured  # noqa: E402
from core.runs.progress import Progress  # noqa: E402
from core.runs.run import Run  # noqa: E402

FEW = 32  # validation images


def speed(dataset: Dataset, count: int, backbone: str, cut: str, folder: Path) -> float:
    """Images a second of the steps of a second epoch, as the training tells them: without validation."""
    config = configured("dermlens", {"backbone": backbone, "train_from": cut, "epochs": 2, "average_last": 2})
    images = dataset.images.iloc[:count]
    labels = images["dx"].map(CODES.index).to_numpy()
    classifier, run = build_classifier(config), Run.create(config, folder)
    progress = Progress(run, config.epochs)
    if classifier.trunk is None:
        examples = Examples(PixelSource(images, classifier.backbone.size, config).take, labels, None)
    else:
        outputs = TrunkCache(classifier.trunk, config).outputs(dataset, images, 0, progress.step)
        examples = Examples(lambda rows, _: outputs[rows], labels, 1)
    few = Examples(lambda rows, _: examples.take(rows, np.zeros(len(rows), int)), labels[:FEW])
    even = Objective.of(config, np.ones(len(CODES), np.float32))
    fit(run, progress, config, classifier.top, examples, few, even)
    return run.status().images_per_second or 0.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--backbone", choices=sorted(BACKBONES), default="efficientnet_lite0")
    parser.add_argument("--cut", default="block6")
    parser.add_argument("--images", type=int, default=960)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    dataset = load_dataset(options.data_dir)
    rows = [(cut, fast) for cut in (options.cut, ALL) for fast in (True, False)]
    speeds: dict[tuple[str, bool], list[float]] = {row: [] for row in rows}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DERMLENS_CACHE"] = folder
        for turn in range(options.rounds):
            for cut, fast in rows:
                place = Path(folder) / f"{cut}-{fast}-{turn}"
                with nullcontext() if fast else patch.object(FastDepthwiseConv2D, "helps", return_value=False):
                    speeds[cut, fast].append(speed(dataset, options.images, options.backbone, cut, place))
    print(f"\n{options.backbone}, {options.images} images, {options.rounds} rounds, images a second")
    for cut, fast in rows:
        name = f"{'every layer' if cut == ALL else f'above {cut}'}{'' if fast else ', plain gradients'}"
        print(f"{name:<32}{median(speeds[cut, fast]):7.1f}   {' '.join(f'{one:.1f}' for one in speeds[cut, fast])}")
    above, every = (median(speeds[cut, True]) for cut in (options.cut, ALL))
    print(f"{'ratio':<32}{above / every:7.2f}   (bar 5)")


if __name__ == "__main__":
    main()
