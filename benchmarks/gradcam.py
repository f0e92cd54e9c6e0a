"""One image: probabilities and seven heatmaps, against a forward pass alone and against tf-keras-vis.

    python benchmarks/gradcam.py [RUN]

The three take turns, so that a noisy machine is noisy for all of them. Medians, in milliseconds.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tensorflow as tf
from tf_keras_vis.gradcam import Gradcam
from tf_keras_vis.utils.scores import CategoricalScore

from core.backbones import BACKBONES
from core.models.classifier import answering_pass, load_model
from core.models.features import feature_layers
from core.models.frozen import frozen
from core.runs.all_runs import named_or_served
from core.runs.run import MODEL


def milliseconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", help="a run's id or folder; by default the one that is served")
    parser.add_argument("--repeats", type=int, default=60)
    options = parser.parse_args()
    run = named_or_served(options.run)
    layer = run.manifest()["gradcam_layer"]
    model = load_model(run.folder / MODEL)
    pixels = np.random.default_rng(0).integers(0, 256, (1, *model.input.shape[1:]), dtype=np.uint8)

    answer = frozen(answering_pass(model, layer, feature_layers(BACKBONES[run.manifest()["backbone"]])))
    forward = tf.function(
        lambda images: model(tf.cast(images, tf.float32), training=False),
        input_signature=[tf.TensorSpec((None, *model.input.shape[1:]), tf.uint8)],
    )
    gradcam = Gradcam(model, clone=False)

    def rival() -> np.ndarray:
        return gradcam(CategoricalScore(1), pixels.astype(np.float32), penultimate_layer=layer)

    works = {
        "forward pass": lambda: forward(pixels)[0].numpy(),
        "with seven heatmaps": lambda: answer(pixels)[1].numpy(),
    }
    times: dict[str, list[float]] = {name: [] for name in (*works, "tf-keras-vis, one heatmap")}
    for _ in range(5):
        [work() for work in works.values()]
    rival()
    for turn in range(options.repeats):
        for name, work in works.items():
            times[name].append(milliseconds(work))
        if turn % 6 == 0:
            times["tf-keras-vis, one heatmap"].append(milliseconds(rival))
    medians = {name: float(np.median(values)) for name, values in times.items()}
    for name, median in medians.items():
        print(f"{name:<26} {median:8.1f} ms")
    ours = medians["with seven heatmaps"]
    print(f"seven heatmaps / forward pass: {ours / medians['forward pass']:.2f} (bar: at most 1.15)")
    print(f"tf-keras-vis / seven heatmaps: {medians['tf-keras-vis, one heatmap'] / ours:.1f} (bar: at least 15)")


if __name__ == "__main__":
    main()
