"""The front matter of a model card: YAML that the Hugging Face hub reads, with the test split's results in it.

Its form: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
"""

from collections.abc import Mapping
from typing import Any

import yaml

from core.evaluation.card_texts import TAGS, Kind

HEADLINES = {  # name in metrics.json -> the hub's name for it, the name for people
    "balanced_accuracy": ("balanced_accuracy", "Balanced accuracy"),
    "macro_auc": ("roc_auc", "Macro AUC, one diagnosis against the rest"),
    "accuracy": ("accuracy", "Accuracy"),
    "melanoma_sensitivity": ("recall", "Sensitivity for melanoma"),
}
CALIBRATIONS = {
    "ece": ("expected_calibration_error", "Expected calibration error"),
    "brier": ("brier_score", "Brier score"),
    "nll": ("log_loss", "Negative log-likelihood"),
}


def front_matter(kind: Kind, run_id: str, synthetic: bool, test: Mapping[str, Any]) -> str:
    """The YAML between the card's first two rules.

    Args:
        kind: what the run learned from.
        run_id: its id.
        synthetic: whether the images are drawn.
        test: figures of the test split; empty while there are none, and then there is no `model-index`.
    """
    calibrated = (test.get("calibration") or {}).get("after") or {}
    measured = [*_results(test, HEADLINES), *_results(calibrated, CALIBRATIONS)]
    content: dict[str, Any] = {"license": kind.license}
    if kind.license_name:
        content["license_name"] = kind.license_name
    content |= {
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "tags": [*TAGS, *(["synthetic-data"] if synthetic else [])],
        "datasets": [kind.dataset],
    }
    if measured:
        result = {
            "task": {"type": "image-classification", "name": "Diagnosis of a skin lesion in a dermatoscopic image"},
            "dataset": {"type": kind.dataset, "name": kind.title, "split": "test"},
            "metrics": measured,
        }
        content["metrics"] = sorted({metric["type"] for metric in measured})
        content["model-index"] = [{"name": f"DermLens {run_id}", "results": [result]}]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def _results(figures: Mapping[str, Any], names: Mapping[str, tuple[str, str]]) -> list[dict[str, Any]]:
    rows = []
    for name, (kind, words) in names.items():
        figure = figures.get(name) or {}
        if figure.get("value") is not None:
            row = {"type": kind, "name": words, "value": figure["value"]}
            if figure.get("low") is not None and figure.get("high") is not None:
                row["args"] = {"interval_95": [figure["low"], figure["high"]]}
            rows.append(row)
    return rows
