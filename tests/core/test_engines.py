"""OpenVINO and TensorFlow give the same answers; the first without loading the second."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from core.data.images import model_input, read_image
from core.engines import (
    ANSWER,
    MADE_OF,
    SLOPES,
    THREADS,
    OpenVinoNetwork,
    chosen_engine,
    compiled_network,
    openvino_files,
)
from core.errors import ConfigError
from core.places import PROJECT
from core.predictor import Predictor
from core.predictor import main as predictor_main
from core.runs.run import MODEL, OPENVINO


@pytest.fixture(scope="module")
def paths(tiny_data):
    return sorted((tiny_data).rglob("*.jpg"))[:10]


@pytest.fixture(scope="module")
def both(module_run):
    return Predictor(module_run, "openvino"), Predictor(module_run, "tensorflow")


def test_both_engines_answer_alike(both, paths):
    for one, other in zip(*(predictor.predict_many(paths) for predictor in both), strict=True):
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-4)
        np.testing.assert_allclose(one.heatmaps, other.heatmaps, atol=1e-4)
        assert one.strangeness == pytest.approx(other.strangeness, abs=0.05)  # fitted to 46 images: it shakes


@pytest.mark.parametrize(
    ("method", "layer"), [("gradcam", None), ("integrated", None), ("occlusion", None), ("layercam", "block5")]
)
def test_both_engines_explain_alike(both, paths, method, layer):
    pixels = model_input(read_image(paths[0]), both[0].size)
    one, other = (predictor.explainer.heatmap(pixels, method, 4, layer) for predictor in both)
    assert other.max() > 0
    # slopes jump where an activation is cut off, so that a last digit of the way there is seen
    np.testing.assert_allclose(one, other, atol=0.02 * other.max())
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.9999


def test_an_answer_and_its_usual_heatmaps_need_no_tensorflow(module_run, paths):
    program = f"""
import sys
from core.predictor import Predictor
from core.runs.run import Run
from core.data.images import model_input, read_image
predictor = Predictor(Run({str(module_run.folder)!r}))
predictor.predict({str(paths[0])!r}).overlay()
pixels = model_input(read_image({str(paths[0])!r}), predictor.size)
predictor.explainer.faithfulness(pixels, predictor.explainer.heatmaps(pixels, ("gradcam", "integrated"), 0), 0)
sys.exit("tensorflow" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True)


def test_threads_do_not_mix_their_images(both, paths):
    alone = [both[0].predict(path).logits for path in paths]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda index: both[0].predict(paths[index % 10]).logits, range(40)))
    for index, logits in enumerate(together):
        np.testing.assert_allclose(logits, alone[index % 10], atol=1e-5)


def test_openvino_takes_as_many_cores_as_tensorflow_is_told_to(module_run, monkeypatch):
    file = str(openvino_files(module_run) / ANSWER)
    monkeypatch.setenv(THREADS, "1")
    assert compiled_network(file).get_property("INFERENCE_NUM_THREADS") == 1


def test_files_of_another_model_are_made_anew(served_run, paths):
    expected = Predictor(served_run).predict(paths[0]).logits
    served_run.write_json(f"{OPENVINO}/{MADE_OF}", {"model_sha256": "of another model"})
    (served_run.folder / OPENVINO / SLOPES).unlink()
    again = Predictor(served_run)
    assert (served_run.folder / OPENVINO / SLOPES).is_file()
    np.testing.assert_allclose(again.predict(paths[0]).logits, expected, atol=1e-5)


def test_a_run_without_files_that_cannot_get_them_answers_with_tensorflow(served_run, paths, monkeypatch):
    shutil.rmtree(served_run.folder / OPENVINO)
    (served_run.folder / OPENVINO).write_text("a file where the folder should be")
    predictor = Predictor(served_run)
    assert not isinstance(predictor._network, OpenVinoNetwork)
    assert predictor.predict(paths[0]).probabilities.sum() == pytest.approx(1)
    assert not list(served_run.folder.glob(f".{OPENVINO}.*/")), "a half-made folder was left"
    assert (served_run.folder / MODEL).is_file()


def test_the_engine_is_chosen_by_a_variable(served_run, paths, monkeypatch):
    monkeypatch.setenv("DERMLENS_ENGINE", "tensorflow")
    assert not isinstance(Predictor(served_run)._network, OpenVinoNetwork)
    monkeypatch.setenv("DERMLENS_ENGINE", "abacus")
    with pytest.raises(ConfigError, match="Received: 'abacus'"):
        chosen_engine()


def test_the_option_is_the_variable_for_this_command_and_those_that_it_starts(monkeypatch, capsys, served_run, paths):
    monkeypatch.setenv("DERMLENS_ENGINE", "openvino")
    assert predictor_main(["--engine", "tensorflow", "--run", str(served_run.folder), str(paths[0])]) == 0
    assert os.environ["DERMLENS_ENGINE"] == chosen_engine() == "tensorflow"
    with pytest.raises(SystemExit):
        predictor_main(["--engine", "abacus", str(paths[0])])
    assert "invalid choice: 'abacus'" in capsys.readouterr().err


def test_an_engine_that_is_asked_for_and_not_installed_is_a_sentence(monkeypatch):
    monkeypatch.setenv("DERMLENS_ENGINE", "openvino")
    monkeypatch.setattr("core.engines.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="--engine tensorflow"):
        chosen_engine()


def test_a_gradient_that_openvino_does_not_know_fails_as_the_conversion_expects():
    """OpenVINO's own exceptions are no RuntimeErrors: a network with swish must lose its slopes, not its training."""
    import tensorflow as tf

    from core.models.openvino_conversion import FAILURES, converted

    @tf.function(input_signature=[tf.TensorSpec((1, 4, 4, 8), tf.float32)])
    def slope(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.nn.depthwise_conv2d(tf.sigmoid(x), tf.ones((3, 3, 8, 1)), [1, 1, 1, 1], "VALID")
        return tape.gradient(y, x)

    with pytest.raises(FAILURES):
        converted(slope)
