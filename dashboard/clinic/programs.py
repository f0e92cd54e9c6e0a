"""What programs call: `/predict`, `/explain` and `/batch`, by HTTP or, where that is switched on, by MCP."""

import uuid
from typing import Any

import gradio as gr
import numpy as np

from core.diagnoses import CODES
from core.errors import ConfigError, DermLensError, ImageError
from dashboard.clinic.many import assess_many
from dashboard.clinic.texts import ENGLISH, text
from dashboard.clinic.uploads import Upload, predict_upload, release


def predict(image: Upload | None, show_anyway: bool = False) -> dict[str, Any]:
    """The seven calibrated probabilities of one dermatoscopic image. For research and education only, no diagnosis.

    Args:
        image: a JPEG, PNG, BMP, TIFF, WebP or DICOM file; it is read as it is, without conversion.
        show_anyway: give the figures of an image that is refused, too; they do not hold.

    Returns:
        diagnosis (code of what the image speaks for most), most_probable (code), probabilities and logits (code ->
        figure), prediction_set, operating_points: all None when refused. refused, reasons and quality (code ->
        sentence), run (which run answered), synthetic (whether it learned from drawn images only) and notice.
    """
    call = uuid.uuid4().hex
    try:
        return predict_upload(image, call).to_dict(insist=bool(show_anyway))
    except DermLensError as error:
        raise gr.Error(str(error), print_exception=False) from None
    finally:
        release(call)


def explain(image: Upload | None, diagnosis: str = "", opacity: float = 0.5, show_anyway: bool = False) -> np.ndarray:
    """The Grad-CAM heatmap of a diagnosis over one dermatoscopic image. For research and education only, no diagnosis.

    Args:
        image: a JPEG, PNG, BMP, TIFF, WebP or DICOM file; it is read as it is, without conversion.
        diagnosis: mel, nv, bcc, akiec, bkl, df or vasc; empty for what the image speaks for most.
        opacity: of the strongest heat, 0 to 1.
        show_anyway: explain an image that is refused, too.

    Returns:
        A PNG of the original's size. What the model did not see is grey and hatched. Whoever shows it says beside it
        that it is for research and education only: it carries no words of its own.
    """
    call = uuid.uuid4().hex
    try:
        if diagnosis and diagnosis not in CODES:
            raise ConfigError(text("unknown_diagnosis", codes=", ".join(CODES), code=repr(diagnosis)))
        if not isinstance(opacity, (int, float)) or not 0 <= opacity <= 1:
            raise ConfigError(text("bad_opacity", opacity=repr(opacity)))
        prediction = predict_upload(image, call)
        if prediction.refused and not show_anyway:
            raise ImageError(f"{' '.join(text(code) for code in prediction.refusals)} {text('refused_api')}")
        return prediction.overlay(diagnosis or None, opacity)
    except DermLensError as error:
        raise gr.Error(str(error), print_exception=False) from None
    finally:
        release(call)


def batch(images: list[Upload] | None, show_anyway: bool = False) -> list[dict[str, Any]]:
    """The seven calibrated probabilities of several images. For research and education only, no diagnosis.

    Args:
        images: at most 200 files, as of `predict`.
        show_anyway: give the figures of refused images, too.

    Returns:
        For each image, in their order: file (its name), and what `predict` gives, or error (a sentence).
    """
    call = uuid.uuid4().hex
    try:
        lines = assess_many(images or [], ENGLISH, call)
    except DermLensError as error:
        raise gr.Error(str(error), print_exception=False) from None
    finally:
        release(call)
    return [
        {"file": line.file}
        | (line.prediction.to_dict(insist=bool(show_anyway)) if line.prediction else {"error": line.error})
        for line in lines
    ]


def open_to_programs(model: dict[str, Any]) -> None:
    """The endpoints, each behind a hidden button.

    Args:
        model: how many may ask the model at a time.
    """
    with gr.Row(visible=False):
        image, images = gr.Image(label="image"), gr.File(label="images", file_count="multiple")
        diagnosis, opacity = gr.Textbox("", label="diagnosis"), gr.Number(0.5, label="opacity")
        insist = gr.Checkbox(False, label="show_anyway")
        figures, many = gr.JSON(label="prediction"), gr.JSON(label="predictions")
        picture = gr.Image(label="overlay", format="png")
        first, second, third = gr.Button(), gr.Button(), gr.Button()
    as_sent: dict[str, Any] = {"preprocess": False, **model}
    first.click(predict, [image, insist], figures, api_name="predict", **as_sent)
    second.click(explain, [image, diagnosis, opacity, insist], picture, api_name="explain", **as_sent)
    third.click(batch, [images, insist], many, api_name="batch", **as_sent)
