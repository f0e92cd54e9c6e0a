"""A run that is worse than the served one is served for a written reason only, and every promotion is on record."""

import shutil

import pytest

from core.errors import RunError
from core.evaluation import promotion
from core.runs.all_runs import CURRENT, promotions, served_run
from core.runs.run import PREDICTIONS, Run


@pytest.fixture
def worse(served_run, runs_folder) -> Run:
    """A run that calls every test image a nevus."""
    run = Run(shutil.copytree(served_run.folder, runs_folder / "worse"))
    table = run.predictions()
    run.write_csv(PREDICTIONS, table.assign(predicted="nv"))
    return run


@pytest.fixture
def better(served_run, runs_folder) -> Run:
    """A run that is always right."""
    run = Run(shutil.copytree(served_run.folder, runs_folder / "better"))
    table = run.predictions()
    run.write_csv(PREDICTIONS, table.assign(predicted=table["dx"]))
    return run


def test_a_better_run_is_served_at_once(better):
    assert promotion.judge(better).objections == ()
    promotion.serve(better)
    assert served_run().id == better.id


def test_a_worse_run_needs_a_reason(better, worse):
    promotion.serve(better)
    judged = promotion.judge(worse)
    assert judged.objections and judged.comparison.broken.any()
    with pytest.raises(RunError, match="written reason"):
        promotion.serve(worse, "  ")
    assert served_run().id == better.id
    promotion.serve(worse, "The better one was trained on test images.")
    assert served_run().id == worse.id


def test_runs_of_different_images_cannot_be_compared(better, worse):
    promotion.serve(better)
    table = worse.predictions()
    worse.write_csv(PREDICTIONS, table[table["split"] != "test"])
    assert "different images" in promotion.judge(worse).objections[0]


def test_every_promotion_is_on_record_and_can_be_taken_back(served_run, better, worse, runs_folder):
    promotion.serve(better)
    promotion.serve(worse, "an experiment")
    assert [entry["run"] for entry in promotions()] == [worse.id, better.id, served_run.id]
    assert promotions()[0]["reason"] == "an experiment"
    promotion.serve(better, "back")
    assert promotions()[0]["run"] == better.id and len(promotions()) == 4
    (runs_folder / CURRENT).write_text("{ damaged")
    promotion.promote(better)
    assert [entry["run"] for entry in promotions()] == [better.id]


def test_a_damaged_record_is_mended_by_serving_a_run(better, worse, runs_folder):
    promotion.serve(better)
    (runs_folder / CURRENT).write_text("{ damaged")
    judged = promotion.judge(worse)
    assert judged.served is None and not judged.objections
    promotion.serve(worse)
    assert served_run().id == worse.id
