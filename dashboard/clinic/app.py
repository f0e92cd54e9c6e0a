"""The clinician's page: an image goes in; seven calibrated confidences and their heatmaps come out.

    python -m dashboard.clinic --port 7860

The layout, its events, and its words in each language. What happens is in `reading`, `many` and `programs`.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from core.cases.case import COMMENT_LENGTH, NAME_LENGTH
from core.data.images import SUFFIXES
from core.diagnoses import DIAGNOSES
from core.errors import DermLensError, RunError
from core.prediction import Prediction
from core.runs.all_runs import served_run
from dashboard.clinic import many, markup, pictures, reading
from dashboard.clinic.programs import open_to_programs
from dashboard.clinic.reading import Answer, Download, answers, holds
from dashboard.clinic.texts import ENGLISH, LANGUAGES, RIGHT_TO_LEFT, preferred, text
from dashboard.clinic.uploads import Upload, release

MAX_FILE_SIZE = "32mb"
KEPT_SECONDS = 1800
CONCURRENT = 2  # images in the model at a time; the others wait in the queue
WAITING = 32
SESSIONS = 200  # whose last image is kept, at most 3 MB each
FILE_TYPES = list(SUFFIXES)
SEXES = ("female", "male", "unknown")
SITES = (
    "abdomen", "acral", "back", "chest", "ear", "face", "foot", "genital", "hand", "lower extremity", "neck", "scalp",
    "trunk", "upper extremity",
)  # fmt: skip

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


class Words:
    """Every component with words on it, and how it reads in a language."""

    def __init__(self) -> None:
        self.components: list[Any] = []
        self._readings: list[Callable[[str], Any]] = []

    def add(self, component: Any, reading: Callable[[str], Any]) -> Any:
        """Remember a component; `reading` gives its update in a language."""
        self.components.append(component)
        self._readings.append(reading)
        return component

    def label(self, component: Any, key: str, **more: Callable[[str], Any]) -> Any:
        """A component with a label, and whatever else of it is in words."""
        rest = more.items()
        return self.add(
            component,
            lambda language: gr.update(label=text(key, language), **{name: of(language) for name, of in rest}),
        )

    def html(self, make: Callable[[str], str], **settings: Any) -> gr.HTML:
        """A piece of HTML."""
        return self.add(gr.HTML(make(ENGLISH), **settings), lambda language: gr.update(value=make(language)))

    def button(self, key: str, **settings: Any) -> gr.Button:
        """A button."""
        update = partial(text, key)
        button = gr.Button(text(key), **settings)
        return self.add(button, lambda language: gr.update(value=update(language)))

    def spoken(self, language: str) -> list[Any]:
        """The update of every component."""
        return [reading(language) for reading in self._readings]


def build_page() -> gr.Blocks:
    """The page, with all its events."""
    words = Words()
    hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    model: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": CONCURRENT}
    with gr.Blocks(
        title=text("title"), analytics_enabled=False, fill_width=True, delete_cache=(600, KEPT_SECONDS)
    ) as page:
        with gr.Row(elem_classes="dl-top"):
            words.html(markup.header)
            names = [(text("language", code), code) for code in LANGUAGES]
            language = gr.Dropdown(
                names, value=ENGLISH, label=text("language_label"), show_label=False, filterable=False, container=False,
                min_width=130, scale=0, elem_id="language",
            )  # fmt: skip
        direction = gr.HTML({"language": ENGLISH, "rtl": False}, html_template="", js_on_load=_script("direction.js"))
        notices = gr.HTML(markup.notices(False, ENGLISH), elem_classes="dl-sticky")
        with gr.Tabs():
            with words.label(gr.Tab(text("tab_one"), id="one"), "tab_one"):
                one = _one_image(words, language, notices, hidden, model)
            with words.label(gr.Tab(text("tab_many"), id="many", elem_id="many-tab"), "tab_many"):
                lines, table = _many_images(words, language, hidden, model)

        def speak(
            code: str,
            prediction: Prediction | None,
            answer: Answer,
            own: bool,
            strength: float,
            found: list[many.Line],
        ) -> list[Any]:
            """Everything on the page in a language: its words, and what was answered."""
            run_notices, examples, provenance, standing = frame(code)
            prediction = reading.on_page(prediction, answer)
            shown, evidence, heat = reading.shown(prediction, answer, strength, own, code)
            if prediction is None:
                shown = standing or holds(markup.waiting(code))
            else:  # what is on the page was answered by this run, whichever is served now
                run_notices = markup.notices(prediction.synthetic, code)
                provenance = markup.provenance(prediction.run_id, code)
                if shown is answer:  # nothing may be seen of it yet
                    refused = prediction.refused
                    shown = answers(markup.refusal(prediction, code) if refused else markup.impression_asked(code))
            similar = reading.alike(prediction, shown, own, code)
            told = {"language": code, "rtl": code in RIGHT_TO_LEFT}
            several = many.table_in_html(found, code)
            return [
                told, run_notices, examples, provenance, shown, evidence, heat, similar, several, *words.spoken(code)
            ]  # fmt: skip

        def arrive(request: gr.Request) -> list[Any]:
            code = preferred(request.headers.get("accept-language"))
            return [code, *speak(code, None, holds(""), False, 50, [])]

        spoken = [direction, notices, one["examples"], one["provenance"], one["answer"], one["evidence"], one["heat"],
                  one["similar"], table, *words.components]  # fmt: skip
        page.load(arrive, None, [language, *spoken], **hidden)
        language.input(
            speak,
            [language, one["prediction"], one["answer"], one["own_first"], one["strength"], lines],
            spoken,
            trigger_mode="always_last",
            **hidden,
        )
        page.unload(_leave)
        open_to_programs(model)
    return page.queue(max_size=WAITING, api_open=False)


def _leave(request: gr.Request) -> None:
    release(str(request.session_hash))


def frame(language: str) -> tuple[str, str, str, Answer | None]:
    """What depends on the run that is served: notices, examples, provenance; and what to say where none can answer."""
    try:
        run = served_run()
        drawn = reading.example_images(run)
    except DermLensError as error:
        broken = holds(markup.problem(text("broken_model_title", language), str(error)))
        return markup.notices(False, language), "", markup.provenance(None, language), broken
    if run is None:
        nothing = holds(markup.no_model(language))
        return markup.notices(False, language), "", markup.provenance(None, language), nothing
    examples = pictures.examples(drawn, language)
    return markup.notices(run.synthetic, language), examples, markup.provenance(run.id, language), None


def _one_image(
    words: Words, language: gr.Dropdown, notices: gr.HTML, hidden: dict[str, Any], model: dict[str, Any]
) -> dict[str, Any]:
    """One image: what is given, what is answered, what it rests on; below, what can be kept and taken away."""
    prediction = gr.State(None, time_to_live=KEPT_SECONDS)
    case = gr.State(None)
    with gr.Row(elem_classes="dl-columns"):
        with gr.Column(min_width=300, elem_classes="dl-card"):
            words.html(partial(markup.title, "image"))
            image = words.add(
                gr.Image(
                    sources=["upload", "clipboard", "webcam"], height=270, buttons=["fullscreen"], show_label=False,
                    placeholder=text("drop"), elem_id="image", format="png",
                ),
                lambda code: gr.update(placeholder=text("drop", code), alt_text=text("image_shown", code)),
            )  # fmt: skip
            button = words.button("assess", variant="primary", elem_id="assess")
            other = words.label(
                gr.UploadButton(text("file_button"), file_types=FILE_TYPES, size="sm", elem_id="file"), "file_button"
            )
            own_first = words.label(gr.Checkbox(False, label=text("read_first"), elem_id="own-first"), "read_first")
            examples = gr.HTML("", js_on_load=_script("examples.js"))
            with words.label(gr.Accordion(text("about"), open=False, elem_id="about"), "about"):
                # Gradio's number field shows and sends 0 where nothing was entered
                age = words.label(gr.Textbox("", max_length=3, elem_id="age"), "age")
                sex = words.label(gr.Dropdown([], value=None, elem_id="sex"), "sex", choices=_choices(SEXES, ""))
                site = words.label(
                    gr.Dropdown([], value=None, elem_id="site"), "site", choices=_choices(SITES, "site_")
                )
                words.html(reading.about_in_words)
        with gr.Column(min_width=300, elem_classes="dl-card"):
            words.html(partial(markup.title, "answer"))
            answer = gr.HTML(
                holds(markup.waiting(ENGLISH)), html_template="${value.html}", js_on_load=_script("answer.js"),
                elem_id="answer",
            )  # fmt: skip
        with gr.Column(min_width=300, elem_classes="dl-card"):
            words.html(partial(markup.title, "heatmap"))
            heat = gr.HTML({"html": ""}, html_template="${value.html}", js_on_load=_script("heat.js"), elem_id="heat")
            strength = words.label(
                gr.Slider(0, 100, 50, step=5, label=text("opacity"), elem_id="strength", buttons=[]), "opacity"
            )
            evidence = gr.HTML(markup.evidence(None, ENGLISH), elem_id="evidence")
            words.html(markup.legend)
    similar = gr.HTML("", elem_id="similar")
    with gr.Row(elem_classes=["dl-columns", "dl-after"]):
        with gr.Column(min_width=300, elem_classes="dl-card"):
            words.html(partial(markup.title, "take_away"))
            with gr.Row():
                takers = {kind: words.button(kind, size="sm", min_width=120, elem_id=f"take-{kind}")
                          for kind in ("pdf", "json", "png")}  # fmt: skip
            file = gr.HTML({}, html_template="", js_on_load=_script("download.js"))
        with gr.Column(min_width=300, scale=2, elem_classes="dl-card"):  # noqa: SIM117 - a card, and what opens in it
            with words.label(gr.Accordion(text("keep_title"), open=False, elem_id="keep-case"), "keep_title"):
                words.html(partial(markup.fine, "keep_hint"))
                with gr.Row():
                    codes = [diagnosis.code for diagnosis in DIAGNOSES]
                    diagnosis = words.label(
                        gr.Dropdown([], value=None, elem_id="diagnosis"), "reader_diagnosis",
                        choices=lambda code: [(text("no_diagnosis", code), ""), *_choices(codes, "name_")(code)],
                    )  # fmt: skip
                    lesion = words.label(gr.Textbox("", max_length=NAME_LENGTH, elem_id="lesion"), "lesion")
                comment = words.label(gr.Textbox("", lines=2, max_length=COMMENT_LENGTH, elem_id="comment"), "comment")
                with gr.Row():
                    keeping = words.button("keep", size="sm", elem_id="keep")
                    forgetting = words.button("forget", size="sm", visible=False, elem_id="forget")
                kept = gr.HTML("", elem_id="kept")
    provenance = gr.HTML(markup.provenance(None, ENGLISH))

    examples.select(reading.take_example, None, image, **hidden)
    other.upload(reading.take_file, [other, language], image, preprocess=False, **hidden)
    # what was entered of the image before must not be kept with this one. The browser forgets it, and before all else:
    # Gradio calls the listeners of an event one after the other, and what came after the answer would wipe what was
    # entered meanwhile
    about = [age, sex, site]  # what is entered before the first image is of that image's person
    image.change(None, [image, *about], [forgetting, diagnosis, lesion, comment, *about], js=_script("forget.js"))
    # the upload goes to `assess` as a file: Gradio must not decode it, or the answer depends on the way in
    asked = [image.change, button.click]
    gr.on(asked, None, [image, language], [answer, evidence, heat, similar, kept], js=_clear())
    answered = gr.on(
        asked, reading.assess, [image, own_first, language, age, sex, site], [prediction, answer, notices, provenance],
        preprocess=False, trigger_mode="always_last", **hidden, **model,
    )  # fmt: skip
    answered.failure(None, language, answer, js=_failed())
    # one listener draws for all three reasons, so that an older picture never overtakes a newer one
    shown = gr.on(
        [prediction.change, answer.select, strength.change], reading.show,
        [prediction, answer, strength, own_first, language], [answer, evidence, heat], trigger_mode="always_last",
        concurrency_limit=CONCURRENT, **hidden,
    )  # fmt: skip
    shown.then(reading.alike, [prediction, answer, own_first, language], similar, trigger_mode="always_last", **hidden)
    for kind, taker in takers.items():
        taker.click(
            partial(reading.take_away, kind),
            [prediction, answer, own_first, strength, *about, comment, language], file, **hidden,
        )  # fmt: skip
    keeping.click(
        reading.keep, [prediction, answer, own_first, *about, diagnosis, lesion, comment, language],
        [case, kept, forgetting], trigger_mode="once", **hidden,
    )  # fmt: skip
    forgetting.click(reading.forget, [case, language], [case, kept, forgetting], trigger_mode="once", **hidden)
    return {
        "prediction": prediction, "answer": answer, "own_first": own_first, "strength": strength, "examples": examples,
        "provenance": provenance, "evidence": evidence, "heat": heat, "similar": similar,
    }  # fmt: skip


def _many_images(
    words: Words, language: gr.Dropdown, hidden: dict[str, Any], model: dict[str, Any]
) -> tuple[gr.State, gr.HTML]:
    """Several images: a table, and the same to take away. Returns the lines and their table."""
    lines = gr.State([], time_to_live=KEPT_SECONDS)
    with gr.Column(elem_classes="dl-card"):
        words.html(partial(markup.title, "many"))
        files = words.add(
            gr.File(file_count="multiple", file_types=FILE_TYPES, height=170, elem_id="files"),
            lambda code: gr.update(label=text("many_drop", code, most=many.MOST)),
        )
        go = words.button("many_go", variant="primary", elem_id="assess-many")
        table = gr.HTML(many.table_in_html([], ENGLISH), elem_id="table")
        with gr.Row():
            takers = {kind: words.button(kind, size="sm", elem_id=f"take-{kind}") for kind in ("csv", "zip")}
        file = gr.HTML({}, html_template="", js_on_load=_script("download.js"))

    def assess(uploads: list[Upload] | None, code: str, request: gr.Request) -> tuple[list[many.Line], str]:
        try:
            found = many.assess_many(uploads or [], code, str(request.session_hash))
        except RunError as error:
            return [], reading.problem(error, code)
        except DermLensError as error:
            return [], markup.note(str(error), alarming=True)
        return found, many.table_in_html(found, code)

    def take(kind: str, found: list[many.Line], code: str) -> Download:
        if not found:
            raise gr.Error(text("nothing_to_keep", code), print_exception=False)
        if kind == "csv":
            return reading.download("dermlens-answers-research-only.csv", "text/csv", many.as_csv(found))
        return reading.download("dermlens-research-only.zip", "application/zip", many.as_zip(found))

    files.upload(many.hold, files, None, preprocess=False, **hidden)
    waiting = {code: markup.note(text("assessing_title", code)) for code in LANGUAGES}
    go.click(None, language, table, js=f"(language) => ({json.dumps(waiting)})[language]")
    asked = go.click(
        assess, [files, language], [lines, table], preprocess=False, trigger_mode="once", **hidden, **model
    )
    failed = {code: markup.note(text("failed", code), alarming=True) for code in LANGUAGES}
    asked.failure(None, language, table, js=f"(language) => ({json.dumps(failed)})[language]")
    asked.failure(lambda: [], None, lines, queue=False, **hidden)  # those of the files before are none of these
    for kind, taker in takers.items():
        taker.click(partial(take, kind), [lines, language], file, **hidden)
    return lines, table


def launch(
    page: gr.Blocks,
    host: str,
    port: int | None,
    login: list[tuple[str, str]] | None = None,
    mcp: bool = False,
    share: bool = False,
) -> str:
    """Serve the page from a background thread.

    Args:
        page: see `build_page`.
        host, port: where it listens; without a port, the first free one from 7860 on.
        login: names and passwords; None where everybody who can reach the page may use it.
        mcp: whether the endpoints are tools of an MCP server as well.
        share: whether Gradio's tunnel gives it a public address too.

    Returns:
        Its address, the public one where there is one.

    Raises:
        OSError: the port is in use.
    """
    _, own, public = page.launch(
        server_name=host, server_port=port, theme=THEME, css_paths=[HERE / "clinic.css"], max_file_size=MAX_FILE_SIZE,
        run_history=False, footer_links=[], enable_monitoring=False, share=share, show_error=False, ssr_mode=False,
        mcp_server=mcp, pwa=False, quiet=True, prevent_thread_lock=True, auth=login, auth_message=text("login"),
        inbrowser=False, inline=False, state_session_capacity=SESSIONS,
    )  # fmt: skip
    return public or own


def _choices(values: tuple[str, ...] | list[str], prefix: str) -> Callable[[str], list[tuple[str, str]]]:
    return lambda language: [(text(f"{prefix}{value}", language), value) for value in values]


def _script(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _clear() -> str:
    """JavaScript: an old answer must not stand beside a new image, not even when the new one fails."""
    states = {
        code: [holds(markup.assessing(code)), holds(markup.waiting(code)), markup.evidence(None, code)]
        for code in LANGUAGES
    }
    return (
        f"(image, language) => {{ const [busy, idle, evidence] = ({json.dumps(states)})[language]; "
        "return [image ? busy : idle, evidence, {html: ''}, '', '']; }"
    )


def _failed() -> str:
    states = {code: holds(markup.failed(code)) for code in LANGUAGES}
    return f"(language) => [({json.dumps(states)})[language]]"
