"""The page's own pieces of HTML. Pure functions of text and figures; whatever comes from outside is escaped."""

import base64
from collections.abc import Sequence
from html import escape

import cv2
import numpy as np

from core.data.images import model_input
from core.diagnoses import BY_CODE, DIAGNOSES, RESEARCH_NOTICE, SYNTHETIC_NOTICE, Diagnosis
from core.predictor import Prediction
from dashboard.clinic.texts import text

THUMBNAIL = 96  # pixels, the side of an example's picture


def notices(synthetic: bool) -> str:
    """The research-use notice, and that of the synthetic model where it applies."""
    drawn = f'<p class="dl-synthetic"><strong>{escape(SYNTHETIC_NOTICE)}</strong></p>' if synthetic else ""
    return f'<div class="dl-notices" role="note"><p>{escape(RESEARCH_NOTICE)}</p>{drawn}</div>'


def header() -> str:
    """The page's name."""
    return f'<header class="dl-header"><h1>{escape(text("title"))}</h1><p>{escape(text("subtitle"))}</p></header>'


def title(key: str) -> str:
    """The name of one of the page's three parts."""
    return f'<h2 class="dl-part">{escape(text(key))}</h2>'


def provenance(run_id: str | None) -> str:
    """Which run answers, and what becomes of the images."""
    origin = text("provenance").format(run=run_id) if run_id else text("no_provenance")
    return f'<p class="dl-provenance">{escape(origin)} {escape(text("privacy"))}</p>'


def percent(share: float) -> str:
    """A probability for people: never a certainty that the figures do not hold.

    Args:
        share: 0 to 1.
    """
    if share < 0.001:
        return "<0.1%"
    return ">99.9%" if share > 0.999 else f"{share:.1%}"


def answer(prediction: Prediction, chosen: str) -> str:
    """The most probable diagnosis in big type and the seven confidences as bars, which choose the heatmap."""
    ranked = prediction.ranked()
    best, share = ranked[0]
    malignant = sum(p for diagnosis, p in ranked if diagnosis.malignant)
    unsure = f'<p class="dl-unsure">{escape(text("unsure"))}</p>' if share < 0.5 else ""
    headline = (
        f'<div class="dl-headline" aria-live="polite"><p class="dl-eyebrow">{escape(text("most_probable"))}</p>'
        f'<p class="dl-diagnosis">{escape(best.name)}</p>'
        f'<p class="dl-share"><strong>{escape(percent(share))}</strong> {escape(text("confidence"))} {_kind(best)}</p>'
        f"{unsure}"
        f'<p class="dl-together">{escape(text("malignant_together"))}: '
        f"<strong>{escape(percent(malignant))}</strong></p></div>"
    )
    bars = "".join(_bar(diagnosis, p, diagnosis.code == chosen) for diagnosis, p in ranked)
    return headline + _list(bars, text("choose")) + f'<p class="dl-fine">{escape(text("calibrated"))}</p>'


def waiting() -> str:
    """What stands in the answer's place before there is an image; about as high as an answer."""
    return _placeholder("dl-waiting", text("waiting_title"), escape(text("waiting")))


def assessing() -> str:
    """What stands in the answer's place until it comes."""
    return _placeholder("dl-waiting", text("assessing_title"), escape(text("assessing")), 'aria-busy="true"')


def failed() -> str:
    """What stands in the answer's place when something broke that no sentence was made for."""
    return problem(text("failed_title"), text("failed"))


def problem(title: str, message: str, advice: str = "") -> str:
    """A sentence on what is wrong, in the answer's place."""
    more = f" {escape(advice)}" if advice else ""
    return _headline("dl-problem", title, escape(message) + more, 'role="alert"')


def no_model() -> str:
    """How to come to a model."""
    commands = {"demo": "<code>make demo</code>", "train": "<code>python train.py</code>"}
    return _placeholder("dl-problem", text("no_model_title"), escape(text("no_model")).format(**commands))


def evidence(chosen: str | None, empty: bool = False) -> str:
    """Which diagnosis the heatmap belongs to, with a plain sentence on it.

    Args:
        chosen: the diagnosis' code; None before there is a heatmap.
        empty: whether no place in the heatmap is strong enough to be seen.
    """
    if chosen is None:
        return f'<div class="dl-evidence"><p>{escape(text("heatmap_waiting"))}</p></div>'
    diagnosis = BY_CODE[chosen]
    nothing = f'<p class="dl-unsure">{escape(text("heatmap_empty"))}</p>' if empty else ""
    return (
        f'<div class="dl-evidence"><p>{escape(text("heatmap_for"))} <strong>{escape(diagnosis.name)}</strong> '
        f"{_kind(diagnosis)}</p>{nothing}<p>{escape(diagnosis.sentence)}</p></div>"
    )


def legend() -> str:
    """The colour scale, in words."""
    keys = (("none", "legend_none"), ("some", "legend_some"), ("strong", "legend_strong"), ("unseen", "legend_unseen"))
    items = "".join(f'<li><i class="dl-key-{kind}"></i>{escape(text(key))}</li>' for kind, key in keys)
    return f'<ul class="dl-legend">{items}</ul>'


def examples(images: Sequence[tuple[str, np.ndarray]]) -> str:
    """Pictures to choose from, each under the name of its diagnosis; empty where there is none.

    Args:
        images: diagnosis code and (H, W, 3) uint8 RGB of each.
    """
    if not images:
        return ""
    pictures = "".join(
        f'<button type="button" class="dl-example" data-index="{index}">'
        f'<img alt="" width="{THUMBNAIL}" height="{THUMBNAIL}" src="{_thumbnail(image)}">'
        f"<span>{escape(BY_CODE[code].name)}</span></button>"
        for index, (code, image) in enumerate(images)
    )
    return f'<p class="dl-eyebrow">{escape(text("examples"))}</p><div class="dl-examples">{pictures}</div>'


def _thumbnail(image: np.ndarray) -> str:
    encoded = cv2.imencode(".jpg", model_input(image, THUMBNAIL)[:, :, ::-1])[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def _kind(diagnosis: Diagnosis) -> str:
    """Malignant or benign: said in a word and by a symbol, never by colour alone."""
    if diagnosis.malignant:
        return f'<span class="dl-kind dl-malignant">▲ {escape(text("kind_" + diagnosis.code))}</span>'
    return f'<span class="dl-kind">{escape(text("benign"))}</span>'


def _bar(diagnosis: Diagnosis, share: float | None, chosen: bool) -> str:
    kind = f"▲ {escape(text('kind_' + diagnosis.code))}" if diagnosis.malignant else ""
    figure = "–" if share is None else percent(share)
    width = 0.0 if share is None else 100 * share
    return (
        f'<button type="button" class="dl-bar" data-code="{diagnosis.code}" aria-pressed="{str(chosen).lower()}"'
        f"{' disabled' if share is None else ''}>"
        f'<span class="dl-name">{escape(diagnosis.name)} <small class="dl-malignant">{kind}</small></span>'
        f'<span class="dl-figure">{escape(figure)}</span>'
        f'<span class="dl-track"><span style="width:{width:.2f}%;background:{diagnosis.colour}"></span></span></button>'
    )


def _list(bars: str, hint: str = "") -> str:
    return (
        f'<p class="dl-eyebrow">{escape(text("all_seven"))} <span>{escape(hint)}</span></p>'
        f'<div class="dl-bars" role="group" aria-label="{escape(text("all_seven"))}">{bars}</div>'
    )


def _placeholder(kind: str, title: str, body: str, attributes: str = "") -> str:
    """A headline over seven empty bars, so that nothing moves when the answer comes."""
    bars = "".join(_bar(diagnosis, None, False) for diagnosis in DIAGNOSES)
    return f'{_headline(kind, title, body, attributes)}{_list(bars)}<p class="dl-fine">{escape(text("calibrated"))}</p>'


def _headline(kind: str, title: str, body: str, attributes: str = "") -> str:
    """What stands at the answer's top when there is no answer; `body` is HTML."""
    return f'<div class="dl-headline {kind}" {attributes}><p class="dl-title">{escape(title)}</p><p>{body}</p></div>'
