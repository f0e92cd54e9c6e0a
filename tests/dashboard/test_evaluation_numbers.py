"""Every number of the evaluation page is computed a second time, from the run's tables alone and in another way.

What the page shows comes from `metrics.json`, `subgroups.json` and the arithmetic of its sections; here it is computed
from `predictions.csv`, `splits.csv` and `images.csv` with scikit-learn and a few lines of NumPy, and compared as it
stands on the page, digit by digit. Of `core.evaluation` the resamples alone are used: others would give other
intervals.
"""

import base64
import json
from collections.abc import Callable, Iterator
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from scipy.stats import norm
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)
from streamlit.testing.v1 import AppTest

from core.config import TrainConfig
from core.diagnoses import BY_CODE, CODES
from core.evaluation import bootstrap
from core.evaluation.results import write_results
from core.evaluation.subgroups import subgroup_figures
from core.evaluation.trust import Strangeness
from core.places import PROJECT
from core.runs import run as contract
from core.runs.run import Run
from core.runs.status import Status
from dashboard import models
from tests.dashboard.conftest import texts
from tests.dashboard.recomputed import MALIGNANT, Figure, Said, ends, fifteenth, percent, same, span

PARTS = ("test", "validation", "calibration")
QUESTIONS = {
    "melanoma": (["mel"], "melanomas", "other lesions"),
    "malignant": (MALIGNANT, "malignant or premalignant lesions", "benign lesions"),
}
NAMES = {code: BY_CODE[code].name for code in CODES}
BANDS = {
    "age": ([0, 30, 45, 60, 75, 200], ["under 30", "30 to 44", "45 to 59", "60 to 74", "75 and over"], False),
    "ita": ([-91, -30, 10, 28, 41, 55, 91], ["dark", "brown", "tan", "intermediate", "light", "very light"], True),
}
MEASURES = {
    "balanced_accuracy": "Balanced accuracy",
    "melanoma_sensitivity": "Melanoma sensitivity",
    "ece": "Calibration error",
}
KINDS = {
    "sex": "sex",
    "age": "age in years",
    "localization": "body site",
    "dx_type": "how the diagnosis was confirmed",
    "ita": "skin tone around the lesion",
}


# ---- the run, and the page ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run without a model: what training and examination make of logits that were drawn."""
    dice = np.random.default_rng(3)
    run = Run.create(TrainConfig(dataset="synthetic", seed=11), tmp_path_factory.mktemp("numbers") / "judged")
    dx = dice.choice(CODES, 720, p=[0.2, 0.42, 0.1, 0.1, 0.12, 0.03, 0.03])
    part = dice.choice(["train", *PARTS], 720, p=[0.2, 0.32, 0.16, 0.32])
    lesion = np.arange(720).repeat(dice.choice([1, 2, 3], 720, p=[0.6, 0.3, 0.1]))
    lesion = dice.permutation(lesion)
    n = len(lesion)
    splits = pd.DataFrame(
        {
            "image_id": [f"IMG_{number:04}" for number in range(n)],
            "lesion_id": [f"LES_{number:04}" for number in lesion],
            "dx": dx[lesion],
            "split": part[lesion],
        }
    )
    right = np.eye(7)[splits["dx"].map(CODES.index)]
    logits = (dice.normal(size=(n, 7)) + 1.6 * right * dice.gamma(2, 0.6, (n, 1))).astype(np.float32)
    write_results(run, splits, logits, Strangeness(dice.gamma(5, 1, n), dice.gamma(5.5, 1, 200)), 1.0, 64)
    ita = pd.Series(dice.normal(35, 20, n).clip(-85, 85)).where(dice.random(n) > 0.1)
    run.write_csv(contract.SPLITS, splits)
    run.write_csv(contract.IMAGES, pd.DataFrame({"image_id": splits["image_id"], "problems": "", "ita": ita}))
    run.write_json(contract.MANIFEST, {"schema_version": 1, "data": {"folder": "gone", "synthetic": True}})
    table = run.predictions().merge(patients(run), on="image_id").merge(run.images(), on="image_id")
    table = table[table["split"] == "test"].merge(splits[["image_id", "lesion_id"]], on="image_id")
    probabilities = table[[f"p_{code}" for code in CODES]].to_numpy()
    figures = subgroup_figures(table, probabilities, table["lesion_id"].to_numpy(), run.config().seed)
    run.write_json(contract.SUBGROUPS, figures)
    run.write_status(Status(state="finished"))
    return run


def patients(run: Run) -> pd.DataFrame:
    """What the data set says of each image: image_id, sex, age, localization, dx_type; of some it says nothing.

    The run is worse for one sex, and far worse for what was only followed up.
    """
    predictions = run.predictions()
    names, right = predictions["image_id"], (predictions["dx"] == predictions["predicted"]).to_numpy()
    dice = np.random.default_rng(4)
    return pd.DataFrame(
        {
            "image_id": names,
            "sex": np.where(dice.random(len(names)) < np.where(right, 0.62, 0.38), "female", "male"),
            "age": pd.Series(dice.integers(1, 18, len(names)) * 5.0).where(dice.random(len(names)) > 0.03),
            "localization": dice.choice(["back", "face", "unknown", ""], len(names), p=[0.6, 0.3, 0.07, 0.03]),
            "dx_type": np.where(dice.random(len(names)) < np.where(right, 0.9, 0.4), "histo", "follow_up"),
        }
    )


@pytest.fixture(scope="module")
def app(run: Run) -> Iterator[AppTest]:
    """The evaluation page, opened once: each test turns to what it reads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DERMLENS_RUNS", str(run.folder.parent))
        patch.setattr(models, "warm_up", lambda run: None)
        page = AppTest.from_file(str(PROJECT / "dashboard" / "app.py"), default_timeout=120).run()
        yield page.switch_page("views/evaluation.py").run()


def turn_to(app: AppTest, run: Run, part: str, section: str) -> Said:
    """The page on a section for a part of the split, and what the run said of those images."""
    app.segmented_control(key="evaluation_section").set_value(section)
    app.segmented_control(key=f"evaluation_part_{run.id}").set_value(part).run()
    assert not app.exception and not app.error
    return Said(run, part)


def choose(app: AppTest, key: str, value: object) -> None:
    app.segmented_control(key=key).set_value(value).run()
    assert not app.exception and not app.error


def tiles(app: AppTest) -> dict[str, tuple[str, ...]]:
    """Each tile's value and the lines below it."""
    found: dict[str, tuple[str, ...]] = {}

    def walk(block: Any) -> None:
        inside = list(block.children.values())
        label = next((each for each in inside if each.type == "metric"), None)
        if label is not None:
            (below,) = [each.value for each in inside if each.type == "caption"]
            found[label.label] = (label.value, *below.split("  \n"))
        for each in inside:
            if hasattr(each, "children"):
                walk(each)

    walk(app.main)
    return found


def chart(app: AppTest, key: str) -> list[dict[str, Any]]:
    """The traces of a chart as the browser gets them."""
    (spec,) = [each.proto.spec for each in app.get("plotly_chart") if each.key == f"evaluation_{key}"]
    return [plain(trace) for trace in json.loads(spec)["data"]]


def plain(value: Any) -> Any:
    """Plotly's packed arrays as lists."""
    if isinstance(value, dict) and "bdata" in value:
        numbers = np.frombuffer(base64.b64decode(value["bdata"]), np.dtype(value["dtype"]))
        shape = [int(side) for side in str(value.get("shape", len(numbers))).split(",")]
        return numbers.reshape(shape).tolist()
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def named(traces: list[dict[str, Any]], name: str | None) -> dict[str, Any]:
    (trace,) = [trace for trace in traces if trace.get("name") == name and trace["x"] is not None]
    return trace


def error_bars(trace: dict[str, Any], axis: str) -> np.ndarray:
    """(n, 2): the ends of each point's interval."""
    middle, bars = np.array(trace[axis], float), trace[f"error_{axis}"]
    return np.stack([middle - bars["arrayminus"], middle + bars["array"]], axis=1)


# ---- headline and diagnoses ---------------------------------------------------------------------


def test_probabilities_and_answers_follow_from_the_logits(run: Run) -> None:
    """All other figures stand on these columns."""
    for part in PARTS:
        said = Said(run, part)
        same(said.table[[f"p_{code}" for code in CODES]], said.p)
        assert (said.answers == said.logits.argmax(axis=1)).all()
        assert (said.p.argmax(axis=1) != said.answers).any(), "a case that would be mixed up must occur"


@pytest.mark.parametrize("part", PARTS)
def test_headline(part: str, app: AppTest, run: Run) -> None:
    """The figures that are quoted."""
    said = turn_to(app, run, part, "Diagnoses")
    n = f"n\u00a0=\u00a0{len(said.table)}"
    balanced, melanoma = said.balanced_accuracy(), said.sensitivities()["mel"]
    right = said.share(said.truth == said.answers)
    same(balanced[0], balanced_accuracy_score(said.truth, said.answers))
    same(melanoma[0], recall_score(said.table["dx"] == "mel", said.table["predicted"] == "mel"))
    same(right[0], accuracy_score(said.truth, said.answers))
    nevi = (said.table["dx"] == "nv").mean()
    assert tiles(app) == {
        "Balanced accuracy": (percent(balanced[0]), span(balanced), n),
        "Melanoma sensitivity": (
            percent(melanoma[0]),
            span(melanoma),
            f"of {(said.table['dx'] == 'mel').sum()} melanomas",
        ),
        "Macro AUC": (percent(said.macro_auc()[0]), span(said.macro_auc()), n),
        "Accuracy": (percent(right[0]), span(right), f"always “nevus” would score {percent(nevi)}"),
    }


@pytest.mark.parametrize("part", PARTS)
def test_matrix_in_numbers_and_in_shares(part: str, app: AppTest, run: Run) -> None:
    """Which diagnosis is taken for which, and how often."""
    said = turn_to(app, run, part, "Diagnoses")
    counts = confusion_matrix(said.table["dx"], said.table["predicted"], labels=CODES)
    shares = confusion_matrix(said.table["dx"], said.table["predicted"], labels=CODES, normalize="true")
    for shown, words in (
        ("Numbers of images", lambda row, column: f"{counts[row, column]}"),
        ("Shares of each true diagnosis", lambda row, column: f"{shares[row, column]:.0%}"),
    ):
        choose(app, "evaluation_cells", shown)
        traces = chart(app, f"matrix_{part}")
        cells = {
            (int(y), int(x)): text
            for trace in traces
            if trace.get("mode") == "text"
            for x, y, text in zip(trace["x"], trace["y"], trace["text"], strict=True)
        }
        assert cells == {(r, c): words(r, c) if counts[r, c] else "·" for r in range(7) for c in range(7)}
        (pointed_at,) = [trace for trace in traces if trace.get("mode") == "markers"]
        for x, y, text in zip(pointed_at["x"], pointed_at["y"], pointed_at["text"], strict=True):
            row, column = int(y), int(x)
            assert f"<b>{counts[row, column]} of {counts[row].sum()}</b> ({shares[row, column]:.1%})" in text
            assert text.startswith(NAMES[CODES[row]])
    choose(app, "evaluation_cells", "Numbers of images")


@pytest.mark.parametrize("part", PARTS)
def test_each_diagnosis(part: str, app: AppTest, run: Run) -> None:
    """The rare diagnoses, which no mean shows."""
    said = turn_to(app, run, part, "Diagnoses")
    (shown,) = [frame.value for frame in app.dataframe]
    for index, code in enumerate(CODES):
        row, is_it, called = shown.iloc[index], said.table["dx"] == code, said.table["predicted"] == code
        assert (row["Diagnosis"], row["Images"]) == (NAMES[code], is_it.sum())
        assert row["Note"] == ("few cases" if is_it.sum() < 20 else "")
        expected = {
            "Sensitivity": recall_score(is_it, called),
            "Specificity": recall_score(~is_it, ~called),
            "Precision": precision_score(is_it, called),
            "F1": f1_score(is_it, called),
            "AUC": roc_auc_score(is_it, said.p[:, index]),
        }
        for name, value in expected.items():
            assert f"{row[name]:.1f}" == f"{100 * value:.1f}", (code, name)
    assert len(shown) == 7


# ---- probabilities ------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_probabilities(part: str, app: AppTest, run: Run) -> None:
    """Whether 30 % means three in ten, before and after calibration."""
    said = turn_to(app, run, part, "Probabilities")
    uncalibrated = softmax(said.logits, axis=1)
    expected = {}
    for label, statement in (("Calibration error", ""), ("Error for melanoma", "melanoma")):
        before, after = (said.calibration_error(*said.statements(p)[statement]) for p in (uncalibrated, said.p))
        expected[label] = (percent(after[0]), span(after), f"before calibration {percent(before[0])}")
    one_hot = np.eye(7)[said.truth]
    for label, loss in (
        ("Brier score", lambda p: ((p - one_hot) ** 2).sum(axis=1)),
        ("Negative log-likelihood", lambda p: -np.log((p * one_hot).sum(axis=1))),
    ):
        before, after = said.mean(loss(uncalibrated)), said.mean(loss(said.p))
        words = f"95 % interval {after[1]:.3f} to {after[2]:.3f}"
        expected[label] = (f"{after[0]:.3f}", words, f"before calibration {before[0]:.3f}")
    assert expected["Negative log-likelihood"][0] == f"{log_loss(said.truth, said.p, labels=range(7)):.3f}"
    shown = tiles(app)
    assert {label: shown[label] for label in expected} == expected
    assert f"by a temperature of {said.fitted['temperature']:.2f} " in texts(app)
    assert f"It was fitted on {len(Said(run, 'calibration').table)} calibration images" in texts(app)


@pytest.mark.parametrize("part", ["test", "calibration"])
def test_reliability_diagrams(part: str, app: AppTest, run: Run) -> None:
    """Where in the scale the run is too sure."""
    said = turn_to(app, run, part, "Probabilities")
    for statement, key in (
        ("", "reliability"),
        ("melanoma", "reliability_melanoma"),
        ("malignant", "reliability_malignant"),
    ):
        choose(app, "evaluation_statement", statement)
        traces = chart(app, f"{key}_{part}")
        for name, p in (("before calibration", softmax(said.logits, axis=1)), ("calibrated", said.p)):
            given, held = said.statements(p)[statement]
            bins = fifteenth(given)
            filled = np.unique(bins)
            trace = named(traces, name)
            same(trace["x"], [given[bins == each].mean() for each in filled])
            same(trace["y"], [held[bins == each].mean() for each in filled])
            assert trace["text"] == [f"{(bins == each).sum()}" for each in filled]
        same(error_bars(trace, "y"), [said.share(held, bins == each)[1:] for each in filled])
        same(trace["customdata"], [((bins == each).sum(), each / 15, (each + 1) / 15) for each in filled])
    choose(app, "evaluation_statement", "")


# ---- prediction sets ----------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["test", "calibration"])
@pytest.mark.parametrize("level", [90, 65])
def test_prediction_sets(part: str, level: int, app: AppTest, run: Run) -> None:
    """How often the truth is among the diagnoses that are left, and how many those are."""
    said, known = turn_to(app, run, part, "Prediction sets"), Said(run, "calibration")
    assert known.fitted["prediction_sets"]["level"] == 0.9
    app.slider(key="evaluation_level").set_value(level).run()
    members = np.ones((len(said.table), 7), bool)
    for index in range(7):  # ruled out: stranger than all but a small share of that diagnosis, itself counted
        strange = 1 - known.p[known.truth == index, index]
        as_strange = (strange[None] >= 1 - said.p[:, [index]] - 1e-12).sum(axis=1) + 1
        members[:, index] = 100 * as_strange > (100 - level) * (len(strange) + 1)
    held, size = members[np.arange(len(members)), said.truth], members.sum(axis=1)
    n = f"n\u00a0=\u00a0{len(members)}"
    shown = tiles(app)
    assert shown["Sets that hold the truth"] == (percent(held.mean()), span(said.share(held)), n)
    assert shown["Diagnoses in a set"] == (f"{size.mean():.1f}", "on average, of seven", n)
    assert shown["A single diagnosis"] == (percent((size == 1).mean()), "sets that leave no choice", n)

    (table,) = [frame.value for frame in app.dataframe]
    cases = [(known.truth == index).sum() for index in range(7)]
    for index, code in enumerate(CODES):
        row, there = table.iloc[index], said.truth == index
        covered = said.share(held, there)
        assert (row["Diagnosis"], row["Images"]) == (NAMES[code], there.sum())
        assert row["Truth in the set"] == percent(covered[0])
        assert row["95 % interval"] == span(covered).removeprefix("95 % interval ")
        assert f"{row['Diagnoses in a set']:.1f}" == f"{size[there].mean():.1f}"
        assert row["Calibration cases"] == cases[index]
        assert row["Note"] == ("no promise" if cases[index] < 20 else "")
    unsure = [NAMES[code] for index, code in enumerate(CODES) if cases[index] < 20]
    assert unsure, "a diagnosis without a promise must occur"
    assert f"**No promise for {', '.join(unsure)}:** calibration had fewer than 20 cases." in texts(app)

    dots = [trace for trace in chart(app, "coverage") if trace.get("error_x")]
    for index, trace in zip(reversed(range(7)), dots, strict=True):
        covered = said.share(held, said.truth == index)
        same(trace["x"], [covered[0]])
        same(error_bars(trace, "x"), [covered[1:]])
        story = f"{(said.truth == index).sum()} images, {cases[index]} for calibration"
        assert trace["y"][0].replace("<br>", " ") == NAMES[CODES[index]]
        assert trace["customdata"][0][0] == story
    (bars,) = chart(app, "sizes")
    sizes = np.bincount(size, minlength=8)
    rows = [number for number in range(8) if number or sizes[0]]
    assert bars["x"] == [str(number) if number else "none" for number in rows]
    same(bars["y"], sizes[rows] / len(size))
    same(bars["customdata"], sizes[rows][:, None])
    assert bars["text"] == [f"{sizes[row] / len(size):.0%}" if sizes[row] else "" for row in rows]


# ---- operating points ---------------------------------------------------------------------------


def predictive(sensitivity: Any, specificity: Any, prevalence: float) -> tuple[Any, Any]:
    """Of a thousand lesions at a prevalence: which share of the flagged is ill, of the others well."""
    ill, well = 1000 * prevalence, 1000 * (1 - prevalence)
    flagged_ill, flagged_well = ill * sensitivity, well * (1 - specificity)
    return flagged_ill / (flagged_ill + flagged_well), (well - flagged_well) / (well - flagged_well + ill - flagged_ill)


def operating_tiles(
    said: Said, question: str, threshold: float, prevalence: float | None = None
) -> dict[str, tuple[str, ...]]:
    """The four tiles at a threshold."""
    codes, ill, well = QUESTIONS[question]
    positive, flagged = said.table["dx"].isin(codes).to_numpy(), said.score(codes) >= threshold
    sensitivity, specificity = said.share(flagged, positive), said.share(~flagged, ~positive)
    ppv, npv = said.share(positive, flagged), said.share(~positive, ~flagged)
    if prevalence is not None:
        counted = [flagged & positive, ~flagged & ~positive, positive, ~positive]
        hits, clear, sick, healthy = said.resamples.totals(np.stack(counted, axis=1)) + [[0.5], [0.5], [1], [1]]
        values = predictive(sensitivity[0], specificity[0], prevalence)
        moved = predictive(hits / sick, clear / healthy, prevalence)
        ppv, npv = (ends(v, bootstrap.logit_interval(v, m)) for v, m in zip(values, moved, strict=True))
    else:
        same((ppv[0], npv[0]), predictive(sensitivity[0], specificity[0], positive.mean()))
    at = f"at a prevalence of {percent(positive.mean() if prevalence is None else prevalence)}"
    found = f"{(flagged & positive).sum()} of {positive.sum()} {ill}"
    left = f"{(~flagged & ~positive).sum()} of {(~positive).sum()} {well}"
    return {
        "Sensitivity": (percent(sensitivity[0]), span(sensitivity), found),
        "Specificity": (percent(specificity[0]), span(specificity), left),
        "PPV": (percent(ppv[0]), span(ppv), at),
        "NPV": (percent(npv[0]), span(npv), at),
    }


def shown_tiles(app: AppTest) -> dict[str, tuple[str, ...]]:
    found = tiles(app)
    return {name: found[name] for name in ("Sensitivity", "Specificity", "PPV", "NPV")}


def in_a_thousand(said: Said, question: str, threshold: float, prevalence: float) -> str:
    codes, ill, _ = QUESTIONS[question]
    positive, flagged = said.table["dx"].isin(codes), said.score(codes) >= threshold
    sick = round(1000 * prevalence)
    found = round(sick * recall_score(positive, flagged))
    alarms = round((1000 - sick) * (1 - recall_score(~positive, ~flagged)))
    return (
        f"**Of 1,000 such lesions,** {sick} are {ill}. {found + alarms} would be flagged: {found} rightly, {alarms} "
        f"for nothing. {sick - found} would be missed."
    )


def promised(said: Said, codes: list[str], target: float) -> float:
    """The threshold that k of the n positives reach, k the target's share of n + 1 rounded up; halfway down."""
    scores, positive = said.score(codes), said.table["dx"].isin(codes).to_numpy()
    falling = sorted(scores[positive], reverse=True)
    k = next(k for k in range(1, len(falling) + 1) if k >= target * (len(falling) + 1) - 1e-9)
    return (falling[k - 1] + max(score for score in scores if score < falling[k - 1])) / 2


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_operating_points(question: str, part: str, app: AppTest, run: Run) -> None:
    """What is found and what is missed at the threshold that the run warns from."""
    said, known = turn_to(app, run, part, "Operating points"), Said(run, "calibration")
    choose(app, "evaluation_way", "As stored in the run")
    choose(app, "evaluation_point", question)
    codes, *_ = QUESTIONS[question]
    threshold = said.fitted["operating_points"][question]["threshold"]
    same(threshold, promised(known, codes, 0.9))
    positive, scores = said.table["dx"].isin(codes).to_numpy(), said.score(codes)
    assert f"Flagged from a probability of **{percent(threshold)}** on. Chosen for a sensitivity of 90 %." in texts(app)
    assert shown_tiles(app) == operating_tiles(said, question, threshold)
    assert in_a_thousand(said, question, threshold, positive.mean()) in texts(app)
    prevalence = app.number_input(key=f"evaluation_prevalence_{question}")
    assert prevalence.placeholder == f"as in these images: {100 * positive.mean():.1f}"

    weights = said.resamples.weights
    precision = average_precision_score(positive, scores)
    area = said.area(positive, scores)
    drawn = bootstrap.weighted_precision(positive, scores, weights)
    average = ends(precision, bootstrap.logit_interval(precision, drawn))
    captions = [caption.value for caption in app.caption]
    assert f"AUC {percent(area[0])}, {span(area)}" in captions
    assert f"average precision in these images {percent(average[0])}, {span(average)}" in captions


@pytest.mark.parametrize("question", QUESTIONS)
def test_curves(question: str, app: AppTest, run: Run) -> None:
    """What any other threshold would have meant, and whether acting on it does good."""
    said = turn_to(app, run, "test", "Operating points")
    choose(app, "evaluation_way", "As stored in the run")
    choose(app, "evaluation_point", question)
    codes, *_ = QUESTIONS[question]
    positive, scores = said.table["dx"].isin(codes).to_numpy(), said.score(codes)
    threshold = said.fitted["operating_points"][question]["threshold"]
    flagged = scores >= threshold

    alarms, found, _ = roc_curve(positive, scores, drop_intermediate=False)
    traces = chart(app, "ROC curve")
    line = named(traces, None)
    same(sorted(set(zip(line["x"], line["y"], strict=True))), sorted(set(zip(alarms, found, strict=True))))
    mark = named(traces, "chosen threshold")
    same([*mark["x"], *mark["y"]], [1 - recall_score(~positive, ~flagged), recall_score(positive, flagged)])

    precision, recall, steps = precision_recall_curve(positive, scores)
    traces = chart(app, "Precision and recall")
    line = named(traces, None)
    shown = set(zip(np.round(line["x"], 9), np.round(line["y"], 9), strict=True))
    expected = set(zip(np.round(recall[: len(steps)], 9), np.round(precision[: len(steps)], 9), strict=True))
    assert shown == expected
    mark = named(traces, "chosen threshold")
    same([*mark["x"], *mark["y"]], [recall_score(positive, flagged), precision_score(positive, flagged)])
    same(named(traces, "guessing")["y"], [positive.mean()] * 2)

    traces = chart(app, "Decision curve")
    line = named(traces, "follow the run")
    scores = said.table[[f"p_{code}" for code in codes]].to_numpy().sum(axis=1)  # each point is one of them, exactly

    def benefit(calls: Callable[[float], np.ndarray], at: float) -> float:
        """True positives for each image, less the false ones at the odds of the probability."""
        called = calls(at)
        return ((called & positive).sum() - (called & ~positive).sum() * at / (1 - at)) / len(positive)

    same(line["y"], [benefit(lambda at: scores >= at, at) for at in line["x"]])
    everybody = named(traces, "flag all")
    same(everybody["y"], [benefit(lambda at: np.ones(len(positive), bool), at) for at in everybody["x"]])
    mark = named(traces, "chosen threshold")
    next_score = min(score for score in scores if score >= threshold)
    same([*mark["x"], *mark["y"]], [next_score, benefit(lambda at: scores >= at, next_score)])


@pytest.mark.parametrize("question", QUESTIONS)
def test_another_prevalence(question: str, app: AppTest, run: Run) -> None:
    """What a warning means in a practice, where cancers are rare."""
    said = turn_to(app, run, "test", "Operating points")
    choose(app, "evaluation_way", "As stored in the run")
    choose(app, "evaluation_point", question)
    app.number_input(key=f"evaluation_prevalence_{question}").set_value(2.5).run()
    codes, ill, _ = QUESTIONS[question]
    threshold = said.fitted["operating_points"][question]["threshold"]
    assert shown_tiles(app) == operating_tiles(said, question, threshold, 0.025)
    assert in_a_thousand(said, question, threshold, 0.025) in texts(app)
    here = Said(run, "calibration").table["dx"].isin(codes).mean()  # where the probabilities were fitted
    odds = threshold / (1 - threshold) * (0.025 / 0.975) / (here / (1 - here))
    assert (
        f"Where 2.5 % of lesions are {ill}, what it calls {percent(threshold)} means {percent(odds / (1 + odds))}."
        in texts(app)
    )
    app.number_input(key=f"evaluation_prevalence_{question}").set_value(None).run()


@pytest.mark.parametrize("question", QUESTIONS)
def test_another_threshold(question: str, app: AppTest, run: Run) -> None:
    """Who would be found or missed in addition; the threshold for a sensitivity comes from calibration images."""
    said = turn_to(app, run, "test", "Operating points")
    choose(app, "evaluation_point", question)
    codes, ill, well = QUESTIONS[question]
    stored = said.fitted["operating_points"][question]["threshold"]
    positive, scores = said.table["dx"].isin(codes).to_numpy(), said.score(codes)
    known = Said(run, "calibration")
    chosen_on = f" Chosen on {known.table['dx'].isin(codes).sum()} {ill} among the calibration images."
    for way, key, value, threshold, origin in (
        ("By hand", f"evaluation_threshold_{question}", 45.5, 0.455, ""),
        ("For another sensitivity", f"evaluation_target_{question}", 97, promised(known, codes, 0.97), chosen_on),
    ):
        choose(app, "evaluation_way", way)
        app.slider(key=key).set_value(value).run()
        captions = [caption.value for caption in app.caption]
        assert f"Flagged from a probability of **{percent(threshold)}** on.{origin}" in captions
        assert shown_tiles(app) == operating_tiles(said, question, threshold)
        assert in_a_thousand(said, question, threshold, positive.mean()) in texts(app)
        before, after = scores >= stored, scores >= threshold
        changed = (before != after).sum()
        assert changed > 1
        assert f"**Against the stored threshold of {percent(stored)}, {changed} images change sides.**" in texts(app)
        kinds = [
            ((positive & after & ~before).sum(), f"{ill} newly found"),
            ((positive & ~after & before).sum(), f"{ill} newly missed"),
            ((~positive & after & ~before).sum(), f"{well} newly flagged"),
            ((~positive & ~after & before).sum(), f"{well} no longer flagged"),
        ]
        (picker,) = [group for group in app.get("button_group") if group.label == "Images that change sides"]
        assert picker.options == [f"{number} {words}" for number, words in kinds if number]
    choose(app, "evaluation_way", "As stored in the run")


# ---- subgroups ----------------------------------------------------------------------------------


def groups_of(run: Run) -> dict[str, dict[str, Said]]:
    """Each kind of group -> group -> what was said of its test images."""
    said = Said(run, "test")
    images = pd.read_csv(run.folder / "images.csv")
    people = said.table[["image_id"]].merge(patients(run), on="image_id").merge(images, on="image_id")
    found: dict[str, dict[str, Said]] = {}
    for by in KINDS:
        values = people[by]
        if by in BANDS:
            edges, names, right = BANDS[by]
            values = pd.cut(values, edges, right=right, labels=names).astype(object)
        values = values.replace({"unknown": np.nan, "": np.nan})
        found[by] = {group: said.rows((values == group).to_numpy()) for group in values.dropna().unique()}
    return found


def measured(said: Said, measure: str) -> Figure:
    if measure == "balanced_accuracy":
        return said.balanced_accuracy()
    return said.sensitivities()["mel"] if measure == "melanoma_sensitivity" else error_of(said)


def error_of(said: Said) -> Figure:
    return said.calibration_error(*said.statements(said.p)[""])


def gaps_of(groups: dict[str, dict[str, Said]], measure: str) -> dict[str, list[dict[str, Any]]]:
    """Each kind of group -> every pair of groups that can be compared."""
    found: dict[str, list[dict[str, Any]]] = {}
    for by, of_kind in groups.items():
        for one, other in combinations(of_kind, 2):
            pair = {name: of_kind[name] for name in (one, other)}
            if min(len(said.table) for said in pair.values()) < 20:
                continue
            counts = {name: said.table["dx"].value_counts() for name, said in pair.items()}
            on = tuple(code for code in CODES if all(count.get(code, 0) >= 10 for count in counts.values()))
            if measure == "balanced_accuracy":
                n = {name: sum(count.get(code, 0) for code in on) for name, count in counts.items()}
                enough, figure = 20, lambda said, on=on: said.balanced_accuracy(on)
            elif measure == "melanoma_sensitivity":
                n = {name: count.get("mel", 0) for name, count in counts.items()}
                enough, figure = 20, lambda said: said.sensitivities()["mel"]
            else:
                n = {name: len(said.table) for name, said in pair.items()}
                enough, figure = 100, error_of
            if min(n.values()) < enough:
                continue
            values = {name: figure(said) for name, said in pair.items()}
            low, high = sorted(values, key=lambda name: values[name][0])
            better, worse = (low, high) if measure == "ece" else (high, low)
            gap = values[high][0] - values[low][0]
            down = np.hypot(values[high][0] - values[high][1], values[low][2] - values[low][0])
            up = np.hypot(values[high][2] - values[high][0], values[low][0] - values[low][1])
            words = f"better for {better} ({n[better]} images) than for {worse} ({n[worse]})".replace("_", " ")
            if measure == "balanced_accuracy":
                words += ", compared on " + ", ".join(NAMES[code][0].lower() + NAMES[code][1:] for code in on)
            entry = {"gap": gap, "down": down, "up": up, "words": words, "measure": measure, "by": by}
            found.setdefault(by, []).append(entry)
    pairs = sum(len(entries) for entries in found.values())
    for entry in (entry for entries in found.values() for entry in entries):
        entry["clear"] = entry["gap"] > norm.ppf(1 - 0.025 / pairs) / norm.ppf(0.975) * entry["down"]
        entry["pairs"] = pairs
    return found


def largest(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The largest gap that chance does not explain, else the largest; several where they are equal."""
    clear = [gap for gap in entries if gap["clear"]] or entries
    return [gap for gap in clear if gap["gap"] > max(other["gap"] for other in clear) - 1e-9]


def in_words(gap: dict[str, Any]) -> str:
    points, low, high = (round(100 * v) for v in (gap["gap"], gap["gap"] - gap["down"], gap["gap"] + gap["up"]))
    chance = f"among {gap['pairs']} pairs of groups, chance alone could make one this large"
    verdict = "chance does not explain it" if gap["clear"] else chance
    return (
        f"{MEASURES[gap['measure']]} by {KINDS[gap['by']]}: {points} point{'' if points == 1 else 's'} "
        f"(95 % interval {low} to {high}) {gap['words']}; {verdict}."
    )


def test_subgroups(app: AppTest, run: Run) -> None:
    """Whether it is as good for everybody."""
    turn_to(app, run, "test", "Subgroups")
    groups, none = groups_of(run), "No two groups hold enough images to compare."
    gaps = {measure: gaps_of(groups, measure) for measure in MEASURES}
    all_gaps = [entry for of_kind in gaps.values() for entries in of_kind.values() for entry in entries]
    (of_all,) = largest(all_gaps)
    of_people = largest([gap for gap in all_gaps if gap["by"] != "dx_type"])
    assert of_all["clear"] and of_all not in of_people and not of_people[0]["clear"], "both verdicts must occur"
    assert any(gap["gap"] > gap["down"] and not gap["clear"] for gap in all_gaps), "and one that many pairs explain"
    assert f"**The largest gap.** {in_words(of_all)}" in texts(app)
    patients_alone = "**The largest one between groups of patients.**"
    assert any(f"{patients_alone} {in_words(gap)}" in texts(app) for gap in of_people)
    for by, of_kind in groups.items():
        picker = next(group for group in app.get("button_group") if group.label == "Groups by")
        picker.set_value(by)
        for measure in MEASURES:
            choose(app, "evaluation_measure", measure)
            entries = gaps[measure].get(by)
            expected = [f"**Largest gap here.** {in_words(gap)}" for gap in largest(entries)] if entries else [none]
            assert any(words in texts(app) for words in expected), (by, measure)
            dots = [trace for trace in chart(app, f"groups_{by}_{measure}") if trace.get("error_x")]
            shown = {trace["customdata"][0][3]: trace for trace in dots}
            known = {group: measured(said, measure) for group, said in of_kind.items()}
            known = {group: figure for group, figure in known.items() if not np.isnan(figure[0])}
            assert set(shown) == set(known)
            for group, figure in known.items():
                same(shown[group]["x"], [figure[0]])
                same(error_bars(shown[group], "x"), [figure[1:]])
        (table,) = [frame.value for frame in app.dataframe]
        assert set(table["Group"]) == {group.replace("_", " ") for group in of_kind}
        for group, said in of_kind.items():
            row = table[table["Group"] == group.replace("_", " ")].iloc[0]
            melanomas = (said.table["dx"] == "mel").sum()
            balanced, found, error = (measured(said, measure) for measure in MEASURES)
            assert (row["Images"], row["Diagnoses"]) == (len(said.table), said.table["dx"].nunique())
            assert row["Balanced accuracy"] == f"{percent(balanced[0], 0)} ({span(balanced)[14:]})"
            words = f"{percent(found[0], 0)} of {melanomas} ({span(found)[14:]})" if melanomas else "no melanoma"
            assert row["Melanoma sensitivity"] == words
            assert row["Calibration error"] == f"{percent(error[0], 0)} ({span(error)[14:]})"
            few = "few images" if len(said.table) < 20 else "few melanomas" if melanomas < 20 else ""
            assert row["Note"] == few


# ---- refusal ------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_refusal(part: str, app: AppTest, run: Run) -> None:
    """How many people would get no answer, and how many of them are ill."""
    said = turn_to(app, run, part, "Refusal")
    limit = said.fitted["refusal"]["threshold"]
    scores = said.table["ood_score"].to_numpy()
    refused = scores > limit
    shown, share = tiles(app), said.share(refused)
    assert refused.any()
    assert shown["Refused"] == (percent(share[0]), span(share), f"n\u00a0=\u00a0{len(scores)}")
    ill = (refused & said.table["dx"].isin(MALIGNANT)).sum()
    assert shown["Malignant among them"][:2] == (f"{ill}", f"of {refused.sum()} refused")
    most = percent(said.fitted["refusal"]["false_refusals"], 0)
    assert f"refuses at most {most} of the calibration images" in texts(app)
    (bars,) = chart(app, "strangeness")
    edges = np.linspace(scores.min(), scores.max(), 41)
    same(bars["x"], [(low + high) / 2 for low, high in pairwise(edges)])
    counts = [((scores >= low) & (scores < high)).sum() for low, high in pairwise(edges)]
    counts[-1] += 1  # the strangest of all ends the last bar
    same(bars["y"], counts)
    keys = [key.removeprefix("refused_") for button in app.button if (key := button.key or "").startswith("refused_")]
    strangest = said.table.sort_values("ood_score", ascending=False)["image_id"].tolist()
    assert keys == [*strangest[: min(12, refused.sum())], "gallery"]
