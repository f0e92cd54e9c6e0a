"""The page's own pieces of HTML. Pure functions of text and figures; whatever comes from outside is escaped."""

import base64
from collections.abc import Sequence
from html import escape

import cv2
import numpy as np

from core.data.images import model_input
from core.diagnoses import BY_CODE, CODES, DIAGNOSES, RESEARCH_NOTICE, SYNTHETIC_NOTICE, Diagnosis
from core.prediction import OperatingPoint, Prediction, PredictionSet
from dashboard.clinic.texts import text

INSIST = "insist"  # chosen in place of a diagnosis: the page's source must not give away what was refused
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
    """What the image speaks for, how sure that is, and the seven confidences as bars, which choose the heatmap."""
    ranked = prediction.ranked()
    bars = "".join(_bar(diagnosis, p, diagnosis.code == chosen) for diagnosis, p in ranked)
    return (
        _insisted(prediction)
        + _spoken_for(prediction)
        + _warnings(prediction)
        + _points(prediction.points)
        + _prediction_set(prediction.prediction_set)
        + _list(bars, text("choose"))
        + f'<p class="dl-fine">{escape(text("calibrated"))}</p>'
    )


def refusal(prediction: Prediction) -> str:
    """Why there is no answer, and the button for whoever wants one all the same."""
    reasons = " ".join(text(code) for code in prediction.refusals)
    button = (
        f'<button type="button" class="dl-insist" data-code="{INSIST}">{escape(text("insist"))}</button>'
        f'<span class="dl-fine">{escape(text("insist_hint"))}</span>'
    )
    body = f"{escape(reasons)} {escape(text('refused_next'))}</p><p>{button}"
    return _headline("dl-problem dl-refused", text("refused_title"), body, 'role="alert"') + _list(_empty_bars())


def _insisted(prediction: Prediction) -> str:
    """Above an answer that was refused at first: that it was."""
    if not prediction.refused:
        return ""
    reasons = " ".join(text(code) for code in prediction.refusals)
    return f'<p class="dl-warning" role="alert"><strong>{escape(text("insisted"))}</strong> {escape(reasons)}</p>'


def _spoken_for(prediction: Prediction) -> str:
    """The answer in big type; where another diagnosis is more probable, that too."""
    best, share = prediction.ranked()[0]
    spoken = BY_CODE[prediction.code]
    shares = dict(zip(CODES, prediction.probabilities, strict=True))
    more = ""
    if best.code != spoken.code:
        sentence = escape(text("more_probable")).format(
            name=f"<strong>{escape(best.name)}</strong>", share=escape(percent(share))
        )
        more = f'<p class="dl-unsure">{sentence}</p>'
    elif share < 0.5:
        more = f'<p class="dl-unsure">{escape(text("unsure"))}</p>'
    return (
        f'<div class="dl-headline" aria-live="polite"><p class="dl-eyebrow">{escape(text("speaks_for"))}</p>'
        f'<p class="dl-diagnosis">{escape(spoken.name)}</p>'
        f'<p class="dl-share"><strong>{escape(percent(shares[spoken.code]))}</strong> {escape(text("confidence"))} '
        f"{_kind(spoken)}</p>{more}</div>"
    )


def _warnings(prediction: Prediction) -> str:
    """What is wrong with the image, but does not forbid an answer."""
    codes = [code for code in prediction.quality.problems if code not in prediction.refusals]
    items = "".join(f"<li>{escape(text(code))}</li>" for code in codes)
    return f'<ul class="dl-warning" aria-label="{escape(text("quality"))}">{items}</ul>' if items else ""


def _points(points: Sequence[OperatingPoint]) -> str:
    """Above or below each threshold, and what the threshold is worth."""
    items = []
    for point in points:
        found = text("found_measured" if point.sensitivity is not None else "found_target")
        worth = found.format(
            found=_of_ten(point.target_sensitivity if point.sensitivity is None else point.sensitivity),
            flagged=_of_ten(None if point.specificity is None else 1 - point.specificity),
        )
        mark, key = ("▲", "flagged") if point.flagged else ("○", "not_flagged")
        sentence = text(key).format(
            what=text(f"point_{point.name}"), share=percent(point.probability), threshold=percent(point.threshold)
        )
        kind = "dl-flagged" if point.flagged else ""
        worth = f'<span class="dl-fine">{escape(worth)}</span>'
        items.append(f'<li class="{kind}"><strong>{mark} {escape(sentence)}</strong> {worth}</li>')
    return f'<ul class="dl-points">{"".join(items)}</ul>' if items else ""


def _of_ten(share: float | None) -> str:
    """0.87 -> "8.7"."""
    return "–" if share is None else f"{10 * share:.1f}"


def _prediction_set(members: PredictionSet | None) -> str:
    """The diagnoses that cannot be ruled out, in words."""
    if members is None:
        return ""
    names = ", ".join(BY_CODE[code].name for code in members.codes)
    key = "set_empty" if not members.codes else "set_all" if len(members.codes) == len(CODES) else "set"
    sentence = text(key).format(names=names, level=f"{members.level:.0%}")
    few = ", ".join(BY_CODE[code].name for code in members.unpromised)
    note = f' <span class="dl-fine">{escape(text("set_unpromised").format(names=few))}</span>' if few else ""
    return f'<p class="dl-set">{escape(sentence)}{note}</p>'


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


def evidence(chosen: str | None, empty: bool = False, beats: float | None = None) -> str:
    """Which diagnosis the heatmap belongs to, with a plain sentence on it.

    Args:
        chosen: the diagnosis' code; None before there is a heatmap.
        empty: whether no place in the heatmap is strong enough to be seen.
        beats: see `Prediction.heatmap_beats`.
    """
    if chosen is None:
        return f'<div class="dl-evidence"><p>{escape(text("heatmap_waiting"))}</p></div>'
    diagnosis = BY_CODE[chosen]
    faithful = "" if beats is None else text("heatmap_beats").format(beats=_of_ten(beats))
    measured = f'<p class="dl-fine">{escape(faithful)}</p>' if faithful else ""
    nothing = f'<p class="dl-unsure">{escape(text("heatmap_empty"))}</p>' if empty else ""
    return (
        f'<div class="dl-evidence"><p>{escape(text("heatmap_for"))} <strong>{escape(diagnosis.name)}</strong> '
        f"{_kind(diagnosis)}</p>{nothing}<p>{escape(diagnosis.sentence)}</p>{measured}</div>"
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


def _empty_bars() -> str:
    return "".join(_bar(diagnosis, None, False) for diagnosis in DIAGNOSES)


def _placeholder(kind: str, title: str, body: str, attributes: str = "") -> str:
    """A headline over seven empty bars, so that nothing moves when the answer comes."""
    below = f'<p class="dl-fine">{escape(text("calibrated"))}</p>'
    return _headline(kind, title, body, attributes) + _list(_empty_bars()) + below


def _headline(kind: str, title: str, body: str, attributes: str = "") -> str:
    """What stands at the answer's top when there is no answer; `body` is HTML."""
    return f'<div class="dl-headline {kind}" {attributes}><p class="dl-title">{escape(title)}</p><p>{body}</p></div>'
