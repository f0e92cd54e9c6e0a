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
    """The epochs of all networks, counted on; of each network, those after its cut are a phase."""
    rows = [
        history.assign(phase=history["phase"].where(history["phase"] == WHOLE_NETWORK, f"network {number}"))
        for number, history in enumerate(each, 1)
    ]
    together = pd.concat(rows, ignore_index=True)
    return together.assign(epoch=np.arange(1, len(together) + 1))
