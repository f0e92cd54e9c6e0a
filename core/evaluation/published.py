"""Figures that others have published for the seven diagnoses of HAM10000, each with the split that it was measured on.

Only figures whose split is stated are comparable, and only to runs that are split in the same way.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One published result; a figure that its source does not give is None.

    Attributes:
        model: what was trained.
        balanced_accuracy, macro_auc, accuracy: 0 to 1.
        images: that it was measured on.
        split: which images those are, in words.
        by_lesion: whether no lesion of theirs was learned from.
        source: an address.
    """

    model: str
    balanced_accuracy: float | None
    macro_auc: float | None
    accuracy: float | None
    images: int | None
    split: str
    by_lesion: bool
    source: str


PUBLISHED = (
    Published(
        "EfficientNet-B0, upper four blocks trained, 320 px", 0.796, 0.934, 0.864, 2026,
        "by lesion; the images that also chose the epoch", True,
        "https://huggingface.co/adeIaide/skin-lesion-7class-efficientnet",
    ),
    Published(
        "ConvNeXt-Tiny, everything trained", 0.778, None, 0.815, 2008, "by lesion; test", True,
        "https://huggingface.co/andy279/convnext-tiny-ham10000-lesion-disjoint",
    ),
    Published(  # the mean of its seven recalls
        "ResNet-18, everything trained", 0.708, None, 0.749, 1508, "by lesion; test, looked at once", True,
        "https://huggingface.co/miloszkrawczyk/skin-lesion-classifier",
    ),
    Published(
        "Winner of the ISIC 2018 challenge: ensembles, more data", 0.885, None, None, 1512,
        "the challenge's own test set, other images than HAM10000", True, "https://arxiv.org/abs/1902.03368",
    ),
    Published(
        "The tutorial's recipe, as it was published", None, 0.90, 0.85, None,
        "by image: 39 % of the held-out images show a learned lesion", False, "",
    ),
)  # fmt: skip
