"""Feed the network: batches of pixels, read ahead in threads while the network is busy."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pandas as pd

from core.config import TrainConfig
from core.data.augment import augmented, view_generator
from core.data.camera import other_camera
from core.data.images import model_input, read_image

Take = Callable[[np.ndarray, np.ndarray], np.ndarray]
Batch = tuple[np.ndarray, np.ndarray]
Read = TypeVar("Read")


class PixelSource:
    """The model's input for any view of any image of a table.

    Args:
        images: image_id, path.
        size: side of the model's input in pixels.
        config: how views are drawn, and the seed.
    """

    def __init__(self, images: pd.DataFrame, size: int, config: TrainConfig) -> None:
        self.ids = images["image_id"].tolist()
        self.paths = images["path"].tolist()
        self.size = size
        self.config = config

    def take(self, rows: np.ndarray, views: np.ndarray) -> np.ndarray:
        """Read images.

        Args:
            rows: (b,) rows of the table.
            views: (b,) the view of each: 0 is the image as it is, a positive number an augmented one, and a
                negative one the image as another camera would have taken it.

        Returns:
            (b, size, size, 3) uint8 RGB, 0 to 255.
        """
        return np.stack([self._view(int(row), int(view)) for row, view in zip(rows, views, strict=True)])

    def _view(self, row: int, view: int) -> np.ndarray:
        pixels = model_input(read_image(self.paths[row]), self.size)
        if view == 0:
            return pixels
        dice = view_generator(self.config.seed, self.ids[row], view)
        return augmented(pixels, self.config, dice, view) if view > 0 else other_camera(pixels, dice)


def in_batches(rows: np.ndarray, views: np.ndarray, size: int) -> list[Batch]:
    """Rows and views cut into batches of `size`, the last one as long as what is left."""
    return [(rows[start : start + size], views[start : start + size]) for start in range(0, len(rows), size)]


def read_ahead(take: Callable[[np.ndarray, np.ndarray], Read], batches: Iterable[Batch]) -> Iterator[Read]:
    """What `take` gives for each batch, in order, with the next ones already under way."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[Read]] = deque()
        try:
            for batch in batches:
                pending.append(pool.submit(take, *batch))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
