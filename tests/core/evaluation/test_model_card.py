"""The model card: every number in it is the run's, and what the run lacks is said, not made up."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from huggingface_hub import ModelCard

from core.config import TrainConfig
from core.data.splits import PARTS
from core.diagnoses import BY_CODE, CODES, RESEARCH_NOTICE, SYNTHETIC_NOTICE
from core.evaluation.card_tables import NOT_MEASURED, number
from core.evaluation.card_texts import HAM10000, OTHER
from core.evaluation.checklists import CLAIM, CLEAR_DERM, NOT_ANSWERED
from core.evaluation.model_card import model_card
from core.evaluation.subgroups import gap_in_words, subgroup_figures
from core.runs.history import WHOLE_NETWORK
from core.runs.run import Run
from core.runs.status import Status

DECIMAL = re.compile(r"(?<![\w.])-?\d+\.\d+(?:e-\d+)?(?![\w.])")
CONFUSION = np.diag([60, 600, 30, 20, 70, 10, 15])
CONFUSION[0, 1], CONFUSION[0, 4], CONFUSION[1, 0] = 31, 9, 123


class Dice:
    """Figures that no code could come by but by reading them."""

    def __init__(self) -> None:
        self.generator = np.random.default_rng(7)

    def number(self) -> float:
        return float(self.generator.uniform(0.02, 0.98))

    def figure(self) -> dict[str, float]:
        return {"value": self.number(), "low": self.number(), "high": self.number()}

    def figures(self, *names: str) -> dict[str, Any]:
        return {name: self.figure() for name in names}


def old_figures(dice: Dice) -> dict[str, Any]:
    """One split of metrics.json as the first DermLens wrote it."""
    counts = ("sensitivity", "specificity", "precision", "f1", "auc")
    return {
        "n": int(CONFUSION.sum()),
        **dice.figures("balanced_accuracy", "accuracy", "macro_auc"),
        "always_nevus_accuracy": 0.999,
        "per_class": {
            code: {"n": int(row.sum()), **{name: dice.number() for name in counts}}
            for code, row in zip(CODES, CONFUSION, strict=True)
        },
        "confusion": {"labels": list(CODES), "counts": CONFUSION.tolist()},
    }


def new_figures(dice: Dice) -> dict[str, Any]:
    """What this DermLens adds to them."""
    point = ("sensitivity", "specificity", "ppv", "npv", "auc", "average_precision")
    return {
        "melanoma_sensitivity": {"n": 100, **dice.figure()},
        "calibration": {
            when: {**dice.figures("ece", "brier", "nll", "melanoma_ece"), "reliability": [{"low": 0.0, "n": 3}]}
            for when in ("before", "after")
        },
        "prediction_sets": {
            "level": dice.number(),
            "coverage": dice.figure(),
            "mean_size": 1.0 + dice.number(),
            "sizes": [1, 700, 201, 40, 20, 5, 1, 0],
            "per_class": {
                code: {
                    "n": 44,
                    "n_calibration": 12 if code == "df" else 33,
                    "promised": code != "df",
                    "coverage": dice.figure(),
                    "mean_size": 1.0 + dice.number(),
                }
                for code in CODES
            },
        },
        "operating_points": {
            name: {
                "positives": positives,
                "target_sensitivity": dice.number(),
                "threshold": dice.number(),
                "n": 968,
                "n_positive": 171,
                "prevalence": dice.number(),
                **dice.figures(*point),
            }
            for name, positives in {"melanoma": ["mel"], "malignant": ["mel", "bcc", "akiec"]}.items()
        },
        "refusal": {"n": 968, "refused": dice.figure()},
    }


def splits(prefix: str) -> pd.DataFrame:
    """Eight images of each diagnosis, two of each lesion, in four parts."""
    rows = [
        (f"{prefix}{24306 + 8 * index + image:07d}", f"L{index}_{image // 2}", code, PARTS[image // 2])
        for index, code in enumerate(CODES)
        for image in range(8)
    ]
    return pd.DataFrame(rows, columns=["image_id", "lesion_id", "dx", "split"])


def old_run(folder: Path, prefix: str = "ISIC_", synthetic: bool = False) -> Run:
    """A run with the files of the first DermLens only."""
    dice = Dice()
    run = Run.create(TrainConfig(data_dir="/home/somebody/secret/images"), folder)
    run.write_json(
        "manifest.json",
        {
            "schema_version": 1,
            "created": "2026-11-24T12:59:47+00:00",
            "image_size": 224,
            "data": {
                "folder": "/home/somebody/secret/images",
                "fingerprint": "da7a" * 16,
                "images": 56,
                "lesions": 28,
                "synthetic": synthetic,
                "left_out": {"missing images": ["one", "two"]},
            },
            "split": {
                "fingerprint": "59117" * 12,
                "leakage": [{"code": code, "n": 8, "leaked": dice.number()} for code in ("all", *CODES)],
            },
            "packages": {"python": "3.11.7", "keras": "3.15.1"},
            "git_commit": None,
            "model_sha256": "0de1" * 16,
        },
    )
    run.write_csv("splits.csv", splits(prefix))
    history = pd.DataFrame({"phase": "training", "epoch": [1, 2, 3], "val_balanced_accuracy": [0.311, 0.522, 0.433]})
    run.write_csv("history.csv", history)
    run.write_json("metrics.json", {part: old_figures(dice) for part in PARTS[1:]})
    run.write_json("calibration.json", {"temperature": 1.0 + dice.number(), "heatmap_scale": 0.3})
    run.write_status(Status(state="finished"))
    return run


def groups(dice: Dice) -> dict[str, Any]:
    """subgroups.json of images of two sexes and two ways of confirmation."""
    images = 600
    table = pd.DataFrame(
        {
            "dx": dice.generator.choice(CODES[:3], images),
            "predicted": dice.generator.choice(CODES[:3], images),
            "sex": np.where(np.arange(images) < 590, np.where(np.arange(images) % 2, "male", "female"), "other"),
            "dx_type": np.where(np.arange(images) % 3, "histo", "follow_up"),
        }
    )
    table.loc[table["sex"] == "male", "predicted"] = table["dx"]
    probabilities = dice.generator.dirichlet(np.ones(len(CODES)), images)
    return subgroup_figures(table, probabilities, np.arange(images).astype(str), 7)


def heatmaps(dice: Dice) -> dict[str, Any]:
    """heatmaps.json of two methods, one of them equal to the other."""
    measures = ("deletion", "insertion", "pointing", "energy")
    grad_cam = {**dice.figures(*measures), "beats": {"both": dice.figures("both")}}
    return {
        "n": 200,
        "masks": 150,
        "default": "gradcam",
        "methods": {"gradcam": grad_cam, "hirescam": grad_cam | {"equal_to": "gradcam"}},
        "controls": {name: dice.figures(*measures) for name in ("random", "gaussian")},
        "lesion": dice.figures("area", "centre"),
        "randomised": {stage: dice.figures("gradcam") for stage in ("head", "top")},
        "how": ["Deletion is explained here."],
    }


def full_run(folder: Path) -> Run:
    """A run that has everything."""
    run, dice = old_run(folder), Dice()
    dice.generator = np.random.default_rng(8)
    metrics = run.metrics()
    metrics["test"] |= new_figures(dice)
    run.write_json("metrics.json", metrics)
    offsets = {code: dice.number() for code in CODES}
    refusal = {"threshold": 100 * dice.number(), "false_refusals": 0.05}
    run.write_json("calibration.json", run.calibration() | {"offsets": offsets, "refusal": refusal})
    data = {"folder": "/home/somebody/secret/clinic", "known_to_the_run": 3}
    run.write_json("evaluations/clinic-0a1b/metrics.json", {"data": data, "metrics": old_figures(dice)})
    run.write_json("subgroups.json", groups(dice))
    run.write_json("heatmaps.json", heatmaps(dice))
    names = run.splits()["image_id"]
    problems = ["blurred dark", "", "blurred", *[""] * 53]
    run.write_csv("images.csv", pd.DataFrame({"image_id": names, "problems": problems, "ita": 30.0}))
    pairs = {"image_id": [names[0], names[0]], "other_id": [names[1], names[7]], "similarity": 0.99}
    run.write_csv("near_duplicates.csv", pd.DataFrame(pairs))
    dx = run.splits()["dx"]
    labels = {"image_id": names, "dx": dx, "suggested": "nv", "suspicion": np.where(dx == "nv", 0.1, 0.6)}
    run.write_csv("suspicious_labels.csv", pd.DataFrame(labels))
    return run


def section(card: str, name: str) -> str:
    """The text below a heading, up to the next of any level."""
    return re.split(r"^#+ ", re.split(rf"^#+ {re.escape(name)}\n", card, flags=re.M)[1], flags=re.M)[0]


def headings(card: str) -> set[str]:
    return set(re.findall(r"^#+ (.+)$", card, flags=re.M))


def between(card: str, first: str, last: str) -> str:
    return card[card.index(f"## {first}\n") : card.index(f"## {last}\n")]


def leaves(content: Any) -> list[float]:
    if isinstance(content, dict):
        return [leaf for value in content.values() for leaf in leaves(value)]
    if isinstance(content, list):
        return [leaf for value in content for leaf in leaves(value)]
    return [content] if isinstance(content, float) else []


def figures(content: Any) -> list[dict[str, float]]:
    """Everything that has an interval."""
    if not isinstance(content, dict):
        return []
    mine = [content] if {"value", "low", "high"} <= content.keys() else []
    return mine + [figure for value in content.values() for figure in figures(value)]


def well_formed(card: str) -> str:
    """The front matter; fails where a figure that is none got through."""
    assert not re.search(r"\b(nan|inf|None|NaN)\b", card)
    assert "secret" not in card and "/home" not in card
    _, front, body = card.split("---\n", 2)
    assert body.startswith("\n# DermLens ")
    return front


def test_a_number_is_rounded_and_never_made_up():
    assert number({"value": 0.54649, "low": 0.4, "high": 0.61251}) == "0.546 (0.400 to 0.613)"
    assert [number(n) for n in (1501, 0.0, 1.0, 0.00042, 1234.5)] == ["1,501", "0.000", "1.000", "0.00042", "1234.500"]
    nothing = (None, float("nan"), float("inf"), {}, True, "0.5", {"value": None, "low": None, "high": None})
    assert {number(it) for it in nothing} == {"not known"}
    assert number({"value": 0.5, "low": None, "high": None}) == "0.500"  # without an interval


def test_the_hub_reads_the_front_matter(tmp_path):
    run = full_run(tmp_path / "run")
    card = model_card(run)
    front = yaml.safe_load(well_formed(card))
    assert front["license"] == "cc-by-nc-4.0" and front["library_name"] == "keras"
    assert front["pipeline_tag"] == "image-classification" and front["datasets"] and front["tags"]
    results = {result.metric_name: result for result in ModelCard(card).data.eval_results}
    test = run.metrics()["test"]
    assert results["Balanced accuracy"].metric_value == test["balanced_accuracy"]["value"]
    assert results["Sensitivity for melanoma"].metric_value == test["melanoma_sensitivity"]["value"]
    assert results["Expected calibration error"].metric_value == test["calibration"]["after"]["ece"]["value"]
    macro = test["macro_auc"]
    assert results["Macro AUC, one diagnosis against the rest"].metric_args["interval_95"] == [
        macro["low"],
        macro["high"],
    ]
    assert {result.dataset_split for result in results.values()} == {"test"}
    assert set(front["metrics"]) == {result.metric_type for result in results.values()}


def test_every_number_is_the_runs_and_every_figure_is_there(tmp_path):
    run = full_run(tmp_path / "run")
    card = model_card(run)
    shown = between(card, "Results", "Limits")
    files = [json.loads(path.read_text()) for path in run.folder.rglob("*.json")]
    known = {number(leaf) for leaf in leaves(files)}
    printed = set(DECIMAL.findall(shown))
    assert len(printed) > 150 and printed <= known, sorted(printed - known)
    for figure in (
        f for content in (run.metrics()["test"], run.subgroups()["groups"], run.heatmaps()) for f in figures(content)
    ):
        assert f"{number(figure['value'])} ({number(figure['low'])} to {number(figure['high'])})" in shown
    for code, row in run.metrics()["test"]["per_class"].items():
        cells = " | ".join(f"{row[name]:.3f}" for name in ("sensitivity", "specificity", "precision", "f1", "auc"))
        assert f"| {row['n']} | {cells} |" in section(card, "Each diagnosis"), code
    assert NOT_MEASURED not in shown
    calibration, points = (run.metrics()["test"][name] for name in ("calibration", "operating_points"))
    before, after = (number(calibration[when]["brier"]) for when in ("before", "after"))
    assert f"| Brier score | {before} | {after} |" in shown
    melanoma, malignant = (number(points[name]["specificity"]) for name in ("melanoma", "malignant"))
    assert f"| specificity | {melanoma} | {malignant} |" in shown
    assert "| malignant (mel, bcc, akiec) |" in section(card, "Operating points")
    assert "lies *below* always answering nevus" in section(card, "Results")
    assert set(DECIMAL.findall(section(card, "Data"))) <= known


def test_subgroups_with_few_images_are_marked_and_the_largest_gap_is_named(tmp_path):
    run = full_run(tmp_path / "run")
    shown = section(model_card(run), "Subgroups")
    assert gap_in_words(run.subgroups()["largest_gap"]) in shown and "by sex" in shown
    assert "| sex | other (few) | 10 | " in shown and "| how the diagnosis was confirmed | follow up | 200 | " in shown
    assert run.subgroups()["proxy"] in shown


def test_heatmaps_stand_beside_maps_that_know_nothing(tmp_path):
    run = full_run(tmp_path / "run")
    shown, measured = section(model_card(run), "Heatmaps"), run.heatmaps()
    assert "200 test images, of which 150 have a mask" in shown and measured["how"][0] in shown
    rows = [line for line in shown.splitlines() if line.startswith("| ")][2:]
    titles = ["Grad-CAM (shown by default)", "HiResCAM", "Random map (control)", "Centred Gaussian (control)"]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == titles
    cells = [cell.strip() for cell in rows[1].strip("|").split("|")][1:]
    grad_cam = measured["methods"]["gradcam"]
    assert cells[:3] == [number(grad_cam[name]) for name in ("deletion", "insertion")] + [
        number(grad_cam["beats"]["both"]["both"])
    ]
    assert cells[-2:] == [number(measured["randomised"][stage]["gradcam"]) for stage in ("head", "top")]


def test_counts_of_the_data_the_audit_and_the_failures(tmp_path):
    card = model_card(full_run(tmp_path / "run"))
    assert "| **Images** | 14 | 14 | 14 | 14 | 56 |" in card
    assert "| **Lesions** | 7 | 7 | 7 | 7 | 28 |" in card
    assert "Lesions that stand in more than one part: 0." in card
    assert "2 missing images" in card and "epoch 2, 0.522" in card

    audit = section(card, "Audit of the data")
    assert "| Pairs of near-duplicates | 2 |" in audit and "| of them in two parts of the split | 1 |" in audit
    assert "| Labels that are more probably wrong than right | 48 |" in audit
    assert "| Images of poor quality | 2 |" in audit
    assert "| of them: blurred | 2 |" in audit and "| of them: dark | 1 |" in audit

    failures = section(card, "Failures")
    rows = [line for line in failures.splitlines() if line.startswith("| ")][2:]
    assert rows[0] == "| Melanocytic nevus | Melanoma | 123 | 723 |"
    assert rows[1] == "| Melanoma | Melanocytic nevus | 31 | 100 |" and len(rows) == 3
    assert "Melanomas missed: 40 of 100" in failures and "Melanocytic nevus 31, Benign keratosis 9" in failures
    assert "Dermatofibroma (`df`) (few)" in card and "dermatofibroma (10), vascular lesion (15)" in section(
        card, "Limits"
    )
    assert "no: too few calibration cases" in section(card, "Prediction sets")


def test_epochs_of_the_whole_network_are_told_apart_and_not_told_where_there_were_none(tmp_path):
    run = full_run(tmp_path / "run")
    settings = {"train_from": "block6", "whole_epochs": 2}
    run.write_json("config.json", run.config().to_dict() | settings)
    run.write_csv("history.csv", run.history().assign(phase=[WHOLE_NETWORK, WHOLE_NETWORK, "training"]))
    told = section(model_card(run), "Training")
    assert "stays as 2 epochs of the whole network left it" in told
    assert "1 epoch run after the 2 epochs of the whole network; kept was the best" in told and "epoch 3, 0.433" in told
    assert "`whole_epochs` | 2" in told
    run.write_json("config.json", run.config().to_dict() | settings | {"train_from": "head"})
    told = section(model_card(run), "Training")
    assert "stays as it was pretrained" in told and "whole_epochs" not in told


def test_a_run_of_the_first_dermlens_says_what_was_not_measured(tmp_path):
    card = model_card(old_run(tmp_path / "run"))
    well_formed(card)
    for name in ("Prediction sets", "Operating points", "Refusal", "Subgroups", "Heatmaps", "Images from elsewhere"):
        assert section(card, name).strip() == NOT_MEASURED, name
    assert "not measured in this run" in section(card, "Calibration")
    assert "| Images of poor quality | not known |" in section(card, "Audit of the data")
    assert "| DermLens, git commit | not known |" in section(card, "Provenance")
    assert "| 31 | Evaluation | Explanations and how they were checked | not answered: " in card
    assert "| 12 | Data | External test set | not answered: " in card


def test_a_run_that_has_not_begun_has_a_card_that_says_so(runs_folder):
    run = Run.create(TrainConfig())
    card = model_card(run)
    front = yaml.safe_load(well_formed(card))
    assert "model-index" not in front and front["license"] == "cc-by-nc-4.0"  # the narrowest, until it is known
    assert "This run is queued" in card and "How well it does: not measured in this run." in card
    assert not DECIMAL.search(section(card, "Results"))


def test_what_could_not_be_computed_is_not_known(tmp_path):
    run = full_run(tmp_path / "run")
    metrics = run.metrics()
    metrics["test"]["per_class"]["vasc"] = {"n": 0} | dict.fromkeys(("sensitivity", "precision", "f1", "auc"))
    metrics["test"]["macro_auc"] = dict.fromkeys(("value", "low", "high"))
    metrics["test"]["operating_points"]["melanoma"]["ppv"] = {"value": float("nan"), "low": None, "high": None}
    run.write_json("metrics.json", metrics)
    card = model_card(run)
    front = yaml.safe_load(well_formed(card))
    names = [metric["name"] for metric in front["model-index"][0]["results"][0]["metrics"]]
    assert "Accuracy" in names and not any("AUC" in name for name in names)
    assert "| Macro AUC, one diagnosis against the rest | not known |" in card
    assert f"| {BY_CODE['vasc'].name} (`vasc`) (few) | 0 | not known |" in card


@pytest.mark.parametrize(
    ("prefix", "synthetic", "licence"),
    [
        ("ISIC_", False, "cc-by-nc-4.0"),
        ("SYN_", True, "apache-2.0"),
        ("CLINIC_", False, "other"),
    ],
)
def test_the_licence_and_the_notices_follow_the_images(tmp_path, prefix, synthetic, licence):
    card = model_card(old_run(tmp_path / "run", prefix, synthetic))
    front = yaml.safe_load(well_formed(card))
    assert front["license"] == licence and ("license_name" in front) == (licence == "other")
    assert RESEARCH_NOTICE in card and (SYNTHETIC_NOTICE in card) == synthetic
    assert ("non-commercial use only" in section(card, "Licence")) == (licence == "cc-by-nc-4.0")
    limits = section(card, "Limits")
    assert ("Light skin" in limits) == (licence == "cc-by-nc-4.0")
    assert ("Drawn images" in limits) == synthetic and ("No patient numbers" in limits) != synthetic


def test_drawn_images_beside_those_of_ham10000_do_not_free_the_weights_of_its_licence(tmp_path):
    card = model_card(old_run(tmp_path / "run", "ISIC_", synthetic=True))
    assert yaml.safe_load(well_formed(card))["license"] == "cc-by-nc-4.0" and SYNTHETIC_NOTICE in card


def test_each_item_of_the_checklists_leads_to_a_section_or_says_why_not(tmp_path):
    assert [item.number for item in CLAIM] == list(range(1, 45))
    assert [item.number for item in CLEAR_DERM] == list(range(1, 26))
    card = model_card(full_run(tmp_path / "run"))
    everything = {"calibration", "subgroups", "heatmaps", "external", "images"}
    for item in (*CLAIM, *CLEAR_DERM):
        assert f"| {item.number} | {item.part} | {item.topic} | " in card
        for measured in (everything, set()):
            answer = item.answer(measured, HAM10000)
            place = re.split(r"[(:;]", answer)[0].strip()
            assert place in headings(card) | {NOT_ANSWERED, "title and first paragraph", "HAM10000's paper"} or (
                place.startswith("`")
            ), item
    answered = sum(not item.answer(everything, HAM10000).startswith(NOT_ANSWERED) for item in (*CLAIM, *CLEAR_DERM))
    assert answered >= 60
    for item in (*CLAIM, *CLEAR_DERM):  # of images that are somebody's own, nothing is claimed that only HAM10000's are
        assert not re.search("HAM10000's paper|retrospective|as the other parts", item.answer(everything, OTHER)), item


def test_the_card_of_a_run_as_it_is_trained_now(served_run, tiny_data, tmp_path, monkeypatch, capsys):
    """And its snippet runs as it stands."""
    card = model_card(served_run)
    front = yaml.safe_load(well_formed(card))
    test = served_run.metrics()["test"]
    assert front["license"] == "apache-2.0" and SYNTHETIC_NOTICE in card
    assert number(test["balanced_accuracy"]) in section(card, "Results")
    files = [json.loads(path.read_text()) for path in served_run.folder.rglob("*.json")]
    known = {number(leaf) for leaf in leaves(files)}
    assert set(DECIMAL.findall(between(card, "Results", "Failures"))) <= known

    shutil.copy(min(tiny_data.glob("images/*.jpg")), tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    exec(re.search(r"```python\n(.+?)```", card, re.S)[1], {})
    assert set(capsys.readouterr().out.split()) & set(CODES)
