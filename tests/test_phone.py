"""The page on the phone: opened once, it answers without a network as the run does, and nothing leaves it."""

import functools
import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from core.data.augment import turned, turned_back
from core.data.images import model_input, read_image
from core.errors import RunError
from core.export import FLOAT16, ONNX
from core.models.classifier import load_model
from core.models.keras_network import KerasNetwork
from core.phone import LANGUAGES, PAGE, RIGHT_TO_LEFT, TEXTS, write_phone
from core.predictor import Predictor
from core.runs.run import MODEL
from dashboard.clinic import texts

PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
READY = "body[data-state]:not([data-state=phone_loading])"


@pytest.fixture(scope="module")
def predictor(module_run):
    return Predictor(module_run)


@pytest.fixture(scope="module")
def keras_answer(module_run):
    """The Keras model itself."""
    return KerasNetwork(load_model(module_run.folder / MODEL), module_run.manifest()["gradcam_layer"]).answer


@pytest.fixture(scope="module")
def folder(exported_run, module_run, tmp_path_factory) -> Path:
    """The page's folder; it refuses nothing, as `module_run`."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm: the page's runtime is fetched by it")

    def copied(run, folder, data_dir=None, images=None):
        shutil.copytree(exported_run, folder, dirs_exist_ok=True)
        about = json.loads((folder / "model.json").read_text())
        about["refusal"]["threshold"] = 1e9
        (folder / "model.json").write_text(json.dumps(about))
        return about

    out = tmp_path_factory.mktemp("phone") / "page"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.phone.fill_export", copied)
        write_phone(module_run, out)
    return out


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves without a word, and remembers what was asked for."""

    asked: list[str] = []

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        Quiet.asked.append(self.path)
        super().do_GET()


@pytest.fixture(scope="module")
def page(folder, browser) -> Iterator:
    """The page at a phone's size, after its server is gone and the network is cut."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    context = browser.new_context(**PHONE, locale="en-GB", service_workers="allow")
    page = context.new_page()
    page.faults, page.elsewhere = [], []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    address = f"http://127.0.0.1:{server.server_port}/"
    page.on(
        "request",
        lambda request: None if request.url.startswith((address, "blob:")) else page.elsewhere.append(request.url),
    )
    page.goto(f"{address}phone.css")
    page.evaluate("caches.open('of another page')")
    page.goto(address)
    page.wait_for_selector(READY)
    assert "without a network" in page.inner_text("#state")
    server.shutdown()
    server.server_close()
    context.set_offline(True)
    page.reload()
    page.wait_for_selector(READY)
    assert "without a network" in page.inner_text("#state")
    yield page
    assert page.faults == [] and page.elsewhere == []
    context.close()


def given(page, path: Path) -> dict:
    """What the page says of an image file."""
    before = int(page.get_attribute("body", "data-answers"))
    page.set_input_files("#file", path)
    page.wait_for_selector(f"body[data-answers='{before + 1}']")
    return page.evaluate(
        "() => { const {said, levels, milliseconds, cells} = dermlens.shown; return {...said, milliseconds, cells,"
        " heatmaps: said.heatmaps.map((map) => Array.from(map)), levels: Array.from(levels)} }"
    )


def as_png(path: Path, tmp_path: Path, size: tuple[int, int] | None = None) -> Path:
    image = Image.fromarray(read_image(path))
    image = image.resize(size) if size else image
    image.save(tmp_path / "image.png")
    return tmp_path / "image.png"


def test_an_answer_without_a_network_is_the_keras_models(page, predictor, keras_answer, tiny_data, tmp_path):
    for path in sorted(tiny_data.rglob("*.jpg"))[:3]:
        png = as_png(path, tmp_path)
        said, expected = given(page, png), predictor.predict(png)
        logits, maps, _ = keras_answer(model_input(read_image(png), 224)[None])
        probabilities = predictor.trust.calibration.probabilities(logits)[0]
        np.testing.assert_allclose(said["probabilities"], probabilities, atol=1e-3)
        np.testing.assert_allclose(np.reshape(said["heatmaps"], maps[0].shape), maps[0], atol=0.02 * maps.max())
        assert said["code"] == expected.code and said["mostProbable"] == expected.most_probable
        assert said["set"]["codes"] == list(expected.prediction_set.codes)
        assert [point["flagged"] for point in said["points"]] == [point.flagged for point in expected.points]
        assert said["strangeness"] == pytest.approx(expected.strangeness, abs=0.1)
        assert said["milliseconds"] < 2000
        shown = page.locator(".bar").all()
        assert [bar.get_attribute("data-code") for bar in shown] == [one.code for one, _ in expected.ranked()]
        malignant = {one.code for one, _ in expected.ranked() if one.malignant}
        assert {bar.get_attribute("data-code") for bar in shown if "▲" in bar.inner_text()} == malignant
    assert "synthetic images" in page.inner_text("#notices") and "not a medical device" in page.inner_text("#notices")


@pytest.mark.parametrize("size", [(224, 224), (448, 448), (600, 450), (301, 777), (150, 200), (64, 64)])
def test_a_browser_resizes_as_training_did(page, size, tiny_data, tmp_path):
    png = as_png(next(tiny_data.rglob("*.jpg")), tmp_path, size)
    levels = np.array(given(page, png)["levels"])
    apart = np.abs(levels - model_input(read_image(png), 224).ravel().astype(int))
    assert apart.max() <= 1 and (apart > 0).mean() < 0.005


def test_views_are_turned_and_turned_back_as_elsewhere(page):
    square = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    js = (
        "async ([name, count, view]) => {"
        " const pixels = await import('./pixels.js');"
        " return Array.from(pixels[name]([...Array(count).keys()], 4, view)) }"
    )
    for view in range(8):
        assert page.evaluate(js, ["turned", 48, view]) == turned(square, view).ravel().tolist()
        back = turned_back(np.arange(16).reshape(4, 4), view).ravel().tolist()
        assert page.evaluate(js, ["turnedBack", 16, view]) == back


def test_any_heatmap_is_shown_as_strongly_as_wished(page, tiny_data):
    path = next(tiny_data.rglob("*.jpg"))
    said = given(page, path)
    warmest = max(range(7), key=lambda index: max(said["heatmaps"][index]))
    code = page.evaluate("(index) => dermlens.network.model.classes[index]", warmest)
    page.click(f".bar[data-code={code}]")
    assert page.get_attribute(f".bar[data-code={code}]", "aria-pressed") == "true"
    assert page.inner_text(f".bar[data-code={code}]").splitlines()[0].split(" ▲")[0] in page.inner_text("#evidence")
    hot = (
        "() => { const {width, height} = heat;"
        " return heat.getContext('2d').getImageData(0, 0, width, height).data.some((level) => level) }"
    )
    assert page.evaluate(hot) and page.locator("#heat").bounding_box() == page.locator("#image").bounding_box()
    page.fill("#opacity", "20")
    assert page.evaluate("() => document.getElementById('heat').style.opacity") == "0.2"


def test_nothing_is_wider_than_the_phone_in_any_language(page, tiny_data):
    given(page, next(tiny_data.rglob("*.jpg")))
    for language in LANGUAGES:
        page.select_option("#language", language)
        direction = "rtl" if language in RIGHT_TO_LEFT else "ltr"
        assert page.get_attribute("html", "dir") == direction and page.get_attribute("html", "lang") == language
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390, language
        assert texts.text("research_notice", language) in page.inner_text("#notices")
        assert texts.text("name_nv", language) in page.inner_text("#bars")
        assert "{" not in page.inner_text("body")
    page.evaluate("() => window.scrollTo(0, 9999)")
    assert page.locator("#notices").bounding_box()["y"] >= 0, "the notice stays in sight"
    page.select_option("#language", "en")


def test_what_cannot_be_assessed_gets_no_bars_unless_somebody_insists(page, tmp_path):
    cv2.imwrite(str(tmp_path / "plain.png"), np.full((300, 400, 3), 90, np.uint8))
    assert given(page, tmp_path / "plain.png")["refusals"] == ["empty"]
    assert page.locator(".bar:visible").count() == 0 and "No diagnosis" in page.inner_text("#answer")
    page.click("#insist")
    assert page.locator(".bar:visible").count() == 7 and "do not hold" in page.inner_text("#answer")


def test_a_strange_image_is_refused(page, tiny_data):
    limit = "(limit) => { dermlens.network.model.refusal.threshold = limit }"
    page.evaluate(limit, -1e9)
    said = given(page, next(tiny_data.rglob("*.jpg")))
    page.evaluate(limit, 1e9)
    assert said["refusals"] == ["not_dermatoscopy"] and page.locator(".bar:visible").count() == 0


def test_what_is_no_image_is_said_to_be_none(page, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    page.set_input_files("#file", tmp_path / "bad.png")
    page.wait_for_selector("#answer [role=alert]:has-text('cannot be assessed')")
    assert page.locator("#heatmap").is_hidden()


def test_a_phone_without_memory_does_not_blame_the_picture(page, tiny_data):
    page.evaluate(
        "() => { dermlens.whole = dermlens.network.run; dermlens.network.run = () => Promise.reject('full'); }"
    )
    page.set_input_files("#file", next(tiny_data.rglob("*.jpg")))
    page.wait_for_selector("#answer [role=alert]:has-text('could not compute')")
    page.evaluate("() => { dermlens.network.run = dermlens.whole; }")
    assert page.is_enabled("#file")


def test_what_another_page_of_the_server_keeps_is_left_alone(page):
    assert page.evaluate("caches.has('of another page')")


def test_the_page_can_be_installed_and_keeps_only_what_it_needs(folder):
    manifest = json.loads((folder / "manifest.webmanifest").read_text())
    assert manifest["display"] == "standalone" and {icon["sizes"] for icon in manifest["icons"]} == {
        "192x192",
        "512x512",
    }
    for icon in manifest["icons"]:
        with Image.open(folder / icon["src"]) as image:
            assert f"{image.width}x{image.height}" == icon["sizes"]
    kept = re.search(r"const FILES = (\[.*\]);", (folder / "sw.js").read_text())
    assert kept is not None
    names = set(json.loads(kept[1]))
    assert {"./", "app.js", "page.json", f"model/{FLOAT16}"} <= names
    assert f"model/{ONNX}" not in names and not any(name.endswith(".wasm") for name in names)
    assert all((folder / name).exists() for name in names)
    assert "{{" not in (folder / "sw.js").read_text() + (folder / "index.html").read_text()


def test_the_page_asks_for_texts_that_it_has_and_has_none_that_it_does_not_ask_for():
    source = "".join((PAGE / name).read_text() for name in ("app.js", "pixels.js", "index.html", "answer.js"))
    written = set(re.findall(r"""['"]([a-z_]+)['"]""", source))
    made = re.compile("(name|sentence|kind|point)_")
    assert {key for key in TEXTS if not made.match(key)} <= written | {"language"}
    asked = set(re.findall(r"""say\('([a-z_]+)'""", source)) | set(re.findall(r'data-text="([a-z_]+)"', source))
    assert len(asked) > 20 and asked <= set(TEXTS)
    assert tuple(texts.LANGUAGES) == LANGUAGES and texts.RIGHT_TO_LEFT == RIGHT_TO_LEFT


@pytest.mark.parametrize("broken", ["absent", "failing"])
def test_npm_that_is_away_is_named(broken, module_run, tmp_path, monkeypatch):
    def npm(*_: object, **__: object) -> subprocess.CompletedProcess:
        if broken == "absent":
            raise FileNotFoundError(2, "No such file or directory")
        return subprocess.CompletedProcess([], 1, "", "npm error network getaddrinfo ENOTFOUND\n")

    monkeypatch.setattr("core.phone.subprocess.run", npm)
    with pytest.raises(RunError, match="Install Node.js" if broken == "absent" else "ENOTFOUND.*registry"):
        write_phone(module_run, tmp_path / "out")
    assert not list(tmp_path.iterdir())
