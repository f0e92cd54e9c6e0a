"""The epochs of a run, in the phases in which it was trained."""

import pandas as pd

from core.runs.history import TRAINING, WHOLE_NETWORK, after_cut, of_ensemble


def epochs(*losses: float) -> pd.DataFrame:
    """Two epochs of the whole network, which all have in common, and then these."""
    phases = [WHOLE_NETWORK] * 2 + [TRAINING] * len(losses)
    table = pd.DataFrame({"phase": phases, "epoch": range(1, len(phases) + 1), "loss": [9.0, 8.0, *losses]})
    return table.assign(seconds=float(len(losses)))  # which differ from one network to the other


def test_epochs_of_the_whole_network_stand_once_in_an_ensembles_history():
    together = of_ensemble([epochs(3.0, 2.0), epochs(4.0, 1.0).assign(seconds=0.0)])
    assert together["phase"].tolist() == [WHOLE_NETWORK] * 2 + ["network 1"] * 2 + ["network 2"] * 2
    assert together["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert together["loss"].tolist() == [9, 8, 3, 2, 4, 1]
    assert len(after_cut(together)) == 4


def test_an_ensemble_whose_second_network_has_not_begun_has_the_firsts():
    assert of_ensemble([epochs(3.0), epochs().head(0)])["loss"].tolist() == [9, 8, 3]


def test_whole_networks_that_learned_otherwise_stand_both_and_before_all_others():
    other = epochs(4.0).assign(loss=[7.0, 6.0, 4.0])
    together = of_ensemble([epochs(3.0), after_cut(epochs(5.0)), other])
    assert together["loss"].tolist() == [9, 8, 7, 6, 3, 5, 4]
    assert len(after_cut(together)) == 3
