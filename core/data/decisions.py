"""What people decided about images of a data set: keep them, or exclude them from training.

One JSON file for each data set, named by its fingerprint (`Dataset.fingerprint`): other images or other labels are
another data set, with decisions of its own. A decision is a word about an image; the image and its row are never
touched, and what was decided is undone by forgetting it.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import filelock

from core.atomic import write_file
from core.errors import DatasetError
from core.places import decisions_root

KEEP, EXCLUDE = "keep", "exclude"
CHOICES = (KEEP, EXCLUDE)
PATIENCE = 10.0  # seconds that one writer waits for another; a write takes milliseconds
_FINGERPRINT = re.compile(r"[0-9a-f]{8,128}")


@dataclass(frozen=True)
class Decision:
    """What was decided about one image.

    Attributes:
        image_id: of the image.
        choice: `KEEP` or `EXCLUDE`.
        reason: in words; what the image was suspected of.
        moment: when, ISO 8601 with its time zone.
        content: SHA-256 of the image's file; empty where nobody looked.
    """

    image_id: str
    choice: str
    reason: str
    moment: str
    content: str = ""

    def excludes(self, content: str | None) -> bool:
        """Whether an image of this name is left out of training: another folder's may bear the same name."""
        return self.choice == EXCLUDE and self.content in ("", content)


class Decisions:
    """The decisions about one data set. Every method reads the file: what another process decided is seen at once.

    Args:
        fingerprint: of the data set, hexadecimal.
        root: the folder of all decisions; by default `decisions_root()`.

    Raises:
        DatasetError: the fingerprint is none.
    """

    def __init__(self, fingerprint: str, root: Path | None = None) -> None:
        if not _FINGERPRINT.fullmatch(fingerprint):
            raise DatasetError(
                "Decisions belong to a data set's fingerprint: 8 to 128 hexadecimal digits. "
                f"Received: {fingerprint!r}. Take it from the run's manifest, or from Dataset.fingerprint()."
            )
        self.fingerprint = fingerprint
        self.path = (root or decisions_root()) / f"{fingerprint}.json"

    def all(self) -> dict[str, Decision]:
        """image_id -> what was decided, the newest decision last; empty while nothing was.

        Raises:
            DatasetError: the file is damaged.
        """
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise self._damaged(f"cannot be read ({error})") from error
        try:
            rows = content["decisions"]
            found = [
                Decision(name, row["choice"], row["reason"], row["moment"], row.get("content", ""))
                for name, row in rows.items()
            ]
        except (TypeError, KeyError, AttributeError) as error:
            raise self._damaged("holds something else") from error
        wrong = [decision for decision in found if decision.choice not in CHOICES]
        if wrong or content.get("fingerprint") != self.fingerprint:
            raise self._damaged(f"says {wrong[0].choice!r} of an image" if wrong else "is of another data set")
        return {decision.image_id: decision for decision in found}

    def excluded(self) -> frozenset[str]:
        """The ids of the images that are not to be learned from.

        Raises:
            DatasetError: the file is damaged.
        """
        return frozenset(name for name, decision in self.all().items() if decision.choice == EXCLUDE)

    def decide(self, image_ids: str | Iterable[str], choice: str, reason: str = "", content: str = "") -> None:
        """Decide about one image or several; a later decision replaces an earlier one.

        Args:
            image_ids: one id, or several.
            choice: `KEEP` or `EXCLUDE`.
            reason: in words.
            content: SHA-256 of the one image's file.

        Raises:
            DatasetError: the choice is none of these, the file is damaged, or it cannot be written.
        """
        if choice not in CHOICES:
            raise DatasetError(f"A decision is one of {', '.join(CHOICES)}. Received: {choice!r}. Choose one.")
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        with self._changing() as decisions:
            for name in _ids(image_ids):
                decisions.pop(name, None)  # the newest stands last
                decisions[name] = Decision(name, choice, reason, moment, content)

    def undo(self, image_ids: str | Iterable[str]) -> None:
        """Forget what was decided about one image or several; an image without a decision stays without.

        Raises:
            DatasetError: the file is damaged, or cannot be written.
        """
        with self._changing() as decisions:
            for name in _ids(image_ids):
                decisions.pop(name, None)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Decision]]:
        """Read, let the caller change it, write: nobody else does so in between."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # a lock of its own: the file itself is replaced, and a lock on it would be replaced with it
            with filelock.FileLock(self.path.with_suffix(".lock"), timeout=PATIENCE):
                decisions = self.all()
                yield decisions
                self._write(decisions)
        except filelock.Timeout:
            raise DatasetError(
                f"Decisions are written by one at a time. Received: {self.path.name}, which another process has held "
                f"for {PATIENCE:.0f} seconds. Try again."
            ) from None
        except OSError as error:
            raise DatasetError(
                f"Decisions must be written to {self.path.parent}. Received: {error.strerror or error}. Free some "
                "disk, or check who may write there; what was decided before is kept."
            ) from error

    def _write(self, decisions: dict[str, Decision]) -> None:
        """The file, whole or not at all."""
        rows = {
            name: {key: value for key, value in vars(one).items() if key != "image_id"}
            for name, one in decisions.items()
        }
        text = json.dumps({"fingerprint": self.fingerprint, "decisions": rows}, indent=2, ensure_ascii=False) + "\n"
        write_file(self.path, text.encode())

    def _damaged(self, what: str) -> DatasetError:
        return DatasetError(
            f"A file of decisions holds what was decided about the images of its data set. Received: {self.path}, "
            f"which {what}. Bring it back from a copy, or delete it and decide again."
        )


def _ids(image_ids: str | Iterable[str]) -> list[str]:
    return [image_ids] if isinstance(image_ids, str) else list(image_ids)
