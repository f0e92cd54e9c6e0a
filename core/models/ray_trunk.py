"""Trunk outputs on many machines: a block of images is a task on a Ray cluster, its outputs come back here.

Workers need no shared disk: they are sent the files of the images as they are, some 100 kB each, once the trunk, and
nothing else. A block is one batch of `trunk_pass`, so that its numbers are those of this machine, as long as the
processors are of one kind. One task takes one processor core: several small passes at once are faster than one pass
on several cores, and reading the next images needs no threads of its own.
"""

import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from core.config import TrainConfig
from core.data.loading import Batch, PixelSource, read_ahead
from core.errors import ClusterError, DermLensError, ImageError
from core.models.cluster import connect
from core.models.trunk_pass import BATCH, TrunkPass, trunk_hash, trunk_pass, versions

RETRIES = 5  # of a block whose worker or machine is lost: more often, it is the block that ends them
PER_CORE = 2  # blocks under way for each core of the cluster: one is computed, one waits there already
MOST_BYTES = 2 * 10**9  # of blocks under way, images and outputs, in the memory of this machine
IMAGE_BYTES = 100_000  # of one file, as in HAM10000; only to tell how many blocks that are
NEXT = 8  # blocks that are fetched while the one before them is written
TICK = 1.0  # seconds between two looks whether somebody wants it to stop


class RayTrunk:
    """One trunk on a cluster.

    Args:
        address: see `connect`.
        trunk: pixels -> outputs. Its weights do not change any more; the workers are sent these.
        engine: what computes there, see `core.models.trunk_pass.trunk_engine`.

    Raises:
        ClusterError: there is no such cluster.
    """

    def __init__(self, address: str, trunk: keras.Model, engine: str) -> None:
        self.ray = connect(address)
        self.row_bytes = 4 * int(np.prod(trunk.output.shape[1:]))
        # a reference within a list is not fetched for each task, but by each worker once
        file = [self.ray.put(np.frombuffer(_as_file(trunk), np.uint8))]
        self.of_all = (file, trunk_hash(trunk), engine, versions(engine))  # what each task is told
        self.task = self.ray.remote(num_cpus=1, max_retries=RETRIES)(_outputs)

    def passes(self, source: PixelSource, batches: Iterable[Batch], wait: Callable[[], None]) -> Iterator[np.ndarray]:
        """Outputs of batches, in their order.

        Args:
            source: where their images come from.
            batches: rows and views, as of `in_batches`.
            wait: called every second while nothing arrives; may raise to stop.

        Returns:
            (n, ...) float32, read-only, of each batch.

        Raises:
            ImageError: an image cannot be read; the same as without a cluster.
            ClusterError: a block was lost too often, or a worker has other versions.
        """
        batches = list(batches)
        files = read_ahead(lambda rows, views: _files(source, rows, views), batches)
        pending: deque[tuple[Any, Batch]] = deque()
        # what is under way when this ends early is left to end by itself: where Ray 2.60 is told to cancel a task that
        # just ends, it ends this process instead ("Tried to complete task that was not pending")
        for (rows, views), read in zip(batches, files, strict=True):
            ids = [source.ids[row] for row in rows]
            of_task = (ids, read, views, source.size, source.config)
            pending.append((self.task.remote(*self.of_all, *of_task), (rows, views)))
            while len(pending) >= self._at_once():
                yield self._first(pending, source, wait)
        while pending:
            yield self._first(pending, source, wait)

    def _at_once(self) -> int:
        cores = int(self.ray.cluster_resources().get("CPU", 1))
        block = BATCH * (IMAGE_BYTES + self.row_bytes)
        return max(2, min(PER_CORE * cores, MOST_BYTES // block))

    def _first(self, pending: deque, source: PixelSource, wait: Callable[[], None]) -> np.ndarray:
        """The outputs of the first block, which is then no longer pending."""
        reference, batch = pending[0]
        following = [each for each, _ in list(pending)[:NEXT]]
        self.ray.wait(following, num_returns=len(following), timeout=0)  # begins to fetch what is ready
        while not self.ray.wait([reference], timeout=TICK)[0]:
            wait()
        try:
            outputs = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, ImageError):
                source.take(*batch)  # read here, the error names the file
            if isinstance(error.cause, DermLensError):
                raise error.cause from None
            raise
        except self.ray.exceptions.RayError as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ClusterError(
                f"A block of images is tried {RETRIES + 1} times before it is given up. Received: {reason} What was "
                "computed is kept: see whether the machines have enough memory (1 GB a core), then go on with --resume."
            ) from error
        pending.popleft()
        return outputs


def _files(source: PixelSource, rows: np.ndarray, views: np.ndarray) -> list[bytes]:
    """The files of images, as they are."""
    try:
        return [Path(source.paths[row]).read_bytes() for row in rows]
    except (OSError, ValueError):
        source.take(rows, views)  # raises what it raises without a cluster
        raise


def _as_file(trunk: keras.Model) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trunk.keras"
        trunk.save(path)
        return path.read_bytes()


# ---- on the workers ----------------------------------------------------------------------------

_trunks: dict[tuple[str, str], TrunkPass] = {}
"""The one that was loaded last, by its hash and what computes it."""


def _outputs(
    file: list,
    digest: str,
    engine: str,
    wanted: list[str],
    ids: list[str],
    files: list[bytes],
    views: np.ndarray,
    size: int,
    config: TrainConfig,
) -> np.ndarray:
    """The task: files of images -> their outputs.

    Args:
        file: a reference to the trunk's file.
        digest: what it must hash to.
        engine: what computes it.
        wanted: versions that the numbers depend on.
        ids, files, views: of each image.
        size, config: see `PixelSource`.

    Raises:
        ClusterError: this machine has other versions, or the trunk is another one here.
    """
    here = versions(engine)
    if here != wanted:
        raise ClusterError(
            f"Each machine of a cluster needs the versions of the first. Received: {', '.join(here)} in place of "
            f"{', '.join(wanted)}. Install requirements.txt there."
        )
    images = pd.DataFrame({"image_id": ids, "path": files})
    pixels = PixelSource(images, size, config).take(np.arange(len(ids)), views)
    return _loaded(file, digest, engine)(pixels)


def _loaded(file: list, digest: str, engine: str) -> TrunkPass:
    """The compiled trunk: loaded by a worker's first task, and kept for all others."""
    if (digest, engine) not in _trunks:
        import ray

        _one_thread()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trunk.keras"
            path.write_bytes(ray.get(file[0]).tobytes())
            trunk = keras.models.load_model(path, compile=False, safe_mode=True)
        if trunk_hash(trunk) != digest:
            raise ClusterError("A trunk must be the same on each machine. Received: another. Install requirements.txt.")
        _trunks.clear()
        _trunks[digest, engine] = trunk_pass(trunk, engine, threads=1)
    return _trunks[digest, engine]


def _one_thread() -> None:
    """A worker has one core; TensorFlow would take all of them, in each worker."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # not the first trunk of this worker: it is set already
        pass
