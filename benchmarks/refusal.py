"""What a run refuses: pictures that are no dermatoscopy, real test images, and the same through other cameras.

    python benchmarks/refusal.py DATA_DIR RUN [--images 300]

DATA_DIR holds the run's own images. The photos are those that scikit-image and scikit-learn ship, whole and in
crops; the rest is drawn here, by other code than `core.data.strangers`, whose pictures the refusal was fitted against,
and the changes of camera are other code than `core.data.camera`. AUROC is of the out-of-distribution score.
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from sklearn.metrics import roc_auc_score

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from core.data.ham10000 import index_dataset  # noqa: E402
from core.data.images import read_image  # noqa: E402
from core.predictor import Predictor  # noqa: E402

PHOTO_FILES = (".png", ".jpg")
CROPS = 5
SIDE = 256
SKIN = ((255, 224, 196), (241, 194, 165), (224, 172, 137), (198, 134, 98), (141, 85, 56), (92, 58, 42), (240, 200, 190))


# ---- pictures that are no dermatoscopy -----------------------------------------------------------


def not_dermatoscopy(seed: int = 0) -> dict[str, list[np.ndarray]]:
    """More than 200 pictures of other things, by kind.

    Returns:
        kind -> (h, w, 3) uint8 RGB, 0 to 255, of any size.
    """
    dice = np.random.default_rng(seed)
    photos = list(_photos())
    return {
        "photos": photos,
        "crops of photos": [_crop(photo, dice) for photo in photos for _ in range(CROPS)],
        "text": [_text(dice) for _ in range(15)],
        "drawings": [_drawing(dice) for _ in range(15)],
        "noise": [_noise(dice) for _ in range(15)],
        "skin tones": [np.full((SIDE, SIDE, 3), tone, np.uint8) for tone in SKIN],
        "grainy skin tones": [_grainy(tone, dice) for tone in SKIN],
        "gradients": [_gradient(dice) for _ in range(10)],
        "textures": [_texture(dice) for _ in range(15)],
    }


def _photos() -> Iterator[np.ndarray]:
    import skimage.data
    import sklearn.datasets

    for package, folder in ((skimage.data, ""), (sklearn.datasets, "images")):
        for path in sorted((Path(*package.__path__) / folder).iterdir()):
            if path.suffix in PHOTO_FILES:
                yield read_image(path)


def _crop(photo: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    side = max(64, int(min(photo.shape[:2]) * dice.uniform(0.2, 0.7)))
    top, left = (int(dice.integers(0, max(1, length - side))) for length in photo.shape[:2])
    return np.ascontiguousarray(photo[top : top + side, left : left + side])


def _text(dice: np.random.Generator) -> np.ndarray:
    page = np.full((SIDE, SIDE, 3), int(dice.integers(200, 256)), np.uint8)
    size = dice.uniform(0.3, 1.2)
    for line in range(20, SIDE, int(28 * size) + 6):
        words = " ".join(dice.choice(["lesion", "the", "of", "report", "patient", "2024", "no.", "and", "left"], 8))
        cv2.putText(page, words, (8, line), cv2.FONT_HERSHEY_SIMPLEX, size, (20, 20, 40), 1, cv2.LINE_AA)
    return page


def _drawing(dice: np.random.Generator) -> np.ndarray:
    sheet = np.full((SIDE, SIDE, 3), dice.integers(0, 256, 3), np.uint8)
    for _ in range(dice.integers(3, 15)):
        colour = tuple(int(value) for value in dice.integers(0, 256, 3))
        first, second = (tuple(int(value) for value in dice.integers(0, SIDE, 2)) for _ in range(2))
        if dice.random() < 0.5:
            cv2.rectangle(sheet, first, second, colour, int(dice.choice([-1, 3])))
        else:
            cv2.line(sheet, first, second, colour, int(dice.integers(1, 9)), cv2.LINE_AA)
    return sheet


def _noise(dice: np.random.Generator) -> np.ndarray:
    grid = int(dice.choice([8, 32, 128, SIDE]))
    levels = dice.integers(0, 256, (grid, grid, 3), dtype=np.uint8)
    return cv2.resize(levels, (SIDE, SIDE), interpolation=int(dice.choice([cv2.INTER_NEAREST, cv2.INTER_LINEAR])))


def _grainy(tone: tuple[int, int, int], dice: np.random.Generator) -> np.ndarray:
    return np.clip(tone + dice.normal(0, 4, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)


def _gradient(dice: np.random.Generator) -> np.ndarray:
    ends = dice.uniform(0, 255, (2, 3))
    share = np.linspace(0, 1, SIDE)[:, None, None]
    image = np.broadcast_to(ends[0] * (1 - share) + ends[1] * share, (SIDE, SIDE, 3)).astype(np.uint8)
    return np.ascontiguousarray(np.rot90(image, int(dice.integers(4))))


def _texture(dice: np.random.Generator) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    wave = np.sin(2 * np.pi * (rows * dice.uniform(2, 40) + columns * dice.uniform(2, 40)))
    other = np.sin(2 * np.pi * columns * dice.uniform(2, 40))
    share = ((wave * other > 0) if dice.random() < 0.5 else wave / 2 + 0.5)[..., None]
    ends = dice.uniform(0, 255, (2, 3))
    return (ends[0] * (1 - share) + ends[1] * share).astype(np.uint8)


# ---- the same image through another camera -------------------------------------------------------


def _colour(image: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(int)
    hsv[..., 0] = (hsv[..., 0] + dice.choice([-10, 10])) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] * dice.choice([0.4, 1.7]), 0, 255)
    return cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)


def _white_balance(image: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    return np.clip(image * [dice.choice([0.75, 1.3]), 1, dice.choice([0.7, 1.35])], 0, 255).astype(np.uint8)


def _brightness(image: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    return np.clip(image * dice.choice([0.45, 1.5]), 0, 255).astype(np.uint8)


def _zoom(image: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    height, width = image.shape[:2]
    share = dice.uniform(0.2, 0.25)
    top, left = int(height * share), int(width * share)
    return np.ascontiguousarray(image[top : height - top, left : width - left])


def _dark_frame(image: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    height, width = image.shape[:2]
    seen = np.zeros((height, width, 1), np.uint8)
    cv2.circle(seen, (width // 2, height // 2), int(min(height, width) * dice.uniform(0.42, 0.58)), 1, -1)
    return image * seen


def _blur(image: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), min(image.shape[:2]) / 224 * dice.uniform(2, 4))


CAMERAS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "colour": _colour,
    "white balance": _white_balance,
    "brightness": _brightness,
    "zoom": _zoom,
    "dark frame": _dark_frame,
    "blur": _blur,
}


# ---- the figures ---------------------------------------------------------------------------------


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the run's images")
    parser.add_argument("run", help="a finished run: its id or folder")
    parser.add_argument("--images", type=int, default=300, help="test images, drawn at random")
    options = parser.parse_args()
    warnings.simplefilter("ignore")

    predictor = Predictor.load(options.run)
    if predictor.trust.strangest is None:
        sys.exit("error: this run refuses nothing yet: python -m core.evaluation --run makes what is missing.")
    table = index_dataset(options.data).images.set_index("image_id")
    splits = predictor.run.splits().query("split == 'test'")
    some = splits.sample(min(options.images, len(splits)), random_state=0)["image_id"]
    real = [read_image(path) for path in table.loc[some, "path"]]

    kinds = not_dermatoscopy()
    strangers, scores = _report(predictor, kinds, "no dermatoscopy, refused (bar: at least 95 %)")
    _, known = _report(predictor, {"test images": real}, "real test images, refused (bar: at most 6 %)")
    dice = np.random.default_rng(0)
    changed = {name: [camera(image, dice) for image in real] for name, camera in CAMERAS.items()}
    _, other = _report(predictor, changed, "the same through other cameras, refused (bar: at most 10 %)")
    for name, accepted in (("test images", known), ("through other cameras", other)):
        truth = np.repeat([0, 1], [len(accepted), len(scores)])
        print(f"AUROC of {strangers} pictures against {name}: {roc_auc_score(truth, np.r_[accepted, scores]):.4f}")


def _report(predictor: Predictor, kinds: dict[str, list[np.ndarray]], title: str) -> tuple[int, np.ndarray]:
    """Print the shares that are refused, by kind and together; return how many, and their scores."""
    print(title)
    refused, scores = [], []
    for kind, images in kinds.items():
        answers = predictor.predict_many(images)
        refused += [answer.refused for answer in answers]
        scores += [answer.strangeness for answer in answers]
        print(f"  {kind:<20} {np.mean(refused[-len(images) :]):6.1%} of {len(images)}")
    print(f"  {'all':<20} {np.mean(refused):6.1%} of {len(refused)}")
    return len(scores), np.array(scores)


if __name__ == "__main__":
    main()
