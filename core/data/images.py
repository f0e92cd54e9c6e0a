"""The only place where pixels enter: a path, bytes or an array becomes (H, W, 3) uint8 RGB, or a clear error.

The same two steps serve training and prediction, so that they cannot drift apart: `read_image`, then
`model_input`, which takes the centre square and resizes it.
"""

import io
import os
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from core.errors import ImageError

MAX_PIXELS = 64_000_000  # 192 MB as RGB: more than any dermatoscope, less than what hurts a server
MAX_BYTES = 64 * 2**20
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "MPO")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit warns before ours can refuse

ImageSource = str | os.PathLike | bytes | np.ndarray


def read_image(source: ImageSource) -> np.ndarray:
    """Read one image.

    EXIF orientation is applied; grey, palette, CMYK and 16-bit images become 8-bit RGB; what is
    transparent is laid on white; of several frames the first is taken.

    Args:
        source: a path, the bytes of a file, or an array: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8
            or uint16.

    Returns:
        (H, W, 3) uint8 RGB, 0 to 255; never a view of the caller's array.

    Raises:
        ImageError: it is no image, damaged, too large, or of an unknown form.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, (bytes, bytearray)):
        return _decode(io.BytesIO(source), len(source), "the bytes")
    path = Path(source)
    try:
        with path.open("rb") as stream:
            return _decode(stream, os.fstat(stream.fileno()).st_size, path.name)
    except OSError as error:
        raise ImageError(f"An image must be a readable file. Received: {path.name!r} ({error.strerror}).") from error


def centre_square(height: int, width: int) -> tuple[int, int, int]:
    """The largest centred square of an image: what the model sees of it.

    Args:
        height, width: in pixels.

    Returns:
        top, left, side, in pixels.
    """
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side


def model_input(image: np.ndarray, size: int) -> np.ndarray:
    """The centre square, resized: the aspect ratio of a lesion is kept.

    Args:
        image: (H, W, 3) uint8 RGB, 0 to 255.
        size: side of the result in pixels.

    Returns:
        (size, size, 3) uint8 RGB, 0 to 255.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f"The model's input is made from (H, W, 3) uint8. Received: {image.shape} {image.dtype}.")
    top, left, side = centre_square(*image.shape[:2])
    square = image[top : top + side, left : left + side]
    # averaging areas keeps fine structures honest when shrinking; it is no use for growing
    how = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return cv2.resize(square, (size, size), interpolation=how)


def _from_array(array: np.ndarray) -> np.ndarray:
    if array.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            f"An image array holds whole numbers, 0 to 255 (uint8) or 0 to 65535 (uint16). "
            f"Received: {array.dtype}. Pixels that were divided by 255 must be multiplied back first."
        )
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise ImageError(f"An image array is (H, W), (H, W, 1), (H, W, 3) or (H, W, 4). Received: {array.shape}.")
    _check_pixels(array.shape[1], array.shape[0], "the array")
    if array.dtype == np.uint16:
        array = _to_8_bit(array)
    if array.shape[2] == 4:
        return _on_white(Image.fromarray(np.ascontiguousarray(array), "RGBA"))
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array.copy()


def _decode(stream: BinaryIO, size: int, name: str) -> np.ndarray:
    if size == 0:
        raise ImageError(f"An image file holds at least one pixel. Received: {name}, which is empty.")
    if size > MAX_BYTES:
        raise ImageError(
            f"An image file has at most {MAX_BYTES // 2**20} MB. Received: {name} with {size / 2**20:.0f} MB."
        )
    head = stream.read(132)
    stream.seek(0)
    if head[128:132] == b"DICM":
        raise ImageError(f"DICOM files are not read yet. Received: {name}. Export it as PNG or TIFF.")
    try:
        with Image.open(stream, formats=FORMATS) as image:
            _check_pixels(*image.size, name)
            return _to_rgb(image)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(
            f"An image must be JPEG, PNG, BMP, TIFF or WebP. Received: {name}, which is none of these or is damaged."
        ) from None
    except MemoryError:
        raise ImageError(f"An image must fit in memory. Received: {name}, which does not.") from None
    except Exception as error:  # a damaged file can raise nearly anything from within a decoder
        raise ImageError(f"An image file must be whole. Received: {name}, which is damaged ({error}).") from error


def _check_pixels(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"An image has at most {MAX_PIXELS // 10**6} megapixels. "
            f"Received: {name} with {width} x {height} pixels. Make it smaller first."
        )


def _to_rgb(image: Image.Image) -> np.ndarray:
    mode = image.mode
    if mode.startswith("I") or mode == "F":  # 16-bit and deeper grey
        levels = np.asarray(ImageOps.exif_transpose(image))
        return np.repeat(_to_8_bit(levels)[:, :, None], 3, axis=2)
    image = ImageOps.exif_transpose(image)
    if mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return _on_white(image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def _to_8_bit(levels: np.ndarray) -> np.ndarray:
    """16-bit levels, or deeper ones that use no more than 16 bits, to 8 bits."""
    if levels.min() < 0 or levels.max() > 65535:
        raise ImageError(f"Grey levels lie between 0 and 65535. Received: {levels.min()} to {levels.max()}.")
    return np.round(levels / 257.0).astype(np.uint8)


def _on_white(image: Image.Image) -> np.ndarray:
    ground = Image.new("RGBA", image.size, "white")
    ground.alpha_composite(image)
    return np.array(ground.convert("RGB"))
