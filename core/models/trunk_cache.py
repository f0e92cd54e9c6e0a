"""The frozen trunk's outputs, computed once for each view and kept on disk.

An entry is one file of float32 numbers, a row an image, named by a hash of all that it depends on: the
trunk's architecture and weights, the contents of the images, how the view was drawn, and the versions of
what computes it. It grows under a temporary name and is renamed when it is whole, so that a killed
run leaves nothing half-written in use; what it had is kept and gone on with.
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path

import filelock
import keras
import numpy as np
import pandas as pd

from core.config import TrainConfig
from core.data.augment import TURNS, exact_turns
from core.data.dataset import Dataset
from core.data.loading import Batch, PixelSource, Take, in_batches, read_ahead
from core.engines import chosen_engine
from core.errors import ConfigError, DatasetError
from core.models.cluster import asked_for
from core.models.ray_trunk import RayTrunk
from core.models.trunk_pass import BATCH, ROW_TYPE, TrunkPass, trunk_engine, trunk_hash, trunk_pass, versions
from core.places import cache_root

Wait = Callable[[], None]
Passes = Callable[[list[Batch], Wait], Iterator[np.ndarray]]
WHOLE, PARTIAL, LOCKED = ".f32", ".partial", ".lock"
TICK = 1.0  # seconds between two looks whether an entry's lock is free


class TrunkCache:
    """Outputs of one trunk.

    Args:
        trunk: pixels (n, size, size, 3), 0 to 255 -> outputs (n, ...). Its weights do not change any more.
        config: how views are drawn, and how large the cache may grow.
    """

    def __init__(self, trunk: keras.Model, config: TrainConfig) -> None:
        self.trunk = trunk
        self.config = config
        self.folder = cache_folder("trunk")
        self.shape = tuple(trunk.output.shape[1:])
        self.row_bytes = int(np.prod(self.shape)) * ROW_TYPE.itemsize
        # machines of a cluster compute on their cores, whatever the first one has
        self.engine = chosen_engine() if asked_for() else trunk_engine()
        self._trunk_hash = trunk_hash(trunk)
        self.computed, self.seconds = 0, 0.0  # images that were not on disk, and what they took

    def outputs(self, dataset: Dataset, images: pd.DataFrame, view: int, step: Callable) -> np.ndarray:
        """Outputs of one view of images, from disk or computed now.

        Args:
            dataset: whose contents the images are.
            images: image_id, path.
            view: see `PixelSource.take`.
            step: called with (done, total, already) after each batch; may raise to stop.

        Returns:
            (len(images), ...) float32, memory-mapped, read-only.

        Raises:
            DatasetError: the disk is full.
        """
        source = PixelSource(images, self.trunk.input.shape[1], self.config)
        rows = np.arange(len(images))
        passes = partial(self._passes_of_images, source)
        return self._kept(self.entry(dataset, images, view), passes, rows, np.full(len(rows), view), step)

    def of_drawn(self, what: str, draw: Callable[[int], np.ndarray], count: int, step: Callable) -> np.ndarray:
        """Outputs of pictures that no file holds; see `outputs`.

        Args:
            what: tells these pictures from any others.
            draw: number -> (size, size, 3) uint8 RGB, always the same for the same number.
            count: how many.
            step: called with (done, total, already) after each batch; may raise to stop.
        """

        def take(rows: np.ndarray, views: np.ndarray) -> np.ndarray:
            return np.stack([draw(int(row)) for row in rows])

        digest = hashlib.sha256(json.dumps([self._trunk_hash, what, count, versions(self.engine)]).encode())
        passes = partial(self._passes, take)
        return self._kept(self._path(digest.hexdigest()), passes, np.arange(count), np.zeros(count, int), step)

    def _kept(self, path: Path, passes: Passes, rows: np.ndarray, views: np.ndarray, step: Callable) -> np.ndarray:
        """An entry, from disk or computed now."""
        with locked(path, lambda: step(0, len(rows), 0)):
            if not path.exists():
                self._compute(path, passes, rows, views, step)
            with suppress(PermissionError):  # somebody else's file
                os.utime(path)  # the oldest entry is the one not used for longest
            return np.memmap(path, ROW_TYPE, mode="r").reshape(len(rows), *self.shape)

    def make_room(self, needs: dict[Path, int]) -> float:
        """Delete the oldest entries until all that a run needs fits.

        Args:
            needs: each entry that the run will use, see `entry` -> its images.

        Returns:
            GB that the run's entries take.

        Raises:
            ConfigError: they do not fit within `cache_gb` at all.
        """
        keep = {path.stem for path in needs}
        wanted = sum(needs.values()) * self.row_bytes
        limit = self.config.cache_gb * 1e9
        if wanted > limit:
            raise ConfigError(
                f"Trunk outputs must fit within cache_gb. Received: {self.config.cache_gb:g} GB for "
                f"{wanted / 1e9:.1f} GB. Raise --cache-gb, take fewer --views, or train from higher up."
            )
        others = []
        for path in self.folder.iterdir():
            if path.suffix in (WHOLE, PARTIAL) and path.stem not in keep:
                with suppress(FileNotFoundError):  # another training makes room too
                    others.append((path.stat().st_mtime, path.stat().st_size, path))
        size = sum(bytes_ for _, bytes_, _ in others)
        for _, bytes_, oldest in sorted(others):
            if size + wanted <= limit:
                break
            size -= bytes_
            delete_unless_in_use(oldest)
        return wanted / 1e9

    def entry(self, dataset: Dataset, images: pd.DataFrame, view: int) -> Path:
        """Where the outputs are kept that `outputs` gives for the same arguments."""
        digest = hashlib.sha256()
        drawn = _drawing(self.config, view)
        digest.update(json.dumps([self._trunk_hash, drawn, versions(self.engine)]).encode())
        for image_id in images["image_id"]:
            # the name matters where dice are thrown: they are thrown by seed and name
            digest.update(f"{dataset.contents[image_id]},{image_id if len(drawn) > 1 else ''}\n".encode())
        return self._path(digest.hexdigest())

    def _path(self, digest: str) -> Path:
        return self.folder / f"{self.config.backbone}-{self.config.train_from}-{digest[:32]}{WHOLE}"

    @cached_property
    def _pass(self) -> TrunkPass:
        return trunk_pass(self.trunk, self.engine)

    @cached_property
    def _on_cluster(self) -> RayTrunk | None:
        """The trunk on a Ray cluster, where one was asked for."""
        address = asked_for()
        return RayTrunk(address, self.trunk, self.engine) if address else None

    def _passes_of_images(self, source: PixelSource, batches: list[Batch], wait: Wait) -> Iterator[np.ndarray]:
        """As `_passes`, on the cluster where one was asked for."""
        if self._on_cluster:
            return self._on_cluster.passes(source, batches, wait)
        return self._passes(source.take, batches, wait)

    def _passes(self, take: Take, batches: list[Batch], wait: Wait) -> Iterator[np.ndarray]:
        """Outputs of batches, in their order, computed by this process."""
        return map(self._pass, read_ahead(take, batches))

    def _compute(self, path: Path, passes: Passes, rows: np.ndarray, views: np.ndarray, step: Callable) -> None:
        growing = path.with_suffix(PARTIAL)
        total = len(rows)
        batch_bytes = BATCH * self.row_bytes
        whole_batches = growing.stat().st_size // batch_bytes if growing.exists() else 0
        already = whole_batches * BATCH
        batches = in_batches(rows[already:], views[already:], BATCH)
        started = time.monotonic()
        done = already

        def wait() -> None:
            step(done, total, already)

        try:
            with growing.open("ab") as stream:
                stream.truncate(whole_batches * batch_bytes)
                for outputs in passes(batches, wait):
                    stream.write(outputs.tobytes())
                    done += len(outputs)
                    step(done, total, already)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise DatasetError(
                f"Trunk outputs need {total * self.row_bytes / 1e9:.1f} GB in {self.folder}. "
                f"Received: {error.strerror or error}. Free some disk or move the cache with DERMLENS_CACHE, then "
                "go on with --resume: what was computed is kept."
            ) from error
        growing.replace(path)
        self.computed += total - already
        self.seconds += time.monotonic() - started


def cache_folder(name: str) -> Path:
    """A folder of the cache, made where there is none.

    Raises:
        DatasetError: it cannot be written.
    """
    folder = cache_root() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise _not_writable(folder, error) from error
    return folder


def _not_writable(folder: Path, error: OSError) -> DatasetError:
    return DatasetError(
        f"What a training computes is kept in {folder}. Received: {error.strerror or error}. Check who may write "
        "there, or move the cache with DERMLENS_CACHE."
    )


CAMERAS = 2
"""Version of `core.data.camera`: raise it whenever the same dice would change an image otherwise."""
_DRAWING = ("seed", "rotation", "shift", "zoom", "flips")
_LATER = ("turns", "colour")
"""Settings that came later: an entry that was drawn before there were any keeps its name."""


def _drawing(config: TrainConfig, view: int) -> list:
    """All that a view depends on besides its image: nothing where it is the image as it is, its number alone where no
    dice are thrown."""
    if view == 0:
        return []
    if view < 0:
        return [view, config.seed, CAMERAS]
    if config == exact_turns(config):
        return [view % TURNS] if view % TURNS else []
    later = [[name, getattr(config, name)] for name in _LATER if getattr(config, name) != getattr(TrainConfig, name)]
    return [view, *(getattr(config, name) for name in _DRAWING), *later, *([CAMERAS] if config.colour else [])]


def locked(path: Path, wait: Wait) -> filelock.AcquireReturnProxy:
    """An entry's lock, held; `wait` is called while another training computes the entry, and may raise to stop.

    Raises:
        DatasetError: the cache cannot be written.
    """
    lock = filelock.FileLock(path.with_suffix(LOCKED))
    while True:
        try:
            return lock.acquire(timeout=TICK)
        except filelock.Timeout:
            wait()
        except OSError as error:
            raise _not_writable(path.parent, error) from error


def delete_unless_in_use(entry: Path) -> None:
    """Delete an entry to make room, unless somebody is writing it, or it is another user's."""
    lock = filelock.FileLock(entry.with_suffix(LOCKED))
    try:
        with lock.acquire(timeout=0):
            last_used = time.ctime(entry.stat().st_mtime)
            entry.unlink()
    except OSError:  # in use, deleted already, or somebody else's
        return
    print(f"[cache] made room: deleted {entry.name}, last used {last_used}", flush=True)
