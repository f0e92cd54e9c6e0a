"""Read the tensors of an old-format PyTorch weights file without PyTorch.

Before its zip format, PyTorch wrote: a magic number, a protocol version and a system record (one pickle
each), then the pickled names and shapes, then the pickled order of the storages, then their raw numbers.
Only the handful of names that such a file needs can be unpickled, so that a file cannot run code.
"""

import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from core.errors import WeightsError

MAGIC = 0x1950A86A20F9469CFC6C
DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Storage:
    """Raw numbers that are read after the pickles."""

    def __init__(self, dtype: np.dtype, size: int) -> None:
        self.dtype, self.size = dtype, size
        self.numbers = np.empty(0, dtype)


class _Tensor:
    """A view of a storage, by its offset, shape and strides, all in numbers."""

    def __init__(self, storage: _Storage, offset: int, shape: tuple, strides: tuple, *_: Any) -> None:
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self) -> np.ndarray:
        size = self.storage.dtype.itemsize
        numbers = self.storage.numbers[self.offset :]
        return np.lib.stride_tricks.as_strided(numbers, self.shape, [size * step for step in self.strides]).copy()


class _Unpickler(pickle.Unpickler):
    """Knows tensors and ordered dictionaries, and refuses every other name."""

    def __init__(self, stream: BinaryIO, storages: dict[str, _Storage]) -> None:
        super().__init__(stream, encoding="utf-8")
        self.storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise WeightsError(f"A weights file holds tensors only. Received: a file that asks for {module}.{name}.")

    def persistent_load(self, reference: Any) -> _Storage:
        _, dtype, key, _, size, *_ = reference
        return self.storages.setdefault(key, _Storage(dtype, size))


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """Name of each tensor -> its numbers.

    Raises:
        WeightsError: it is not such a file, or damaged.
    """
    try:
        with path.open("rb") as stream:
            return _read(stream)
    except (OSError, EOFError, pickle.UnpicklingError, struct.error, ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"An old-format PyTorch weights file is needed. Received: {path} ({error}).") from error


def _read(stream: BinaryIO) -> dict[str, np.ndarray]:
    storages: dict[str, _Storage] = {}
    magic, _version, _system = (_Unpickler(stream, storages).load() for _ in range(3))
    if magic != MAGIC:
        raise ValueError("its magic number is another")
    tensors = _Unpickler(stream, storages).load()
    for key in _Unpickler(stream, storages).load():
        storage = storages[key]
        (count,) = struct.unpack("<q", stream.read(8))
        storage.numbers = np.frombuffer(stream.read(count * storage.dtype.itemsize), storage.dtype)
        if count != storage.size or storage.numbers.size != count:
            raise ValueError("it ends too early")
    return {name: tensor.array() for name, tensor in tensors.items()}
