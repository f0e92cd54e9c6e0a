"""What the examination of a run found, and what other images say of it, as Markdown for its model card."""

from collections import Counter
from collections.abc import Mapping

import pandas as pd

from core.data.splits import apart
from core.evaluation.card_tables import NOT_KNOWN, NOT_MEASURED, Figures, count, number, table
from core.evaluation.groups import NAMES
from core.evaluation.subgroups import MEASURES, gap_in_words
from core.explain.methods import METHODS

CONTROLS = {"random": "Random map", "gaussian": "Centred Gaussian"}


def subgroups(figures: Figures) -> str:
    """Figures of each group of the test split, and the largest gap in words."""
    if not figures.get("groups"):
        return NOT_MEASURED
    rows = []
    for by, groups in figures["groups"].items():
        for name, group in groups.items():
            melanoma = group.get("melanoma_sensitivity") or {}
            few = " (few)" if group.get("few") else ""
            cells = [number(group.get("n")), number(melanoma.get("n")), *(number(group.get(key)) for key in MEASURES)]
            rows.append((NAMES.get(by, by), f"{str(name).replace('_', ' ')}{few}", *cells))
    header = ("By", "group", "n", "melanomas", *(words.lower() for words in MEASURES.values()))
    gaps = {
        "Largest gap": figures.get("largest_gap"),
        "Largest gap between groups of patients": figures.get("largest_patient_gap"),
    }
    lines = [f"**{title}.** {gap_in_words(gap)}" for title, gap in gaps.items() if gap]
    if not lines:
        lines = ["No two groups have enough images to be compared."]
    return "\n\n".join([*lines, table(header, rows, words=2), str(figures.get("proxy", ""))]).strip()


def heatmaps(figures: Figures) -> str:
    """How faithful each method is, beside two maps that know nothing of the image."""
    if not figures.get("methods"):
        return NOT_MEASURED
    header = (
        "Map", "deletion", "insertion", "better than both controls in both", "pointing", "energy",
        "head randomised", "top randomised",
    )  # fmt: skip
    randomised = figures.get("randomised") or {}
    rows = []
    for name, of_it in {**figures["methods"], **(figures.get("controls") or {})}.items():
        control = name not in figures["methods"]
        known = METHODS.get(name)
        title = f"{CONTROLS.get(name, name)} (control)" if control else known.title if known else name
        default = " (shown by default)" if name == figures.get("default") else ""
        beats = ((of_it.get("beats") or {}).get("both") or {}).get("both")
        after = [(randomised.get(stage) or {}).get(of_it.get("equal_to", name)) for stage in ("head", "top")]
        cells = [
            of_it.get("deletion"),
            of_it.get("insertion"),
            beats,
            of_it.get("pointing"),
            of_it.get("energy"),
            *after,
        ]
        rows.append((f"{title}{default}", *("" if cell is None else number(cell) for cell in cells)))
    lesion = figures.get("lesion") or {}
    comparison = (
        f"For comparison, where there are masks: the lesion takes up {number(lesion.get('area'))} of what the model "
        f"sees, and holds its centre in {number(lesion.get('centre'))}."
    )
    lines = [
        f"Measured on {count(figures.get('n', 0), 'test image')}, of which {number(figures.get('masks'))} have a mask "
        "of their lesion.",
        table(header, rows),
        *([comparison] if figures.get("masks") else []),
        *figures.get("how", ()),
    ]
    return "\n\n".join(lines)


def audit(duplicates: pd.DataFrame | None, labels: pd.DataFrame | None, images: pd.DataFrame | None, part: dict) -> str:
    """How many images somebody should look at.

    Args:
        duplicates: image_id, other_id; None where it was not measured, and so for the others.
        labels: suspicion, 0 to 1.
        images: problems, as codes parted by spaces.
        part: image_id -> part of the split.
    """
    rows = []
    if duplicates is not None:
        across = int(apart(duplicates["image_id"].map(part), duplicates["other_id"].map(part)).sum())
        rows += [
            ("Pairs of near-duplicates", number(len(duplicates))),
            ("of them in two parts of the split", number(across)),
        ]
    else:
        rows.append(("Pairs of near-duplicates", NOT_KNOWN))
    wrong = None if labels is None else int((labels["suspicion"] > 0.5).sum())
    rows.append(("Labels that are more probably wrong than right", number(wrong)))
    if images is None:
        return table(("Found", "n"), [*rows, ("Images of poor quality", NOT_KNOWN)])
    problems = [str(codes).split() for codes in images["problems"].fillna("")]
    rows.append(("Images of poor quality", number(sum(map(bool, problems)))))
    each = Counter(code for codes in problems for code in codes)
    rows += [(f"of them: {code.replace('_', ' ')}", number(n)) for code, n in each.most_common()]
    return table(("Found", "n"), rows)


def external(evaluations: Mapping[str, Figures]) -> str:
    """How the run does on images from elsewhere."""
    if not evaluations:
        return NOT_MEASURED
    rows = []
    for name, stored in evaluations.items():
        figures, data = stored.get("metrics", {}), stored.get("data", {})
        known = number(data.get("known_to_the_run"))
        cells = [number(figures.get(key)) for key in ("balanced_accuracy", "macro_auc", "accuracy")]
        rows.append((name, number(figures.get("n")), known, *cells))
    return table(("Data", "n", "known to the run", "balanced accuracy", "macro AUC", "accuracy"), rows)
