"""Find, index and check a data set in HAM10000's form.

Tschandl, Rosendahl and Kittler, "The HAM10000 dataset", Scientific Data 5:180161, 2018. The form is a
table `HAM10000_metadata.csv` with a row for each image, and images named by `image_id` anywhere below the
same folder.
"""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

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
    """

    folder: Path
    images: pd.DataFrame
    synthetic: bool
    left_out: dict[str, list[str]] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)

    def fingerprint(self) -> str:
        """A hash of every row that training reads and of every image file."""
        digest = hashlib.sha256()
        rows = zip(self.images["image_id"], self.images["lesion_id"], self.images["dx"], strict=True)
        for image_id, lesion_id, dx in rows:
            digest.update(f"{image_id},{lesion_id},{dx},{self.contents.get(image_id)}\n".encode())
        return digest.hexdigest()


def find_dataset(config: TrainConfig) -> Path:
    """The folder that a training reads: the one named, else `DERMLENS_DATA`, else Kaggle's copy.

    Raises:
        DatasetError: it does not exist, or Kaggle cannot be reached.
    """
    if config.dataset == "synthetic":
        return draw_dataset(Path(config.data_dir) if config.data_dir else synthetic_folder())
    named = config.data_dir or os.environ.get(ENVIRONMENT)
    if named:
        folder = Path(named).expanduser().resolve()
        if not folder.is_dir():
            origin = "--data-dir" if config.data_dir else ENVIRONMENT
            raise DatasetError(f"{origin} must name a folder. Received: {named!r}, which is none.")
        return folder
    return _from_kaggle()


def load_dataset(folder: Path, skip_damaged: bool = False, need_lesions: bool = True) -> Dataset:
    """Index a folder and check every row and every image file.

    Args:
        folder: a HAM10000-shaped folder.
        skip_damaged: leave out what cannot be used and record it, instead of raising.
        need_lesions: whether a row without a lesion is a fault. For training it is: images of one lesion
            must stay together.

    Raises:
        DatasetError: names each kind of fault with its total and up to five examples.
    """
    dataset, faults = _index(folder, need_lesions)
    inspected = inspect_images(dataset.images["path"].tolist())
    for problem, rows in inspected[inspected["problem"] != ""].groupby("problem", sort=True):
        names = dataset.images.loc[dataset.images["path"].isin(rows["path"]), "image_id"]
        faults[f"damaged or unreadable image files ({problem})"] = names.tolist()
    if faults and not skip_damaged:
        raise DatasetError(_report(folder, faults))
    sound = inspected.loc[inspected["problem"] == ""]
    images = dataset.images[dataset.images["path"].isin(sound["path"])].reset_index(drop=True)
    if images.empty:
        raise DatasetError(f"A data set holds at least one readable image. {_report(folder, faults)}")
    hashes = sound.set_index("path")["sha256"].reindex(images["path"])
    contents = dict(zip(images["image_id"], hashes, strict=True))
    return Dataset(dataset.folder, images, dataset.synthetic, faults, contents)


def index_dataset(folder: Path) -> Dataset:
    """Index a folder quickly, without opening an image: rows that cannot be used are left out and recorded.

    Raises:
        DatasetError: the folder has no table, or its table lacks a column.
    """
    dataset, faults = _index(folder, need_lesions=False)
    return Dataset(dataset.folder, dataset.images, dataset.synthetic, faults)


def _from_kaggle() -> Path:
    import kagglehub

    try:
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
        raise DatasetError(f"A data set is a folder. Received: {str(folder)!r}, which is none.")
    files = _image_files(folder)
    table = _read_table(folder, need_lesions)
    faults: dict[str, list[str]] = {}

    def leave_out(what: str, rows: pd.Series) -> None:
        nonlocal table
        if rows.any():
            faults[what] = table.loc[rows, "image_id"].tolist()
            table = table[~rows]

    leave_out("rows without an image_id", table["image_id"] == "")
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


def _image_files(folder: Path) -> dict[str, str]:
    """image_id -> path. Kaggle's copy holds every image twice: the first path in order is taken."""
    files: dict[str, str] = {}
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in SUFFIXES:
                files.setdefault(stem, os.path.join(parent, name))
    return files


def _read_table(folder: Path, need_lesions: bool) -> pd.DataFrame:
    path = _find_table(folder)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise DatasetError(f"{path.name} must be a table in CSV form. Received: {path} ({error}).") from error
    table.columns = [str(name).strip() for name in table.columns]
    required = (*REQUIRED, "lesion_id") if need_lesions else REQUIRED
    lacking = [name for name in required if name not in table.columns]
    if lacking:
        raise DatasetError(
            f"{path.name} needs the columns {', '.join(required)}. Received: {path}, without {', '.join(lacking)} "
            f"(it has {', '.join(map(str, table.columns[:12]))})."
        )
    for name in OPTIONAL:
        if name not in table.columns:
            table[name] = ""
    table = table[[*REQUIRED, *OPTIONAL]].apply(lambda column: column.str.strip())
    table["dx"] = table["dx"].str.lower()
    table["age"] = pd.to_numeric(table["age"], errors="coerce")
    return table


def _find_table(folder: Path) -> Path:
    """HAM10000's own table, the one nearest to the top; else the only table that has the columns."""
    named = [path for name in METADATA_NAMES for path in folder.rglob(name) if path.is_file()]
    if named:
        return min(named, key=lambda path: (len(path.parts), str(path)))
    fitting = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(errors="replace") as stream:
            columns = {name.strip().strip('"') for name in stream.readline().lstrip("\ufeff").split(",")}
        if set(REQUIRED) <= columns:
            fitting.append(path)
    if len(fitting) == 1:
        return fitting[0]
    raise DatasetError(
        f"A data set holds {METADATA_NAMES[0]}, or one CSV file with the columns {', '.join(REQUIRED)}. "
        f"Received: {str(folder)!r}, with {len(fitting)} such files."
    )


def _report(folder: Path, faults: dict[str, list[str]]) -> str:
    lines = [f"Every row must name one readable image, its diagnosis and its lesion. Received: {folder} with"]
    for what, names in faults.items():
        more = ", ..." if len(names) > EXAMPLES else ""
        lines.append(f"  {len(names)} {what}: {', '.join(name or '(empty)' for name in names[:EXAMPLES])}{more}")
    lines.append("Mend them, or go on without them: --skip-damaged.")
    return "\n".join(lines)
