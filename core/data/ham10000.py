"""Find, index and check a data set in HAM10000's form.

Tschandl, Rosendahl and Kittler, "The HAM10000 dataset", Scientific Data 5:180161, 2018. The form is a
table `HAM10000_metadata.csv` with a row for each image, and images named by `image_id` anywhere below the
same folder. Another table is brought into that form by `core.data.columns`.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.config import TrainConfig
from core.data.columns import EXAMPLES, Listing, read_table
from core.data.dataset import Dataset
from core.data.folders import joined
from core.data.images import SUFFIXES
from core.data.inspection import Step, inspect_images
from core.data.synthetic import draw_dataset, is_synthetic
from core.data.walking import walk
from core.diagnoses import CODES
from core.errors import ConfigError, DatasetError
from core.places import folder_named, synthetic_folder

KAGGLE_HANDLE = "kmader/skin-cancer-mnist-ham10000"
ENVIRONMENT = "DERMLENS_DATA"


def find_dataset(config: TrainConfig) -> Path:
    """The folder that a training reads: the one named, else `DERMLENS_DATA`, else Kaggle's copy.

    Raises:
        DatasetError: it does not exist, or Kaggle cannot be reached.
    """
    if config.dataset == "synthetic":
        named = config.data_dir and os.path.realpath(os.path.expanduser(config.data_dir))
        return draw_dataset(Path(named) if named else synthetic_folder())
    return _named_folder(config) or _from_kaggle()


def settled(config: TrainConfig) -> TrainConfig:
    """The same settings for any process, whatever its working folder and `DERMLENS_DATA`: every folder is named whole.

    The tables of the folders are looked at: a typing error is worth no run.

    Raises:
        DatasetError: there is no such folder, or no usable table in it.
    """
    folder = _named_folder(config) if config.dataset != "synthetic" else None
    for named in ([folder] if folder is not None else []) + extra_folders(config):
        _index(named, need_lesions=True)
    return (config if folder is None else replace(config, data_dir=str(folder))).anywhere()


def named_folders(named: Sequence[str]) -> dict[str, str | None]:
    """The settings that `--data-dir`, given so often, stands for.

    Raises:
        ConfigError: a further folder cannot be named beside others.
    """
    first, *further = named
    torn = [folder for folder in further if os.pathsep in folder]
    if torn:
        raise ConfigError(
            f"Further folders are kept in one line, separated by {os.pathsep!r}, so none has it in its path. Received: "
            f"{torn[0]!r}. Name a link to it, or name it first."
        )
    return {"data_dir": first, "extra_data": os.pathsep.join(further) or None}


def extra_folders(config: TrainConfig) -> list[Path]:
    """The folders whose images are added to the data set; none by default.

    Raises:
        DatasetError: one of them is none.
    """
    found = []
    for named in filter(None, map(str.strip, (config.extra_data or "").split(os.pathsep))):
        folder = folder_named(named)
        if folder is None:
            raise DatasetError(
                f"--data-dir must name a folder, each time. Received: {named!r}, which is none. Correct it."
            )
        found.append(folder)
    return found


def _named_folder(config: TrainConfig) -> Path | None:
    named = config.data_dir or os.environ.get(ENVIRONMENT)
    if not named:
        return None
    folder = folder_named(named)
    if folder is None:
        origin = "--data-dir" if config.data_dir else ENVIRONMENT
        raise DatasetError(f"{origin} must name a folder. Received: {named!r}, which is none. Correct it.")
    return folder


def load_dataset(
    folder: Path,
    skip_damaged: bool = False,
    need_lesions: bool = True,
    extra: Sequence[Path] = (),
    step: Step = lambda *_: None,
) -> Dataset:
    """Index a folder and check every row and every image file; then add those of other folders.

    Args:
        folder: a HAM10000-shaped folder, or one that says what its columns are, see `core.data.columns`.
        skip_damaged: leave out what cannot be used and record it, instead of raising.
        need_lesions: whether a row without a lesion is a fault. For training it is: images of one lesion
            must stay together.
        extra: folders like it, whose images are added, see `core.data.folders`.
        step: told of images that have to be opened, folder by folder.

    Raises:
        DatasetError: names each kind of fault with its total and up to five examples; or two folders call different
            images by one name.
    """
    dataset = _load(folder, skip_damaged, need_lesions, step)
    for other in extra:
        dataset = joined(dataset, _load(other, skip_damaged, need_lesions, step), skip_damaged)
    return dataset


def _load(folder: Path, skip_damaged: bool, need_lesions: bool, step: Step) -> Dataset:
    dataset, faults = _index(folder, need_lesions)
    inspected = inspect_images(dataset.images["path"].tolist(), step)
    for problem, rows in inspected[inspected["problem"] != ""].groupby("problem", sort=True):
        names = dataset.images.loc[dataset.images["path"].isin(rows["path"]), "image_id"]
        faults[f"damaged or unreadable image files ({problem})"] = names.tolist()
    if faults and not skip_damaged:
        raise DatasetError(_report(folder, faults, need_lesions))
    sound = inspected.loc[inspected["problem"] == ""]
    images = dataset.images[dataset.images["path"].isin(sound["path"])].reset_index(drop=True)
    if images.empty:
        found = (
            _report(folder, faults, need_lesions)
            if faults
            else f"Received: {folder}, whose table has no rows. Fill it."
        )
        raise DatasetError(f"A data set holds at least one readable image. {found}")
    hashes = sound.set_index("path").reindex(images["path"])
    contents, pixels = (dict(zip(images["image_id"], hashes[what], strict=True)) for what in ("sha256", "pixels"))
    return replace(dataset, images=images, left_out=_both(dataset.left_out, faults), contents=contents, pixels=pixels)


def load_again(data: dict[str, Any], skip_damaged: bool) -> Dataset:
    """The images that a run learned from; see `load_dataset`.

    Args:
        data: of the run's manifest.
        skip_damaged: of the run's settings.

    Raises:
        DatasetError: they are not there any more, or have changed.
    """
    if "folder" not in data:
        raise DatasetError(
            "A run is examined with the images that it learned from. Received: a published copy, which names no "
            "folder. Take the run itself."
        )
    extra = [Path(folder) for folder in data.get("extra_folders", ())]
    dataset = load_dataset(Path(data["folder"]), skip_damaged=skip_damaged, extra=extra)
    if not dataset.is_as_in(data):
        raise DatasetError(
            f"A run is examined with the images that it learned from. Received: {dataset.folder}, which has changed "
            "since. Bring them back; the run can be used without."
        )
    return dataset


def index_dataset(folder: Path, extra: Sequence[Path] = ()) -> Dataset:
    """Index a folder quickly, without opening an image: rows that cannot be used are left out and recorded.

    Args:
        folder: a HAM10000-shaped folder, or one that says what its columns are.
        extra: folders like it, whose images are added; of two with one name the first is taken.

    Raises:
        DatasetError: a folder has no table, or its table lacks a column.
    """
    first, *others = (_quickly(one) for one in (folder, *extra))
    for other in others:
        first = joined(first, other)
    return first


def _quickly(folder: Path) -> Dataset:
    dataset, faults = _index(folder, need_lesions=False)
    return replace(dataset, left_out=_both(dataset.left_out, faults))


def _both(reasons: dict[str, list[str]], faults: dict[str, list[str]]) -> dict[str, list[str]]:
    return {reason: reasons.get(reason, []) + faults.get(reason, []) for reason in reasons | faults}


def _from_kaggle() -> Path:
    try:
        import kagglehub

        return Path(kagglehub.dataset_download(KAGGLE_HANDLE))
    except Exception as error:  # kagglehub passes on whatever its HTTP library raises
        raise DatasetError(
            f"HAM10000 comes from Kaggle ({KAGGLE_HANDLE}) unless a folder is named. "
            f"Received: no answer from Kaggle ({type(error).__name__}: {error}). Two ways on: download the data set "
            f"elsewhere and name its folder with --data-dir or {ENVIRONMENT}, or try DermLens without it: "
            "--dataset synthetic."
        ) from error


def _index(folder: Path, need_lesions: bool) -> tuple[Dataset, dict[str, list[str]]]:
    """The usable rows, with what their mapping leaves out; and the faults of the others: what is wrong -> image ids."""
    found = folder_named(folder)
    if found is None:
        raise DatasetError(f"A data set is a folder. Received: {str(folder)!r}, which is none. Name another one.")
    folder = found
    if not _is_text(str(folder)):  # no table of pandas can hold such a path
        raise DatasetError(f"The path of a data set is text in UTF-8. Received: {str(folder)!r}. Rename the folder.")
    listing = list(walk(folder))
    files, differ = _image_files(listing)
    read = read_table(folder, listing, need_lesions)
    table = read.rows
    faults: dict[str, list[str]] = {}

    def leave_out(what: str, rows: pd.Series) -> None:
        nonlocal table
        if rows.any():
            faults[what] = table.loc[rows, "image_id"].tolist()
            table = table[~rows]

    nameless = table["image_id"] == ""
    table.loc[nameless, "image_id"] = [f"line {row + 2}" for row in np.flatnonzero(nameless)]
    leave_out("rows without an image_id", nameless)
    repeated = table.duplicated("image_id", keep=False)
    contrary = repeated & (table.groupby("image_id")["dx"].transform("nunique") > 1)
    leave_out("images with two diagnoses", contrary)
    leave_out("duplicate rows", table.duplicated("image_id"))
    leave_out(f"rows with an unknown diagnosis (known: {', '.join(CODES)})", ~table["dx"].isin(CODES))
    unnamed = table["lesion_id"] == ""
    if need_lesions:
        leave_out("rows without a lesion_id", unnamed)
    else:
        table = table.assign(lesion_id=table["lesion_id"].where(~unnamed, table["image_id"]))
    table = table.assign(path=table["image_id"].map(files))
    leave_out("missing images", table["path"].isna())
    leave_out("names of two different image files", table["image_id"].isin(differ))
    table = table.sort_values("image_id").reset_index(drop=True)
    return Dataset(folder, table, is_synthetic(folder), read.left_out), faults


def _is_text(path: str) -> bool:
    return not any("\udc80" <= letter <= "\udcff" for letter in path)  # what Python makes of other bytes


def _image_files(listing: Listing) -> tuple[dict[str, str], set[str]]:
    """image_id -> path, and the ids of two files that differ.

    Kaggle's copy holds every image twice: the first path in order is taken. That the others are the same file is
    judged by their kind and size, as reading gigabytes twice would take minutes.
    """
    files: dict[str, str] = {}
    differ = set()
    for parent, names in listing:
        for name in names:
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in SUFFIXES and _is_text(parent + name):
                path = os.path.join(parent, name)
                first = files.setdefault(stem, path)
                if first != path and _kind_and_size(first) != _kind_and_size(path):
                    differ.add(stem)
    return files, differ


def _kind_and_size(path: str) -> tuple[str, int]:
    try:
        return os.path.splitext(path)[1].lower(), os.stat(path).st_size
    except OSError:  # a dangling link is named when it is opened
        return "", -1


def _report(folder: Path, faults: dict[str, list[str]], need_lesions: bool) -> str:
    wanted = (
        "one readable image, its diagnosis and its lesion" if need_lesions else "one readable image and its diagnosis"
    )
    lines = [f"Every row must name {wanted}. Received: {folder} with"]
    for what, names in faults.items():
        more = ", ..." if len(names) > EXAMPLES else ""
        lines.append(f"  {len(names)} {what}: {', '.join(names[:EXAMPLES])}{more}")
    lines.append("Mend them, or go on without them: --skip-damaged.")
    return "\n".join(lines)
