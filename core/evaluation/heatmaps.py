"""How far a run's heatmaps can be trusted, measured on test images: what heatmaps.json holds.

Does a heatmap point at what the network uses (deletion and insertion, Petsiuk et al., "RISE", BMVC 2018)? At the
lesion (pointing game and energy, where there are masks)? And does it depend on what the network has learned (Adebayo
et al., "Sanity Checks for Saliency Maps", NeurIPS 2018)?
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import keras
import numpy as np
import pandas as pd

from core.backbones import BACKBONES
from core.data.images import model_input, read_image
from core.data.masks import model_mask
from core.evaluation.bootstrap import Figure, LesionBootstrap, percentile_interval, ratio
from core.explain.ensemble import Ensemble
from core.explain.explainer import LAST, Explainer
from core.explain.faithfulness import area, centred_gaussian, energy, pointing, random_map, rank_correlation
from core.explain.methods import DEFAULT_METHOD, METHODS
from core.explain.overlay import full_colour
from core.models.keras_network import KerasNetwork

FRACTIONS = (0.0, 0.2, 0.7, 1.0)
"""Fewer than one image alone is shown with: a network answers some 50 times a second on two cores, and a map takes four
of these times. Which of two maps is better hardly depends on it; see benchmarks/heatmaps.py."""
RANDOM, GAUSSIAN = "random", "gaussian"
EQUAL = {"hirescam": "gradcam"}
RANDOMISED_IMAGES = 16
HOW = (
    "The answer of each image is explained, and its probability (softmax of the logits, not calibrated) is followed. "
    "Deletion: the hottest parts are blurred first; the less is left under the curve, the better. Insertion: the "
    "hottest parts of a blurred image are made sharp first; the more, the better. The blur has a standard deviation of "
    "5/224 of the image's side, and so have the edges of what is blurred. Areas are by trapezoids at 0, 20, 70 and "
    "100 % of the image. The random map has 7 x 7 cells; the centred Gaussian has a standard deviation of a quarter "
    "of the image's side.",
    "At the last activation the gradient is the same everywhere, so that HiResCAM is Grad-CAM there: measured once.",
    "Pointing: the share of images whose hottest point lies in the lesion. Energy: the share of the heat that does.",
    "Randomised: Spearman's rank correlation of the heatmaps with those of the same network whose weights, of the head "
    "or of the top blocks and the head, were shuffled: near 0 for a method that shows what was learned. A map that "
    "became flat has no order and is left out.",
)

Row = dict[str, float]


def measure_heatmaps(
    ensemble: Ensemble,
    images: pd.DataFrame,
    masks: dict[str, str],
    count: int,
    seed: int,
    step: Callable[[int, int], None],
) -> dict[str, Any]:
    """Measure every method on images drawn from a test split.

    Args:
        ensemble: of networks of Keras. Their weights are shuffled meanwhile and put back.
        images: of the test split: image_id, lesion_id, path.
        masks: image_id -> path of its lesion mask, where there is one.
        count: how many images are drawn at most.
        seed: of the draw, of the random maps and of the intervals.
        step: called with (done, total) after each image; may raise to stop.

    Returns:
        What heatmaps.json holds: n, default, methods (name -> deletion, insertion, beats, pointing, energy, scale),
        controls, lesion, randomised, seconds and how, in words. A figure has value, low, high and n.
    """
    started = time.monotonic()
    explainer = Explainer(ensemble)
    chosen = images.sample(min(count, len(images)), random_state=seed)
    total = len(chosen) + min(RANDOMISED_IMAGES, len(chosen))
    measured: list[dict[str, Row]] = []
    maps: list[dict[str, np.ndarray]] = []
    pixels = [model_input(read_image(path), explainer.size) for path in chosen["path"][:RANDOMISED_IMAGES]]

    def measure(index: int) -> tuple[dict[str, Row], dict[str, np.ndarray]]:
        image_id, path = chosen["image_id"].iloc[index], chosen["path"].iloc[index]
        seen = model_input(read_image(path), explainer.size)
        return _measure(explainer, seen, masks.get(image_id), np.random.default_rng([seed, index]))

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # one image's arithmetic beside another's passes: a third faster
        first = measure(0)  # alone: it compiles what all need
        for index, (rows, heatmaps) in enumerate(chain([first], pool.map(measure, range(1, len(chosen))))):
            measured.append(rows)
            if index < RANDOMISED_IMAGES:
                maps.append(heatmaps)
            step(index + 1, total)
    bootstrap = LesionBootstrap(chosen["lesion_id"].to_numpy(), seed)
    table = {name: pd.DataFrame([rows[name] for rows in measured]) for name in measured[0]}
    methods = {name: _method_figures(table, name, bootstrap) for name in METHODS if name in table}
    for name, twin in EQUAL.items():
        methods[name] = methods[twin] | {"equal_to": twin}
    answers = table["image"]
    return {
        "n": len(chosen),
        "lesions": int(chosen["lesion_id"].nunique()),
        "masks": int(answers["area"].notna().sum()),
        "fractions": list(FRACTIONS),
        "default": DEFAULT_METHOD,
        "methods": {name: methods[name] for name in METHODS},
        "controls": {name: _figures(table[name], bootstrap) for name in (RANDOM, GAUSSIAN)},
        "lesion": {"area": _figure(answers["area"], bootstrap), "centre": _figure(answers["centre"], bootstrap)},
        "answer_survives_blur": _figure(answers["kept"], bootstrap),
        "randomised": _randomised(
            explainer,
            pixels,
            maps,
            chosen["lesion_id"].to_numpy()[: len(pixels)],
            seed,
            lambda done: step(len(chosen) + done, total),
        ),
        "seconds": round(time.monotonic() - started, 1),
        "how": list(HOW),
    }


def _measure(
    explainer: Explainer, pixels: np.ndarray, mask_path: str | None, dice: np.random.Generator
) -> tuple[dict[str, Row], dict[str, np.ndarray]]:
    """Each map's figures on one image, and the maps of the methods."""
    code = int(explainer.network.logits(pixels[None])[0].argmax())
    maps = explainer.heatmaps(pixels, [name for name in METHODS if name not in EQUAL], code)
    controls = {RANDOM: random_map(dice), GAUSSIAN: centred_gaussian(explainer.size)}
    curves = explainer.faithfulness(pixels, maps | controls, code, FRACTIONS)
    mask = model_mask(mask_path, explainer.size) if mask_path else None
    if mask is not None and not mask.any():  # the lesion lies outside of the square that the model sees
        mask = None
    rows: dict[str, Row] = {
        "image": {
            "area": np.nan if mask is None else float(mask.mean()),
            "centre": np.nan if mask is None else float(mask[len(mask) // 2, len(mask) // 2]),
            "kept": float(curves.kept),
        }
    }
    for name, heatmap in (maps | controls).items():
        rows[name] = {
            "deletion": float(area(curves.deletion[name], FRACTIONS)),
            "insertion": float(area(curves.insertion[name], FRACTIONS)),
            "pointing": np.nan if mask is None else float(pointing(heatmap, mask)),
            "energy": np.nan if mask is None else energy(heatmap, mask),
            "full_colour": full_colour(heatmap),
        }
    return rows, maps | {"code": np.array(code)}


# ---- figures -------------------------------------------------------------------------------------


def _figure(values: pd.Series | np.ndarray | list[float], bootstrap: LesionBootstrap) -> Figure:
    """The mean of what is a number, with its interval and n; what is 0 or 1 throughout is a share."""
    numbers = np.asarray(values, float)
    known = ~np.isnan(numbers)
    if np.isin(numbers[known], (0.0, 1.0)).all():
        return bootstrap.share(numbers == 1, known) | {"n": int(known.sum())}
    sums, drawn = bootstrap.totals(np.stack([np.where(known, numbers, 0.0), known], axis=1))
    return percentile_interval(numbers[known].mean(), ratio(sums, drawn)) | {"n": int(known.sum())}


def _figures(table: pd.DataFrame, bootstrap: LesionBootstrap) -> dict[str, Any]:
    return {name: _figure(table[name], bootstrap) for name in ("deletion", "insertion", "pointing", "energy")}


def _method_figures(table: dict[str, pd.DataFrame], name: str, bootstrap: LesionBootstrap) -> dict[str, Any]:
    own = table[name]
    wins = {
        control: {
            "deletion": (own["deletion"] < table[control]["deletion"]).to_numpy(),
            "insertion": (own["insertion"] > table[control]["insertion"]).to_numpy(),
        }
        for control in (RANDOM, GAUSSIAN)
    }
    wins["both"] = {curve: wins[RANDOM][curve] & wins[GAUSSIAN][curve] for curve in ("deletion", "insertion")}
    for curves in wins.values():
        curves["both"] = curves["deletion"] & curves["insertion"]
    beats = {
        control: {curve: _figure(won, bootstrap) for curve, won in curves.items()} for control, curves in wins.items()
    }
    scale = float(np.percentile(own["full_colour"], 95))
    return _figures(own, bootstrap) | {"beats": beats, "scale": scale}


# ---- the sanity check ----------------------------------------------------------------------------


def _randomised(
    explainer: Explainer,
    pixels: list[np.ndarray],
    maps: list[dict[str, np.ndarray]],
    lesions: np.ndarray,
    seed: int,
    step: Callable[[int], None],
) -> dict[str, Any]:
    """Rank correlation of the heatmaps before and after the weights were shuffled; the weights are put back.

    Occlusion is left out: it asks the network alone, and costs the most.
    """
    methods = [name for name in METHODS if name not in EQUAL and name != "occlusion"]
    found: dict[str, dict[str, list[float]]] = {stage: {name: [] for name in methods} for stage in ("head", "top")}
    networks = [network for network in explainer.network.networks if isinstance(network, KerasNetwork)]
    kept = [network.model.get_weights() for network in networks]
    try:
        for stage in found:
            for index, (seen, before) in enumerate(zip(pixels, maps, strict=True)):
                for network in networks:
                    _shuffle(network, stage, np.random.default_rng([seed, index]))  # another one for each image
                after = explainer.heatmaps(seen, methods, int(before["code"]))
                for name in methods:
                    found[stage][name].append(rank_correlation(before[name], after[name]))
                if stage == "top":
                    step(index + 1)
    finally:
        for network, weights in zip(networks, kept, strict=True):
            network.model.set_weights(weights)
    bootstrap = LesionBootstrap(lesions, seed)
    return {stage: {name: _figure(values, bootstrap) for name, values in each.items()} for stage, each in found.items()}


def _shuffle(network: KerasNetwork, stage: str, dice: np.random.Generator) -> None:
    """Shuffle the weights of each layer above a cut: of the head, or of the top blocks as well.

    Statistics of batch normalisation stay, or the activations would run away.
    """
    model = network.model
    blocks = BACKBONES[model.name].blocks
    cut = network.layer_name(LAST if stage == "head" else list(blocks)[-2])
    below = {id(layer) for layer in keras.Model(model.input, model.get_layer(cut).output).layers}
    for layer in model.layers:
        if id(layer) not in below and not isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights(
                [dice.permutation(values.ravel()).reshape(values.shape) for values in layer.get_weights()]
            )
