"""Dataset: a table of images, of one folder or of several."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd


@dataclass(frozen=True, eq=False)
class Dataset:
    """A table of images.

    Attributes:
        folder: where it lies.
        images: one row an image: image_id, lesion_id, dx, dx_type, age (years, may be NaN), sex,
            localization, path. In the order of image_id. A lesion that is not named is its image's own.
        synthetic: whether the images are drawn.
        left_out: what was left out: by `skip_damaged`, by a mapping of columns, or because another folder has it
            already; reason -> image ids.
        contents: image_id -> SHA-256 of the image file; empty until the images were checked.
        pixels: image_id -> SHA-256 of what is seen in it, whatever kind of file holds it; empty as `contents`.
        extra: the folders whose images were added.
        added: the ids of their images.
        near: the ids of those among them that are near-duplicates of an image of an earlier folder, whose lesion
            they therefore have.
    """

    folder: Path
    images: pd.DataFrame
    synthetic: bool
    left_out: dict[str, list[str]] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    pixels: dict[str, str] = field(default_factory=dict)
    extra: tuple[Path, ...] = ()
    added: frozenset[str] = frozenset()
    near: frozenset[str] = frozenset()

    def is_as_in(self, data: dict[str, Any]) -> bool:
        """Whether these are the images that a manifest's `data` tells of, and the same people where those matter."""
        known = data.get("people")
        return data.get("fingerprint") == self.fingerprint() and known in (None, self.people_fingerprint())

    def people_fingerprint(self) -> str:
        """A hash of the age, sex and site in each image."""
        people = self.images[["image_id", "age", "sex", "localization"]]
        return hashlib.sha256(people.to_csv(index=False).encode()).hexdigest()

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
