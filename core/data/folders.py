"""Several folders as one data set: no image twice, and every lesion under one name.

An image of a further folder that an earlier one has already is left out. One that shows the same photograph in another
size, crop, turn or compression is a near-duplicate: its lesion is the earlier one's, so that no split can part them.
What the earlier folders hold never changes.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

import pandas as pd

from core.atomic import write_file
from core.data.dataset import Dataset
from core.data.duplicates import RULES, near_duplicates
from core.errors import DatasetError
from core.places import cache_root

TWINS = "images of extra folders that the data set has already"
CONTRARY_TWINS = f"{TWINS}, with another diagnosis"  # the data set's own is kept
RESAVED = f"{TWINS}, under the same name in another size or crop"
BETWEEN = "images of extra folders whose lesion would be two different lesions of the data set"
NAMESAKES = "images of extra folders that have the name of another image"
EXAMPLES = 5


def joined(dataset: Dataset, other: Dataset, skip_damaged: bool = False) -> Dataset:
    """A data set with the images of another folder.

    Without pixels, as of folders that were only indexed, a name tells an image and near-duplicates are not looked for.

    Args:
        dataset: of one folder or of several.
        other: of one more.
        skip_damaged: leave out an image that has another image's name, instead of raising.

    Raises:
        DatasetError: two folders call different images by one name.
        ImageError: an image cannot be read any more.
    """
    own, more = dataset.images.set_index("image_id"), other.images
    pairs = pd.concat([_twins(dataset, other), near_pairs(dataset, other)], ignore_index=True)
    dx, lesion = (pairs["image_id"].map(more.set_index("image_id")[name]) for name in ("dx", "lesion_id"))
    its_dx, its_lesion = (pairs["other_id"].map(own[name]) for name in ("dx", "lesion_id"))
    contrary = set(pairs["image_id"][dx != its_dx])
    twins = set(pairs["image_id"][pairs["twin"]])
    resaved = set(pairs["image_id"][pairs["image_id"] == pairs["other_id"]])
    lesions = _one_name(more["lesion_id"], own["lesion_id"], zip(lesion, its_lesion, strict=True))
    left_out = {reason: list(ids) for reason, ids in dataset.left_out.items()}
    for reason, ids in other.left_out.items():
        left_out[reason] = left_out.get(reason, []) + ids

    def leave_out(reason: str, rows: pd.Series) -> None:
        nonlocal more
        if rows.any():
            left_out[reason] = left_out.get(reason, []) + more.loc[rows, "image_id"].tolist()
            more = more[~rows]

    leave_out(CONTRARY_TWINS, more["image_id"].isin(contrary))
    leave_out(TWINS, more["image_id"].isin(twins))
    leave_out(RESAVED, more["image_id"].isin(resaved))
    leave_out(BETWEEN, more["lesion_id"].map(lesions).isna())
    clash = more["image_id"].isin(own.index)
    if clash.any() and not skip_damaged:
        examples = ", ".join(more.loc[clash, "image_id"].head(EXAMPLES))
        raise DatasetError(
            f"Different images have different names in all folders of a training. Received: {int(clash.sum()):,} of "
            f"{other.folder} that have the name of another image, such as {examples}. Rename them, "
            "or go on without them: --skip-damaged."
        )
    leave_out(NAMESAKES, clash)
    more = more.assign(lesion_id=more["lesion_id"].map(lesions))
    names = more["image_id"]
    return replace(
        dataset,
        images=pd.concat([dataset.images, more]).sort_values("image_id").reset_index(drop=True),
        synthetic=dataset.synthetic or other.synthetic,
        left_out=left_out,
        contents=dataset.contents | {name: other.contents[name] for name in names if name in other.contents},
        pixels=dataset.pixels | {name: other.pixels[name] for name in names if name in other.pixels},
        extra=(*dataset.extra, other.folder),
        added=dataset.added | frozenset(names),
        near=dataset.near | (frozenset(names) & frozenset(pairs["image_id"])),
    )


def _twins(dataset: Dataset, other: Dataset) -> pd.DataFrame:
    """Images of the other folder that are there already, and which they are: image_id, other_id, twin (True)."""
    names = other.images["image_id"]
    if dataset.pixels:  # a kept case is a PNG of what was a JPEG
        known = {pixels: name for name, pixels in dataset.pixels.items()}
        twins = names.map(other.pixels).map(known)
    else:
        twins = names.where(names.isin(dataset.images["image_id"]))
    table = pd.DataFrame({"image_id": names, "other_id": twins.astype(object), "twin": True})
    return table[twins.notna().to_numpy()]


def _one_name(own_of: pd.Series, lesions: pd.Series, alike: Iterable[tuple[str, str]]) -> dict[str, str | None]:
    """What each lesion of a further folder is called in the data set; None where it would be two of its lesions.

    Args:
        own_of: the further folder's lesions.
        lesions: those of the data set.
        alike: pairs of a lesion of the folder and one of the data set that share a photograph. Lesions of one name are
            the same one too.
    """
    known, same = set(lesions), defaultdict(set)
    for lesion, its in alike:
        same[lesion].add(its)
    found: dict[str, str | None] = {}
    for lesion in own_of.unique():
        names = same[lesion] | ({lesion} & known)
        found[lesion] = lesion if not names else names.pop() if len(names) == 1 else None
    return found


# ---- near-duplicates -----------------------------------------------------------------------------


def near_pairs(dataset: Dataset, other: Dataset) -> pd.DataFrame:
    """Near-duplicates between the other folder and a data set, without those that are the very same picture.

    What was found is kept below `cache_root()`: the next training on the same images has it at once.

    Returns:
        image_id (of the other folder), other_id (of the data set), twin (False).

    Raises:
        ImageError: an image cannot be read any more.
    """
    seen = set(dataset.pixels.values())
    asked = other.images[other.images["image_id"].map(other.pixels).isin(set(other.pixels.values()) - seen)]
    if asked.empty or not dataset.pixels:
        return pd.DataFrame({"image_id": [], "other_id": [], "twin": []}).astype({"twin": bool})
    store = cache_root() / "joined" / f"{_key(dataset, other)}.csv"
    try:
        found = pd.read_csv(store, dtype=str, keep_default_na=False)[["image_id", "other_id"]]
    except (OSError, ValueError, KeyError):
        columns = ["image_id", "path"]
        found = near_duplicates(asked[columns], dataset.images[columns])[["image_id", "other_id"]]
        with suppress(OSError):  # a full or read-only disk costs the next training time, not this one its life
            write_file(store, found.to_csv(index=False).encode())
    return found.assign(twin=False)


def _key(dataset: Dataset, other: Dataset) -> str:
    digest = hashlib.sha256(f"{RULES}".encode())
    for one in (dataset, other):
        digest.update("\n".join(f"{name}:{one.pixels.get(name)}" for name in one.images["image_id"]).encode() + b"\0")
    return digest.hexdigest()[:24]
