"""The clinician's page: an image goes in; seven calibrated confidences and their heatmaps come out.

    python -m dashboard.clinic --port 7860

The layout and its events. The same two functions that people call through the page are open to programs
as `/predict` and `/explain`.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.utils import get_upload_folder

from core import predictor
from core.data.ham10000 import index_dataset
from core.data.images import at_most, read_image
from core.diagnoses import CODES
from core.errors import ConfigError, DermLensError, ImageError, RunNotFoundError
from core.predictor import Prediction
from core.runs.all_runs import served_run
from core.runs.run import Run
from dashboard.clinic import markup
from dashboard.clinic.texts import text

MAX_FILE_SIZE = "32mb"
SHOWN_PIXELS = 1024  # the longer side of what the page draws and a session keeps
KEPT_SECONDS = 1800
VISIBLE = 0.05  # of the colour scale: weaker heat is not seen
CONCURRENT = 2  # images in the model at a time; the others wait in the queue
WAITING = 32
SESSIONS = 200  # whose last image is kept, at most 3 MB each

HERE = Path(__file__).parent
THEME = gr.themes.Base(
    primary_hue="teal",
    secondary_hue="teal",
    neutral_hue="slate",
    radius_size="lg",
    font=("Inter", "Segoe UI", "Roboto", "Helvetica Neue", "Noto Sans", "Liberation Sans", "Arial", "sans-serif"),
).set(
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    slider_color="*primary_600",
)


Upload = dict[str, Any]  # Gradio's FileData: the file as it was sent, not decoded and not converted
Answer = dict[str, str]  # what the answer's HTML holds: its markup, and the code of the chosen diagnosis


# ---- what the page does --------------------------------------------------------------------------


def assess(upload: Upload | None) -> tuple[Prediction | None, Answer, Any, Any]:
    """The prediction for an upload and how it reads, or what is wrong; the notices and the run that belong to it."""
    if upload is None:
        return None, _answer(markup.waiting()), gr.skip(), gr.skip()
    try:
        prediction = _predict(upload)
    except RunNotFoundError:
        problem = markup.no_model()
    except ImageError as error:
        problem = markup.problem(text("problem_title"), str(error), text("problem_next"))
    except DermLensError as error:
        problem = markup.problem(text("broken_model_title"), str(error))
    else:
        shown = dataclasses.replace(prediction, image=at_most(prediction.image, SHOWN_PIXELS))
        if prediction.refused:  # nothing is chosen: choosing one is how somebody insists
            answer = _answer(markup.refusal(prediction))
        else:
            answer = _answer(markup.answer(prediction, prediction.code), prediction.code)
        return shown, answer, markup.notices(prediction.synthetic), markup.provenance(prediction.run_id)
    return None, _answer(problem), gr.skip(), gr.skip()


def show(prediction: Prediction | None, answer: Answer, strength: float) -> tuple[Answer, str, np.ndarray | None]:
    """The heatmap of the chosen diagnosis, without running the model again; none while there is no answer."""
    chosen = answer.get("chosen")
    if prediction is not None and chosen == markup.INSIST:
        chosen = prediction.code
    if prediction is None or chosen not in CODES:
        return answer, markup.evidence(None), None
    strongest = prediction.heatmaps[CODES.index(chosen)].max() / prediction.heatmap_scale
    picture = prediction.overlay(chosen, strength / 100)
    evidence = markup.evidence(chosen, strongest < VISIBLE, prediction.heatmap_beats)
    return _answer(markup.answer(prediction, chosen), chosen), evidence, picture


def refresh() -> tuple[str, str, str, Any]:
    """What depends on the run that is served now: notices, examples, provenance; and whether there is one at all."""
    try:
        run = served_run()
        synthetic = run is not None and run.synthetic
        pictures = [(code, read_image(path)) for code, path in _examples(run)]
    except DermLensError as error:
        broken = _answer(markup.problem(text("broken_model_title"), str(error)))
        return markup.notices(False), "", markup.provenance(None), broken
    if run is None:
        return markup.notices(False), "", markup.provenance(None), _answer(markup.no_model())
    return markup.notices(synthetic), markup.examples(pictures), markup.provenance(run.id), gr.skip()


def take_example(event: gr.EventData) -> np.ndarray | None:
    """The pixels of the example that was chosen."""
    choices = dict(enumerate(_examples(served_run())))
    index = event._data.get("index") if isinstance(event._data, dict) else None
    return read_image(choices[index][1]) if isinstance(index, int) and index in choices else None


# ---- what programs call --------------------------------------------------------------------------


def predict(image: Upload | None, show_anyway: bool = False) -> dict[str, Any]:
    """The seven calibrated probabilities of one dermatoscopic image. For research and education only.

    Args:
        image: a JPEG, PNG, BMP, TIFF or WebP file; it is read as it is, without conversion.
        show_anyway: give the figures of an image that is refused, too; they do not hold.

    Returns:
        diagnosis (code of what the image speaks for most), most_probable (code), probabilities and logits (code ->
        figure), prediction_set, operating_points: all None when refused. refused, reasons and quality (code ->
        sentence), run (which run answered), synthetic (whether it learned from drawn images only) and notice.
    """
    try:
        return _predict(image).to_dict(insist=bool(show_anyway))
    except DermLensError as error:
        raise gr.Error(str(error), print_exception=False) from None


def explain(image: Upload | None, diagnosis: str = "", opacity: float = 0.5, show_anyway: bool = False) -> np.ndarray:
    """The Grad-CAM heatmap of a diagnosis over one dermatoscopic image. For research and education only.

    Args:
        image: a JPEG, PNG, BMP, TIFF or WebP file; it is read as it is, without conversion.
        diagnosis: mel, nv, bcc, akiec, bkl, df or vasc; empty for what the image speaks for most.
        opacity: of the strongest heat, 0 to 1.
        show_anyway: explain an image that is refused, too.

    Returns:
        A PNG of the original's size. What the model did not see is grey and hatched.
    """
    try:
        if diagnosis and diagnosis not in CODES:
            raise ConfigError(text("unknown_diagnosis").format(codes=", ".join(CODES), code=repr(diagnosis)))
        if not isinstance(opacity, (int, float)) or not 0 <= opacity <= 1:
            raise ConfigError(text("bad_opacity").format(opacity=repr(opacity)))
        prediction = _predict(image)
        if prediction.refused and not show_anyway:
            raise ImageError(f"{' '.join(text(code) for code in prediction.refusals)} {text('refused_api')}")
        return prediction.overlay(diagnosis or None, opacity)
    except DermLensError as error:
        raise gr.Error(str(error), print_exception=False) from None


# ---- the layout ----------------------------------------------------------------------------------


def build_page() -> gr.Blocks:
    """The page, with all its events."""
    with gr.Blocks(
        title=text("title"), analytics_enabled=False, fill_width=True, delete_cache=(600, KEPT_SECONDS)
    ) as page:
        gr.HTML(markup.header())
        notices = gr.HTML(markup.notices(False), elem_classes="dl-sticky")
        prediction = gr.State(None, time_to_live=KEPT_SECONDS)
        with gr.Row(elem_classes="dl-columns"):
            with gr.Column(min_width=300, elem_classes="dl-card"):
                gr.HTML(markup.title("image"))
                image = gr.Image(
                    sources=["upload", "clipboard", "webcam"], height=270, buttons=["fullscreen"], show_label=False,
                    placeholder=text("drop"), alt_text=text("image_alt"), elem_id="image", format="png",
                )  # fmt: skip
                button = gr.Button(text("assess"), variant="primary", elem_id="assess")
                examples = gr.HTML("", js_on_load=(HERE / "examples.js").read_text())
            with gr.Column(min_width=300, elem_classes="dl-card"):
                gr.HTML(markup.title("answer"))
                answer = gr.HTML(
                    _answer(markup.waiting()),
                    html_template="${value.html}",
                    js_on_load=(HERE / "answer.js").read_text(),
                    elem_id="answer",
                )
            with gr.Column(min_width=300, elem_classes="dl-card"):
                gr.HTML(markup.title("heatmap"))
                heat = gr.Image(
                    interactive=False, height=270, format="png", buttons=["download", "fullscreen"], show_label=False,
                    alt_text=text("heatmap_alt"), elem_id="heat",
                )  # fmt: skip
                evidence = gr.HTML(markup.evidence(None), elem_id="evidence")
                strength = gr.Slider(0, 100, 50, step=5, label=text("opacity"), elem_id="strength", buttons=[])
                gr.HTML(markup.legend())
        provenance = gr.HTML(markup.provenance(None))

        hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        model: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": CONCURRENT}
        page.load(refresh, None, [notices, examples, provenance, answer], **hidden)
        examples.select(take_example, None, image, **hidden)
        # the upload goes to `assess` as a file: Gradio must not decode it, or the answer depends on the way in
        asked = [image.change, button.click]
        gr.on(asked, None, image, [answer, evidence, heat], js=_clear())
        answered = gr.on(
            asked, assess, image, [prediction, answer, notices, provenance], preprocess=False,
            trigger_mode="always_last", **hidden, **model,
        )  # fmt: skip
        answered.failure(None, None, answer, js=f"() => [{json.dumps(_answer(markup.failed()))}]")
        # one listener draws for all three reasons, so that an older picture never overtakes a newer one
        gr.on(
            [prediction.change, answer.select, strength.change], show, [prediction, answer, strength],
            [answer, evidence, heat], trigger_mode="always_last", concurrency_limit=CONCURRENT, **hidden,
        )  # fmt: skip
        _open_to_programs(model)
    return page.queue(max_size=WAITING, api_open=False)


def _open_to_programs(model: dict[str, Any]) -> None:
    """The endpoints `/predict` and `/explain`."""
    with gr.Row(visible=False):
        image = gr.Image(label="image")
        diagnosis = gr.Textbox("", label="diagnosis")
        opacity = gr.Number(0.5, label="opacity")
        insist = gr.Checkbox(False, label="show_anyway")
        figures = gr.JSON(label="prediction")
        picture = gr.Image(label="overlay", format="png")
        first, second = gr.Button(), gr.Button()
    first.click(predict, [image, insist], figures, api_name="predict", preprocess=False, **model)
    second.click(explain, [image, diagnosis, opacity, insist], picture, api_name="explain", preprocess=False, **model)


def launch(page: gr.Blocks, host: str, port: int) -> str:
    """Serve the page from a background thread.

    Returns:
        Its address.

    Raises:
        OSError: the port is in use.
    """
    return page.launch(
        server_name=host, server_port=port, theme=THEME, css_paths=[HERE / "clinic.css"], max_file_size=MAX_FILE_SIZE,
        run_history=False, footer_links=[], enable_monitoring=False, share=False, show_error=False, ssr_mode=False,
        mcp_server=False, pwa=False, quiet=True, prevent_thread_lock=True,
        inbrowser=False, state_session_capacity=SESSIONS,
    )[1]  # fmt: skip


def _clear() -> str:
    """JavaScript: an old answer must not stand beside a new image, not even when the new one fails."""
    assessing, waiting = json.dumps(_answer(markup.assessing())), json.dumps(_answer(markup.waiting()))
    return f"(image) => [image ? {assessing} : {waiting}, {json.dumps(markup.evidence(None))}, null]"


# ---- pieces --------------------------------------------------------------------------------------


def _answer(html: str, chosen: str = "") -> Answer:
    return {"html": html, "chosen": chosen}


def _predict(upload: Upload | None) -> Prediction:
    return predictor.served_predictor().predict(_file(upload))


def _file(upload: Upload | None) -> Path:
    """The uploaded file; any other file of this computer is refused.

    Raises:
        ImageError: there is none.
    """
    path = Path(str((upload or {}).get("path") or "")).resolve()
    if not path.is_relative_to(Path(get_upload_folder()).resolve()) or not path.is_file():
        raise ImageError(text("not_a_file"))
    return path


def _examples(run: Run | None) -> list[tuple[str, Path]]:
    """Code and file of one drawn test image of each diagnosis; none of a run that learned from patients' images."""
    data = run.manifest().get("data", {}) if run else {}
    if run is None or not data.get("synthetic") or not Path(data.get("folder", "")).is_dir():
        return []
    try:
        table = index_dataset(Path(data["folder"])).images
    except DermLensError:  # the folder was changed since: the page does without examples
        return []
    files = dict(zip(table["image_id"], table["path"], strict=True))
    test = run.splits().query("split == 'test'").drop_duplicates("dx").set_index("dx")["image_id"]
    found = [(code, Path(files[test[code]])) for code in CODES if code in test and test[code] in files]
    return [(code, path) for code, path in found if path.is_file()]
