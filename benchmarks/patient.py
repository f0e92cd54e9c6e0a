"""What age, sex and body site add to a finished run that sees images alone, without training it again.

    python benchmarks/patient.py RUN [--data-dir DIR]

Fitted on the run's training part, the strength on its validation part, figures of its test part.
"""

import argparse
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from core.data.ham10000 import index_dataset  # noqa: E402
from core.diagnoses import CODES, LOGIT_COLUMNS  # noqa: E402
from core.evaluation.bootstrap import Z, lesion_bootstrap  # noqa: E402
from core.evaluation.calibration import fit_calibration  # noqa: E402
from core.evaluation.comparison import Answers, beside  # noqa: E402
from core.evaluation.metrics import MELANOMA, sensitivity_at_specificity  # noqa: E402
from core.evaluation.patient import Patient, PatientTerm, patients_of  # noqa: E402
from core.evaluation.results import training_weights  # noqa: E402
from core.runs.all_runs import find_run  # noqa: E402

SPECIFICITY = 0.90


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="What age, sex and site add to a run that sees images alone.")
    parser.add_argument("run")
    parser.add_argument("--data-dir", type=Path, help="the run's images, where they have moved")
    options = parser.parse_args()
    run = find_run(options.run)
    folder = options.data_dir or Path(run.manifest()["data"]["folder"])
    splits, table = run.splits(), run.predictions().set_index("image_id")
    logits = table.loc[splits["image_id"], LOGIT_COLUMNS].to_numpy(np.float32)
    people = patients_of(index_dataset(folder).images.set_index("image_id").loc[splits["image_id"]])
    labels, lesions = splits["dx"].map(CODES.index).to_numpy(), splits["lesion_id"].to_numpy()
    rows = {part: np.flatnonzero(splits["split"] == part) for part in ("train", "validation", "calibration", "test")}
    weights, held, test = training_weights(run, splits), rows["calibration"], rows["test"]

    def some(part: str) -> list[Patient]:
        return [people[row] for row in rows[part]]

    term = PatientTerm.fit(some("train"), labels[rows["train"]])
    term = term.with_strength(some("validation"), labels[rows["validation"]], logits[rows["validation"]], weights)
    print(f"strength {term.strength:.2f}, {len(test):,} test images\n")

    def answers(of: np.ndarray) -> Answers:
        fitted = fit_calibration(of[held], labels[held], weights)
        return Answers(fitted.probabilities(of[test]), of[test].argmax(axis=1))

    draws = np.column_stack([np.ones(len(test)), lesion_bootstrap(lesions[test]).weights])
    alone, lines = answers(logits), []
    for age, sex, site in product((True, False), repeat=3):
        if not (age or sex or site):
            continue
        fewer = [
            Patient(one.age if age else None, one.sex if sex else None, one.site if site else None) for one in people
        ]
        together = answers(logits + term.added(fewer))
        won = beside(labels[test], alone, together, lesions[test])["difference"]
        found = beside(labels[test], together, together, lesions[test])
        both = [
            sensitivity_at_specificity(labels[test] == MELANOMA, one.probabilities[:, MELANOMA], SPECIFICITY, draws)
            for one in (alone, together)
        ]
        gain = both[1] - both[0]
        spread = Z * gain[1:].std()
        won["sensitivity_at_0.90"] = {"value": gain[0], "low": gain[0] - spread, "high": gain[0] + spread}
        found["sensitivity_at_0.90"] = {"value": both[1][0]}
        names = [name for name, here in (("age", age), ("sex", sex), ("site", site)) if here]
        line = {"known": " ".join(names)}
        for name in ("balanced_accuracy", "macro_auc", "sensitivity_at_0.90"):
            interval = "{value:+.3f}, {low:+.3f} to {high:+.3f}".format(**won[name])
            line[name] = f"{found[name]['value']:.3f} ({interval})"
        lines.append(line)
    base = beside(labels[test], alone, alone, lesions[test])
    melanomas, scores = labels[test] == MELANOMA, alone.probabilities[:, MELANOMA]
    before = sensitivity_at_specificity(melanomas, scores, SPECIFICITY, draws)[0]
    print(f"image alone: balanced accuracy {base['balanced_accuracy']['value']:.3f}, macro AUC "
          f"{base['macro_auc']['value']:.3f}, melanoma sensitivity at specificity 0.90 {before:.3f}\n")  # fmt: skip
    print(pd.DataFrame(lines).to_string(index=False))


if __name__ == "__main__":
    main()
