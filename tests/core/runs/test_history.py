"""The epochs of a run, in the phases in which it was trained."""

import pandas as pd

from core.runs.history import TRAINING, WHOLE_NETWORK, after_cut, before_cut, of_ensemble


def epochs(*losses: float) -> pd.DataFrame:
    """Two epochs of the whole network, and then these."""
    phases = [WHOLE_NETWORK] * 2 + [TRAINING] * len(losses)
    return pd.DataFrame({"phase": phases, "epoch": range(1, len(phases) + 1), "loss": [9.0, 8.0, *losses]})


def test_an_ensembles_history_is_that_of_its_networks_one_after_the_other():
    together = of_ensemble([epochs(3.0, 2.0), epochs(4.0)])
    assert together["phase"].tolist() == [WHOLE_NETWORK] * 2 + ["network 1"] * 2 + [WHOLE_NETWORK] * 2 + ["network 2"]
    assert together["epoch"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert together["loss"].tolist() == [9, 8, 3, 2, 9, 8, 4]
    assert (len(before_cut(together)), len(after_cut(together))) == (4, 3)


def test_an_ensemble_whose_second_network_has_not_begun_has_the_firsts():
    assert of_ensemble([epochs(3.0), epochs().head(0)])["loss"].tolist() == [9, 8, 3]
