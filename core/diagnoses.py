"""The seven diagnoses of HAM10000, in the one order that every array of DermLens follows."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Diagnosis:
    """One diagnosis.

    Attributes:
        code: HAM10000's short name, as in the column `dx`.
        name: the name for people.
        malignant: malignant or premalignant: it is not left alone.
        sentence: what it is, in plain words.
        colour: hex colour in every chart; told apart with colour-vision deficiency (Okabe and Ito, 2008).
    """

    code: str
    name: str
    malignant: bool
    sentence: str
    colour: str


DIAGNOSES = (
    Diagnosis(
        "mel",
        "Melanoma",
        True,
        "A cancer of the pigment-forming cells of the skin. It can spread early, and is cured in most "
        "people when it is removed while it is thin.",
        "#D55E00",
    ),
    Diagnosis(
        "nv",
        "Melanocytic nevus",
        False,
        "A common mole: a harmless cluster of pigment-forming cells, usually even in shape and colour.",
        "#0072B2",
    ),
    Diagnosis(
        "bcc",
        "Basal cell carcinoma",
        True,
        "The most common skin cancer. It grows slowly and hardly ever spreads, but destroys the tissue "
        "around it if it is left.",
        "#CC79A7",
    ),
    Diagnosis(
        "akiec",
        "Actinic keratosis or Bowen's disease",
        True,
        "Rough, scaly skin after years of sun, with abnormal cells in the outermost layer only; some "
        "of these lesions become squamous cell carcinoma.",
        "#E69F00",
    ),
    Diagnosis(
        "bkl",
        "Benign keratosis",
        False,
        "A harmless growth of the outer skin: seborrhoeic keratosis, solar lentigo or lichen-planus-like "
        "keratosis. It can look like melanoma.",
        "#009E73",
    ),
    Diagnosis(
        "df",
        "Dermatofibroma",
        False,
        "A harmless, firm nodule of fibrous tissue, often on the legs and often with a pale centre.",
        "#56B4E9",
    ),
    Diagnosis(
        "vasc",
        "Vascular lesion",
        False,
        "A harmless lesion of blood vessels, such as an angioma, an angiokeratoma or a small bleeding.",
        "#7B5EA7",
    ),
)

CODES = tuple(diagnosis.code for diagnosis in DIAGNOSES)
PROBABILITY_COLUMNS = [f"p_{code}" for code in CODES]  # columns of tables of answers
LOGIT_COLUMNS = [f"logit_{code}" for code in CODES]
BY_CODE = {diagnosis.code: diagnosis for diagnosis in DIAGNOSES}
FEW = 20  # cases; a figure of fewer says little, and says so
MALIGNANT = tuple(diagnosis.code for diagnosis in DIAGNOSES if diagnosis.malignant)

RESEARCH_NOTICE = (
    "For research and education only. DermLens is not a medical device and gives no diagnosis: "
    "do not use it to decide about anybody's care."
)
SYNTHETIC_NOTICE = (
    "This model was trained on drawn, synthetic images. It shows how DermLens works and knows nothing about real skin."
)


def notices(synthetic: bool) -> list[str]:
    """What every export says: the research-use notice, and before it that on drawn images where it applies."""
    return [*([SYNTHETIC_NOTICE] if synthetic else []), RESEARCH_NOTICE]
