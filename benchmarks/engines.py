"""One run, two engines: how fast each answers, how alike, how soon after a start, and in how much memory.

    python benchmarks/engines.py [RUN] [--images FOLDER] [--rounds 30]

Times alternate between the two in one process, on the images of the folder (the run's own without it); memory and
start are those of a fresh process that has loaded the run and answered once.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from core.backbones import BACKBONES  # noqa: E402
from core.data.images import model_input, read_image  # noqa: E402
from core.engines import ENGINES, answering_ensemble  # noqa: E402
from core.models.classifier import answering_pass, load_model  # noqa: E402
from core.models.features import feature_layers  # noqa: E402
from core.predictor import Predictor  # noqa: E402
from core.runs.all_runs import named_or_served  # noqa: E402
from core.runs.run import MODEL, Run  # noqa: E402

FRESH = """
import sys, time; started = time.monotonic()
import numpy, psutil
from core.predictor import Predictor
Predictor(__import__("core.runs.run", fromlist=["Run"]).Run(sys.argv[1]), sys.argv[2]).predict(
    numpy.zeros((450, 600, 3), numpy.uint8))
print(time.monotonic() - started, psutil.Process().memory_info().rss / 1e6)
"""
COUNT = 12  # images of one page of the gallery


def medians(ways: dict[str, Callable[[int], object]], rounds: int) -> dict[str, float]:
    """Milliseconds of each way, in turns; a way is told which turn it is."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 2):
        for name, way in ways.items():
            started = time.perf_counter()
            way(turn)
            if turn > 1:
                times[name].append((time.perf_counter() - started) * 1000)
    return {name: median(each) for name, each in times.items()}


def one_view(run: Run, pixels: list[np.ndarray], rounds: int) -> None:
    """One image, one view, by one network: against the TensorFlow function too, before its weights are frozen."""
    network = (run.members() or [run])[0]
    manifest = network.manifest()
    fast, keras = (answering_ensemble(network, name).networks[0] for name in ENGINES)
    plain = answering_pass(
        load_model(network.folder / MODEL), manifest["gradcam_layer"], feature_layers(BACKBONES[manifest["backbone"]])
    )
    answers: dict[str, Callable[[np.ndarray], object]] = {
        "OpenVINO": fast.answer,
        "TensorFlow, weights frozen": keras.answer,
        "TensorFlow function": lambda image: [output.numpy() for output in plain(image)],
    }
    each = [image[None] for image in pixels]
    found = medians({name: partial(_turn, one, each) for name, one in answers.items()}, rounds)
    print("\none view of one image, seven heatmaps, one network: milliseconds, and how many times OpenVINO's")
    for name, value in found.items():
        print(f"  {name:<28}{value:6.1f}{value / found['OpenVINO']:8.2f}")


def _turn(answer: Callable[[np.ndarray], object], images: list[np.ndarray], turn: int) -> object:
    return answer(images[turn % len(images)])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", help="a run's id or folder; by default the one that is served")
    parser.add_argument("--images", type=Path, help="a folder of JPEG files")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    run = named_or_served(options.run)
    folder = options.images or Path(run.manifest()["data"]["folder"])
    paths = sorted(folder.rglob("*.jpg"))[:: max(1, len(list(folder.rglob("*.jpg"))) // 100)][:100]
    predictors = {name: Predictor(run, name) for name in ENGINES}
    pixels = [model_input(read_image(path), predictors["openvino"].size) for path in paths]

    answers = {name: each.predict_many(paths) for name, each in predictors.items()}
    pairs = list(zip(*answers.values(), strict=True))
    print(f"largest difference over {len(pairs)} images")
    for what in ("logits", "probabilities", "heatmaps"):
        print(f"  {what:<14}{max(np.abs(getattr(a, what) - getattr(b, what)).max() for a, b in pairs):.1e}")

    works = {
        "one image, seven heatmaps": lambda each, turn: each._network.answer(pixels[turn % len(pixels)][None]),
        "the same from its file": lambda each, turn: each.predict(paths[turn % len(paths)]),
        f"{COUNT} files": lambda each, turn: each.predict_many(paths[:COUNT]),
        "integrated gradients": lambda each, turn: each.explainer.heatmap(pixels[turn % len(pixels)], "integrated", 0),
        "occlusion": lambda each, turn: each.explainer.heatmap(pixels[turn % len(pixels)], "occlusion", 0),
    }
    print("\nmilliseconds, median" + "".join(f"{name:>14}" for name in ENGINES) + "   ratio")
    for what, work in works.items():
        found = medians({name: partial(work, each) for name, each in predictors.items()}, options.rounds)
        fast, slow = (found[name] for name in ENGINES)
        print(f"{what:<26}{fast:8.1f}{slow:14.1f}{slow / fast:8.2f}")

    one_view(run, pixels, options.rounds)
    print("\na fresh process, with its first answer")
    for name in ENGINES:
        command = [sys.executable, "-c", FRESH, str(run.folder), name]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
        seconds, megabytes = map(float, done.stdout.split())
        print(f"  {name:<12}{seconds:5.1f} s {megabytes:6.0f} MB")


if __name__ == "__main__":
    main()
