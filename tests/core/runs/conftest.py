"""Runs in any state, made without training."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from core.config import TrainConfig
from core.runs.run import CONFIG, Run
from core.runs.status import Status


@pytest.fixture
def make() -> Callable[..., Run]:
    """A run in a folder, in a state, last changed at some time."""

    def made(root: Path, name: str, state: str = "finished", changed: int | None = None) -> Run:
        run = Run.create(TrainConfig(epochs=3), root / name)
        run.write_status(Status(state=state))
        if changed is not None:
            os.utime(run.folder / CONFIG, (changed, changed))
        return run

    return made
