"""The table of methods and the arithmetic behind it name the same."""

from core.explain.cam import CAMS
from core.explain.methods import DEFAULT_METHOD, METHODS


def test_every_map_of_activations_is_in_the_table():
    assert set(CAMS) < set(METHODS)
    assert DEFAULT_METHOD in METHODS
    assert all(name == method.name and method.title and method.sentence for name, method in METHODS.items())
