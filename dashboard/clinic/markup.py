"""The page's own pieces of HTML, in any of its languages. Pure functions; whatever comes from outside is escaped."""

from collections.abc import Sequence
from html import escape

from core.data.quality import PROBLEMS
from core.diagnoses import BY_CODE, CODES, DIAGNOSES, Diagnosis
from core.prediction import OperatingPoint, Prediction, PredictionSet
from dashboard.clinic.texts import RIGHT_TO_LEFT, text, texts

INSIST = "insist"  # chosen in place of a diagnosis: the page's source must not give away what was refused
NO_IMPRESSION = "none"  # what a reader states who has none
DECIMAL_COMMA = ("de", "es", "fr")
BETWEEN = {"zh": "、", "ar": "، "}  # the names of a list; elsewhere ", "
COLON = {"zh": "：", "fr": "\u00a0: "}  # after a label; elsewhere ": "


# ---- the frame -----------------------------------------------------------------------------------


def notices(synthetic: bool, language: str) -> str:
    """The research-use notice, and that of the synthetic model where it applies."""
    say = text("synthetic_notice", language)
    drawn = f'<p class="dl-synthetic"><strong>{escape(say)}</strong></p>' if synthetic else ""
    notice = escape(text("research_notice", language))
    return f'<div class="dl-notices" role="note"><p>{notice}</p>{drawn}</div>'


def header(language: str) -> str:
    """The page's name."""
    return (
        f'<header class="dl-header"><h1>{escape(text("title", language))}</h1>'
        f"<p>{escape(text('subtitle', language))}</p></header>"
    )


def title(key: str, language: str) -> str:
    """The name of one of the page's parts."""
    return f'<h2 class="dl-part">{escape(text(key, language))}</h2>'


def fine(key: str, language: str) -> str:
    """A text in small print."""
    return f'<p class="dl-fine">{escape(text(key, language))}</p>'


def provenance(run_id: str | None, language: str) -> str:
    """Which run answers, and what becomes of the images."""
    origin = text("provenance", language, run=run_id) if run_id else text("no_provenance", language)
    return f'<p class="dl-provenance">{escape(origin)} {escape(text("privacy", language))}</p>'


# ---- words and figures ---------------------------------------------------------------------------


def name(code: str, language: str) -> str:
    """A diagnosis for people."""
    return text(f"name_{code}", language)


def percent(share: float, language: str, digits: int = 1) -> str:
    """A probability for people: never a certainty that the figures do not hold.

    Args:
        share: 0 to 1.
        language: whose decimal sign it has.
        digits: behind the decimal sign.
    """
    shown = "<0.1" if share < 0.001 else ">99.9" if share > 0.999 else f"{100 * share:.{digits}f}"
    if language in DECIMAL_COMMA:  # the space is unbreakable: the sign must not stand alone on a line
        return f"{shown.replace('.', ',')}\u00a0%"
    # isolated, as a sign before a figure would change sides among words that run from right to left
    return f"\u2066{shown}%\u2069" if language in RIGHT_TO_LEFT else f"{shown}%"


def of_ten(share: float | None, language: str) -> str:
    """0.87 -> "8.7"."""
    shown = "–" if share is None else f"{10 * share:.1f}"
    return shown.replace(".", ",") if language in DECIMAL_COMMA else shown


def reason(code: str, language: str) -> str:
    """Why an image is refused or warned of."""
    return text(code, language)


def labelled(key: str, value: str, language: str) -> str:
    """A label, its language's colon, and what it is the label of."""
    return f"{text(key, language)}{COLON.get(language, ': ')}{value}"


def kind(diagnosis: Diagnosis, language: str) -> str:
    """Malignant or benign, in a word, with a symbol where it is not left alone."""
    return f"▲ {text(f'kind_{diagnosis.code}', language)}" if diagnosis.malignant else text("benign", language)


def set_in_words(members: PredictionSet, language: str) -> str:
    """The diagnoses that cannot be ruled out, in words."""
    names = BETWEEN.get(language, ", ").join(name(code, language) for code in members.codes)
    key = "set_empty" if not members.codes else "set_all" if len(members.codes) == len(CODES) else "set"
    return text(key, language, names=names, level=percent(members.level, language, 0))


def unpromised_in_words(members: PredictionSet, language: str) -> str:
    """For which diagnoses the set promises nothing; empty where there is none."""
    few = BETWEEN.get(language, ", ").join(name(code, language) for code in members.unpromised)
    return text("set_unpromised", language, names=few) if few else ""


def point_in_words(point: OperatingPoint, language: str) -> tuple[str, str]:
    """Above or below a threshold; and what the threshold is worth."""
    share, threshold = percent(point.probability, language), percent(point.threshold, language)
    key = "flagged" if point.flagged else "not_flagged"
    what = text(f"point_{point.name}", language)
    if point.sensitivity is None:
        worth = text("found_target", language, found=of_ten(point.target_sensitivity, language))
    else:
        flagged = None if point.specificity is None else 1 - point.specificity
        found = of_ten(point.sensitivity, language)
        worth = text("found_measured", language, found=found, flagged=of_ten(flagged, language))
    return text(key, language, what=what, share=share, threshold=threshold), worth


def more_probable(prediction: Prediction, language: str) -> str:
    """That another diagnosis is more probable than what the image speaks for; empty where it is not."""
    best, share = prediction.ranked()[0]
    if best.code == prediction.code:
        return ""
    return text("more_probable", language, name=name(best.code, language), share=percent(share, language))


def person_in_words(prediction: Prediction, language: str) -> str:
    """Whether age, sex and site went into an answer, and what the image says alone; empty where they never do."""
    if prediction.image_logits is None:
        return ""
    if prediction.patient is None:
        return text("without_person", language)
    age, sex, site = prediction.patient.age, prediction.patient.sex, prediction.patient.site
    said = (
        ("report_age", "" if age is None else f"{age:g}"),
        ("report_sex", text(sex, language) if sex else ""),
        ("report_site", texts(language).get(f"site_{site}", site) if site else ""),
    )
    given = BETWEEN.get(language, ", ").join(labelled(key, value, language) for key, value in said if value)
    alone = CODES[int(prediction.image_logits.argmax())]
    key = "with_person" if alone == prediction.code else "with_person_changed"
    return text(key, language, given=given, **({} if alone == prediction.code else {"name": name(alone, language)}))


# ---- the answer ----------------------------------------------------------------------------------


def answer(prediction: Prediction, chosen: str, language: str, impression: str = "") -> str:
    """What the image speaks for, how sure that is, and the seven confidences as bars, which choose the heatmap."""
    bars = "".join(_bar(diagnosis, p, diagnosis.code == chosen, language) for diagnosis, p in prediction.ranked())
    return (
        _insisted(prediction, language)
        + _spoken_for(prediction, language)
        + _impression_was(impression, language)
        + _warnings(prediction, language)
        + _points(prediction.points, language)
        + _prediction_set(prediction.prediction_set, language)
        + _of_person(prediction, language)
        + _list(bars, language, text("choose", language))
        + fine("calibrated", language)
    )


def refusal(prediction: Prediction, language: str) -> str:
    """Why there is no answer, and the button for whoever wants one all the same."""
    reasons = " ".join(reason(code, language) for code in prediction.refusals)
    button = (
        f'<button type="button" class="dl-insist" data-code="{INSIST}">{escape(text("insist", language))}</button>'
        f'<span class="dl-fine">{escape(text("insist_hint", language))}</span>'
    )
    body = f"{escape(reasons)} {escape(text('refused_next', language))}</p><p>{button}"
    bars = _list(_empty_bars(language), language)
    return _headline("dl-problem dl-refused", text("refused_title", language), body, 'role="alert"') + bars


def impression_asked(language: str) -> str:
    """Seven diagnoses to choose from before the model's answer is shown; nothing here gives it away."""
    choices = [(diagnosis.code, name(diagnosis.code, language)) for diagnosis in DIAGNOSES]
    choices.append((NO_IMPRESSION, text("impression_none", language)))
    buttons = "".join(
        f'<button type="button" class="dl-impression" data-impression="{code}">{escape(words)}</button>'
        for code, words in choices
    )
    head = _headline("dl-waiting", text("impression_title", language), escape(text("impression_body", language)))
    return f'{head}<div class="dl-impressions">{buttons}</div>'


def waiting(language: str) -> str:
    """What stands in the answer's place before there is an image; about as high as an answer."""
    return _placeholder("dl-waiting", text("waiting_title", language), escape(text("waiting", language)), language)


def assessing(language: str) -> str:
    """What stands in the answer's place until it comes."""
    body = escape(text("assessing", language))
    return _placeholder("dl-waiting", text("assessing_title", language), body, language, 'aria-busy="true"')


def failed(language: str) -> str:
    """What stands in the answer's place when something broke that no sentence was made for."""
    return problem(text("failed_title", language), text("failed", language))


def problem(title: str, message: str, advice: str = "") -> str:
    """A sentence on what is wrong, in the answer's place."""
    more = f" {escape(advice)}" if advice else ""
    return _headline("dl-problem", title, f'<bdi dir="auto">{escape(message)}</bdi>{more}', 'role="alert"')


def no_model(language: str) -> str:
    """How to come to a model."""
    commands = {"demo": "<code>make demo</code>", "train": "<code>python train.py</code>"}
    body = escape(text("no_model", language)).format(**commands)
    return _placeholder("dl-problem", text("no_model_title", language), body, language)


def evidence(chosen: str | None, language: str, empty: bool = False, beats: float | None = None) -> str:
    """Which diagnosis the heatmap belongs to, with plain sentences on it.

    Args:
        chosen: the diagnosis' code; None before there is a heatmap.
        language: of the words.
        empty: whether no place in the heatmap is strong enough to be seen.
        beats: see `Prediction.heatmap_beats`.
    """
    if chosen is None:
        return f'<div class="dl-evidence"><p>{escape(text("heatmap_waiting", language))}</p></div>'
    diagnosis = BY_CODE[chosen]
    faithful = "" if beats is None else text("heatmap_beats", language, beats=of_ten(beats, language))
    measured = f'<p class="dl-fine">{escape(faithful)}</p>' if faithful else ""
    nothing = f'<p class="dl-unsure">{escape(text("heatmap_empty", language))}</p>' if empty else ""
    return (
        f'<div class="dl-evidence"><p>{escape(text("heatmap_for", language))} '
        f"<strong>{escape(name(chosen, language))}</strong> {_kind(diagnosis, language)}</p>{nothing}{measured}"
        f"<p>{escape(text(f'sentence_{chosen}', language))}</p>"
        f"<p>{escape(labelled('done_title', text(f'done_{chosen}', language), language))}</p></div>"
    )


def legend(language: str) -> str:
    """The colour scale, in words."""
    keys = (("none", "legend_none"), ("some", "legend_some"), ("strong", "legend_strong"), ("unseen", "legend_unseen"))
    items = "".join(f'<li><i class="dl-key-{part}"></i>{escape(text(key, language))}</li>' for part, key in keys)
    return f'<ul class="dl-legend">{items}</ul>'


def note(sentence: str, alarming: bool = False) -> str:
    """One sentence below a button."""
    return f'<p class="dl-note{" dl-problem" if alarming else ""}" role="status">{escape(sentence)}</p>'


# ---- pieces --------------------------------------------------------------------------------------


def _insisted(prediction: Prediction, language: str) -> str:
    """Above an answer that was refused at first: that it was."""
    if not prediction.refused:
        return ""
    reasons = " ".join(reason(code, language) for code in prediction.refusals)
    insisted = f"<strong>{escape(text('insisted', language))}</strong> {escape(reasons)}"
    return f'<p class="dl-warning" role="alert">{insisted}</p>'


def _spoken_for(prediction: Prediction, language: str) -> str:
    """The answer in big type; where another diagnosis is more probable, that too."""
    spoken = BY_CODE[prediction.code]
    share = prediction.probabilities[CODES.index(spoken.code)]
    remark = more_probable(prediction, language)
    if not remark and share < 0.5:
        remark = text("unsure", language)
    more = f'<p class="dl-unsure">{escape(remark)}</p>' if remark else ""
    return (
        f'<div class="dl-headline" aria-live="polite"><p class="dl-eyebrow">{escape(text("speaks_for", language))}</p>'
        f'<p class="dl-diagnosis">{escape(name(spoken.code, language))}</p>'
        f'<p class="dl-share"><strong><bdi>{escape(percent(share, language))}</bdi></strong> '
        f"{escape(text('confidence', language))} {_kind(spoken, language)}</p>{more}</div>"
    )


def _impression_was(impression: str, language: str) -> str:
    if not impression:
        return ""
    stated = (
        text("impression_was_none", language)
        if impression == NO_IMPRESSION
        else text("impression_was", language, name=name(impression, language))
    )
    return f'<p class="dl-set dl-stated">{escape(stated)}</p>'


def _warnings(prediction: Prediction, language: str) -> str:
    """What is wrong with the image, but does not forbid an answer."""
    codes = [code for code in prediction.quality.problems if code not in prediction.refusals and code in PROBLEMS]
    items = "".join(f"<li>{escape(reason(code, language))}</li>" for code in codes)
    return f'<ul class="dl-warning" aria-label="{escape(text("quality", language))}">{items}</ul>' if items else ""


def _points(points: Sequence[OperatingPoint], language: str) -> str:
    """Above or below each threshold, and what the threshold is worth."""
    items = []
    for point in points:
        sentence, worth = point_in_words(point, language)
        mark = "▲" if point.flagged else "○"
        flagged = "dl-flagged" if point.flagged else ""
        fine_print = f'<span class="dl-fine">{escape(worth)}</span>'
        items.append(f'<li class="{flagged}"><strong>{mark} {escape(sentence)}</strong> {fine_print}</li>')
    return f'<ul class="dl-points">{"".join(items)}</ul>' if items else ""


def _prediction_set(members: PredictionSet | None, language: str) -> str:
    if members is None:
        return ""
    few = unpromised_in_words(members, language)
    more = f' <span class="dl-fine">{escape(few)}</span>' if few else ""
    return f'<p class="dl-set">{escape(set_in_words(members, language))}{more}</p>'


def _of_person(prediction: Prediction, language: str) -> str:
    sentence = person_in_words(prediction, language)
    return f'<p class="dl-set dl-person">{escape(sentence)}</p>' if sentence else ""


def _kind(diagnosis: Diagnosis, language: str) -> str:
    """Malignant or benign: said in a word and by a symbol, never by colour alone."""
    malignant = "dl-malignant" if diagnosis.malignant else ""
    return f'<span class="dl-kind {malignant}">{escape(kind(diagnosis, language))}</span>'


def _bar(diagnosis: Diagnosis, share: float | None, chosen: bool, language: str) -> str:
    marked = kind(diagnosis, language) if diagnosis.malignant else ""
    figure = "–" if share is None else percent(share, language)
    width = 0.0 if share is None else 100 * share
    return (
        f'<button type="button" class="dl-bar" data-code="{diagnosis.code}" aria-pressed="{str(chosen).lower()}"'
        f"{' disabled' if share is None else ''}>"
        f'<span class="dl-name">{escape(name(diagnosis.code, language))} '
        f'<small class="dl-malignant">{escape(marked)}</small></span>'
        f'<span class="dl-figure"><bdi>{escape(figure)}</bdi></span>'
        f'<span class="dl-track"><span style="width:{width:.2f}%;background:{diagnosis.colour}"></span></span></button>'
    )


def _list(bars: str, language: str, hint: str = "") -> str:
    seven = escape(text("all_seven", language))
    return (
        f'<p class="dl-eyebrow">{seven} <span>{escape(hint)}</span></p>'
        f'<div class="dl-bars" role="group" aria-label="{seven}">{bars}</div>'
    )


def _empty_bars(language: str) -> str:
    return "".join(_bar(diagnosis, None, False, language) for diagnosis in DIAGNOSES)


def _placeholder(style: str, title: str, body: str, language: str, attributes: str = "") -> str:
    """A headline over seven empty bars, so that nothing moves when the answer comes."""
    below = fine("calibrated", language)
    return _headline(style, title, body, attributes) + _list(_empty_bars(language), language) + below


def _headline(style: str, title: str, body: str, attributes: str = "") -> str:
    """What stands at the answer's top when there is no answer; `body` is HTML."""
    return f'<div class="dl-headline {style}" {attributes}><p class="dl-title">{escape(title)}</p><p>{body}</p></div>'
