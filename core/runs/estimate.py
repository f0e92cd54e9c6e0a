"""How long a training will take here, from the speed of those that this machine has finished."""

import dataclasses
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Any

from core.backbones import ALL, BACKBONES, HEAD
from core.config import ADAPTED_IMAGES, TrainConfig
from core.data.augment import exact_turns
from core.errors import DermLensError
from core.places import cache_root
from core.runs.history import after_cut
from core.runs.run import Run

STEP = 3.0  # passes of the trained part that a step of training costs: one forward, about two back
OTHERS = 3500  # pictures besides the data set that the refusal is fitted on
ADAPTING = 5  # passes that it costs to measure what the layers make of an image
SAME_NETWORK = ("backbone", "weights")
SAME_TRUNK = (*SAME_NETWORK, "train_from")
SAME_SPLIT = ("seed", "folds", "fold")
SAME_VIEWS = (*SAME_TRUNK, *SAME_SPLIT, "rotation", "shift", "zoom", "flips", "turns", "colour")


@dataclass(frozen=True)
class Estimate:
    """Seconds that a training takes, at most: it may stop early.

    Attributes:
        trunk: to compute outputs of the frozen part, and what the refusal sees; 0 where all are on disk.
        training: for all epochs.
        rest: to read the images, to evaluate.
        measured: whether this very network and cut has been measured here; otherwise it is told from another one.
    """

    trunk: float
    training: float
    rest: float
    measured: bool

    @property
    def seconds(self) -> float:
        """All together."""
        return self.trunk + self.training + self.rest


@dataclass(frozen=True)
class Measured:
    """What a finished run took.

    Attributes:
        config: what it was asked to do.
        data: fingerprint of its images.
        trunk: images a second through the frozen part; None where too few were computed to tell.
        training: images a second in an epoch.
        rest: seconds to read the images and to evaluate.
    """

    config: TrainConfig
    data: str
    trunk: float | None
    training: float
    rest: float


def estimate(config: TrainConfig, like: dict[str, Any], seen: Sequence[Measured]) -> Estimate | None:
    """What a training would take on the images of an earlier run.

    Args:
        config: what would be trained.
        like: manifest of a run on the same images: how many there are in each part.
        seen: whatever was measured on this machine.

    Returns:
        None while nothing has been measured.
    """
    counts, data = like.get("split", {}).get("counts", {}), like.get("data", {})
    if not seen or not counts.get("train"):
        return None
    same = [run for run in seen if _alike(run.config, config, SAME_TRUNK)]
    speed = _training_speed(config, same, seen)
    trunk_speed = _trunk_speed(config, same, seen)
    if speed is None or trunk_speed is None:
        return None
    total, train = sum(counts.values()), counts["train"]
    fingerprint = data.get("fingerprint", "")
    alike = [run for run in seen if run.data == fingerprint and _same_frozen(run.config, config)]
    passes = _missing_passes(config, [run for run in alike if run.config.train_from == config.train_from], total, train)
    others = config.ensemble - 1 if config.epochs_before_cut else 0  # networks below whose cut it is another one
    passes += others * _missing_passes(config, [], total, train)
    known = bool(alike) and _kept(config)
    sensed = (config.ensemble if _own_features(config) else 1) - (1 if known else 0)
    sensed *= OTHERS + (0 if config.train_from == HEAD else total)
    sensed += ADAPTING * min(ADAPTED_IMAGES, train) if config.adapt_norm and not known else 0
    trunk = passes / trunk_speed + sensed * BACKBONES[config.backbone].work / (_rate(config, seen) or 1e9)
    rests = [run.rest for run in seen if run.data == fingerprint] or [run.rest for run in seen]
    learned = known and any((cache_root() / "whole-network").glob("*.npz"))
    training = (others if learned else others + 1) * _before_cut(config, seen, train)
    training += config.ensemble * config.epochs * train / speed
    return Estimate(trunk, training, config.ensemble * median(rests), bool(same))


def measured(runs: Iterable[Run]) -> list[Measured]:
    """What finished runs took; without ensembles, those of an older version, and those that cannot be read."""
    found = []
    for run in runs:
        with suppress(DermLensError, KeyError, TypeError, ZeroDivisionError):
            if run.members():
                continue
            manifest, config = run.manifest(), run.config()
            speed, history = manifest["speed"], run.history()
            train = manifest["split"]["counts"]["train"]
            epochs = after_cut(history)["seconds"]
            rest = max(0.0, manifest["seconds"] - speed["trunk_seconds"] - float(epochs.sum()))
            in_training = train / float(epochs.median())
            found.append(Measured(config, manifest["data"]["fingerprint"], speed["trunk"], in_training, rest))
    return found


def _alike(one: TrainConfig, other: TrainConfig, names: tuple[str, ...]) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _same_frozen(one: TrainConfig, other: TrainConfig) -> bool:
    """Whether the frozen layers of two trainings compute the same of the same image."""
    if not _alike(one, other, (*SAME_NETWORK, "adapt_norm")):
        return False
    if one.learned_before_cut() != other.learned_before_cut():
        return False
    return not (one.adapt_norm or one.epochs_before_cut) or _alike(one, other, SAME_SPLIT)


def _missing_passes(config: TrainConfig, same: list[Measured], total: int, train: int) -> int:
    """Images that have to go through the frozen part, with what lies on disk from runs on the same images."""
    if config.train_from == ALL:
        return 0
    kept = same if _kept(config, config.train_from) else []
    answered = max((run.config.test_views for run in kept), default=0)
    views = max((run.config.views for run in kept if _alike(run.config, config, SAME_VIEWS)), default=1)
    if exact_turns(config) == config:  # those of the training images are among those of all
        views = max(views, config.test_views)
    return total * max(0, config.test_views - answered) + train * max(0, config.views - views)


def _before_cut(config: TrainConfig, seen: Sequence[Measured], train: int) -> float:
    """Seconds of the epochs in which the whole network learns first."""
    if not config.epochs_before_cut:
        return 0.0
    speed = _training_speed(dataclasses.replace(config, train_from=ALL), [], seen)
    return config.epochs_before_cut * train / speed if speed else 0.0


def _own_features(config: TrainConfig) -> bool:
    """Whether each network of an ensemble sees features of its own: where more than its head is trained."""
    return config.train_from != HEAD


def _kept(config: TrainConfig, cut: str = "*") -> bool:
    """Whether any outputs of the network, cut there or anywhere, lie on disk."""
    return any((cache_root() / "trunk").glob(f"{config.backbone}-{cut}-*.f32"))


def _work(config: TrainConfig, trained: bool) -> float:
    """Millions of multiply-adds of one image, below the cut or above it."""
    backbone = BACKBONES[config.backbone]
    share = {HEAD: 0.0, ALL: 1.0}.get(config.train_from)
    above = backbone.above[config.train_from] if share is None else share
    return backbone.work * (above if trained else 1 - above)


def _trunk_speed(config: TrainConfig, same: Sequence[Measured], seen: Sequence[Measured]) -> float | None:
    """Images a second through the frozen part."""
    exact = [run.trunk for run in same if run.trunk]
    if exact:
        return median(exact)
    rate = _rate(config, seen)
    return rate / max(_work(config, trained=False), 1.0) if rate else None


def _training_speed(config: TrainConfig, same: Sequence[Measured], seen: Sequence[Measured]) -> float | None:
    """Images a second in an epoch."""
    if same:
        return median(run.training for run in same)
    if config.train_from == HEAD:  # hardly any arithmetic: another network's head is as fast
        heads = [run.training for run in seen if run.config.train_from == HEAD]
        return median(heads) if heads else _rate(config, seen)
    rate = _rate(config, seen)
    return rate / (STEP * max(_work(config, trained=True), 1.0)) if rate else None


def _rate(config: TrainConfig, seen: Sequence[Measured]) -> float | None:
    """Multiply-adds a second, in millions; of the same network where one was measured."""
    rates = [(run.config.backbone, run.trunk * _work(run.config, trained=False)) for run in seen if run.trunk]
    rates += [
        (run.config.backbone, run.training * STEP * _work(run.config, trained=True))
        for run in seen
        if run.config.train_from != HEAD
    ]
    own = [rate for name, rate in rates if name == config.backbone]
    return median(own or [rate for _, rate in rates]) if rates else None
