"""Several finished runs joined into one that answers with their mean: an ensemble.

Its figures are fitted anew on what its members, which have the same split, said of the same images; only the scale of
the heatmaps needs a look at some images.
"""

import dataclasses
import itertools
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from core.data.ham10000 import load_again
from core.data.images import model_input, read_image
from core.diagnoses import LOGIT_COLUMNS
from core.engines import answering_ensemble, model_hash
from core.errors import RunError
from core.evaluation.patient import Patient, PatientTerm, joined, patients_of
from core.evaluation.results import write_results
from core.evaluation.trust import Strangeness
from core.explain.ensemble import Ensemble
from core.explain.explainer import BATCH
from core.places import runs_root
from core.runs.progress import Progress
from core.runs.run import (
    CALIBRATION,
    CONFIG,
    FEATURES,
    HISTORY,
    MANIFEST,
    MEMBERS,
    METRICS,
    MODEL,
    OPENVINO,
    OUTLIERS,
    PATIENT,
    PREDICTIONS,
    SPLITS,
    STATUS,
    Run,
)

SCALE_IMAGES = 64  # heatmaps are scaled by what these calibration images show
TOLERANCE = 1e-4  # largest difference between what a saved model says and what its training said, in logits
MEMBER_FILES = (
    MANIFEST, SPLITS, HISTORY, PREDICTIONS, METRICS, CALIBRATION, OUTLIERS, FEATURES, MODEL, PATIENT, STATUS, CONFIG,
)  # fmt: skip


def join(run: Run, members: Sequence[Run], progress: Progress) -> None:
    """Write all that a finished run holds, from what its members hold.

    Args:
        run: the ensemble; its members are `members`, in this order.
        members: finished runs with the same split of the same images.
        progress: what is told.

    Raises:
        RunError: the members do not fit together, or do not say what they said in their training.
        DatasetError: the images are not there any more, or have changed.
    """
    check_together(members)
    progress.phase("evaluation", f"Joining {len(members)} networks and computing the figures.")
    splits, first = members[0].splits(), members[0].manifest()
    # of a network for which ages, sexes and sites matter, if there is one: they must be as it saw them
    data = max((member.manifest()["data"] for member in members), key=lambda seen: bool(seen.get("people")))
    run.write_csv(SPLITS, splits)
    seconds = [member.manifest().get("seconds") or 0.0 for member in members]
    run.write_json(
        MANIFEST,
        first
        | {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "data": data,
            "test_views": run.config().test_views,
            "model_sha256": model_hash(run),
            "members": [
                {name: member.manifest().get(name) for name in ("backbone", "train_from", "model_sha256")}
                for member in members
            ],
            "seconds": round(sum(seconds), 1),
        },
    )
    tables = [member.predictions() for member in members]
    dataset = load_again(data, run.config().skip_damaged)
    images = dataset.images.set_index("image_id").loc[splits["image_id"]]
    logits, added = _of_images_and_patients(run, members, tables, patients_of(images))
    scores = np.mean([table["ood_score"].to_numpy() for table in tables], axis=0)
    changed = [member.calibration().get("refusal", {}).get("changed_scores") for member in members]
    known = all(changed) and len({len(one) for one in changed}) == 1
    strangeness = Strangeness(scores, np.mean(changed, axis=0) if known else np.array([]))

    some = np.flatnonzero(splits["split"] == "calibration")[:SCALE_IMAGES]
    scale = heatmap_scale(answering_ensemble(run), images.iloc[some], logits[some])
    with _copying(members[-1], run.folder):
        shutil.copyfile(members[-1].folder / FEATURES, run.folder / FEATURES)  # the last ones of an answer's features
    write_results(run, splits, logits, strangeness, scale, len(some), added)


def _of_images_and_patients(
    run: Run, members: Sequence[Run], tables: Sequence[pd.DataFrame], patients: Sequence[Patient]
) -> tuple[np.ndarray, np.ndarray | None]:
    """(n, 7) what the members say of the images alone, and what age, sex and site add, which is written to the run."""
    terms = [PatientTerm.from_dict(member.patient()) for member in members]
    logits = [table[LOGIT_COLUMNS].to_numpy(np.float32) for table in tables]
    alone = [said if term is None else said - term.added(patients) for said, term in zip(logits, terms, strict=True)]
    term = joined(terms)
    if term is None:
        return np.mean(alone, axis=0), None
    run.write_json(PATIENT, term.to_dict())
    return np.mean(alone, axis=0), term.added(patients)


def check_together(members: Sequence[Run]) -> None:
    """Refuse runs that cannot answer as one.

    Raises:
        RunError: one is not finished, they differ in their images, split, input or turns, or two are one network.
    """
    said = []
    for member in members:
        if not member.usable:
            raise RunError(f"Only finished runs are joined. Received: run {member.id!r}, {member.status().state}.")
        said.append(member.predictions())
        if said[-1].empty:
            raise RunError(
                f"Runs that are joined keep what they answered. Received: run {member.id!r}, a published copy without. "
                "Take the run itself."
            )
    for what, of in (
        ("split", lambda manifest: manifest["split"]["fingerprint"]),
        ("images", lambda manifest: manifest["data"]["fingerprint"]),
        ("size of the input", lambda manifest: manifest["image_size"]),
        ("test_views", lambda manifest: manifest.get("test_views", 1)),
        ("ages, sexes and sites", lambda manifest: manifest["data"].get("people")),  # None: it did not look at them
    ):
        found = [(member, of(member.manifest())) for member in members]
        found = [(member, value) for member, value in found if value is not None]
        other = next((member for member, value in found if value != found[0][1]), None)
        if other is not None:
            raise RunError(
                f"Runs that are joined have the same {what}, or one would be tested on what another was trained on. "
                f"Received: {found[0][0].called!r} and {other.called!r}, which differ. Train them on the "
                "same images with the same --seed and --test-views, and another --repeat."
            )
    for (earlier, here), (later, there) in itertools.combinations(zip(members, said, strict=True), 2):
        if here[LOGIT_COLUMNS].equals(there[LOGIT_COLUMNS]):
            raise RunError(
                f"Networks that are joined differ, or they answer as each does alone. Received: {earlier.called!r} and "
                f"{later.called!r}, which say the same of every image. Train one of them with another --repeat."
            )


def heatmap_scale(ensemble: Ensemble, images: pd.DataFrame, logits: np.ndarray) -> float:
    """What is shown in full colour: the 95th percentile, over images, of the hottest spot of the answer's heatmap.

    What was saved is asked for it, so that it is also proved to answer as the training did.

    Args:
        ensemble: read from the run's files.
        images: path.
        logits: (n, 7), what the training said of them.

    Raises:
        RunError: the networks say something else.
    """
    hottest = []
    for start in range(0, len(images), BATCH):
        paths = images["path"].iloc[start : start + BATCH]
        pixels = np.stack([model_input(read_image(path), ensemble.size) for path in paths])
        answers, maps, _ = ensemble.answer(pixels)
        difference = float(np.abs(answers - logits[start : start + BATCH]).max())
        if difference > TOLERANCE:
            raise RunError(
                f"A saved model must answer as its training did, within {TOLERANCE} of a logit. Received: a difference "
                f"of {difference:.2g}. Delete the trunk cache and train again."
            )
        hottest += maps[np.arange(len(answers)), answers.argmax(axis=1)].max(axis=(1, 2)).tolist()
    return max(float(np.percentile(hottest, 95)), 1e-6)


def join_finished(runs: Sequence[Run], folder: Path | None = None) -> Run:
    """A new run whose members are copies of finished ones; of an ensemble, its members.

    Args:
        runs: two or more.
        folder: of the new run; by default one beside the other runs.

    Raises:
        RunError: they do not fit together, or the folder cannot be written.
        DatasetError: the images are not there any more, or have changed.
    """
    each = [member for run in runs for member in (run.members() or [run])]
    if len(each) < 2:
        raise RunError(f"An ensemble has two networks or more. Received: {len(each)}. Name another run.")
    check_together(each)
    root = folder.absolute().parent if folder else runs_root()
    with _copying(each[0], root):
        root.mkdir(parents=True, exist_ok=True)
        # all copies are there before the run is: what is left of an interrupted attempt cannot be mistaken for one
        with tempfile.TemporaryDirectory(dir=root, prefix=".joining.", ignore_cleanup_errors=True) as name:
            copies = Path(name) / MEMBERS
            for number, member in enumerate(each):
                _copy(member, copies / str(number + 1))
            run = Run.create(dataclasses.replace(each[0].config(), ensemble=len(each)), folder)
            copies.rename(run.folder / MEMBERS)
    progress = Progress(run, run.config().all_epochs)
    with run.writing(), progress.telling():
        join(run, run.members(), progress)
    return run


def _copy(member: Run, folder: Path) -> None:
    """Without its log, its examination and its evaluations."""
    with _copying(member, folder):
        folder.mkdir(parents=True)
        if (member.folder / OPENVINO).is_dir():
            shutil.copytree(member.folder / OPENVINO, folder / OPENVINO)
        for name in MEMBER_FILES:
            if (member.folder / name).is_file():
                shutil.copyfile(member.folder / name, folder / name)


@contextmanager
def _copying(member: Run, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"Files of run {member.id!r} must be copied to {folder}. Received: {error.filename}: "
            f"{error.strerror or error}. Free some disk, or make anew what is missing: python -m core.evaluation --run "
            f"{member.folder} --again"
        ) from error
