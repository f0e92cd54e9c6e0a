"""Two checklists for reports of artificial intelligence on medical images, and where a model card answers each item.

CLAIM: Tejani et al., "Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 Update", Radiology:
Artificial Intelligence 6(4):e240300, 2024. CLEAR Derm: Daneshjou et al., "Checklist for Evaluation of Image-Based
Artificial Intelligence Reports in Dermatology", JAMA Dermatology 158(1):90-96, 2022. The topics are worded here; the
papers say what each asks for.
"""

from collections.abc import Collection
from dataclasses import dataclass

from core.evaluation.card_texts import OTHER, SYNTHETIC, Kind

NOT_ANSWERED = "not answered"
ANY, PHOTOGRAPHS, KNOWN = "any", "photographs", "known"


@dataclass(frozen=True)
class Item:
    """One item of a checklist.

    Attributes:
        number: in the checklist's order, from 1.
        part: of the checklist.
        topic: what is asked, in a few words.
        where: the section of the card, the file of the run or the page that answers it, or why nothing does.
        needs: what the run must have measured for that; None for what every card says.
        about: the images of which it makes sense or is known: `ANY`, `PHOTOGRAPHS`, or `KNOWN`, which are HAM10000's.
    """

    number: int
    part: str
    topic: str
    where: str
    needs: str | None = None
    about: str = ANY

    def answer(self, measured: Collection[str], kind: Kind) -> str:
        """Where this item is answered, or "not answered" and why.

        Args:
            measured: what the run has measured: "calibration", "heatmaps", "subgroups", "images" or "external".
            kind: what the run learned from.
        """
        if kind is SYNTHETIC and self.about != ANY:
            return f"{NOT_ANSWERED}: the images are drawn, nobody was photographed"
        if kind is OTHER and self.about == KNOWN:
            return f"{NOT_ANSWERED}: who trained this run has to add it"
        if self.needs is not None and self.needs not in measured:
            return f"{NOT_ANSWERED}: {_LACKING[self.needs]}"
        return self.where


_LACKING = {
    "calibration": "this run has no operating points and no calibration figures",
    "heatmaps": "the heatmaps of this run have not been measured",
    "subgroups": "the subgroups of this run have not been measured",
    "images": "the quality of this run's images has not been measured",
    "external": "this run has not been evaluated on images from elsewhere (`python -m core.evaluation` does that)",
}


def _items(*parts: tuple[str, tuple[tuple, ...]]) -> tuple[Item, ...]:
    rows = [(part, row) for part, items in parts for row in items]
    return tuple(Item(number, part, *row) for number, (part, row) in enumerate(rows, start=1))


CLAIM = _items(
    (
        "Title and abstract",
        (
            ("Named as artificial intelligence, with the kind of method", "title and first paragraph"),
            ("Summary of design, methods, results and conclusions", "Summary"),
        ),
    ),
    (
        "Introduction",
        (
            ("Clinical background, intended use and role", "Intended use"),
            ("Aims and hypotheses", "Intended use; no hypothesis was registered"),
        ),
    ),
    (
        "Study design",
        (
            ("Prospective or retrospective", "Data: retrospective", None, KNOWN),
            ("Goal of the study", "Intended use"),
        ),
    ),
    (
        "Data",
        (
            ("Sources of the data", "Data"),
            (
                "Which cases were taken and left out",
                "Data (what was left out); HAM10000's paper for the rest",
                None,
                KNOWN,
            ),
            ("Preprocessing", "Training (input)"),
            ("Selection of parts of the data or of the image", "Training (input: the centre square)"),
            ("Removal of identities", "Data: no names or patient numbers come with the images", None, KNOWN),
            ("Missing data", "Data (missing values)"),
            ("How the images were taken", "Data (images); HAM10000's paper", None, KNOWN),
        ),
    ),
    (
        "Reference standard",
        (
            ("How the reference standard is defined", "Data (reference standard)", None, KNOWN),
            ("Why it was chosen", "Data (reference standard)", None, KNOWN),
            ("Who annotated", "HAM10000's paper; the run does not know it", None, KNOWN),
            ("Annotation of the test set", "Data (reference standard): as the other parts", None, KNOWN),
            (
                "Agreement between and within annotators",
                f"{NOT_ANSWERED}: the data hold one diagnosis for each image, not each reader's",
            ),
        ),
    ),
    (
        "Partitions",
        (
            ("How cases were assigned", "Data (split); `splits.csv`"),
            ("At which level the parts are disjoint", "Data (split): by lesion; Limits: not by patient"),
        ),
    ),
    (
        "Testing data",
        (("Intended sample size", f"{NOT_ANSWERED}: the data set was as large as it was; intervals say how little"),),
    ),
    (
        "Model",
        (
            ("Description of the model", "Training; `model.keras`"),
            ("Software and versions", "Provenance"),
            ("Initial parameters", "Training (weights)"),
        ),
    ),
    (
        "Training",
        (
            ("Training in detail", "Training; `config.json`, `history.csv`"),
            ("How the final model was selected", "Training (selection)"),
            ("Ensembles", "Training (its first sentence)"),
        ),
    ),
    (
        "Evaluation",
        (
            ("Measures of performance", "Results"),
            ("Uncertainty and significance", "Results: 95 % intervals of a bootstrap over lesions"),
            ("Robustness", "Subgroups", "subgroups"),
            ("Explanations and how they were checked", "Heatmaps", "heatmaps"),
            ("Evaluation on internal data", "Results: the test split"),
            ("Testing on external data", "Images from elsewhere", "external"),
            ("Registration of a clinical trial", f"{NOT_ANSWERED}: there was none"),
        ),
    ),
    (
        "Results: data",
        (
            ("Numbers included and excluded", "Data: images and lesions; the number of patients is not known"),
            ("Who is in each part", "Data (diagnoses of each part); Subgroups (test split)", "subgroups"),
        ),
    ),
    (
        "Results: model",
        (
            ("Performance with its uncertainty", "Results"),
            ("Diagnostic performance and its precision", "Operating points", "calibration"),
            ("Analysis of failures", "Failures; the dashboard's page Gallery"),
        ),
    ),
    (
        "Discussion",
        (
            ("Limitations", "Limits"),
            ("What it means for practice", "Intended use: it is for research and education alone"),
        ),
    ),
    (
        "Other",
        (
            ("Protocol or further technical details", "`CONTRIBUTING.md` and `benchmarks/README.md` of DermLens"),
            ("Availability of software, model and data", "Licence; How to use it"),
            ("Funding", f"{NOT_ANSWERED}: who trained this run has to add it"),
        ),
    ),
)

CLEAR_DERM = _items(
    (
        "Data",
        (
            ("Kind of images", "Data (images)"),
            ("Artefacts in the images", "Audit of the data (quality)", "images"),
            ("How the images were acquired", "Data (images); HAM10000's paper", None, KNOWN),
            ("Preprocessing", "Training (input)"),
            ("Synthetic images", "Data (images); augmented views: Training"),
            ("References to public images", "Data; Citation"),
            ("What is known of the patients", "Subgroups (sex, age, site)", "subgroups"),
            (
                "Skin tone and how it was judged",
                "Subgroups: a proxy measured in the image, nobody was asked; Limits",
                "subgroups",
                PHOTOGRAPHS,
            ),
            ("Bias that the patients' data may bring", "Limits; Subgroups", "subgroups"),
            ("Partitions", "Data (split)"),
            ("Size of each part", "Data (diagnoses of each part)"),
            ("External test set", "Images from elsewhere", "external"),
            (
                "Images of several devices",
                f"{NOT_ANSWERED}: the data do not name the device; Limits",
                None,
                PHOTOGRAPHS,
            ),
            ("Balance of the diagnoses", "Data (diagnoses of each part); class weights or logit adjustment: Training"),
            ("Images out of the distribution", "Refusal", "calibration"),
        ),
    ),
    (
        "Technique",
        (
            ("How labels were made", "Data (reference standard)", None, KNOWN),
            ("Accepted names of diagnoses", "Data: the seven diagnoses of HAM10000"),
            (
                "Histology of malignant lesions",
                "Data (reference standard); Subgroups (dx_type)",
                "subgroups",
                PHOTOGRAPHS,
            ),
            ("Description of the algorithm", "Training"),
        ),
    ),
    (
        "Technical assessment",
        (
            ("How others can evaluate it", "How to use it; `python -m core.evaluation` on any labelled folder"),
            ("Measures of performance", "Results"),
            (
                "Comparison with others",
                "Results: beside always answering nevus; `core.submission` writes the ISIC 2018 challenge's file",
            ),
            ("Assessment of bias", "Subgroups", "subgroups"),
        ),
    ),
    (
        "Application",
        (
            ("Use cases and conditions it is meant for", "Intended use"),
            ("Effect on patients and care teams", f"{NOT_ANSWERED}: it has never been used in care, and is not for it"),
        ),
    ),
)
