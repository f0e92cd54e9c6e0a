"""The frozen trunk's outputs, computed once for each view and kept on disk.

An entry is one file of float32 numbers, a row an image, named by a hash of all that it depends on: the
trunk's architecture and weights, the contents of the images, how the view was drawn, and the versions of
what computes it. It grows under a temporary name and is renamed when it is whole, so that a killed
run leaves nothing half-written in use; what it had is kept and gone on with.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import filelock
import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from core.config import TrainConfig
from core.data.ham10000 import Dataset
from core.data.loading import PixelSource, in_batches, read_ahead
from core.errors import ConfigError, DatasetError
from core.models.frozen import frozen
from core.places import cache_root

BATCH = 32  # every batch has this many images, the last one filled up: the numbers must not depend on where a
# killed run went on
ROW_TYPE = np.dtype("<f4")
WHOLE, PARTIAL, LOCKED = ".f32", ".partial", ".lock"


class TrunkCache:
    """Outputs of one trunk.

    Args:
        trunk: pixels (n, size, size, 3), 0 to 255 -> outputs (n, ...).
        config: how views are drawn, and how large the cache may grow.
    """

    def __init__(self, trunk: keras.Model, config: TrainConfig) -> None:
        self.trunk = trunk
        self.config = config
        self.folder = cache_root() / "trunk"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.shape = tuple(trunk.output.shape[1:])
        self.row_bytes = int(np.prod(self.shape)) * ROW_TYPE.itemsize
        self._trunk_hash = _trunk_hash(trunk)

    def outputs(self, dataset: Dataset, images: pd.DataFrame, view: int, step: Callable) -> np.ndarray:
        """Outputs of one view of images, from disk or computed now.

        Args:
            dataset: whose contents the images are.
            images: image_id, path.
            view: 0 is the image as it is, every other number an augmented one.
            step: called with (done, total, already) after each batch; may raise to stop.

        Returns:
            (len(images), ...) float32, memory-mapped, read-only.

        Raises:
            DatasetError: the disk is full.
        """
        path = self._entry(dataset, images, view)
        with filelock.FileLock(path.with_suffix(LOCKED)):
            if not path.exists():
                self._compute(path, images, view, step)
            os.utime(path)  # the oldest entry is the one not used for longest
        return np.memmap(path, ROW_TYPE, mode="r").reshape(len(images), *self.shape)

    def make_room(self, needs: list[tuple[Dataset, pd.DataFrame, int]]) -> float:
        """Delete the oldest entries until all that a run needs fits.

        Args:
            needs: dataset, images and view of each entry that the run will use.

        Returns:
            GB that the run's entries take.

        Raises:
            ConfigError: they do not fit within `cache_gb` at all.
        """
        keep = {self._entry(*need).stem for need in needs}
        wanted = sum(len(images) for _, images, _ in needs) * self.row_bytes
        limit = self.config.cache_gb * 1e9
        if wanted > limit:
            raise ConfigError(
                f"Trunk outputs must fit within cache_gb. Received: {self.config.cache_gb:g} GB for "
                f"{wanted / 1e9:.1f} GB. Raise --cache-gb, take fewer --views, or train from higher up."
            )
        others = [path for path in self.folder.iterdir() if path.suffix in (WHOLE, PARTIAL) and path.stem not in keep]
        others.sort(key=lambda path: path.stat().st_mtime)
        size = sum(path.stat().st_size for path in others)
        while others and size + wanted > limit:
            oldest = others.pop(0)
            size -= oldest.stat().st_size
            _delete(oldest)
        return wanted / 1e9

    def _entry(self, dataset: Dataset, images: pd.DataFrame, view: int) -> Path:
        digest = hashlib.sha256()
        drawn = [] if view == 0 else [view, *(getattr(self.config, name) for name in _DRAWING)]
        digest.update(json.dumps([self._trunk_hash, drawn, _versions()]).encode())
        for image_id in images["image_id"]:
            # the name matters for an augmented view only: its dice are thrown by name
            digest.update(f"{dataset.contents[image_id]},{image_id if view else ''}\n".encode())
        return self.folder / f"{self.config.backbone}-{self.config.train_from}-{digest.hexdigest()[:32]}{WHOLE}"

    def _compute(self, path: Path, images: pd.DataFrame, view: int, step: Callable) -> None:
        partial = path.with_suffix(PARTIAL)
        source = PixelSource(images, self.trunk.input.shape[1], self.config)
        total = len(images)
        batch_bytes = BATCH * self.row_bytes
        whole_batches = partial.stat().st_size // batch_bytes if partial.exists() else 0
        already = whole_batches * BATCH
        rows = np.arange(already, total)
        batches = in_batches(rows, np.full(len(rows), view), BATCH)
        run_trunk = _compiled(self.trunk)
        try:
            with partial.open("ab") as stream:
                stream.truncate(whole_batches * batch_bytes)
                done = already
                for pixels in read_ahead(source.take, batches):
                    filled = np.concatenate([pixels, np.repeat(pixels[-1:], BATCH - len(pixels), axis=0)])
                    outputs = run_trunk(filled)[0].numpy()[: len(pixels)]
                    stream.write(outputs.astype(ROW_TYPE, copy=False).tobytes())
                    done += len(pixels)
                    step(done, total, already)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise DatasetError(
                f"Trunk outputs need {total * self.row_bytes / 1e9:.1f} GB in {self.folder}. "
                f"Received: {error.strerror or error}. Free some disk or move the cache with DERMLENS_CACHE, then "
                "go on with --resume: what was computed is kept."
            ) from error
        partial.replace(path)


_DRAWING = ("seed", "rotation", "shift", "zoom", "flips")


def _compiled(trunk: keras.Model) -> Callable[[np.ndarray], list[tf.Tensor]]:
    @tf.function(input_signature=[tf.TensorSpec((BATCH, *trunk.input.shape[1:]), tf.uint8)])
    def run_trunk(pixels: tf.Tensor) -> tf.Tensor:
        return trunk(tf.cast(pixels, tf.float32), training=False)

    return frozen(run_trunk)


def _trunk_hash(trunk: keras.Model) -> str:
    """A hash of architecture and weights: what the layers are called does not matter, what they do does."""
    digest = hashlib.sha256()
    for layer in trunk.layers:
        settings = {key: value for key, value in layer.get_config().items() if key not in ("name", "dtype")}
        digest.update(json.dumps([type(layer).__name__, settings], default=str, sort_keys=True).encode())
        for weight in layer.get_weights():
            digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def _versions() -> list[str]:
    """What else the numbers depend on: who decodes, resizes and multiplies."""
    return [f"{name} {version(name)}" for name in ("tensorflow", "keras", "pillow", "opencv-python")]


def _delete(entry: Path) -> None:
    """Delete an entry unless somebody is writing it."""
    lock = filelock.FileLock(entry.with_suffix(LOCKED))
    try:
        with lock.acquire(timeout=0):
            last_used = time.ctime(entry.stat().st_mtime)
            entry.unlink()
    except (filelock.Timeout, FileNotFoundError):
        return
    print(f"[trunk] made room: deleted {entry.name}, last used {last_used}", flush=True)
