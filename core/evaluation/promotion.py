"""Which run may be served in place of which: not one that is worse beyond chance, unless somebody says why."""

from dataclasses import dataclass

import pandas as pd

from core.errors import RunError
from core.evaluation.comparison import MEASURES, Comparison, compare
from core.runs.all_runs import promote, served_or_none
from core.runs.run import Run


@dataclass(frozen=True, eq=False)
class Judgement:
    """A run beside the served one.

    Attributes:
        served: the run that is served; None while none is.
        comparison: on the test images of both; None where they have none in common, or none is served.
        objections: why it may not be served without a reason, in words; empty if it may.
    """

    served: Run | None
    comparison: Comparison | None
    objections: tuple[str, ...]


def judge(run: Run) -> Judgement:
    """Compare a run with the served one on the images that both were tested on.

    Raises:
        RunError: the files of one of them cannot be read.
    """
    served = served_or_none()
    if served is None or served.id == run.id or not served.usable:
        return Judgement(served, None, ())
    before, after = _tested(served), _tested(run)
    if not before["image_id"].isin(after["image_id"]).any():
        return Judgement(
            served, None, ("The two runs were tested on different images, so that they cannot be compared.",)
        )
    found = compare(before, after, run.config().seed)
    objections = tuple(
        f"{name} is lower by {-100 * figure['value']:.1f} points "
        f"(95 % interval {-100 * figure['high']:.1f} to {-100 * figure['low']:.1f}): chance does not explain it."
        for measure, name in MEASURES.items()
        if (figure := found.differences[measure])["high"] < 0
    )
    return Judgement(served, found, objections)


def serve(run: Run, reason: str = "") -> None:
    """Serve a run from now on, if it is not worse than the served one beyond chance, or for a reason.

    Args:
        run: a finished run.
        reason: why, in words; needed only where `judge` has objections.

    Raises:
        RunError: the run is not finished, or there are objections and no reason.
    """
    objections = judge(run).objections if run.usable else ()
    if objections and not reason.strip():
        raise RunError(
            f"A run that is worse than the served one is served for a written reason. {' '.join(objections)}"
        )
    promote(run, reason.strip())


def _tested(run: Run) -> pd.DataFrame:
    predictions = run.predictions()
    lesions = run.splits()[["image_id", "lesion_id"]]
    return predictions[predictions["split"] == "test"].merge(lesions, on="image_id")
