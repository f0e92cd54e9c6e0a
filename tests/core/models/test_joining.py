"""An ensemble is trained or joined, says what its members say in the mean, and is served like any run."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.data.columns import METADATA_NAMES
from core.data.ham10000 import index_dataset, load_dataset
from core.data.splits import class_weights
from core.diagnoses import CODES
from core.errors import RunError
from core.evaluation import patient
from core.evaluation.__main__ import evaluate_on
from core.evaluation.examination import examine
from core.evaluation.trust import Trust
from core.models import training
from core.models.joining import check_together, join_finished
from core.models.training import train
from core.predictor import Predictor
from core.publish import write_model
from core.runs.run import CHECKPOINT, EVALUATIONS, MANIFEST, MEMBERS, MODEL, PREDICTIONS, SPLITS, Run
from core.submission import submission

LOGITS, PROBABILITIES = ([f"{what}_{code}" for code in CODES] for what in ("logit", "p"))


@pytest.fixture(scope="module")
def pair_config(tiny_config):
    return dataclasses.replace(tiny_config, ensemble=2, test_views=2, epochs=2, measured_heatmaps=1, patient=True)


@pytest.fixture(scope="module", autouse=True)
def _patients_speak():
    """Seven validation images choose no strength that a test could be built on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patient, "STRENGTHS", np.array([0.7]))
        yield


@pytest.fixture(scope="module")
def pair(pair_config, _patients_speak, tmp_path_factory):
    """An ensemble of two, each of which sees the image upright and turned; age, sex and site speak too."""
    run = Run.create(pair_config, tmp_path_factory.mktemp("pair") / "run")
    train(run)
    return run


@pytest.fixture(scope="module")
def recorded(tiny_data):
    """Paths of some images, and what the data set says of the people in them."""
    images = index_dataset(tiny_data).images.iloc[::9]
    return images["path"].tolist(), patient.patients_of(images)


def test_networks_of_two_ensembles_are_told_apart(tiny_run, tmp_path):
    """Both call their first network "1"."""
    members = []
    for name, split in (("one", "a"), ("other", "b")):
        member = Run(shutil.copytree(tiny_run.folder, tmp_path / name / MEMBERS / "1"))
        member.write_json(MANIFEST, member.manifest() | {"split": {"fingerprint": split}})
        members.append(member)
    with pytest.raises(RunError, match=r"(?s)same split.*one/members/1.*other/members/1"):
        check_together(members)


def test_people_must_be_those_that_each_network_saw(tiny_run, tmp_path):
    members = []
    for name, people in (("blind", None), ("before", "a"), ("corrected", "b")):
        member = Run(shutil.copytree(tiny_run.folder, tmp_path / name))
        manifest = member.manifest()
        member.write_json(MANIFEST, manifest | {"data": manifest["data"] | {"people": people}})
        members.append(member)
    with pytest.raises(RunError, match=r"(?s)same ages, sexes and sites.*before.*corrected"):
        check_together(members)
    with pytest.raises(RunError, match="say the same"):  # nothing but that
        check_together(members[:2])


def test_a_network_begins_with_the_split_of_the_first(tiny_run, tmp_path):
    """An image that somebody excludes while the first one learns must not part them after hours."""
    member = Run.create(tiny_run.config(), tmp_path / "2")
    training._begin_with_split_of(tiny_run, member)
    pd.testing.assert_frame_equal(member.splits(), tiny_run.splits())
    changed = member.splits().iloc[::-1].reset_index(drop=True)
    member.write_csv(SPLITS, changed)
    training._begin_with_split_of(tiny_run, member)
    pd.testing.assert_frame_equal(member.splits(), changed)


def test_two_networks_are_trained_on_one_split_and_averaged(pair):
    one, other = pair.members()
    assert not one.predictions()[LOGITS].equals(other.predictions()[LOGITS]), "each has its own chance"
    pd.testing.assert_frame_equal(one.splits(), other.splits())
    pd.testing.assert_frame_equal(one.splits(), pair.splits())
    mean = (one.predictions()[LOGITS].to_numpy() + other.predictions()[LOGITS].to_numpy()) / 2
    np.testing.assert_allclose(pair.predictions()[LOGITS].to_numpy(), mean, atol=1e-5)
    history = pair.history()
    assert history["phase"].tolist() == ["network 1"] * 2 + ["network 2"] * 2
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert not (pair.folder / MODEL).exists()
    assert not list(pair.folder.rglob(CHECKPOINT)), "what only an unfinished training needs"


def test_the_predictor_says_what_the_figures_were_computed_from(pair, tiny_data):
    predictor, table = Predictor(pair), pair.predictions().set_index("image_id")
    image = next(iter(sorted(tiny_data.rglob("*.jpg"))))
    prediction = predictor.predict(image, next(iter(patient.patients_of(people(tiny_data, image)))))
    row = table.loc[image.stem]
    np.testing.assert_allclose(prediction.logits, row[LOGITS].to_numpy(float), atol=1e-3)
    assert prediction.strangeness == pytest.approx(row["ood_score"], abs=1e-2)
    alone = [Predictor(member) for member in pair.members()]
    each = [network.predict(image).heatmaps for network in alone]
    np.testing.assert_allclose(prediction.heatmaps, np.mean(each, axis=0), atol=1e-4 * np.max(each))
    grad_cam = predictor.explainer.heatmap(predictor_pixels(prediction, predictor.size), "gradcam", 2)
    np.testing.assert_allclose(grad_cam, prediction.heatmaps[2], atol=1e-4 * np.max(each))


def people(folder, path):
    images = index_dataset(folder).images
    return images[images["image_id"] == path.stem]


def predictor_pixels(prediction, size):
    from core.data.images import model_input

    return model_input(prediction.image, size)


def test_age_sex_and_site_go_in_as_recorded_and_leave_the_image_as_it_is(pair, recorded):
    paths, people = recorded
    for run in (pair, pair.members()[0]):
        predictor, table = Predictor(run), run.predictions().set_index("image_id")
        answers, alone = predictor.predict_many(paths, people), predictor.predict_many(paths)
        for path, answer, bare in zip(paths, answers, alone, strict=True):
            row = table.loc[Path(path).stem]
            np.testing.assert_allclose(answer.logits, row[LOGITS].to_numpy(float), atol=1e-3)
            np.testing.assert_allclose(answer.probabilities, row[PROBABILITIES].to_numpy(float), atol=1e-3)
            np.testing.assert_array_equal(bare.logits, bare.image_logits)
            np.testing.assert_allclose(answer.image_logits, bare.logits, atol=1e-6)
            np.testing.assert_allclose(answer.heatmaps, bare.heatmaps, atol=1e-6)
            assert answer.patient_used and not bare.patient_used
            assert answer.to_dict()["patient_used"] is True
        assert max(np.abs(a.logits - b.logits).max() for a, b in zip(answers, alone, strict=True)) > 0.2
        own = Trust.of_images_alone(run.calibration())
        said, expected = bare.probabilities, own.calibration.probabilities(bare.logits[None])[0]
        np.testing.assert_allclose(said, expected, atol=1e-6, err_msg="fitted to what images say alone")
        assert [point.threshold for point in bare.points] == [point["threshold"] for point in own.points.values()]
        assert own.scores != Trust.from_dict(run.calibration()).scores
        with pytest.raises(ValueError, match="one patient, or None"):
            predictor.predict_many(paths, people[1:])


def test_what_age_sex_and_site_won_stands_beside_what_the_image_says_alone(pair):
    figures = pair.metrics()["test"]
    alone = figures["image_alone"]
    won = alone["difference"]["balanced_accuracy"]["value"]
    together = figures["balanced_accuracy"]["value"]
    assert together == pytest.approx(alone["balanced_accuracy"]["value"] + won)
    assert {"balanced_accuracy", "macro_auc", "melanoma_sensitivity"} == set(alone["difference"])
    assert "image_alone" in pair.members()[0].metrics()["validation"]
    assert pair.patient() == pair.members()[0].patient()


def test_a_folder_to_hand_in_and_a_folder_to_evaluate_on_bring_their_people(pair, tiny_data, recorded, tmp_path):
    paths, _ = recorded
    names = [Path(path).stem for path in paths]
    rows = pd.read_csv(tiny_data / METADATA_NAMES[0], dtype=str, keep_default_na=False)
    rows[rows["image_id"].isin(names)].to_csv(tmp_path / METADATA_NAMES[0], index=False)
    for path in paths:
        shutil.copy(path, tmp_path)
    said = pair.predictions().set_index("image_id").loc[sorted(names)]
    handed_in = submission(pair, tmp_path, "calibrated").table
    shown = handed_in[[code.upper() for code in CODES]].to_numpy()
    np.testing.assert_allclose(shown, said[PROBABILITIES].to_numpy(), atol=1e-3)
    evaluate_on(pair, tmp_path)
    (folder,) = (path for path in (pair.folder / EVALUATIONS).iterdir() if path.name.startswith(tmp_path.name))
    evaluated = pd.read_csv(folder / PREDICTIONS).set_index("image_id").loc[sorted(names)]
    np.testing.assert_allclose(evaluated[PROBABILITIES].to_numpy(), said[PROBABILITIES].to_numpy(), atol=1e-3)


def test_a_folder_that_tells_nothing_of_its_people_is_judged_as_images_alone_are(pair, recorded, tmp_path):
    paths, _ = recorded
    labels = pair.predictions().set_index("image_id")["dx"]
    for path in paths:
        shutil.copy(path, tmp_path)
    names = [Path(path).stem for path in paths]
    table = pd.DataFrame({"image_id": names, "dx": labels[names].to_numpy(), "sex": "unknown"})
    table.to_csv(tmp_path / METADATA_NAMES[0], index=False)
    figures = evaluate_on(pair, tmp_path)
    predictor = Predictor(pair)
    bare = predictor.predict_many(paths)
    (folder,) = (path for path in (pair.folder / EVALUATIONS).iterdir() if path.name.startswith(tmp_path.name))
    told = pd.read_csv(folder / PREDICTIONS).set_index("image_id").loc[names, PROBABILITIES]
    np.testing.assert_allclose(told, [answer.probabilities for answer in bare], atol=1e-3)
    assert figures["operating_points"]["melanoma"]["threshold"] == bare[0].points[0].threshold
    unknown = predictor.predict_many(paths, [patient.Patient(None, "unknown", "moon")] * len(paths))
    for answer, same in zip(unknown, bare, strict=True):
        np.testing.assert_array_equal(answer.probabilities, same.probabilities)
        assert answer.points == same.points and not answer.patient_used


def test_a_join_that_was_interrupted_leaves_nothing_that_could_be_gone_on_with(pair, runs_folder, monkeypatch):
    copied, copyfile = [], shutil.copyfile

    def full(source, target, **how):
        copied.append(target)
        if len(copied) > 15:
            raise OSError(28, "No space left on device", str(target))
        return copyfile(source, target, **how)

    monkeypatch.setattr("core.models.joining.shutil.copyfile", full)
    with pytest.raises(RunError, match="No space left on device"):
        join_finished(pair.members())
    assert len(copied) == 16 and list(runs_folder.iterdir()) == []


def test_joined_afterwards_it_is_the_same_run(pair, tmp_path):
    joined = join_finished(pair.members(), tmp_path / "joined")
    pd.testing.assert_frame_equal(joined.predictions(), pair.predictions())
    assert joined.metrics() == pair.metrics()
    assert joined.calibration() == pair.calibration()
    assert joined.manifest()["model_sha256"] == pair.manifest()["model_sha256"]
    assert joined.usable


def test_an_ensemble_that_was_killed_goes_on_with_what_is_trained(pair, pair_config, tmp_path, monkeypatch):
    run = Run.create(pair_config, tmp_path / "run")
    shutil.copytree(pair.members()[0].folder, run.folder / MEMBERS / "1")
    trained = []

    def train_again(member, config, progress):
        """What a training with these settings gives, without the time it takes."""
        trained.append(member.id)
        assert member.config() == config == pair.members()[1].config()
        shutil.copytree(pair.members()[1].folder, member.folder, dirs_exist_ok=True)

    monkeypatch.setattr(training, "_train", train_again)
    train(run)
    assert trained == ["2"], "the first is not trained again"
    pd.testing.assert_frame_equal(run.predictions(), pair.predictions())
    assert run.usable


def test_runs_of_another_split_are_not_joined(pair, tiny_run):
    with pytest.raises(RunError, match="same test_views"):
        join_finished([pair, tiny_run])
    one, other = pair.members()
    other.write_json("manifest.json", other.manifest() | {"split": other.manifest()["split"] | {"fingerprint": "x"}})
    with pytest.raises(RunError, match="same split, or one would be tested on what another was trained on"):
        join_finished([one, other])
    other.write_json("manifest.json", other.manifest() | {"split": one.manifest()["split"]})
    with pytest.raises(RunError, match="two networks or more"):
        join_finished([one])


def test_an_ensemble_is_examined_and_fitted_anew_as_any_run(pair):
    before = pair.calibration()
    examine(pair, again=True)
    assert pair.calibration()["offsets"] == pytest.approx(before["offsets"])
    assert pair.calibration()["refusal"] == before["refusal"]
    assert pair.heatmaps()["n"] == 1
    assert "An ensemble of 2 networks" in pair.model_card()


def test_what_is_published_answers_without_the_runs_folder(pair, tmp_path, tiny_data):
    write_model(pair, tmp_path / "model")
    image = next(iter(sorted(tiny_data.rglob("*.jpg"))))
    published = Predictor(Run(tmp_path / "model"))
    np.testing.assert_allclose(published.predict(image).logits, Predictor(pair).predict(image).logits, atol=1e-5)


def test_an_ensemble_teaches_one_network_with_its_split_and_no_other(pair, pair_config, tmp_path, monkeypatch):
    config = dataclasses.replace(pair_config, ensemble=1, teacher=str(pair.folder))
    monkeypatch.setenv("DERMLENS_ENGINE", "tensorflow")  # no conversion
    taught = Run.create(config, tmp_path / "taught")
    train(taught)
    assert not taught.members()
    alone = pair.members()[0]
    assert not taught.predictions()[LOGITS].equals(alone.predictions()[LOGITS]), "of the same chance, but for it"
    with pytest.raises(RunError, match="same split, or it would tell what the test part holds"):
        training._taught(taught, config, taught.splits().assign(split="train"), None)


def test_a_teacher_is_as_balanced_as_the_labels(pair, pair_config):
    """Class weights lift the labels alone, so that what is imitated is lifted too; an adjustment lifts the student."""
    member, splits = pair.members()[0], pair.splits()
    dataset = load_dataset(Path(pair_config.data_dir))
    settings = {"teacher": str(pair.folder), "ensemble": 1}
    weighted = dataclasses.replace(pair_config, class_weights=True, logit_adjustment=0.0, **settings)
    adjusted = dataclasses.replace(pair_config, class_weights=False, logit_adjustment=1.0, **settings)
    lifted, common = (training._taught(member, config, splits, dataset) for config in (weighted, adjusted))
    np.testing.assert_allclose((lifted - common)[0], np.log(class_weights(splits.query("split == 'train'")["dx"])))


def test_the_same_network_twice_is_no_ensemble(pair, runs_folder):
    member = pair.members()[0]
    with pytest.raises(RunError, match="another --repeat"):
        join_finished([member, member])
    with pytest.raises(RunError, match="another --repeat"):
        join_finished([pair, member])
    assert list(runs_folder.iterdir()) == []


def test_ages_that_changed_since_are_noticed_where_they_speak(pair, tiny_run, pair_config):
    dataset = load_dataset(Path(pair_config.data_dir))
    older = dataclasses.replace(dataset, images=dataset.images.assign(age=dataset.images["age"] + 1))
    data = pair.manifest()["data"]
    assert dataset.is_as_in(data) and not older.is_as_in(data)
    assert older.is_as_in(tiny_run.manifest()["data"]), "a run that sees images alone has no use for them"
    config = dataclasses.replace(pair_config, ensemble=1, teacher=str(pair.folder))
    with pytest.raises(RunError, match="ages, sexes or sites have changed"):
        training._taught(pair.members()[0], config, pair.members()[0].splits(), older)
