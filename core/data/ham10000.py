"""Find, index and check a data set in HAM10000's form.

Tschandl, Rosendahl and Kittler, "The HAM10000 dataset", Scientific Data 5:180161, 2018. The form is a
table `HAM10000_metadata.csv` with a row for each image, and images named by `image_id` anywhere below the
same folder.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from core.config import TrainConfig
from core.data.images import SUFFIXES
from core.data.inspection import inspect_images
from core.data.synthetic import draw_dataset, is_synthetic
from core.diagnoses import CODES
from core.errors import DatasetError
from core.places import synthetic_folder

KAGGLE_HANDLE = "kmader/skin-cancer-mnist-ham10000"
ENVIRONMENT = "DERMLENS_DATA"
METADATA_NAMES = ("HAM10000_metadata.csv", "HAM10000_metadata")
REQUIRED = ("image_id", "dx")
OPTIONAL = ("lesion_id", "dx_type", "age", "sex", "localization")
EXAMPLES = 5
TWINS = "images of extra folders that the data set has already"
CONTRARY_TWINS = f"{TWINS}, with another diagnosis"  # the data set's own is kept
NO_IMAGES = re.compile(r"\.|__MACOSX$|masks?$|.*_masks?$|.*segmentations?", re.IGNORECASE)  # folders that hold none

Listing = list[tuple[str, list[str]]]
"""Folders and the names of their files; see `_walk`."""


_SUFFIX = rf"(?i)({'|'.join(map(re.escape, SUFFIXES))})$"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A table of images.

    Attributes:
        folder: where it lies.
        images: one row an image: image_id, lesion_id, dx, dx_type, age (years, may be NaN), sex,
            localization, path. In the order of image_id. A lesion that is not named is its image's own.
        synthetic: whether the images are drawn.
        left_out: what `skip_damaged` left out: problem -> image ids.
        contents: image_id -> SHA-256 of the image file; empty until the images were checked.
        pixels: image_id -> SHA-256 of what is seen in it, whatever kind of file holds it; empty as `contents`.
        extra: the folders whose images were added.
        added: the ids of their images.
    """

    folder: Path
    images: pd.DataFrame
    synthetic: bool
    left_out: dict[str, list[str]] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    pixels: dict[str, str] = field(default_factory=dict)
    extra: tuple[Path, ...] = ()
    added: frozenset[str] = frozenset()

    def fingerprint(self, with_added: bool = True) -> str:
        """A hash of every row that training reads and of every image file.

        Args:
            with_added: otherwise that of the data set without the extra folders.
        """
        digest = hashlib.sha256()
        images = self.images if with_added else self.images[~self.images["image_id"].isin(self.added)]
        rows = zip(images["image_id"], images["lesion_id"], images["dx"], strict=True)
        for image_id, lesion_id, dx in rows:
            digest.update(f"{image_id},{lesion_id},{dx},{self.contents.get(image_id)}\n".encode())
        return digest.hexdigest()


def find_dataset(config: TrainConfig) -> Path:
    """The folder that a training reads: the one named, else `DERMLENS_DATA`, else Kaggle's copy.

    Raises:
        DatasetError: it does not exist, or Kaggle cannot be reached.
    """
    if config.dataset == "synthetic":
        return draw_dataset(Path(config.data_dir).expanduser().resolve() if config.data_dir else synthetic_folder())
    return _named_folder(config) or _from_kaggle()


def check_named_folder(config: TrainConfig) -> None:
    """Look at the tables of the folders that are named, if any are: a typing error is worth no run.

    Raises:
        DatasetError: there is no such folder, or no usable table in it.
    """
    folder = _named_folder(config) if config.dataset != "synthetic" else None
    for named in ([folder] if folder is not None else []) + extra_folders(config):
        _index(named, need_lesions=True)


def extra_folders(config: TrainConfig) -> list[Path]:
    """The folders whose images are added to the data set; none by default.

    Raises:
        DatasetError: one of them is none.
    """
    found = []
    for named in filter(None, map(str.strip, (config.extra_data or "").split(os.pathsep))):
        folder = Path(named).expanduser().resolve()
        if not folder.is_dir():
            raise DatasetError(
                f"--extra-data must name folders, with {os.pathsep!r} between two of them. Received: {named!r}, which "
                "is none. Correct it."
            )
        found.append(folder)
    return found


def _named_folder(config: TrainConfig) -> Path | None:
    named = config.data_dir or os.environ.get(ENVIRONMENT)
    if not named:
        return None
    folder = Path(named).expanduser().resolve()
    if not folder.is_dir():
        origin = "--data-dir" if config.data_dir else ENVIRONMENT
        raise DatasetError(f"{origin} must name a folder. Received: {named!r}, which is none. Correct it.")
    return folder


def load_dataset(
    folder: Path, skip_damaged: bool = False, need_lesions: bool = True, extra: Sequence[Path] = ()
) -> Dataset:
    """Index a folder and check every row and every image file; then add those of other folders.

    An added image that the data set has already, in whatever kind of file, is left out and recorded, see `TWINS`; its
    lesion is the one that the data set names, for its other images too.

    Args:
        folder: a HAM10000-shaped folder.
        skip_damaged: leave out what cannot be used and record it, instead of raising.
        need_lesions: whether a row without a lesion is a fault. For training it is: images of one lesion
            must stay together.
        extra: folders of the same shape, whose images are added.

    Raises:
        DatasetError: names each kind of fault with its total and up to five examples; or two folders call different
            images by one name.
    """
    dataset = _load(folder, skip_damaged, need_lesions)
    for other in extra:
        dataset = _joined(dataset, _load(other, skip_damaged, need_lesions))
    return dataset


def _load(folder: Path, skip_damaged: bool, need_lesions: bool) -> Dataset:
    dataset, faults = _index(folder, need_lesions)
    inspected = inspect_images(dataset.images["path"].tolist())
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
    return Dataset(dataset.folder, images, dataset.synthetic, faults, contents, pixels)


def index_dataset(folder: Path, extra: Sequence[Path] = ()) -> Dataset:
    """Index a folder quickly, without opening an image: rows that cannot be used are left out and recorded.

    Args:
        folder: a HAM10000-shaped folder.
        extra: folders of the same shape, whose images are added; of two with one name the first is taken.

    Raises:
        DatasetError: a folder has no table, or its table lacks a column.
    """
    first, *others = (_quickly(one) for one in (folder, *extra))
    for other in others:
        first = _joined(first, other)
    return first


def _quickly(folder: Path) -> Dataset:
    dataset, faults = _index(folder, need_lesions=False)
    return Dataset(dataset.folder, dataset.images, dataset.synthetic, faults)


def _joined(dataset: Dataset, other: Dataset) -> Dataset:
    """A data set with the images of another folder; see `load_dataset`. Without pixels, a name tells an image."""
    own = dataset.images.set_index("image_id")
    names = {pixels: name for name, pixels in dataset.pixels.items()}  # a kept case is a PNG of what was a JPEG
    more = other.images
    twin = (
        more["image_id"].map(other.pixels).map(names)
        if names
        else more["image_id"].where(more["image_id"].isin(own.index))
    )
    is_twin = twin.notna()
    twins = twin[is_twin]
    contrary = own["dx"].reindex(twins).to_numpy() != more["dx"][is_twin].to_numpy()
    lesions = dict(zip(more["lesion_id"][is_twin], own["lesion_id"].reindex(twins), strict=True))
    left_out = {what: list(ids) for what, ids in dataset.left_out.items()}
    for what, ids in (
        *other.left_out.items(),
        (TWINS, more["image_id"][is_twin][~contrary].tolist()),
        (CONTRARY_TWINS, more["image_id"][is_twin][contrary].tolist()),
    ):
        if ids:
            left_out[what] = left_out.get(what, []) + ids
    more = more[~is_twin]
    more = more.assign(lesion_id=more["lesion_id"].map(lambda lesion: lesions.get(lesion, lesion)))
    clash = more["image_id"][more["image_id"].isin(own.index)].tolist()
    if clash:
        raise DatasetError(
            f"Different images have different names in all folders of a training. Received: {len(clash):,} of "
            f"{other.folder} that have the name of another image, such as {', '.join(clash[:EXAMPLES])}. Rename them."
        )
    images = pd.concat([dataset.images, more]).sort_values("image_id").reset_index(drop=True)
    return Dataset(
        dataset.folder,
        images,
        dataset.synthetic or other.synthetic,
        left_out,
        dataset.contents | {name: other.contents[name] for name in more["image_id"] if name in other.contents},
        dataset.pixels | {name: other.pixels[name] for name in more["image_id"] if name in other.pixels},
        (*dataset.extra, other.folder),
        dataset.added | frozenset(more["image_id"]),
    )


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
    """The usable rows, and the faults of the others: what is wrong -> image ids."""
    folder = Path(folder).expanduser().resolve()
    if not folder.is_dir():
        raise DatasetError(f"A data set is a folder. Received: {str(folder)!r}, which is none. Name another one.")
    if not _is_text(str(folder)):  # no table of pandas can hold such a path
        raise DatasetError(f"The path of a data set is text in UTF-8. Received: {str(folder)!r}. Rename the folder.")
    listing = list(_walk(folder))
    files = _image_files(listing)
    table = _read_table(_find_table(folder, listing), need_lesions)
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
    table = table.sort_values("image_id").reset_index(drop=True)
    return Dataset(folder, table, is_synthetic(folder)), faults


def _walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Each folder and its file names, in order; links are followed.

    Not listed: what is hidden or left by macOS, which would be taken for images, and folders of masks, whose
    files often bear the names of their images.
    """
    seen = set()  # a link may lead back up
    for parent, folders, names in os.walk(folder, followlinks=True):
        place = os.path.realpath(parent)
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not NO_IMAGES.match(name))
        yield parent, sorted(name for name in names if not name.startswith("."))


def _is_text(path: str) -> bool:
    return not any("\udc80" <= letter <= "\udcff" for letter in path)  # what Python makes of other bytes


def _image_files(listing: Listing) -> dict[str, str]:
    """image_id -> path. Kaggle's copy holds every image twice: the first path in order is taken."""
    files: dict[str, str] = {}
    for parent, names in listing:
        for name in names:
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in SUFFIXES and _is_text(parent + name):
                files.setdefault(stem, os.path.join(parent, name))
    return files


def _read_table(path: Path, need_lesions: bool) -> pd.DataFrame:
    """The columns that DermLens knows, as text without spaces around it; what is not there is empty."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise DatasetError(
            f"{path.name} must be a table in CSV form, in UTF-8. Received: {path} ({error}). Export it again."
        ) from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas would silently shift the columns
        raise DatasetError(
            f"Each line of {path.name} has as many fields as its first. Received: {path}, whose lines have more, "
            "such as a comma at their end. Export it again."
        )
    table.columns = [str(name).strip().lower() for name in table.columns]
    required = (*REQUIRED, "lesion_id") if need_lesions else REQUIRED
    known = [name for name in table.columns if name in (*REQUIRED, *OPTIONAL)]
    lacking = [name for name in required if name not in known]
    if lacking or len(set(known)) < len(known):
        wrong = f"without {', '.join(lacking)}" if lacking else "with one of them twice"
        raise DatasetError(
            f"{path.name} needs the columns {', '.join(required)}, each once. Received: {path}, {wrong} "
            f"(it has {', '.join(table.columns[:12])}). Name its columns so, and part them by commas."
        )
    # a line that ends early leaves its last columns without any value
    table = table.reindex(columns=[*REQUIRED, *OPTIONAL], fill_value="").fillna("")
    table = table.apply(lambda column: column.str.strip())
    table["dx"] = table["dx"].str.lower()
    # who writes the file's name for its id means the same image
    table["image_id"] = table["image_id"].str.replace(_SUFFIX, "", regex=True)
    table["age"] = pd.to_numeric(table["age"], errors="coerce")
    return table


def _find_table(folder: Path, listing: Listing) -> Path:
    """HAM10000's own table, the one nearest to the top; else the only table at the top that has the columns."""
    named = [Path(parent, name) for parent, names in listing for name in names if name in METADATA_NAMES]
    if named:
        return min(named, key=lambda path: (len(path.parts), str(path)))
    fitting = []
    for path in sorted(path for path in folder.glob("*.csv") if path.is_file() and not path.name.startswith(".")):
        with suppress(OSError), path.open(encoding="utf-8-sig", errors="replace") as stream:
            columns = {name.strip().strip('"').lower() for name in stream.readline(10_000).split(",")}
            if set(REQUIRED) <= columns:
                fitting.append(path)
    if len(fitting) == 1:
        return fitting[0]
    names = f" ({', '.join(path.name for path in fitting[:EXAMPLES])})" if fitting else ""
    raise DatasetError(
        f"A data set holds {METADATA_NAMES[0]}, or one CSV file with the columns {', '.join(REQUIRED)}. "
        f"Received: {str(folder)!r}, with {len(fitting)} such files{names}. "
        f"Name the table {METADATA_NAMES[0]}, or name the folder that holds it."
    )


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
