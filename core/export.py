"""A run's network for phones and other programs: LiteRT (TensorFlow Lite) and ONNX, checked against the run itself.

    python -m core.export --run ID --out FOLDER [--data-dir FOLDER] [--images N]

Each file takes pixels and gives the logits, the seven heatmaps and the features that the refusal looks at. `model.json`
says what makes an answer of them, and how far each file agrees with the Keras model on the run's test images.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from core.backbones import BACKBONES
from core.data.ham10000 import index_dataset
from core.data.images import model_input, read_image
from core.diagnoses import CODES, notices
from core.engines import model_hash
from core.errors import DatasetError, RunError, command
from core.evaluation.metrics import balanced_accuracy
from core.evaluation.outliers import Outliers, read_outliers
from core.evaluation.trust import Trust, points_of_images_alone
from core.publish import write_whole
from core.runs.all_runs import find_run
from core.runs.files import write_json
from core.runs.run import MODEL, OUTLIERS, Run

FLOAT16, INT8, ONNX = "model-float16.tflite", "model-int8.tflite", "model.onnx"
ABOUT, STRANGENESS = "model.json", "strangeness.bin"
NEEDED = ("ai_edge_litert", "onnx", "tf2onnx", "onnxruntime")
CALIBRATED_ON = 100  # training images; more of them no longer move the biases
BATCH = 32
FORMS = {
    FLOAT16: "float16 weights in the large layers from the output backwards, float32 before them",
    INT8: "int8 weights, one scale a channel, in the large layers from the output backwards, float16 before them",
    ONNX: "float32",
}

Answers = tuple[np.ndarray, np.ndarray, np.ndarray]  # logits (n, 7), heatmaps (n, 7, h, w), features (n, k)
Answer = Callable[[np.ndarray], Answers]  # of (n, size, size, 3) uint8
Figures = dict[str, Any]


def write_export(run: Run, out: Path, data_dir: Path | None = None, images: int | None = None) -> Figures:
    """Write a folder with a run's network in each form, whole or not at all.

    Args:
        run: a finished run of one network.
        out: a folder that is not there yet, or empty.
        data_dir: where the run's images lie; by default where they lay in training.
        images: check on so many test images at most.

    Returns:
        What `model.json` holds.

    Raises:
        RunError: the run is not finished or cannot be exported, a package is missing, or the folder cannot be written.
        DatasetError: `data_dir` holds none of the run's images.
    """
    about: Figures = {}
    write_whole(run, out, lambda folder: about.update(fill_export(run, folder, data_dir, images)))
    return about


def fill_export(run: Run, folder: Path, data_dir: Path | None = None, images: int | None = None) -> Figures:
    """Write the files into a folder that is there; see `write_export`."""
    check_packages()
    if run.members():
        raise RunError(
            f"A file holds one network. Received: run {run.id!r}, an ensemble of {len(run.members())}. "
            f"Export one of its members: --run {run.members()[0].folder}"
        )
    from core.models.classifier import load_model
    from core.models.export_network import plain_network
    from core.models.export_onnx import write_onnx
    from core.models.export_tflite import mean_inputs, rounded, to_tflite
    from core.models.features import feature_layers
    from core.models.keras_network import KerasNetwork

    manifest = run.manifest()
    model = load_model(run.folder / MODEL)
    network = plain_network(model, manifest["gradcam_layer"], feature_layers(BACKBONES[manifest["backbone"]]))
    data = _Images.of(run, data_dir)
    training = data.some("train", CALIBRATED_ON)
    tflite = to_tflite(network)
    means = mean_inputs(tflite, data.pixels(training)) if len(training) else None
    files = {FLOAT16: rounded(tflite, "float16", means)}
    if means:
        files[INT8] = rounded(tflite, "int8", means)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    write_onnx(network, folder / ONNX)
    answers: dict[str, Answer] = {name: LiteRtNetwork(folder / name).answer for name in files}
    answers[ONNX] = OnnxNetwork(folder / ONNX).answer
    asked = data.some("test", images)
    checked = _checked(run, KerasNetwork(model, manifest["gradcam_layer"]).answer, answers, data, asked)
    sizes = {name: (folder / name).stat().st_size for name in answers}
    about = _about(run) | {
        "files": {name: {"form": FORMS[name], "bytes": size, **checked.get(name, {})} for name, size in sizes.items()},
        "checked_on": len(asked),
        "corrected_on": len(training),
    }
    outliers = read_outliers(run.folder / OUTLIERS)
    if outliers is not None:
        (folder / STRANGENESS).write_bytes(_packed(outliers))
    write_json(folder / ABOUT, about)
    return about


def check_packages() -> None:
    """Raises:
    RunError: what an export needs is not installed.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise RunError(
            f"An export needs {', '.join(NEEDED)}. Received: no {', '.join(missing)}. "
            "Install them: pip install -r requirements-export.txt"
        )


# ---- the run's images ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Images:
    """The images of a run that are there.

    Attributes:
        table: image_id, dx, split, path.
        size: side of the model's input.
    """

    table: pd.DataFrame
    size: int

    @classmethod
    def of(cls, run: Run, data_dir: Path | None) -> "_Images":
        data, size = run.manifest().get("data", {}), int(run.manifest()["image_size"])
        splits = run.splits()
        if data_dir is None and "folder" not in data:  # it was published: where its images lay is nobody's business
            return cls(splits.assign(path="")[:0], size)
        extra = () if data_dir else tuple(Path(folder) for folder in data.get("extra_folders", ()))
        try:
            found = index_dataset(data_dir or Path(data["folder"]), extra).images.set_index("image_id")["path"]
        except DatasetError:
            if data_dir is not None:
                raise
            found = pd.Series(dtype=str)
        table = splits.assign(path=splits["image_id"].map(found)).dropna(subset=["path"])
        if data_dir is not None and table.empty:
            raise DatasetError(
                f"--data-dir must hold the images of run {run.id!r}. Received: {str(data_dir)!r}, which holds none "
                "of them. Name the folder that it was trained on."
            )
        return cls(table, size)

    def some(self, split: str, most: int | None = None) -> pd.DataFrame:
        """The images of a part of the split, or a random few, always the same."""
        rows = self.table[self.table["split"] == split]
        return rows if most is None or most >= len(rows) else rows.sample(most, random_state=0)

    def pixels(self, rows: pd.DataFrame) -> Iterator[np.ndarray]:
        """(size, size, 3) uint8 of each."""
        for path in rows["path"]:
            yield model_input(read_image(path), self.size)


# ---- the exported files --------------------------------------------------------------------------


class LiteRtNetwork:
    """A .tflite file that answers as a Keras network does.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._run = Interpreter(str(path), num_threads=os.cpu_count()).get_signature_runner()

    def answer(self, pixels: np.ndarray) -> Answers:
        """(n, size, size, 3) uint8 -> logits (n, 7), heatmaps (n, 7, h, w), features (n, k)."""
        each = [self._run(pixels=image[None].astype(np.float32)) for image in pixels]
        logits, heatmaps, features = (
            np.concatenate([one[name] for one in each]) for name in ("logits", "heatmaps", "features")
        )
        return logits, heatmaps, features


class OnnxNetwork:
    """A .onnx file that answers as a Keras network does.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def answer(self, pixels: np.ndarray) -> Answers:
        """(n, size, size, 3) uint8 -> logits (n, 7), heatmaps (n, 7, h, w), features (n, k)."""
        names = ["logits", "heatmaps", "features"]
        each = [self._session.run(names, {"pixels": image[None].astype(np.float32)}) for image in pixels]
        logits, heatmaps, features = (np.concatenate(outputs) for outputs in zip(*each, strict=True))
        return logits, heatmaps, features


# ---- the check -----------------------------------------------------------------------------------


@dataclass
class _Heard:
    """What one network said of the images so far."""

    logits: list[np.ndarray] = field(default_factory=list)
    strangeness: list[np.ndarray] = field(default_factory=list)
    likeness: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def take(self, own: Answers, original: Answers, outliers: Outliers | None) -> None:
        """Note what it said of images beside what the Keras model said."""
        self.logits.append(own[0])
        for index, code in enumerate(original[0].argmax(axis=1)):
            like = likeness(own[1][index, code], original[1][index, code])
            self.likeness += [] if like is None else [like]
        if outliers is not None:
            self.strangeness.append(outliers.score(own[2]))


def _checked(
    run: Run, original: Answer, answers: dict[str, Answer], data: _Images, asked: pd.DataFrame
) -> dict[str, Figures]:
    """Figures of each file beside the Keras model; none where there is no test image."""
    if asked.empty:
        return {}
    outliers, trust = read_outliers(run.folder / OUTLIERS), Trust.of_images_alone(run.calibration())
    heard = {name: _Heard() for name in ("keras", *answers)}
    for start in range(0, len(asked), BATCH):
        pixels = np.stack(list(data.pixels(asked[start : start + BATCH])))
        outputs = original(pixels)
        heard["keras"].take(outputs, outputs, outliers)
        for name, answer in answers.items():
            begun = time.perf_counter()
            own = answer(pixels)
            heard[name].seconds += time.perf_counter() - begun
            heard[name].take(own, outputs, outliers)
    labels = asked["dx"].map(CODES.index).to_numpy()
    return {name: _figures(heard["keras"], heard[name], labels, trust) for name in answers}


def likeness(one: np.ndarray, other: np.ndarray) -> float | None:
    """Pearson's correlation of two heatmaps; None where one is the same everywhere."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _figures(original: _Heard, copy: _Heard, labels: np.ndarray, trust: Trust) -> Figures:
    before, after = np.concatenate(original.logits), np.concatenate(copy.logits)
    expected, given = before.argmax(axis=1), after.argmax(axis=1)
    apart = np.abs(trust.calibration.probabilities(after) - trust.calibration.probabilities(before)).max(axis=1)
    refused_alike = None
    if original.strangeness and trust.strangest is not None:
        refused = [np.concatenate(heard.strangeness) > trust.strangest for heard in (original, copy)]
        refused_alike = float((refused[0] == refused[1]).mean())
    confusion = [confusion_matrix(labels, answers, labels=range(len(CODES))) for answers in (given, expected)]
    balanced, balanced_keras = balanced_accuracy(np.stack(confusion)).tolist()
    return {
        "agreement": float((expected == given).mean()),
        "balanced_accuracy": balanced,
        "balanced_accuracy_keras": balanced_keras,
        "heatmap_correlation": float(np.mean(copy.likeness)) if copy.likeness else None,
        "probabilities_apart": {"median": float(np.median(apart)), "largest": float(apart.max())},
        "refused_alike": refused_alike,
        "ms_per_image": 1000 * copy.seconds / len(labels),
    }


# ---- what makes an answer of the outputs -----------------------------------------------------------


def _packed(outliers: Outliers) -> bytes:
    """float32, little-endian: mean (k), spread (k), plane (k), directions (k, d) row by row."""
    arrays = (outliers.mean, outliers.spread, outliers.plane, outliers.directions)
    return b"".join(np.ascontiguousarray(array, "<f4").tobytes() for array in arrays)


def _about(run: Run) -> Figures:
    manifest, calibration = run.manifest(), run.calibration()
    trust, outliers = Trust.of_images_alone(calibration), read_outliers(run.folder / OUTLIERS)
    measured = points_of_images_alone(run.metrics().get("test", {}))
    return {
        "run": run.id,
        "model_sha256": model_hash(run),
        "synthetic": run.synthetic,
        "notices": notices(run.synthetic),
        "classes": list(CODES),
        "image_size": int(manifest["image_size"]),
        "inputs": {"pixels": "(1, size, size, 3) float32 RGB, 0 to 255: the centre square of the image"},
        "outputs": {
            "logits": "(1, 7)",
            "heatmaps": "(1, 7, h, w), at least 0, in full colour at heatmap_scale",
            "features": "(1, k), for the out-of-distribution score",
        },
        "views": int(manifest.get("test_views", 1)),
        "temperature": trust.calibration.temperature,
        "offsets": trust.calibration.offsets.tolist(),
        "heatmap_scale": float(calibration["heatmap_scale"]),
        "heatmap_beats": run.gradcam_beats(),
        "prediction_sets": {"level": trust.level, "scores": trust.scores},
        "operating_points": [
            {
                "name": name,
                "positives": point["positives"],
                "threshold": point["threshold"],
                "target_sensitivity": point["target_sensitivity"],
                "sensitivity": (measured.get(name, {}).get("sensitivity") or {}).get("value"),
                "specificity": (measured.get(name, {}).get("specificity") or {}).get("value"),
            }
            for name, point in (trust.points or {}).items()
        ],
        "refusal": None
        if outliers is None or trust.strangest is None
        else {
            "threshold": trust.strangest,
            "features": len(outliers.mean),
            "directions": outliers.directions.shape[1],
            "variances": outliers.variances.tolist(),
            "rest": float(outliers.rest),
            "middle": outliers.middle.tolist(),
            "reach": outliers.reach.tolist(),
        },
    }


def table(about: Figures) -> str:
    """The check, for people: one line a file."""
    count = about["checked_on"]
    keras = next(iter(about["files"].values())).get("balanced_accuracy_keras")
    head = (
        f"{'file':<22}{'MB':>6}{'agreement':>11}{'bal. acc.':>11}{'heatmaps':>10}{'refusals':>10}{'dp max':>9}{'ms':>7}"
    )
    lines = [head]
    for name, file in about["files"].items():
        line = f"{name:<22}{file['bytes'] / 1e6:>6.1f}"
        if count:
            like, alike = file["heatmap_correlation"], file["refused_alike"]
            line += f"{file['agreement']:>11.1%}{file['balanced_accuracy']:>11.3f}"
            line += f"{'-' if like is None else f'{like:.4f}':>10}{'-' if alike is None else f'{alike:.1%}':>10}"
            line += f"{file['probabilities_apart']['largest']:>9.4f}{file['ms_per_image']:>7.1f}"
        lines.append(line)
    if count:
        lines.append(f"Against the Keras model (balanced accuracy {keras:.3f}) on {count} test images.")
    else:
        lines.append("Not checked: the run's test images are not there. Name their folder with --data-dir.")
    if INT8 not in about["files"]:
        lines.append(
            f"{INT8} was not written: its biases are corrected on training images, and none of the run's are there."
        )
    return "\n".join(lines)


@command
def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m core.export", description="Export a run to LiteRT and ONNX.")
    add_options(parser)
    options = parser.parse_args(arguments)
    about = write_export(find_run(options.run), options.out, options.data_dir, options.images)
    print(table(about))
    print("\n".join(about["notices"]))
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """What an export is told; `core.phone` takes the same."""
    parser.add_argument("--run", required=True, help="the run's id, or the path of its folder")
    parser.add_argument("--out", required=True, type=Path, help="the folder that is written: empty, or not there yet")
    parser.add_argument("--data-dir", type=Path, help="the run's images; by default where they lay in training")
    parser.add_argument("--images", type=int, metavar="N", help="check on so many test images at most; by default all")


if __name__ == "__main__":
    sys.exit(main())
