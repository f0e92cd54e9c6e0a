"""The model card of a run: what it is for, what it was made of, how well it does, where it fails, and its limits.

Mitchell et al., "Model Cards for Model Reporting", FAT* 2019. What a run lacks is said
to be not measured; no number is made up.
"""

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd

from core.config import TrainConfig
from core.diagnoses import DIAGNOSES, FEW, notices
from core.evaluation import card_examination as examined
from core.evaluation import card_tables as tables
from core.evaluation import card_texts as texts
from core.evaluation.card_front_matter import front_matter
from core.evaluation.checklists import CLAIM, CLEAR_DERM, Item
from core.runs.files import read_json
from core.runs.history import after_cut
from core.runs.run import CONFIG, IMAGES, NEAR_DUPLICATES, SUSPICIOUS_LABELS, Run

RECIPE = ("Network", "Augmentation", "Optimisation")  # groups of settings that say how it was trained


def model_card(run: Run) -> str:
    """The card of a run, in Markdown with Hugging Face front matter.

    Args:
        run: finished, or on its way: what it does not hold yet is said to be not measured.

    Raises:
        RunError: a file of the run cannot be read.
    """
    facts = _Facts.of(run)
    front = front_matter(facts.kind, run.id, run.synthetic, facts.test)
    return f"---\n{front}---\n\n" + "\n\n".join(_sections(facts)) + "\n"


@dataclasses.dataclass(frozen=True, eq=False)
class _Facts:
    """Everything that a card is written from, read once."""

    run: Run
    manifest: dict[str, Any]
    settings: dict[str, Any]
    splits: pd.DataFrame
    kind: texts.Kind
    metrics: dict[str, Any]
    fitted: dict[str, Any]
    subgroups: dict[str, Any]
    heatmaps: dict[str, Any]
    evaluations: dict[str, dict[str, Any]]
    audited: dict[str, pd.DataFrame | None]

    @classmethod
    def of(cls, run: Run) -> "_Facts":
        splits = run.splits()
        found = {
            NEAR_DUPLICATES: run.near_duplicates,
            SUSPICIOUS_LABELS: run.suspicious_labels,
            IMAGES: run.images,
        }
        return cls(
            run,
            run.manifest(),
            read_json(run.folder / CONFIG),  # as it was asked: no setting that came later is added
            splits,
            texts.kind_of(run.synthetic, splits["image_id"]),
            run.metrics(),
            run.calibration(),
            run.subgroups(),
            run.heatmaps(),
            run.evaluations(),
            {name: read() if (run.folder / name).is_file() else None for name, read in found.items()},
        )

    @property
    def test(self) -> dict[str, Any]:
        return self.metrics.get("test", {})

    @property
    def measured(self) -> set[str]:
        there = {
            "calibration": self.test.get("calibration"),
            "subgroups": self.subgroups,
            "heatmaps": self.heatmaps,
            "external": self.evaluations,
            "images": self.audited[IMAGES] is not None,
        }
        return {name for name, value in there.items() if value}


# ---- the card ----------------------------------------------------------------------------------


def _sections(facts: _Facts) -> list[str]:
    run, test = facts.run, facts.test
    part = dict(zip(facts.splits["image_id"], facts.splits["split"], strict=True))
    audited = facts.audited
    return [
        f"# DermLens {run.id}",
        texts.FIRST_PARAGRAPH,
        *(f"> **{notice}**" for notice in notices(run.synthetic)),
        "## Summary",
        _summary(facts),
        "## Intended use",
        texts.intended_use(run.synthetic),
        "## Data",
        facts.kind.data,
        *_data(facts),
        "## Training",
        *_training(facts),
        "## Results",
        texts.RESULTS,
        tables.headline(test),
        "### Each diagnosis",
        tables.per_diagnosis(test),
        "### Calibration",
        tables.calibration(test, facts.fitted),
        "### Prediction sets",
        tables.prediction_sets(test),
        "### Operating points",
        tables.operating_points(test),
        "### Refusal",
        tables.refusal(test, facts.fitted),
        "### Subgroups",
        examined.subgroups(facts.subgroups),
        "### Heatmaps",
        examined.heatmaps(facts.heatmaps),
        "### Audit of the data",
        examined.audit(audited[NEAR_DUPLICATES], audited[SUSPICIOUS_LABELS], audited[IMAGES], part),
        "### Images from elsewhere",
        examined.external(facts.evaluations),
        "## Failures",
        tables.failures(test),
        "## Limits",
        _limits(facts),
        "## Licence",
        facts.kind.licence,
        "## How to use it",
        texts.how_to_use(run.id),
        "## Provenance",
        _provenance(facts),
        "## Checklists",
        texts.CHECKLISTS,
        "### CLAIM, update of 2024",
        _checklist(CLAIM, facts),
        "### CLEAR Derm",
        _checklist(CLEAR_DERM, facts),
        "## Citation",
        facts.kind.citation,
    ]


def _summary(facts: _Facts) -> str:
    data, test = facts.manifest.get("data", {}), facts.test
    lines = []
    state = facts.run.status().state
    if state != "finished":
        lines.append(f"**This run is {state}: its card is not complete.**")
    if data:
        counted = f"{tables.count(data['images'], 'image')} of {tables.count(data['lesions'], 'lesion')}"
        lines.append(f"{facts.kind.title}: {counted}, split by lesion into training, validation, calibration and test.")
    lines.append(f"`{facts.settings.get('backbone')}`, trained from `{facts.settings.get('train_from')}`.")
    if test:
        lines.append(
            f"Balanced accuracy on the {tables.count(test.get('n', 0), 'test image')}: "
            f"{tables.number(test.get('balanced_accuracy'))}; "
            f"macro AUC {tables.number(test.get('macro_auc'))}; intervals are 95 %."
        )
        lines.append(texts.conclusion(facts.run.synthetic))
    else:
        lines.append(f"How well it does: {tables.NOT_MEASURED.lower()}")
    return " ".join(lines)


def _data(facts: _Facts) -> list[str]:
    data, split = facts.manifest.get("data", {}), facts.manifest.get("split", {})
    left_out = data.get("left_out") or {}
    lines = [
        "Diagnoses of each part:",
        tables.split_table(facts.splits),
        texts.SPLIT.format(
            validation=(texts.CHOOSES_NO_EPOCH if facts.settings.get("average_last") else texts.CHOOSES)
            + (texts.CHOOSES_STRENGTH if facts.run.patient() else "")
        ),
        f"Lesions that stand in more than one part: {tables.number(tables.leaks(facts.splits))}.",
    ]
    if left_out:
        named = "; ".join(f"{len(names):,} {problem}" for problem, names in left_out.items())
        lines.append(f"Left out as unusable: {named}.")
    else:
        lines.append("Left out as unusable: nothing." if data else "What was left out: not known yet.")
    lines.append(texts.MISSING_VALUES_OF_PEOPLE if facts.run.patient() else texts.MISSING_VALUES)
    if split.get("leakage"):
        rows = [
            (
                "all" if row["code"] == "all" else f"`{row['code']}`",
                tables.number(row["n"]),
                tables.number(row["leaked"]),
            )
            for row in split["leakage"]
        ]
        header = ("Leakage that the split by lesion prevents", "n", "share")
        lines += [texts.LEAKAGE, tables.table(header, rows)]
    lines.append(
        f"Fingerprint of the data: `{data.get('fingerprint', tables.NOT_KNOWN)}`  \n"
        f"Fingerprint of the split: `{split.get('fingerprint', tables.NOT_KNOWN)}`"
    )
    return lines


def _training(facts: _Facts) -> list[str]:
    size = facts.manifest.get("image_size")
    history = after_cut(facts.run.history())
    configs = [one.config() for one in facts.run.members() or [facts.run]]
    before_cut = sorted({config.epochs_before_cut for config in configs})
    whole = f"{_in_words(before_cut)} of the whole network" if any(before_cut) else ""
    told = facts.settings if whole else {**facts.settings, "whole_epochs": None, "whole_learning_rate": None}
    rows = []
    for setting in dataclasses.fields(TrainConfig):
        value = told.get(setting.name)
        if value is not None and (setting.metadata["group"] in RECIPE or setting.name == "seed"):
            shown = Path(value).name if setting.name in ("weights", "teacher") else value  # a path is nobody's business
            rows.append((f"`{setting.name}`", str(shown)))
    lines = [
        texts.training(
            f"{size} x {size}" if size else "the network's",
            max(1, len(facts.run.members())),
            facts.manifest.get("test_views", 1),
            any(config.adapt_norm for config in configs),
            whole,
        ),
        tables.table(("Setting", "value"), rows, words=2),
    ]
    history = history.dropna(subset=["epoch", "val_balanced_accuracy"])
    if facts.run.members():
        lines.append("Selection: none among the members; what each of them keeps of its epochs, its own settings say.")
    elif not history.empty:
        best = int(history["val_balanced_accuracy"].to_numpy(float).argmax())
        averaged = facts.settings.get("average_last")
        later = f" after the {whole}" if whole else ""
        kept = (
            f"the mean of the weights after each of the last {averaged}."
            if averaged
            else "the best by balanced accuracy of the validation split: epoch "
            f"{int(history['epoch'].iloc[best])}, {tables.number(float(history['val_balanced_accuracy'].iloc[best]))}."
        )
        lines.append(f"Selection: {tables.count(len(history), 'epoch')} run{later}; kept was {kept}")
    return lines


def _in_words(epochs: list[int]) -> str:
    """One number of epochs, or those of several networks."""
    return tables.count(epochs[0], "epoch") if len(epochs) == 1 else f"{' or '.join(map(str, epochs))} epochs"


def _limits(facts: _Facts) -> str:
    sees = texts.SEES_THE_PERSON if facts.run.patient() else texts.SEES_THE_IMAGE
    lines = [*facts.kind.limits, *texts.LIMITS, sees]
    won = facts.test.get("image_alone", {}).get("difference", {})
    if won:
        lines[-1] += (
            f" On the test split they changed balanced accuracy by {tables.number(won['balanced_accuracy'])} and macro "
            f"AUC by {tables.number(won['macro_auc'])}."
        )
    each = facts.test.get("per_class", {})
    few = [f"{item.name.lower()} ({each[item.code]['n']})" for item in DIAGNOSES if item.code in each and
           (each[item.code].get("n") or 0) < FEW]  # fmt: skip
    if few:
        lines.append(f"**Few cases.** The test split holds fewer than {FEW} images of: {', '.join(few)}.")
    return "\n".join(f"- {line}" for line in lines)


def _provenance(facts: _Facts) -> str:
    manifest = facts.manifest
    rows = [
        ("Run", f"`{facts.run.id}`"),
        ("Begun", manifest.get("created")),
        ("Seconds", manifest.get("seconds")),
        ("DermLens, git commit", manifest.get("git_commit")),
        ("SHA-256 of `model.keras`", manifest.get("model_sha256")),
        ("Schema of the run folder", manifest.get("schema_version")),
        *((f"{name}", version) for name, version in manifest.get("packages", {}).items()),
    ]
    shown = [(what, tables.NOT_KNOWN if it is None else str(it)) for what, it in rows]
    return tables.table(("What", "which"), shown, words=2)


def _checklist(items: tuple[Item, ...], facts: _Facts) -> str:
    rows = [(f"{item.number}", item.part, item.topic, item.answer(facts.measured, facts.kind)) for item in items]
    return tables.table(("Item", "part", "topic", "where it is answered"), rows, words=4)
