"""TrainConfig: every hyper-parameter once, with its default, its bounds and its reason.

The command line (`train.py`) and the dashboard's form are both made from these fields, and a run
folder keeps them as `config.json`.
"""

import dataclasses
import os
import types
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, get_args, get_type_hints

from core.backbones import ALL, BACKBONES, HEAD, IMAGENET, NO_WEIGHTS
from core.errors import ConfigError

BACKBONE_CUTS = {name: backbone.cuts for name, backbone in BACKBONES.items()}
DATASETS = ("ham10000", "synthetic")
OPTIMIZERS = ADAM, ADAMW = ("adam", "adamw")
SCHEDULES = PLATEAU, COSINE = ("plateau", "cosine")
MOST_REPEATS = 1000
ADAPTED_IMAGES = 512  # whose activations are measured for `adapt_norm`
_BEGUN_WITH = ("seed", "repeat", "hidden_units", "dropout")
_LATER_ALONE = ("test_views", "early_stopping_patience", "reduce_lr_patience", "reduce_lr_factor")
PRECISIONS = AUTO, FLOAT32, MIXED = ("auto", "float32", "mixed")


def _setting(default: Any, reason: str, group: str, **bounds: Any) -> Any:
    """A field with its reason, its group in forms and help, and its bounds (`low`, `high`, `choices`)."""
    return field(default=default, metadata={"reason": reason, "group": group, **bounds})


@dataclass(frozen=True)
class TrainConfig:
    """What a training was asked to do. The defaults are the tutorial's recipe.

    Raises:
        ConfigError: a value has the wrong type or lies out of its bounds.
    """

    dataset: str = _setting(
        "ham10000", "The images to learn from: a HAM10000-shaped folder, or drawn ones.", "Data", choices=DATASETS
    )
    data_dir: str | None = _setting(
        None,
        "Folder of the data set. Without it: the variable DERMLENS_DATA, then Kaggle's copy.",
        "Data",
    )
    extra_data: str | None = _setting(
        None,
        "Further folders whose images are added, such as confirmed cases; several are separated as in PATH. The parts "
        "of the split keep the images that they have without them.",
        "Data",
    )
    skip_damaged: bool = _setting(
        False, "Leave out images that are missing or cannot be read, instead of stopping.", "Data"
    )
    seed: int = _setting(
        7, "Same seed and settings, same split and same result on a CPU.", "Data", low=0, high=2**31 - 1
    )

    folds: int = _setting(
        0,
        "Cut the lesions into so many parts of equal size, one of which is the test part: a training for each of them "
        "tests every image once. 0 tests a fixed share.",
        "Data",
        low=0,
        high=20,
    )
    fold: int = _setting(1, "Which of the folds is the test part.", "Data", low=1, high=20)
    repeat: int = _setting(
        0,
        "Which of several trainings on the same split: another number, other first weights and another order of "
        "images.",
        "Data",
        low=0,
        high=MOST_REPEATS,
    )

    backbone: str = _setting(
        "efficientnetb0", "The ImageNet network that sees the image.", "Network", choices=tuple(BACKBONES)
    )
    weights: str = _setting(
        IMAGENET,
        "'imagenet', 'none' (start from noise: for tests), or the path of a local weights file.",
        "Network",
    )
    train_from: str = _setting(
        HEAD,
        "Where the network is cut: all below stays frozen and is computed once, all above is trained. "
        "'head' (the classifier alone), the name of a block, or 'all'.",
        "Network",
    )
    hidden_units: int = _setting(
        128,
        "Units of a hidden layer in the head; 0 puts the seven logits straight on the features.",
        "Network",
        low=0,
        high=4096,
    )
    dropout: float = _setting(
        0.2, "Share of the head's inputs dropped in training; guards against learning by heart.", "Network",
        low=0.0, high=0.9,
    )  # fmt: skip
    head_depths: bool = _setting(
        False,
        "Let the head see the means of several depths of the network, not of its last activation alone: early layers "
        "know colour and texture. Only where nothing but the head is trained.",
        "Network",
    )

    whole_epochs: int = _setting(
        0,
        "Where the network is cut at a block: first so many epochs in which all of it learns, from the images "
        "themselves; what lies below the block is frozen then, as it has become.",
        "Network",
        low=0,
        high=100,
    )
    whole_learning_rate: float = _setting(
        0.0003, "The largest step size of those epochs, with a warm-up and a cosine of their own.", "Network",
        low=1e-7, high=1.0,
    )  # fmt: skip

    adapt_norm: float = _setting(
        0.0,
        "How far what BatchNormalization layers normalize by moves from the statistics of ImageNet to those of the "
        "training images, before anything is learned; 0 leaves it, 1 replaces it.",
        "Network",
        low=0.0,
        high=1.0,
    )

    patient: bool = _setting(
        False, "Let age, sex and body site speak too, where they are known. The network itself sees the image alone.",
        "Network",
    )  # fmt: skip

    ensemble: int = _setting(
        1,
        "Train so many networks, each another repeat, and answer with the mean of what they say. Each takes as long as "
        "one alone.",
        "Network",
        low=1,
        high=20,
    )

    views: int = _setting(
        4,
        "Views of each training image: the image itself and this number less one augmented ones, drawn "
        "once. With --train-from all, 2 or more means a fresh view each epoch.",
        "Augmentation",
        low=1,
        high=32,
    )
    rotation: float = _setting(20.0, "Largest rotation in degrees.", "Augmentation", low=0.0, high=180.0)
    shift: float = _setting(0.2, "Largest shift, as a share of the side.", "Augmentation", low=0.0, high=0.5)
    zoom: float = _setting(0.2, "Largest zoom in or out, as a share.", "Augmentation", low=0.0, high=0.5)
    flips: bool = _setting(True, "Mirror left-right and up-down: a lesion has no upper side.", "Augmentation")
    turns: bool = _setting(
        False,
        "First turn views 1, 2, 3 by 90, 180, 270 degrees, mirror 4 to 7 in the four ways, and begin again: exact, "
        "without blur and border. The settings above come on top; with those at 0, a view is the exact turn.",
        "Augmentation",
    )
    colour: float = _setting(
        0.0,
        "How far white balance, exposure and contrast of a view differ, as between clinics; 1 is as far as clinics do.",
        "Augmentation",
        low=0.0,
        high=1.0,
    )

    test_views: int = _setting(
        1,
        "Exact turns of an image that are answered: logits and heatmaps are their mean. The refusal looks at the "
        "upright image alone.",
        "Augmentation",
        choices=(1, 2, 4, 8),
    )

    optimizer: str = _setting(
        ADAM, "Adam, or AdamW, which also draws weights towards zero.", "Optimisation", choices=OPTIMIZERS
    )
    weight_decay: float = _setting(
        0.01, "How strongly AdamW draws weights towards zero; biases are left alone. Adam has no use for it.",
        "Optimisation", low=0.0, high=1.0,
    )  # fmt: skip
    learning_rate: float = _setting(
        0.001, "The optimizer's step size; with a cosine, the largest.", "Optimisation", low=1e-7, high=1.0
    )
    schedule: str = _setting(
        PLATEAU,
        "How the step size changes: cut when the validation loss stands still, with early stopping; or warm-up and "
        "then a cosine down to zero, over all epochs.",
        "Optimisation",
        choices=SCHEDULES,
    )
    warm_up: float = _setting(
        0.1, "Share of all steps in which a cosine's step size rises from zero.", "Optimisation", low=0.0, high=0.9
    )
    batch_size: int = _setting(32, "Images in one step.", "Optimisation", low=1, high=1024)
    epochs: int = _setting(20, "At most this many passes over the training images.", "Optimisation", low=1, high=500)
    early_stopping_patience: int = _setting(
        5, "Stop after so many epochs without a better validation balanced accuracy; not with a cosine or an average.",
        "Optimisation", low=1, high=500,
    )  # fmt: skip
    reduce_lr_patience: int = _setting(
        3, "Cut the learning rate after so many epochs without a lower validation loss; not with a cosine.",
        "Optimisation", low=1, high=500,
    )  # fmt: skip
    reduce_lr_factor: float = _setting(
        0.2, "What the learning rate is multiplied by when it is cut.", "Optimisation", low=0.01, high=0.99
    )
    class_weights: bool = _setting(
        True, "Weigh each image by how rare its diagnosis is, so that nevi do not drown the rest.", "Optimisation"
    )
    logit_adjustment: float = _setting(
        0.0,
        "The same by another way: in training, add this many times the logarithm of how common each diagnosis is to "
        "its logit. 1 balances them; 0 is off. Instead of class weights.",
        "Optimisation",
        low=0.0,
        high=2.0,
    )
    label_smoothing: float = _setting(
        0.0, "Share of each label that is spread over all seven diagnoses; guards against being too sure.",
        "Optimisation", low=0.0, high=0.5,
    )  # fmt: skip
    mixup: float = _setting(
        0.0,
        "Train on mixtures of two images and of their labels; larger mixes more evenly, 0 is off. What is mixed is "
        "what the trained part takes in.",
        "Optimisation",
        low=0.0,
        high=4.0,
    )
    cutmix: float = _setting(
        0.0,
        "Share of those mixtures that are no sum: a square of the other image lies over the image. A head alone, which "
        "sees no places, has sums only.",
        "Optimisation",
        low=0.0,
        high=1.0,
    )
    teacher: str | None = _setting(
        None,
        "A finished run with the same split, such as an ensemble, whose answers are learned beside the labels; its id "
        "or its folder. So an ensemble becomes one network.",
        "Optimisation",
    )
    average_last: int = _setting(
        0, "Keep the mean of the weights after each of the last epochs, so many, instead of the best epoch's; 0 is "
        "off.", "Optimisation", low=0, high=500,
    )  # fmt: skip

    set_level: float = _setting(
        0.9, "Share of the images of each diagnosis whose prediction set holds the truth.", "Trust", low=0.5, high=0.99
    )
    target_sensitivity: float = _setting(
        0.9, "Sensitivity that the thresholds for melanoma and for malignant lesions are chosen for.", "Trust",
        low=0.5, high=0.99,
    )  # fmt: skip
    false_refusals: float = _setting(
        0.05, "Share of the calibration images that may be refused as no dermatoscopic image.", "Trust",
        low=0.005, high=0.3,
    )  # fmt: skip
    measured_heatmaps: int = _setting(
        200, "Test images on which heatmaps are measured after training, the slowest part of it; 0 leaves it out.",
        "Trust", low=0, high=10000,
    )  # fmt: skip

    precision: str = _setting(
        AUTO,
        "What a network is trained in: 'mixed' multiplies in float16, on a GPU alone; 'auto' does so where that is "
        "faster. Weights, and whatever answers later, are float32.",
        "Machine",
        choices=PRECISIONS,
    )
    cache_gb: float = _setting(
        20.0, "Disk for trunk outputs, in GB; the oldest go first.", "Machine", low=0.1, high=10000.0
    )

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for setting in dataclasses.fields(self):
            value = getattr(self, setting.name)
            value = _as_type(setting.name, value, hints[setting.name])
            _check_bounds(setting, value)
            object.__setattr__(self, setting.name, value)
        cuts = BACKBONE_CUTS[self.backbone]
        if self.train_from not in cuts:
            raise ConfigError(
                f"train_from must be one of {', '.join(cuts)} for {self.backbone}. Received: {self.train_from!r}."
            )
        self._check_together()

    def _check_together(self) -> None:
        """Refuse what contradicts itself."""
        if self.logit_adjustment and self.class_weights:
            raise ConfigError(
                "Rare diagnoses are helped by class_weights or by logit_adjustment, not by both. Received: "
                f"class_weights=True, logit_adjustment={self.logit_adjustment:g}. "
                "Choose --no-class-weights or --logit-adjustment 0."
            )
        if self.repeat + self.ensemble - 1 > MOST_REPEATS:
            raise ConfigError(
                f"The networks of an ensemble are the repeats from repeat on, {MOST_REPEATS} at most. Received: "
                f"repeat={self.repeat}, ensemble={self.ensemble}. Choose a smaller --repeat."
            )
        if self.folds == 1 or self.fold > max(self.folds, 1):
            raise ConfigError(
                "Lesions are cut into two folds or more, and fold is the number of one of them. Received: "
                f"folds={self.folds}, fold={self.fold}. Correct them, or take --folds 0."
            )
        if self.head_depths and self.train_from != HEAD:
            raise ConfigError(
                f"head_depths needs train_from {HEAD!r}: a network cut at a block hands on what that block gives, and "
                f"no other depth. Received: train_from={self.train_from!r}. Choose --train-from {HEAD} or "
                "--no-head-depths."
            )

    @property
    def epochs_before_cut(self) -> int:
        """Epochs in which the whole network learns before it is cut; none where a cut leaves nothing frozen, or all."""
        return 0 if self.train_from in (HEAD, ALL) else self.whole_epochs

    @property
    def all_epochs(self) -> int:
        """At most so many, those before the cut and those after it."""
        return self.epochs_before_cut + self.epochs

    def before_cut(self) -> "TrainConfig":
        """The settings of those epochs: those of the training, with a cosine of their own that ends with them, and a
        fresh view each epoch where there are several."""
        return dataclasses.replace(
            self,
            views=min(self.views, 2),
            epochs=self.epochs_before_cut,
            learning_rate=self.whole_learning_rate,
            schedule=COSINE,
            average_last=1,
        )

    def learned_before_cut(self) -> dict[str, Any]:
        """All settings that tell what those epochs come to, besides the images; empty where there are none."""
        if not self.epochs_before_cut:
            return {}
        recipe = self.before_cut()
        names = [
            setting.name
            for setting in dataclasses.fields(self)
            if setting.metadata["group"] in ("Augmentation", "Optimisation") and setting.name not in _LATER_ALONE
        ]
        return {name: getattr(recipe, name) for name in (*names, *_BEGUN_WITH)}

    @property
    def runs_to_the_end(self) -> bool:
        """Whether all epochs are done: a cosine or an average has a last epoch, known from the start."""
        return self.schedule == COSINE or self.average_last > 0

    def anywhere(self) -> "TrainConfig":
        """The same settings for a process with another working folder: what names a file or a folder names it whole."""

        def whole(path: str | None) -> str | None:
            return os.path.abspath(os.path.expanduser(path)) if path and path.strip() else path

        further = [whole(part) for part in (self.extra_data or "").split(os.pathsep)]
        changes: dict[str, Any] = {}
        for name in ("weights", "teacher"):  # these may be names as well
            path = whole(getattr(self, name))
            if path and os.path.exists(path) and getattr(self, name) not in (IMAGENET, NO_WEIGHTS):
                changes[name] = path
        return dataclasses.replace(
            self,
            data_dir=whole(self.data_dir),
            extra_data=os.pathsep.join(filter(None, further)) or None,
            **changes,
        )

    @property
    def tested_fold(self) -> tuple[int, int] | None:
        """Which of how many folds is the test part; None where it is a fixed share."""
        return (self.fold, self.folds) if self.folds else None

    def to_dict(self) -> dict[str, Any]:
        """The settings as a dictionary that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainConfig":
        """The settings of a dictionary; what it leaves out takes its default.

        Raises:
            ConfigError: a name is unknown, or a value is refused.
        """
        known = {setting.name for setting in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError(f"A setting must be one of {sorted(known)}. Received: {unknown}.")
        return cls(**values)


def plain_type(hint: Any) -> type:
    """The type of a field without its `None`: `str | None` gives `str`."""
    if isinstance(hint, types.UnionType):
        return next(part for part in get_args(hint) if part is not type(None))
    return hint


def _as_type(name: str, value: Any, hint: Any) -> Any:
    if value is None and isinstance(hint, types.UnionType):
        return None
    wanted = plain_type(hint)
    if wanted is float and type(value) is int:
        with suppress(OverflowError):  # one that is too large for a float is refused below
            return float(value)
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise ConfigError(f"{name} must be of type {wanted.__name__}. Received: {value!r}.")
    return value


def _check_bounds(setting: dataclasses.Field, value: Any) -> None:
    bounds = setting.metadata
    if "choices" in bounds and value not in bounds["choices"]:
        raise ConfigError(f"{setting.name} must be one of {list(bounds['choices'])}. Received: {value!r}.")
    # written so that "not a number" is refused too
    if "low" in bounds and not bounds["low"] <= value <= bounds["high"]:
        raise ConfigError(f"{setting.name} must lie between {bounds['low']} and {bounds['high']}. Received: {value!r}.")
