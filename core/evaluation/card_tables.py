"""The figures of a run as Markdown: what was measured, and where it was not, that it was not.

Every number is taken from the run's files and rounded; none is computed here but counts of rows.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from core.data.splits import PARTS, torn_lesions
from core.diagnoses import BY_CODE, CODES, FEW

NOT_MEASURED = "Not measured in this run."
NOT_KNOWN = "not known"
PAIRS = 6  # most confused pairs that are shown

Figures = Mapping[str, Any]


def table(header: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """A Markdown table: so many columns of words, on the left, and then numbers, aligned to the right."""
    rule = ["---"] * words + ["---:"] * (len(header) - words)
    lines = [header, rule, *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def number(value: Any) -> str:
    """A figure with its interval if it has one: "0.546 (0.483 to 0.605)"; what is no number is "not known"."""
    if isinstance(value, Mapping):
        middle, low, high = (number(value.get(name)) for name in ("value", "low", "high"))
        return middle if NOT_KNOWN in (middle, low, high) else f"{middle} ({low} to {high})"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return NOT_KNOWN
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.01 else f"{value:.2g}"


def count(value: int, one: str) -> str:
    """ "1 image" or "1,501 images"."""
    return f"{value:,} {one if value == 1 else one + 's'}"


def headline(test: Figures) -> str:
    """The figures that a run is judged by, beside always answering "nevus"."""
    if not test:
        return NOT_MEASURED
    melanoma = test.get("melanoma_sensitivity") or test.get("per_class", {}).get("mel", {}).get("sensitivity")
    melanomas = test.get("per_class", {}).get("mel", {}).get("n")
    rows = [
        ("Balanced accuracy", number(test.get("balanced_accuracy"))),
        ("Macro AUC, one diagnosis against the rest", number(test.get("macro_auc"))),
        (f"Sensitivity for melanoma (n = {number(melanomas)})", number(melanoma)),
        ("Accuracy", number(test.get("accuracy"))),
        ("Accuracy of always answering nevus", number(test.get("always_nevus_accuracy"))),
    ]
    shown = table((f"Test split, n = {number(test.get('n'))}", "value (95 % interval)"), rows)
    accuracy = (test.get("accuracy") or {}).get("value")
    nevus = test.get("always_nevus_accuracy")
    if accuracy is not None and nevus is not None and accuracy < nevus:
        shown += (
            "\n\nPlain accuracy lies *below* always answering nevus: nevi are traded for the rare diagnoses, "
            "which is why balanced accuracy is the headline."
        )
    return shown


def per_diagnosis(test: Figures) -> str:
    """Sensitivity and the like of each diagnosis."""
    if not test.get("per_class"):
        return NOT_MEASURED
    columns = {"sensitivity": "sensitivity", "specificity": "specificity", "precision": "precision", "f1": "F1"}
    rows = []
    for code, figures in test["per_class"].items():
        few = " (few)" if (figures.get("n") or 0) < FEW else ""
        cells = [number(figures.get(name)) for name in ("n", *columns, "auc")]
        rows.append((f"{BY_CODE[code].name} (`{code}`){few}", *cells))
    return table(("Diagnosis", "n", *columns.values(), "AUC"), rows)


def calibration(test: Figures, fitted: Figures) -> str:
    """Before and after calibration, on the test split."""
    both = test.get("calibration") or {}
    temperature = fitted.get("temperature")
    lines = []
    if temperature is not None:
        lines.append(f"Temperature {number(float(temperature))}, fitted on the calibration split alone.")
    if fitted.get("offsets"):
        offsets = ", ".join(f"{code} {number(float(fitted['offsets'][code]))}" for code in fitted["offsets"])
        lines.append(f"Taken from the logits after that, for the balance of diagnoses in the training: {offsets}.")
    if not both.get("before") or not both.get("after"):
        return " ".join([*lines, "How much that helped: not measured in this run."])
    names = {
        "ece": "Expected calibration error (ECE)",
        "brier": "Brier score",
        "nll": "Negative log-likelihood",
        "melanoma_ece": "ECE of the melanoma probability",
    }
    rows = [(words, number(both["before"].get(name)), number(both["after"].get(name))) for name, words in names.items()]
    return " ".join(lines) + "\n\n" + table(("Test split", "before", "after"), rows)


def prediction_sets(test: Figures) -> str:
    """How often a set held the truth, and how large it was."""
    sets = test.get("prediction_sets")
    if not sets:
        return NOT_MEASURED
    rows: list[Sequence[str]] = [
        ("All", number(test.get("n")), "", number(sets.get("coverage")), number(sets.get("mean_size")), "")
    ]
    for code, figures in (sets.get("per_class") or {}).items():
        cells = (number(figures.get(name)) for name in ("n", "n_calibration", "coverage", "mean_size"))
        promised = "yes" if figures.get("promised") else "no: too few calibration cases"
        rows.append((BY_CODE[code].name, *cells, promised))
    sizes = ", ".join(f"{size}: {number(n)}" for size, n in enumerate(sets.get("sizes") or []))
    return "\n\n".join(
        [
            f"Class-conditional conformal sets that are to hold the truth in {number(sets.get('level'))} of each "
            "diagnosis.",
            table(("Diagnosis", "n", "n in calibration", "held the truth", "mean size", "promised"), rows),
            f"Images by size of their set: {sizes}.",
        ]
    )


def operating_points(test: Figures) -> str:
    """What thresholds that were chosen on the calibration split did on the test split."""
    points = test.get("operating_points")
    if not points:
        return NOT_MEASURED
    names = {
        "target_sensitivity": "sensitivity aimed at",
        "threshold": "threshold on the probability",
        "n": "n",
        "n_positive": "positives among them",
        "prevalence": "prevalence",
        "sensitivity": "sensitivity",
        "specificity": "specificity",
        "ppv": "PPV at that prevalence",
        "npv": "NPV at that prevalence",
        "auc": "AUC",
        "average_precision": "average precision",
    }
    header = [f"{name} ({', '.join(point.get('positives', ()))})" for name, point in points.items()]
    rows = [(words, *(number(point.get(name)) for point in points.values())) for name, words in names.items()]
    return table(("Test split; threshold chosen on the calibration split", *header), rows)


def refusal(test: Figures, fitted: Figures) -> str:
    """How many of the test images would get no answer."""
    measured = test.get("refusal")
    if not measured:
        return NOT_MEASURED
    rule = fitted.get("refusal") or {}
    return (
        f"An image is refused as no dermatoscopic image when its out-of-distribution score is over "
        f"{number(rule.get('threshold'))}, set so that at most {number(rule.get('false_refusals'))} of the "
        "calibration images are, and at most one and a half times as many of them as another camera would see them. "
        f"Of the {count(measured.get('n', 0), 'test image')}, {number(measured.get('refused'))} would be refused."
    )


def failures(test: Figures) -> str:
    """The most confused pairs and the melanomas missed, from the confusion matrix."""
    if not test.get("confusion"):
        return NOT_MEASURED
    codes, counts = test["confusion"]["labels"], test["confusion"]["counts"]
    wrong = [(counts[i][j], i, j) for i in range(len(codes)) for j in range(len(codes)) if i != j and counts[i][j] > 0]
    if not wrong:
        return "Every test image was named correctly. That is to be expected of drawn images only."
    rows = [
        (BY_CODE[codes[i]].name, BY_CODE[codes[j]].name, number(n), number(sum(counts[i])))
        for n, i, j in sorted(wrong, key=lambda entry: (-entry[0], entry[1:]))[:PAIRS]
    ]
    shown = "Most confused pairs of the test split:\n\n" + table(("Truth", "answer", "images", "of"), rows, words=2)
    row = counts[codes.index("mel")]
    missed = {code: n for code, n in zip(codes, row, strict=True) if code != "mel" and n}
    if not sum(row):
        return shown + "\n\nThere is no melanoma among the test images."
    taken = ", ".join(f"{BY_CODE[code].name} {n}" for code, n in sorted(missed.items(), key=lambda item: -item[1]))
    named = f" They were taken for: {taken}." if missed else ""
    return (
        f"{shown}\n\n**Melanomas missed: {number(sum(missed.values()))} of {number(sum(row))}** "
        f"(the answer was another diagnosis).{named}"
    )


def split_table(splits: pd.DataFrame) -> str:
    """Images of each diagnosis, and lesions, in each part."""
    if splits.empty:
        return NOT_MEASURED
    parts = [*PARTS, *sorted(set(splits["split"]) - set(PARTS))]
    rows = []
    for code in CODES:
        of_it = splits[splits["dx"] == code]
        cells = [number(int((of_it["split"] == part).sum())) for part in parts]
        rows.append((f"{BY_CODE[code].name} (`{code}`)", *cells, number(len(of_it))))
    total = [number(int((splits["split"] == part).sum())) for part in parts]
    lesions = [number(int(splits.loc[splits["split"] == part, "lesion_id"].nunique())) for part in parts]
    rows += [
        ("**Images**", *total, number(len(splits))),
        ("**Lesions**", *lesions, number(int(splits["lesion_id"].nunique()))),
    ]
    return table(("Images", *parts, "all"), rows)


def leaks(splits: pd.DataFrame) -> int | None:
    """How many lesions stand in more than one part; excluded images stand in none."""
    if splits.empty:
        return None
    return len(torn_lesions(splits))
