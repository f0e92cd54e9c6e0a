"""The words of a model card that no figure changes; some depend on what the run learned from."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

TAGS = ("dermatology", "dermatoscopy", "skin-lesion", "medical-imaging", "explainability", "calibration", "research")

FIRST_PARAGRAPH = (
    "An artificial neural network (supervised deep learning) that names one of the seven diagnoses of HAM10000 for "
    "one dermatoscopic image of a skin lesion, with calibrated probabilities and heatmaps of what each answer rests on."
)

RESULTS = (
    "All on the test split, which is looked at once, at the end. The answer that is judged is the diagnosis of the "
    "largest logit: what the image speaks for most. Intervals are 95 %, from a bootstrap over lesions; there is no "
    "test of significance. Figures of fewer than 20 images are marked as few, and say little."
)

SPLIT = (
    "Split: by lesion, stratified by diagnosis, set by the seed. All images of a lesion stand in one part, which is "
    "checked before training. Training fits the weights; validation {validation}; calibration fits the temperature, "
    "the thresholds and the prediction sets; test is looked at once. `splits.csv` names each image's part."
)

CHOOSES = "chooses the epoch"
CHOOSES_NO_EPOCH = "is watched and chooses no epoch, as the weights are a mean over the last ones"
CHOOSES_STRENGTH = "; it also chooses how much age, sex and site count"

LEAKAGE = (
    "Had the split been made by image, these shares of the held-out images would have shown a lesion that is in "
    "training too:"
)

MISSING_VALUES = (
    "Missing values: the model reads pixels alone, so no age, sex or site had to be filled in. An image without a "
    "diagnosis, a lesion or a readable file is refused or left out."
)

MISSING_VALUES_OF_PEOPLE = (
    "Missing values: an age, sex or site that is not recorded says nothing, and none was filled in. An image without a "
    "diagnosis, a lesion or a readable file is refused or left out."
)

SEES_THE_IMAGE = "**It sees the image alone**, and no age, sex, site or history."

SEES_THE_PERSON = (
    "**Age, sex and site go into an answer where they are given**, as they went with the diagnoses in the data above; "
    "elsewhere they go with others. Heatmaps show what the image says, and leave them out."
)

CHECKLISTS = (
    "Where this card, the run's folder or DermLens answers each item, in our words; the papers say what each asks for. "
    "CLAIM: Tejani et al., Radiology: Artificial Intelligence 6(4):e240300, 2024. CLEAR Derm: Daneshjou et al., JAMA "
    "Dermatology 158(1):90-96, 2022."
)

LIMITS = (
    "**Seven diagnoses only.** An image of anything else gets one of the seven, unless it is refused.",
    "**Dermatoscopic images of one lesion only**: not photos of a body, of healthy skin, of nails or of mucosa. The "
    "model sees the centre square of an image.",
    "**Probabilities hold where the diagnoses are as common** as in the data above; in another practice they are "
    "others, and so are PPV and NPV.",
    "**A heatmap shows what moved the network**, not where the disease is, and no reason a dermatologist would give.",
    "**One split, one seed.** Another seed gives other figures; the intervals do not cover that.",
    "**It has been tried by nobody in care.** What it does to those who read it is not known.",
)


@dataclass(frozen=True)
class Kind:
    """What depends on the images that a run learned from.

    Attributes:
        title, dataset: their name, and how the hub's front matter calls them.
        license, license_name: of the weights, as the hub writes them; the name only where the licence is "other".
        data, licence, citation: sections of the card, Markdown.
        limits: lines of the section on limits.
    """

    title: str
    dataset: str
    license: str
    license_name: str | None
    data: str
    licence: str
    limits: tuple[str, ...]
    citation: str


_HAM10000_CITATION = """The data:

```bibtex
@article{tschandl2018ham10000,
  author  = {Tschandl, Philipp and Rosendahl, Cliff and Kittler, Harald},
  title   = {The {HAM10000} dataset, a large collection of multi-source dermatoscopic images of common pigmented
             skin lesions},
  journal = {Scientific Data},
  volume  = {5},
  pages   = {180161},
  year    = {2018},
  doi     = {10.1038/sdata.2018.161}
}
```"""

HAM10000 = Kind(
    title="HAM10000",
    dataset="ham10000",
    license="cc-by-nc-4.0",
    license_name=None,
    data=(
        "HAM10000 (Tschandl, Rosendahl and Kittler, Scientific Data 5:180161, 2018), or a part of it: public "
        "dermatoscopic images of pigmented lesions, collected in retrospect over some twenty years at a university "
        "clinic in Vienna, Austria, and a practice for skin cancer in Queensland, Australia. No names or patient "
        "numbers come with them.\n\n"
        "Images: taken with several dermatoscopes, among them digitised slides; which image is of which device is not "
        "recorded. The collection was chosen and cropped by its authors; its diagnoses are not as common as in any "
        "practice.\n\n"
        "Reference standard: the diagnosis that HAM10000 gives, one for each image. More than half of the lesions were "
        "confirmed by histology, among them every melanoma, basal cell carcinoma and actinic keratosis or Bowen's "
        "disease; the others by follow-up, by consensus of experts or by confocal microscopy. It was taken as it is "
        "because no better one is public; training, calibration and test images share it."
    ),
    licence=(
        "HAM10000 is licensed CC BY-NC 4.0, and these weights are given on the same terms: **for non-commercial use "
        "only**, with credit to its authors. The code of DermLens is licensed under Apache-2.0. DermLens ships neither "
        "images nor weights."
    ),
    limits=(
        "**Light skin.** Nearly all of HAM10000 is light skin, from Austria and Australia. How the model does on dark "
        "skin is not known, and skin tone is not recorded: what is measured of it here is a proxy taken from pixels.",
        "**No patient numbers.** The split is by lesion; two lesions of one patient can stand on both sides of it.",
        "**Few clinics and few dermatoscopes.** Other devices, other light and other habits of framing can change the "
        "answers; the test split is of the same clinics as the training.",
        "**Labels can be wrong**: those without histology more often, and histology is read by people.",
    ),
    citation=_HAM10000_CITATION,
)

SYNTHETIC = Kind(
    title="DermLens synthetic",
    dataset="dermlens-synthetic",
    license="apache-2.0",
    license_name=None,
    data=(
        "The synthetic data set of DermLens: images that a program draws, in the form of HAM10000, with invented "
        "lesions, ages, sexes and sites. No patient, no clinic and no camera stands behind any of them.\n\n"
        "Images: drawn with the look of dermatoscopic images, hairs, bubbles and vignettes included.\n\n"
        "Reference standard: what the program was told to draw. It is right by construction."
    ),
    licence=(
        "DermLens is licensed under Apache-2.0; its drawn images and what is trained on them carry no other licence. "
        "The weights that the network began with keep theirs."
    ),
    limits=("**Drawn images.** No figure of this card says anything about real skin.",),
    citation="The drawn images come with DermLens and need no citation.",
)

OTHER = Kind(
    title="images in HAM10000's form",
    dataset="private-images",
    license="other",
    license_name="as-the-training-images-allow",
    data=(
        "Images in HAM10000's form that are not HAM10000's: what they are, where they come from, how they were taken "
        "and chosen, whether anybody could be known by them, and who made the diagnoses, only those who trained this "
        "run can say. Add it here.\n\n"
        "Images: dermatoscopic images, as far as the run was told. Reference standard: the diagnoses in their table."
    ),
    licence=(
        "The licence and the consent under which the training images were given decide what these weights may be used "
        "for: ask who trained this run. The code of DermLens is licensed under Apache-2.0."
    ),
    limits=(
        "**Whose skin, whose clinic and whose dermatoscope** the images show is not known to this card, and neither is "
        "how the model does on other skin.",
        "**No patient numbers.** The split is by lesion; two lesions of one patient can stand on both sides of it.",
    ),
    citation="Add here what the training images ask for. The seven diagnoses are those of HAM10000.\n\n"
    + _HAM10000_CITATION,
)

_ISIC = re.compile(r"ISIC_(\d{7})")
_FIRST, _LAST = 24306, 34320  # HAM10000's images in the ISIC archive


def kind_of(synthetic: bool, image_ids: Iterable[str]) -> Kind:
    """What a run learned from. One image of HAM10000 among others is enough to bind the weights to its licence.

    Args:
        synthetic: whether images are drawn.
        image_ids: of all images; none are taken for HAM10000's, whose licence is the narrowest.
    """
    found = False
    for name in image_ids:  # a page asks at every click: of HAM10000 itself, the first name tells
        found = True
        match = _ISIC.fullmatch(str(name))
        if match and _FIRST <= int(match[1]) <= _LAST:
            return HAM10000
    if synthetic:
        return SYNTHETIC
    return OTHER if found else HAM10000


def intended_use(synthetic: bool) -> str:
    """For whom and what it is, and for what it is not."""
    for_what = (
        "- to try DermLens, to teach with it and to test it, without any download"
        if synthetic
        else "- research on, and teaching of, classification of dermatoscopic images: what such a model gets right, "
        "where it fails, how sure it is and what it looks at\n"
        "- to be compared with, on the same or on other images"
    )
    return (
        "Skin cancer is found by looking: with a dermatoscope, those who are trained tell melanoma from a common mole "
        "more often than by eye. This model was made to see how far a network gets with the same images, and how well "
        "it knows what it does not know.\n\n"
        f"It is meant for:\n\n{for_what}\n\n"
        "It is **not** meant for:\n\n"
        "- a diagnosis, a second opinion, triage or reassurance of anybody\n"
        "- use by patients, or in the care of patients, with or without a physician\n"
        "- images that are no dermatoscopic image of one skin lesion\n"
        "- commercial use, where the licence below rules it out"
    )


def conclusion(synthetic: bool) -> str:
    """What the figures of a summary come to."""
    if synthetic:
        return "It shows that DermLens works, and nothing about skin."
    return "That is of use for research and teaching, and far from what a diagnosis needs: see Failures and Limits."


def training(size: str, networks: int, views: int, adapted: bool, whole: str) -> str:
    """How the network, or each of several, was trained; the table of settings follows."""
    many = f"An ensemble of {networks} networks" if networks > 1 else "One network, no ensemble"
    turns = f", of {views} exact turns of the image" if views > 1 else ""
    norm = (
        " All its BatchNormalization layers normalize by statistics that moved from the pretrained ones towards those "
        "of the training images (`adapt_norm`)."
        if adapted
        else ""
    )
    below = f"as {whole} left it" if whole else "as it was pretrained"
    mean = f" The answer is the mean of the logits{turns}." if networks > 1 or turns else ""
    return (
        f"{many}: a convolutional network (backbone) with a small head that gives seven logits; what "
        f"lies below `train_from` stays {below}.{norm}{mean} `weights` says what it began with: "
        "`imagenet` is pretraining on ImageNet's photos, the head begins at random, set by the seed. Cross-entropy; "
        "the settings name the optimizer and what ends the training.\n\n"
        f"Input: the centre square of an image, resized to {size} pixels, RGB from 0 to 255; scaling is inside the "
        "model. Augmented views (turns, rotation, shift, zoom, mirroring, colour) are drawn of training images only."
    )


def how_to_use(run_id: str) -> str:
    """A snippet that runs beside the run's folder."""
    return f"""From a checkout of DermLens, with this folder in `runs/` (or its path for the name):

```python
from core.diagnoses import CODES
from core.predictor import Predictor

predictor = Predictor.load("{run_id}")
answer = predictor.predict("photo.jpg")  # a path, bytes or an array
print(answer.refused, answer.refusals)  # whether and why no answer should be given
print(answer.code)  # the diagnosis that the image speaks for most
print(dict(zip(CODES, answer.probabilities.round(3).tolist())))  # calibrated
```

Figures on a labelled folder of your own, and the file of the ISIC 2018 challenge for one without labels:

```
python -m core.evaluation --run {run_id} --data-dir FOLDER
python -m core.submission --run {run_id} --images FOLDER --out FILE.csv
```"""
