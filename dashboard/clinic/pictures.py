"""The page's pictures as HTML, with the pixels inside: no file of a person's image is written for them."""

import base64
from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd

from core.data.images import as_jpeg, model_input, read_image
from core.errors import ImageError
from dashboard.clinic.markup import name
from dashboard.clinic.texts import text

THUMBNAIL = 96  # pixels, the side of a small picture
QUALITY = 90  # of JPEG


def jpeg(image: np.ndarray) -> bytes:
    """(H, W, 3) uint8 RGB as the bytes of a JPEG file, as the page and its exports show it."""
    return as_jpeg(image, QUALITY)


def comparison(image: np.ndarray | None, overlay: np.ndarray | None, code: str, language: str) -> str:
    """The image, and over it the heatmap as far as the slider says; empty where there is none.

    Args:
        image, overlay: (H, W, 3) uint8 RGB, of the same size.
        code: of the diagnosis that the heatmap explains.
        language: of the words.
    """
    if image is None or overlay is None:
        return ""
    height, width = image.shape[:2]
    size = f'width="{width}" height="{height}"'
    heat = escape(text("heatmap_alt", language, name=name(code, language)))
    return (
        '<div class="dl-compare" dir="ltr">'
        f'<img {size} src="{_inside(image)}" alt="{escape(text("image_alt", language))}">'
        f'<img {size} class="dl-heat" src="{_inside(overlay)}" alt="{heat}"></div>'
        f'<div class="dl-slide" dir="ltr"><span>{escape(text("image_side", language))}</span>'
        f'<input type="range" min="0" max="100" value="100" aria-label="{escape(text("slide", language))}">'
        f"<span>{escape(text('heatmap_side', language))}</span></div>"
    )


def examples(images: Sequence[tuple[str, np.ndarray]], language: str) -> str:
    """Pictures to choose from, each under the name of its diagnosis; empty where there is none.

    Args:
        images: diagnosis code and (H, W, 3) uint8 RGB of each.
        language: of the words.
    """
    if not images:
        return ""
    pictures = "".join(
        f'<button type="button" class="dl-example" data-index="{index}">{_thumbnail(image)}'
        f"<span>{escape(name(code, language))}</span></button>"
        for index, (code, image) in enumerate(images)
    )
    return f'<p class="dl-eyebrow">{escape(text("examples", language))}</p><div class="dl-examples">{pictures}</div>'


def similar(found: pd.DataFrame, language: str) -> str:
    """Training images with their diagnoses; empty where there is none.

    Args:
        found: dx, similarity, path, see `core.similar.RunImages`.
        language: of the words.
    """
    if found.empty:
        return ""
    items = []
    for row in found.itertuples():
        try:
            picture = _thumbnail(read_image(str(row.path))) if row.path else None
        except ImageError:
            picture = None
        missing = f'<span class="dl-missing">{escape(text("similar_missing", language))}</span>'
        words = f"{escape(name(str(row.dx), language))} <bdi>({row.similarity:.2f})</bdi>"
        items.append(f'<div class="dl-example">{picture or missing}<span>{words}</span></div>')
    hint = f'<p class="dl-fine">{escape(text("similar_hint", language))}</p>'
    title = f'<h2 class="dl-part">{escape(text("similar", language))}</h2>'
    return f'{title}<div class="dl-examples dl-similar">{"".join(items)}</div>{hint}'


def _thumbnail(image: np.ndarray) -> str:
    return f'<img alt="" width="{THUMBNAIL}" height="{THUMBNAIL}" src="{_inside(model_input(image, THUMBNAIL))}">'


def _inside(image: np.ndarray) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(image)).decode()
