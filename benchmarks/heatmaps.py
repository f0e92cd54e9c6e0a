"""How far a run's heatmaps can be trusted: what heatmaps.json holds, for any run and number of images.

    python benchmarks/heatmaps.py [RUN] [--count 200] [--masks DIR]
    python benchmarks/heatmaps.py [RUN] --count 60 --baselines

The second asks whether the order of the methods depends on what deleted parts are replaced by: the default method
looks at the way from the blurred image to the sharp one, and might be favoured where the blur is also the measure.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.data.ham10000 import index_dataset
from core.data.images import model_input, read_image
from core.data.masks import find_masks
from core.engines import answering_ensemble
from core.evaluation.heatmaps import EQUAL, FRACTIONS, GAUSSIAN, RANDOM, measure_heatmaps
from core.explain.explainer import Explainer
from core.explain.faithfulness import area, centred_gaussian, random_map
from core.explain.methods import METHODS
from core.explain.perturbation import blurred
from core.runs.all_runs import named_or_served
from core.runs.files import without_nan

BASELINES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "blur 5/224": blurred,
    "blur 15/224": lambda pixels: blurred(pixels, 15 / 224),
    "mean colour": lambda pixels: np.broadcast_to(np.round(pixels.mean((0, 1))).astype(np.uint8), pixels.shape),
}


def interval(figure: dict[str, float], as_share: bool = False) -> str:
    """A figure with its interval."""
    form = "{value:4.0%} ({low:.0%}-{high:.0%})" if as_share else "{value:.3f} ({low:.3f}-{high:.3f})"
    return form.format(**figure)


def report(figures: dict) -> str:
    """heatmaps.json for people."""
    lines = [f"{figures['n']} images of {figures['lesions']} lesions, {figures['masks']} masks, {figures['seconds']} s"]
    lines.append(f"answer survives the blur: {interval(figures['answer_survives_blur'], True)}")
    for control in (RANDOM, GAUSSIAN, "both"):
        lines += ["", f"better than {control} in deletion | insertion | both"]
        for name, method in figures["methods"].items():
            beats = method["beats"][control]
            lines.append(
                f"  {name:<11}" + " | ".join(interval(beats[c], True) for c in ("deletion", "insertion", "both"))
            )
    lines += ["", "deletion | insertion | pointing | energy"]
    for name, each in (figures["methods"] | figures["controls"]).items():
        parts = [interval(each[what]) for what in ("deletion", "insertion", "pointing", "energy")]
        lines.append(f"  {name:<11}" + " | ".join(parts))
    lesion = figures["lesion"]
    lines.append(
        f"  the lesion's share of the area {interval(lesion['area'])}, middle in it {interval(lesion['centre'])}"
    )
    lines += ["", "rank correlation after the weights of the head | of the top blocks too were shuffled"]
    for name in figures["randomised"]["head"]:
        lines.append(f"  {name:<11}" + " | ".join(interval(figures["randomised"][s][name]) for s in ("head", "top")))
    return "\n".join(lines)


def compare_baselines(explainer: Explainer, images: pd.DataFrame, count: int, seed: int) -> str:
    """The share of images on which a method beats both controls, for each baseline."""
    names = [name for name in METHODS if name not in EQUAL]
    areas: dict[str, list[list[tuple[np.ndarray, np.ndarray]]]] = {baseline: [] for baseline in BASELINES}
    for index, path in enumerate(images["path"].sample(min(count, len(images)), random_state=seed)):
        pixels = model_input(read_image(path), explainer.size)
        code = int(explainer.network.logits(pixels[None])[0].argmax())
        maps = explainer.heatmaps(pixels, names, code)
        maps |= {RANDOM: random_map(np.random.default_rng([seed, index])), GAUSSIAN: centred_gaussian(explainer.size)}
        for baseline, make in BASELINES.items():
            curves = explainer.faithfulness(pixels, maps, code, FRACTIONS, make(pixels))
            areas[baseline].append(
                [(area(curves.deletion[n], FRACTIONS), area(curves.insertion[n], FRACTIONS)) for n in maps]
            )
        if index % 10 == 9:
            print(f"{index + 1} images", file=sys.stderr, flush=True)
    lines = ["beats random and Gaussian in deletion | in insertion (mean areas)"]
    for baseline, rows in areas.items():
        table = np.array(rows)  # image, map, curve
        lines.append(f"\n{baseline}, n = {len(table)}")
        for index, name in enumerate([*names, RANDOM, GAUSSIAN]):
            won = np.stack([table[:, index, 0] < table[:, -2:, 0].T, table[:, index, 1] > table[:, -2:, 1].T])
            shares = won.all(axis=1).mean(axis=1)
            means = table[:, index].mean(axis=0)
            lines.append(f"  {name:<11}{shares[0]:4.0%} | {shares[1]:4.0%}   ({means[0]:.3f}, {means[1]:.3f})")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", help="a run's id or folder; by default the one that is served")
    parser.add_argument("--count", type=int, default=200, help="test images")
    parser.add_argument("--masks", type=Path, help="a folder with masks; by default the data set's own")
    parser.add_argument("--baselines", action="store_true", help="compare what deleted parts are replaced by")
    parser.add_argument("--cost", action="store_true", help="milliseconds that each method takes for one image")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    run = named_or_served(options.run)
    folder = Path(run.manifest()["data"]["folder"])
    splits, images = run.splits(), index_dataset(folder).images
    test = images[images["image_id"].isin(splits.loc[splits["split"] == "test", "image_id"])]
    ensemble, seed = answering_ensemble(run, "tensorflow"), run.config().seed
    if options.baselines:
        print(compare_baselines(Explainer(ensemble), test, options.count, seed))
        return
    if options.cost:
        print(costs(Explainer(ensemble), model_input(read_image(test["path"].iloc[0]), ensemble.size)))
        return
    started = time.monotonic()

    def step(done: int, total: int) -> None:
        if done % 20 == 0:
            print(f"{done} of {total}, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)

    masks = find_masks(options.masks or folder)
    figures = measure_heatmaps(ensemble, test, masks, options.count, seed, step)
    if options.json:
        options.json.write_text(json.dumps(without_nan(figures), indent=2))
    print(report(figures))


def costs(explainer: Explainer, pixels: np.ndarray, repeats: int = 15) -> str:
    """Medians of one image, in milliseconds."""
    works: dict[str, Callable[[], object]] = {"forward pass": lambda: explainer.network.logits(pixels[None])}
    works |= {name: partial(explainer.heatmap, pixels, name, 0) for name in METHODS}
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            if turn:  # the first one compiles
                times[name].append((time.perf_counter() - started) * 1000)
    return "\n".join(f"{name:<13}{np.median(values):7.0f} ms" for name, values in times.items())


if __name__ == "__main__":
    main()
