"""The epochs of a run, one row each, in the phases in which it was trained."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

TRAINING, WHOLE_NETWORK = "training", "whole network"


def before_cut(history: pd.DataFrame) -> pd.DataFrame:
    """The epochs in which the whole network learned first."""
    return history[history["phase"] == WHOLE_NETWORK]


def after_cut(history: pd.DataFrame) -> pd.DataFrame:
    """The epochs of which the best, or a mean, is kept: all but those in which the whole network learned first."""
    return history[history["phase"] != WHOLE_NETWORK]


def of_ensemble(each: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The epochs of all networks, counted on, each network a phase; those of whole networks first, shared ones once."""
    first: list[pd.DataFrame] = []
    for history in each:
        epochs = before_cut(history)
        if not any(_same(epochs, known) for known in first):
            first.append(epochs)
    later = [after_cut(history).assign(phase=f"network {number}") for number, history in enumerate(each, 1)]
    together = pd.concat([*first, *later], ignore_index=True)
    return together.assign(epoch=np.arange(1, len(together) + 1))


def _same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether these epochs are the same; which of two trainings spent time on them does not matter."""
    return (
        one.drop(columns="seconds").reset_index(drop=True).equals(other.drop(columns="seconds").reset_index(drop=True))
    )
