"""What is exported answers as the run does, is as small as a phone wants it, and says how far it was checked."""

import json
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest

from core.backbones import BACKBONES
from core.data.images import model_input, read_image
from core.diagnoses import CODES
from core.errors import DatasetError, RunError
from core.export import ABOUT, FLOAT16, INT8, ONNX, STRANGENESS, OnnxNetwork, likeness, main, write_export
from core.models.classifier import answering_pass, build_classifier
from core.models.export_network import OUTPUTS, plain_network
from core.models.export_onnx import write_onnx
from core.models.features import feature_layers
from core.runs.run import MANIFEST, Run


@pytest.fixture(scope="module")
def exported(exported_run):
    """The tiny run's folder for phones, and what it says."""
    return exported_run, json.loads((exported_run / ABOUT).read_text())


@pytest.fixture(scope="module")
def paths(tiny_data):
    return sorted(tiny_data.rglob("*.jpg"))[:4]


def test_every_file_is_checked_on_the_test_split(exported, module_run):
    out, about = exported
    assert {path.name for path in out.iterdir()} == {FLOAT16, INT8, ONNX, ABOUT, STRANGENESS}
    assert about["checked_on"] == (module_run.splits()["split"] == "test").sum()
    for name, agreement, alike, apart, most in (
        (FLOAT16, 0.99, 0.99, 1e-3, 9e6),
        (INT8, 0.9, 0.95, 0.05, 6e6),  # of 10 test images one is a tenth
        (ONNX, 0.99, 0.9999, 1e-4, 15e6),
    ):
        file = about["files"][name]
        assert file["agreement"] >= agreement and file["heatmap_correlation"] >= alike, name
        assert file["probabilities_apart"]["largest"] < apart, name
        assert file["bytes"] == (out / name).stat().st_size <= most, name
        assert file["balanced_accuracy"] == pytest.approx(file["balanced_accuracy_keras"], abs=1 - agreement), name


def test_what_makes_an_answer_of_the_outputs_is_beside_them(exported, tiny_run):
    _, about = exported
    assert about["run"] == tiny_run.id and about["model_sha256"] == tiny_run.manifest()["model_sha256"]
    assert about["classes"] == list(CODES) and about["synthetic"] is True and len(about["notices"]) == 2
    assert about["temperature"] == tiny_run.calibration()["temperature"]
    assert about["refusal"]["threshold"] == tiny_run.calibration()["refusal"]["threshold"]
    assert about["heatmap_scale"] == tiny_run.calibration()["heatmap_scale"]


@pytest.mark.parametrize("settings", [{}, {"hidden_units": 0}, {"head_depths": True}])
def test_a_pass_without_gradients_gives_the_same_heatmaps(settings, tiny_config, paths):
    """For every head that a run can have."""
    keras.utils.set_random_seed(3)
    classifier = build_classifier(replace(tiny_config, **settings))
    for layer in classifier.model.layers[-3:]:  # a head as if it had been trained: nothing about it is 0
        layer.set_weights([np.random.default_rng(5).normal(0, 0.1, each.shape) for each in layer.get_weights()])
    depths = feature_layers(BACKBONES[tiny_config.backbone])
    pixels = np.stack([model_input(read_image(path), 224) for path in paths[:2]])
    expected = answering_pass(classifier.model, classifier.gradcam_layer, depths)(pixels)
    given = plain_network(classifier.model, classifier.gradcam_layer, depths)(pixels.astype(np.float32), training=False)
    for name, output in zip(OUTPUTS, expected, strict=True):
        scale = float(np.abs(output).max())
        assert scale > 0
        np.testing.assert_allclose(given[name] / scale, output / scale, atol=1e-5, err_msg=name)


def test_a_network_that_normalizes_its_pixels_asks_for_nothing_else(tmp_path):
    """EfficientNetB0 does: the exporter took the mean and the variance for inputs of the file."""
    pixels = keras.Input((8, 8, 3), name="pixels")
    normalization = keras.layers.Normalization(mean=[100.0, 110.0, 120.0], variance=[400.0, 500.0, 600.0])
    last = keras.layers.Conv2D(4, 3, activation="relu", name="last")(normalization(pixels))
    logits = keras.layers.Dense(7)(keras.layers.GlobalAveragePooling2D()(last))
    network = plain_network(keras.Model(pixels, logits), "last")
    write_onnx(network, tmp_path / "network.onnx")
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    for name, output in zip(OUTPUTS, OnnxNetwork(tmp_path / "network.onnx").answer(images), strict=True):
        np.testing.assert_allclose(output, network(images.astype(np.float32))[name], rtol=1e-4, atol=1e-5)


def test_another_head_is_refused(tiny_config):
    pixels = keras.Input((32, 32, 3))
    activation = keras.layers.Conv2D(8, 3, activation="relu", name="last")(pixels)
    pooled = keras.layers.GlobalMaxPooling2D()(activation)
    model = keras.Model(pixels, keras.layers.Dense(7)(pooled))
    with pytest.raises(RunError, match="Received: GlobalMaxPooling2D, Dense"):
        plain_network(model, "last")


def test_without_images_it_is_exported_unchecked_and_says_so(exported, module_run, tmp_path, capsys, monkeypatch):
    there = exported[0]  # converted once is enough
    monkeypatch.setattr("core.models.export_onnx.write_onnx", lambda _, path: shutil.copyfile(there / ONNX, path))
    monkeypatch.setattr("core.models.export_tflite.to_tflite", lambda _: (there / FLOAT16).read_bytes())
    run = Run(shutil.copytree(module_run.folder, tmp_path / "published"))
    manifest = run.manifest()
    del manifest["data"]["folder"]
    run.write_json(MANIFEST, manifest)
    assert main(["--run", str(run.folder), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "Not checked" in said and "--data-dir" in said and f"{INT8} was not written" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {FLOAT16, ONNX, ABOUT, STRANGENESS}


def test_a_folder_of_other_images_is_refused(module_run, tiny_data, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "HAM10000_metadata.csv").write_text(
        "lesion_id,image_id,dx,dx_type,age,sex,localization\nL1,nobody,nv,histo,40,male,back\n"
    )
    shutil.copyfile(next(tiny_data.rglob("*.jpg")), other / "nobody.jpg")
    with pytest.raises(DatasetError, match="holds none"):
        write_export(module_run, tmp_path / "out", other)
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_named(module_run, tmp_path, monkeypatch):
    monkeypatch.setattr("core.export.NEEDED", ("ai_edge_litert", "nothing_of_this_name"))
    with pytest.raises(RunError, match="no nothing_of_this_name.*requirements-export"):
        write_export(module_run, tmp_path / "out")


def test_heatmaps_without_anything_in_them_are_like_none():
    hot = np.eye(3)
    assert likeness(hot, hot) == pytest.approx(1) and likeness(hot, 2 - hot) == pytest.approx(-1)
    assert likeness(hot, np.zeros((3, 3))) is None
