"""Suspicious labels: which ones speak against what the images show, and against the other images of the lesion.

Each label is judged by images of other lesions alone: kernel ridge regression on the pooled features, with every lesion
left out in turn (by the closed form: Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, 5.4.2),
and its scores made probabilities. The probability of the label itself is what confident learning ranks by, as
"self-confidence" (Northcutt, Jiang and Chuang, JAIR 70, 2021). What that does not know of are siblings: all images of a
lesion have one diagnosis, and where their labels differ, one is wrong. Both go into one posterior.
"""

import numpy as np
import pandas as pd
from scipy.linalg import blas, lapack
from sklearn.linear_model import LogisticRegression

from core.diagnoses import CODES

IMAGE_ERRORS = 0.03  # assumed share of wrong labels, each image by itself
LESION_ERRORS = 0.01  # assumed share of lesions all of whose labels are wrong alike

COMPONENTS = 256
WIDTH = 0.7  # of the kernel: exp(-WIDTH * squared distance / mean squared distance)
RIDGE = 0.3
AT_ONCE = 12_000  # images whose kernel is held in memory: 0.6 GB; more are judged in groups of at most so many
SMALLEST = 1e-6  # probability: what was never seen is not impossible


def label_table(images: pd.DataFrame, features: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """The rows of a run's suspicious_labels.csv.

    Args:
        images: image_id, lesion_id, dx.
        features: (n, k), in the order of `images`.
        seed: see `suspicious_labels`.

    Returns:
        image_id, dx, suggested, suspicion (0 to 1); every image, the most suspicious first.
    """
    labels = images["dx"].map(CODES.index).to_numpy()
    found = suspicious_labels(features, labels, images["lesion_id"].to_numpy(), seed)
    named = found.rename(columns={"given": "dx", "score": "suspicion"})
    named.insert(0, "image_id", images["image_id"].to_numpy()[found["row"]])
    return named.drop(columns="row")


def suspicious_labels(features: np.ndarray, labels: np.ndarray, lesions: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """How probably each label is wrong.

    Args:
        features: (n, k) pooled features of a network that did not learn from these labels.
        labels: (n,) indices into `CODES`.
        lesions: (n,) lesion of each image.
        seed: of the groups, where there are more than `AT_ONCE` images.

    Returns:
        row, given and suggested (codes; suggested: the most probable of the other six), score (0 to 1: how probably
        the label is wrong, if `IMAGE_ERRORS` and `LESION_ERRORS` are); every image, the most suspicious first.
    """
    labels, lesions = np.asarray(labels), np.asarray(lesions, dtype=str)
    rows = np.arange(len(labels))
    posterior = lesion_posterior(_left_out_probabilities(np.asarray(features), labels, lesions, seed), labels, lesions)
    score = 1.0 - posterior[rows, labels]
    posterior[rows, labels] = -1.0
    codes = np.array(CODES)
    table = pd.DataFrame(
        {"row": rows, "given": codes[labels], "suggested": codes[posterior.argmax(axis=1)], "score": score.round(6)}
    )
    return table.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def lesion_posterior(probabilities: np.ndarray, labels: np.ndarray, lesions: np.ndarray) -> np.ndarray:
    """The diagnosis of each image's lesion, given what its images show and how all of them are labelled.

    A lesion has one true diagnosis; what its label was meant to be is another with probability `LESION_ERRORS`; and
    each image's label is another than that with probability `IMAGE_ERRORS`.

    Args:
        probabilities: (n, 7), of images whose labels were not used for them.
        labels: (n,) indices into `CODES`.
        lesions: (n,).

    Returns:
        (n, 7) probabilities; the same for all images of a lesion.
    """
    names, lesion = np.unique(np.asarray(lesions, dtype=str), return_inverse=True)
    shown = np.zeros((len(names), len(CODES)))
    labelled = np.zeros_like(shown)
    # images of a lesion are alike: their mean counts as one piece of evidence, not as several
    np.add.at(shown, lesion, np.log(np.maximum(probabilities, SMALLEST)))
    shown /= np.bincount(lesion)[:, None]
    np.add.at(labelled, lesion, np.log(_noise(IMAGE_ERRORS)[labels]))
    labelled -= labelled.max(axis=1, keepdims=True)
    joint = np.exp(shown - shown.max(axis=1, keepdims=True)) * (np.exp(labelled) @ _noise(LESION_ERRORS))
    return (joint / joint.sum(axis=1, keepdims=True))[lesion]


def _noise(errors: float) -> np.ndarray:
    """(7, 7): the probability of each label for each truth; symmetric."""
    matrix = np.full((len(CODES), len(CODES)), errors / (len(CODES) - 1))
    np.fill_diagonal(matrix, 1.0 - errors)
    return matrix


def _left_out_probabilities(features: np.ndarray, labels: np.ndarray, lesions: np.ndarray, seed: int) -> np.ndarray:
    """(n, 7): what images of other lesions say of each image."""
    present = np.unique(labels)
    probabilities = np.full((len(labels), len(CODES)), SMALLEST)
    if len(present) < 2:
        probabilities[:, present] = 1.0
        return probabilities
    seen = _half_whitened(features.astype(np.float32))
    truth = np.eye(len(CODES), dtype=np.float32)[labels]
    names, lesion = np.unique(lesions, return_inverse=True)
    groups = -(-len(labels) // AT_ONCE)
    group = np.random.default_rng(seed).permutation(len(names))[lesion] % groups
    scores = np.empty_like(truth)
    for number in range(groups):
        some = group == number
        scores[some] = _left_out_scores(seen[some], truth[some], lesion[some])
    model = LogisticRegression(C=10.0, max_iter=1000).fit(scores, labels)
    probabilities[:, present] = np.maximum(model.predict_proba(scores), SMALLEST)
    return probabilities


def _half_whitened(features: np.ndarray) -> np.ndarray:
    """Principal components divided by the root of their spread, at a mean squared length of 1.

    In between: as they are, few components decide; at the same spread, noise does.
    """
    centred = features - features.mean(axis=0)
    count = min(COMPONENTS, len(features) - 1, features.shape[1])
    axes = np.linalg.eigh(centred.T @ centred)[1][:, : -count - 1 : -1]
    components = centred @ axes
    spread = components.std(axis=0)
    components = components / np.sqrt(spread + 1e-6 * spread[0] + 1e-12)
    return components / np.sqrt((components**2).sum(axis=1).mean() + 1e-12)


def _left_out_scores(seen: np.ndarray, truth: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """Kernel ridge regression of each image by the images of all other lesions.

    Args:
        seen: (n, k) float32, mean squared length 1.
        truth: (n, 7) float32, one-hot.
        lesion: (n,) int.

    Returns:
        (n, 7) float32 scores, around 0 and 1.
    """
    squared = (seen**2).sum(axis=1)
    kernel = seen @ seen.T  # everything from here on in place: it is the largest thing in memory
    kernel *= -2.0
    kernel += squared[:, None]
    kernel += squared[None]
    kernel *= -WIDTH / 2.0  # two images are 2 apart in the mean
    np.exp(kernel, out=kernel)
    np.fill_diagonal(kernel, 1.0 + RIDGE)
    factor, _ = lapack.spotrf(kernel.T, lower=1, overwrite_a=1)
    inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)  # only its lower triangle holds
    mean = truth.mean(axis=0)
    residuals = np.ascontiguousarray(blas.ssymm(1.0, inverse, truth - mean, lower=1))
    order = np.argsort(lesion, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(lesion[order])) + 1):
        later, earlier = np.maximum.outer(rows, rows), np.minimum.outer(rows, rows)
        residuals[rows] = np.linalg.solve(inverse[later, earlier], residuals[rows])
    return truth - residuals
