"""Every text of the clinician's page, one dictionary for each language."""

from core.data.quality import PROBLEMS

TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "title": "DermLens",
        "subtitle": "Dermatoscopic images, seven diagnoses, and what each answer rests on",
        "notice": "Notice",
        # the image
        "image": "Dermatoscopic image",
        "image_alt": "Image to assess (a browser cannot show every format, such as TIFF; the heatmap does)",
        "drop": "Drop, paste or choose one image\nJPEG, PNG, TIFF, WebP or BMP, up to 32 MB",
        "assess": "Assess",
        "examples": "Or try a drawn example of",
        # the answer
        "speaks_for": "The image speaks most for",
        "confidence": "confidence",
        "more_probable": (
            "More probable all the same, because it is far more common: {name}, {share}. The image speaks for the one, "
            "how often each occurs for the other."
        ),
        "kind_mel": "malignant",
        "kind_bcc": "malignant",
        "kind_akiec": "premalignant",
        "benign": "benign",
        "quality": "Quality of the image",
        "point_melanoma": "melanoma",
        "point_malignant": "malignant or premalignant lesions",
        "flagged": "Above the threshold for {what}: {share} (threshold {threshold}).",
        "not_flagged": "Below the threshold for {what}: {share} (threshold {threshold}).",
        "found_measured": "In the run's test it found {found} of 10 of them, and flagged {flagged} of 10 others.",
        "found_target": "It was chosen to find {found} of 10 of them.",
        "set": "Cannot be ruled out: {names}. Such a list holds the truth for {level} of the images of each diagnosis.",
        "set_all": "None of the seven can be ruled out: the image decides nothing.",
        "set_empty": "None of the seven fits well: this may be something that the model has never learned.",
        "set_unpromised": "For {names} there were too few cases to promise anything.",
        "unsure": "No diagnosis is more likely than all others together: the model is unsure.",
        "all_seven": "All seven, by confidence",
        "choose": "Choose one to see its heatmap.",
        "shown": "heatmap shown",
        "calibrated": (
            "Confidences are calibrated: among images like those the model learned from, answers given "
            "with 80% are right about 8 times in 10."
        ),
        "answer": "Assessment",
        "waiting_title": "No image yet",
        "waiting": "Add an image and its assessment appears here, usually within a second.",
        "assessing_title": "Assessing …",
        "assessing": "This takes less than a second, or up to half a minute while the model is being loaded.",
        # the heatmap
        "heatmap": "What the answer rests on",
        "heatmap_alt": "The image under the heatmap of the chosen diagnosis",
        "heatmap_for": "Evidence for",
        "heatmap_waiting": "The heatmap shows which parts of the image speak for a diagnosis.",
        "heatmap_empty": "Nothing in this image speaks for it.",
        "heatmap_beats": (
            "Do not take it for the model's reason: in the run's test such heatmaps pointed at what the model uses "
            "better than chance and the middle of the image on {beats} of 10 images."
        ),
        "opacity": "Strength of the colours",
        "legend_none": "No colour: no evidence",
        "legend_some": "Blue to green: some evidence",
        "legend_strong": "Yellow to dark red: strong evidence",
        "legend_unseen": "Hatched grey: outside the square that the model saw",
        # refusals and warnings about the image
        "refused_title": "No diagnosis for this image",
        "refused_next": "Whatever the model said of it would mean nothing.",
        "insist": "Show anyway",
        "insist_hint": "At your own judgement: the figures do not hold for such an image.",
        "refused_api": "Ask with show_anyway to get an answer that does not hold.",
        "insisted": "Shown at your request; these figures do not hold.",
        "not_dermatoscopy": "It does not look like the dermatoscopic images that the model knows.",
        **PROBLEMS,
        # problems
        "problem_title": "This image cannot be assessed",
        "problem_next": "No answer was given; another file can be tried right away.",
        "no_model_title": "No model yet",
        "no_model": (
            "DermLens answers as soon as a model is served. Whoever runs this computer can train one in a "
            "few minutes with {demo}, or with {train}. This page needs no restart."
        ),
        "broken_model_title": "The model cannot answer",
        "failed_title": "No answer this time",
        "failed": ("DermLens failed, or too many people are asking at once. Press Assess again in a moment."),
        "not_a_file": "One image file is needed. Received: none that was uploaded here.",
        "unknown_diagnosis": "The diagnosis must be one of {codes}, or empty for the most probable. Received: {code}.",
        "bad_opacity": "The opacity must lie between 0 and 1. Received: {opacity}.",
        # provenance
        "provenance": "Answers come from run {run}.",
        "no_provenance": "No run is served.",
        "privacy": "Images stay on the computer that runs DermLens and are deleted there within an hour.",
    },
}


def text(key: str, language: str = "en") -> str:
    """One text of the page.

    Args:
        key: its name in `TEXTS`.
        language: the language's code, "en" by default; what a language lacks is shown in English.
    """
    return TEXTS.get(language, {}).get(key) or TEXTS["en"][key]
