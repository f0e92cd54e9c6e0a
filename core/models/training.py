"""train(run): from a configuration in a run folder to a finished run. Writes only through Run."""

import dataclasses
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from core.config import TrainConfig
from core.data.augment import exact_turns
from core.data.dataset import Dataset
from core.data.decisions import Decisions
from core.data.ham10000 import extra_folders, find_dataset, load_dataset
from core.data.loading import PixelSource, Take
from core.data.splits import (
    EXCLUDED,
    PARTS,
    check_no_leak,
    leakage_report,
    split_by_lesion,
    split_fingerprint,
)
from core.diagnoses import CODES, LOGIT_COLUMNS
from core.engines import answering_ensemble, chosen_engine, model_hash
from core.errors import DatasetError, RunError
from core.evaluation.patient import PatientTerm, patients_of
from core.evaluation.results import training_weights, write_results
from core.models.backbones import PIXEL_RANGE
from core.models.batch_norm import adapt
from core.models.classifier import Classifier, build_classifier
from core.models.cluster import asked_for
from core.models.devices import Machine
from core.models.fitting import Examples, Objective, all_logits, compiled_logits, fit
from core.models.joining import SCALE_IMAGES, heatmap_scale, join
from core.models.spread import spread
from core.models.strangeness import fit_strangeness
from core.models.trunk_cache import TrunkCache
from core.models.whole_network import learn_as_a_whole
from core.places import PROJECT, runs_root
from core.runs.all_runs import find_run, promote, served_run
from core.runs.history import before_cut
from core.runs.progress import Progress
from core.runs.run import (
    BEFORE_CUT,
    CHECKPOINT,
    CONFIG,
    MANIFEST,
    MEMBERS,
    MODEL,
    PATIENT,
    SCHEMA_VERSION,
    SPLITS,
    Run,
)
from core.runs.status import Status

PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "scikit-learn", "opencv-python", "pillow")
ENOUGH = 200  # images from which on a speed is one: the network is compiled while the first go through


def train(run: Run) -> None:
    """Do what the run's configuration asks for, from wherever an earlier process stopped.

    Raises:
        DermLensError: the data, the weights or the disk do not allow it; the status says so too.
        TrainingStopped: somebody asked it to stop.
    """
    with run.writing():
        config = run.config()
        progress = Progress(run, config.all_epochs)
        with progress.telling():
            if config.ensemble > 1:
                _train_ensemble(run, config, progress)
            else:
                _train(run, config, progress)
        for each in (run, *run.members()):
            _forget(each)
    try:
        first = run.folder.parent == runs_root() and served_run() is None
    except RunError:  # which run is served is damaged: the training is done all the same
        first = False
    if first:
        promote(run)  # served at once


def _train_ensemble(run: Run, config: TrainConfig, progress: Progress) -> None:
    """Train the members, each in a run folder of its own, and join them.

    One after another; with a cluster the first one here, which makes the split, and the trunk outputs that the others
    read where no whole network learns first; and then all others at once.
    """
    members = []
    for number in range(config.ensemble):
        folder = run.folder / MEMBERS / str(number + 1)
        settings = dataclasses.replace(config, ensemble=1, repeat=config.repeat + number)
        members.append(Run(folder) if (folder / CONFIG).is_file() else Run.create(settings, folder))
    address = asked_for()
    for number, member in enumerate(members[:1] if address else members, 1):
        if not member.usable:
            _begin_with_split_of(members[0], member)
            progress.phase("data", f"Network {number} of {config.ensemble}.")
            _train(member, member.config(), progress)
            member.write_status(Status(state="finished", phase="done", epoch=len(member.history())))
    if address:
        for member in members[1:]:
            _begin_with_split_of(members[0], member)
        progress.phase("training", f"Networks 2 to {config.ensemble} are trained on the cluster.")
        failed = spread(members[1:], address, wait=progress.beat)
        if failed:
            raise RunError(
                f"An ensemble needs all its networks. Received: {'; '.join(failed.values())} What was trained is kept: "
                "go on with --resume."
            )
    join(run, members, progress)


def _forget(run: Run) -> None:
    """Delete what only an unfinished training needs."""
    for name in (CHECKPOINT, BEFORE_CUT):
        (run.folder / name).unlink(missing_ok=True)


def _train(run: Run, config: TrainConfig, progress: Progress) -> None:
    started, earlier = time.monotonic(), run.history()  # epochs that another process has trained
    keras.utils.set_random_seed(config.seed + config.repeat)
    tf.config.experimental.enable_op_determinism()

    progress.phase("data", "Reading the data set and opening every image.")
    folder, further = find_dataset(config), extra_folders(config)
    dataset = load_dataset(folder, config.skip_damaged, extra=further, step=progress.step)
    for problem, names in dataset.left_out.items():
        print(f"[data] left out {len(names)} {problem}", flush=True)
    if dataset.extra:
        print(f"[data] added {len(dataset.added)} images of further folders", flush=True)
        print(
            f"[data] {len(dataset.near)} of them have the lesion of a near-duplicate in an earlier folder", flush=True
        )
    splits = _split(run, config, dataset)
    taught = _taught(run, config, splits, dataset)
    labels = splits["dx"].map(CODES.index).to_numpy()

    progress.phase("trunk", f"Building {config.backbone}, trained from {config.train_from}.")
    machine, classifier = Machine.here(config), build_classifier(config)
    print(f"[devices] {machine}", flush=True)
    _write_manifest(run, config, dataset, splits, classifier)
    began = time.monotonic()
    if config.adapt_norm:
        progress.phase("trunk", "What the network normalizes by moves towards the training images.")
        learned = dataset.images[splits["split"] == "train"]
        adapt(classifier.sensor, config.adapt_norm, dataset, learned, config.seed, progress.step)
    rows = {part: np.flatnonzero(splits["split"] == part) for part in PARTS}

    def examples(sources: _Inputs) -> tuple[Examples, Examples]:
        """Of the training part and of the validation part."""
        return (
            Examples(sources.train, labels[rows["train"]], sources.train_views, taught),
            Examples(lambda some, views: sources.plain(rows["validation"][some], views), labels[rows["validation"]]),
        )

    objective, earlier_epochs = Objective.of(config, training_weights(run, splits)), []
    if config.epochs_before_cut:
        of_pixels = examples(_pixels(classifier, config, dataset, splits))
        named = dataset.images["image_id"].iloc[np.concatenate([rows["train"], rows["validation"]])]
        images = [f"{name} {dataset.contents[name]}" for name in named]
        earlier_epochs = learn_as_a_whole(run, progress, config, classifier, *of_pixels, images, objective, machine)
    preparing = time.monotonic() - began + float(before_cut(earlier)["seconds"].sum())
    sources = _inputs(classifier, config, dataset, splits, progress)

    progress.phase("training", "Training.")
    fit(run, progress, config, classifier.top, *examples(sources), objective, machine, earlier=earlier_epochs)

    progress.phase("evaluation", "Predicting every image and computing the figures.")
    predict, everything = compiled_logits(classifier.top), np.arange(len(splits))
    logits = np.mean(
        [all_logits(predict, sources.plain, everything, view) for view in range(config.test_views)], axis=0
    )
    _save_model(run, classifier)
    if chosen_engine() == "openvino":
        _convert(run)
    some = rows["calibration"][:SCALE_IMAGES]
    scale = heatmap_scale(answering_ensemble(run), dataset.images.iloc[some], logits[some])
    added = _of_patients(run, dataset, splits, logits) if config.patient else None
    features = sources.cache if classifier.trunk is classifier.sensor else None
    features = features or TrunkCache(classifier.sensor, config)
    strangeness = fit_strangeness(run, features, classifier.pooled, config, dataset, splits, progress)
    write_results(run, splits, logits, strangeness, scale, len(some), added)
    manifest = run.manifest()
    manifest["seconds"] = round(float(earlier["seconds"].sum()) + time.monotonic() - started, 1)
    manifest["speed"] = _speed(sources.cache, features, preparing)
    run.write_json(MANIFEST, manifest)


def _speed(cache: TrunkCache | None, features: TrunkCache, preparing: float) -> dict[str, float | None]:
    """Images a second through the frozen part, None where too few were computed to tell; seconds spent on all outputs.

    Args:
        cache: of the frozen part; None where there is none.
        features: of what the refusal sees; the same one where only the head was trained.
        preparing: seconds before, in which the frozen part became what it is.
    """
    enough = cache is not None and cache.computed >= ENOUGH
    seconds = preparing + features.seconds + (cache.seconds if cache and cache is not features else 0.0)
    return {
        "trunk": round(cache.computed / cache.seconds, 1) if cache and enough else None,
        "trunk_seconds": round(seconds, 1),
    }


def _begin_with_split_of(first: Run, member: Run) -> None:
    """What is excluded while an ensemble is trained, or handed over, must not part its networks."""
    if member.splits().empty and not first.splits().empty:
        member.write_csv(SPLITS, first.splits())


# ---- data --------------------------------------------------------------------------------------


def _split(run: Run, config: TrainConfig, dataset: Dataset) -> pd.DataFrame:
    """The split in the run folder; made now if this is the run's first process."""
    splits = run.splits()
    if splits.empty:
        # what was decided about the data set holds with other images added to it too
        decided = Decisions(dataset.fingerprint()).all() | Decisions(dataset.fingerprint(False)).all()
        excluded = frozenset(
            name for name, decision in decided.items() if decision.excludes(dataset.contents.get(name))
        )
        splits = split_by_lesion(dataset.images, config.seed, excluded, dataset.added, config.tested_fold)
        run.write_csv(SPLITS, splits)
    check_no_leak(splits)
    before = run.manifest().get("data", {})
    if splits["image_id"].tolist() != dataset.images["image_id"].tolist() or (before and not dataset.is_as_in(before)):
        raise DatasetError(
            f"A run goes on with the data it began with. Received: {dataset.folder}, which has changed since. "
            "Bring the data back, or start a new run."
        )
    return splits


def _taught(run: Run, config: TrainConfig, splits: pd.DataFrame, dataset: Dataset) -> np.ndarray | None:
    """(n, 7) what the teacher says of the training images, in the balance that `Objective.each` wants of it."""
    if config.teacher is None:
        return None
    teacher = find_run(config.teacher)
    if not teacher.usable or teacher.manifest()["split"]["fingerprint"] != split_fingerprint(splits):
        raise RunError(
            f"A teacher is a finished run with the same split, or it would tell what the test part holds. Received: "
            f"run {teacher.id!r}. Take another teacher, or its --seed and its images."
        )
    said, people = teacher.predictions(), teacher.manifest()["data"].get("people")
    if said.empty or people not in (None, dataset.people_fingerprint()):
        raise RunError(
            f"A teacher keeps what it said of the images, and of these people. Received: run {teacher.id!r}, a "
            "published copy, or one whose ages, sexes or sites have changed since. Take the run itself, or another one."
        )
    train = (splits["split"] == "train").to_numpy()
    logits = said.set_index("image_id").loc[splits.loc[train, "image_id"], LOGIT_COLUMNS].to_numpy(np.float32)
    term = PatientTerm.from_dict(teacher.patient())
    if term is not None:  # no network can learn from pixels what was said of the person
        logits = logits - term.added(patients_of(dataset.images[train]))
    as_common_as_they_are = logits - np.log(training_weights(teacher, splits))
    if config.class_weights:  # they lift the labels alone: what is imitated is lifted here
        return as_common_as_they_are + np.log(training_weights(run, splits))
    return as_common_as_they_are


def _of_patients(run: Run, dataset: Dataset, splits: pd.DataFrame, logits: np.ndarray) -> np.ndarray:
    """(n, 7) what age, sex and site add to the logits of the images alone; fitted, and written to the run."""
    labels, patients = splits["dx"].map(CODES.index).to_numpy(), patients_of(dataset.images)
    train, held = (np.flatnonzero(splits["split"] == part) for part in ("train", "validation"))
    term = PatientTerm.fit([patients[row] for row in train], labels[train]).with_strength(
        [patients[row] for row in held], labels[held], logits[held], training_weights(run, splits)
    )
    run.write_json(PATIENT, term.to_dict())
    return term.added(patients)


@dataclass(frozen=True)
class _Inputs:
    """What the trained part reads: trunk outputs from disk, or pixels as they come.

    Attributes:
        plain: rows of the whole table, and of them the exact turns that are answered.
        train: rows of the training part, any view.
        train_views: how many views there are of each; None for a fresh one each epoch.
        cache: where trunk outputs come from; None when everything is trained.
    """

    plain: Take
    train: Take
    train_views: int | None
    cache: TrunkCache | None


def _pixels(classifier: Classifier, config: TrainConfig, dataset: Dataset, splits: pd.DataFrame) -> _Inputs:
    """What a network that is trained as a whole reads."""
    train_rows = np.flatnonzero(splits["split"] == "train")
    source, upright = (
        PixelSource(dataset.images, classifier.backbone.size, how) for how in (config, exact_turns(config))
    )
    return _Inputs(
        upright.take,
        lambda rows, views: source.take(train_rows[rows], views),
        1 if config.views == 1 else None,
        None,
    )


def _inputs(
    classifier: Classifier, config: TrainConfig, dataset: Dataset, splits: pd.DataFrame, progress: Progress
) -> _Inputs:
    if classifier.trunk is None:
        return _pixels(classifier, config, dataset, splits)
    train_rows = np.flatnonzero(splits["split"] == "train")
    turns = exact_turns(config)
    cache, turned = TrunkCache(classifier.trunk, config), TrunkCache(classifier.trunk, turns)
    train_images = dataset.images.iloc[train_rows]
    of_all = [(turned if view else cache, dataset.images, view) for view in range(config.test_views)]
    known = config.test_views if turns == config else 1  # views of the training images that are among those of all
    of_train = [(cache, train_images, view) for view in range(known, config.views)]
    size = cache.make_room({each.entry(dataset, images, view): len(images) for each, images, view in of_all + of_train})
    print(f"[trunk] outputs take {size:.2f} GB of at most {config.cache_gb:g} GB in {cache.folder}", flush=True)

    def outputs(need: tuple[TrunkCache, pd.DataFrame, int]) -> np.ndarray:
        where, images, view = need
        of = max(config.views, config.test_views)
        progress.phase("trunk", f"Frozen trunk, view {view + 1} of {of}: {len(images):,} images.")
        return np.asarray(where.outputs(dataset, images, view, progress.step))

    answered = [outputs(need) for need in of_all]
    learned = {need[2]: outputs(need) for need in of_train}
    cache.computed += turned.computed
    cache.seconds += turned.seconds

    def plain(rows: np.ndarray, views: np.ndarray) -> np.ndarray:
        return np.stack([answered[view][row] for row, view in zip(rows, views, strict=True)])

    def train(rows: np.ndarray, views: np.ndarray) -> np.ndarray:
        pairs = zip(rows, views, strict=True)
        return np.stack(
            [learned[view][row] if view in learned else answered[view][train_rows[row]] for row, view in pairs]
        )

    return _Inputs(plain, train, config.views, cache)


# ---- what a finished run holds -----------------------------------------------------------------


def _write_manifest(
    run: Run, config: TrainConfig, dataset: Dataset, splits: pd.DataFrame, classifier: Classifier
) -> None:
    share = float((splits["split"] == "train").sum() / (splits["split"] != EXCLUDED).sum())
    run.write_json(
        MANIFEST,
        {
            "schema_version": SCHEMA_VERSION,
            "created": run.manifest().get("created") or datetime.now(UTC).isoformat(timespec="seconds"),
            "classes": list(CODES),
            "backbone": config.backbone,
            "train_from": config.train_from,
            "image_size": classifier.backbone.size,
            "pixel_range": list(PIXEL_RANGE),
            "gradcam_layer": classifier.gradcam_layer,
            "test_views": config.test_views,
            "data": {
                "folder": str(dataset.folder),
                "extra_folders": [str(folder) for folder in dataset.extra],
                "extra_images": len(dataset.added),
                "extra_near_duplicates": len(dataset.near),
                "fingerprint": dataset.fingerprint(),
                "fingerprint_alone": dataset.fingerprint(with_added=False),
                "people": dataset.people_fingerprint() if config.patient else None,
                "images": len(dataset.images),
                "lesions": int(dataset.images["lesion_id"].nunique()),
                "synthetic": dataset.synthetic,
                "left_out": dataset.left_out,
            },
            "split": {
                "fingerprint": split_fingerprint(splits),
                "counts": {part: int((splits["split"] == part).sum()) for part in PARTS},
                "excluded": int((splits["split"] == EXCLUDED).sum()),
                "leakage": [asdict(row) for row in leakage_report(splits, share)],
            },
            "packages": {"python": sys.version.split()[0]} | {name: version(name) for name in PACKAGES},
            "git_commit": _git_commit(),
            "model_sha256": None,
        },
    )


def _save_model(run: Run, classifier: Classifier) -> None:
    """Write the flat model whole or not at all, and say in the manifest which file it is."""
    temporary = run.folder / f".{MODEL}"
    try:
        classifier.model.save(temporary)
        temporary.replace(run.folder / MODEL)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(f"{MODEL} must be written to {run.folder}. Received: {error}. Free some disk.") from error
    run.write_json(MANIFEST, run.manifest() | {"model_sha256": model_hash(run)})


def _convert(run: Run) -> None:
    """Write the network for OpenVINO; a run that has none answers with TensorFlow."""
    from core.models.openvino_files import write_openvino

    try:
        write_openvino(run)
    except RunError as error:
        print(f"[openvino] {error}", flush=True)


def _git_commit() -> str | None:
    """The commit that trained it, if there is one to be known."""
    git = shutil.which("git")
    if git is None:
        return None
    answer = subprocess.run([git, "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None
