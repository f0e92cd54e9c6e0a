"""The only place where pixels enter: a path, bytes or an array becomes (H, W, 3) uint8 RGB, or a clear error.

The same two steps serve training and prediction, so that they cannot drift apart: `read_image`, then
`model_input`, which takes the centre square and resizes it.
"""

import io
import os
import re
import warnings
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from core.errors import ImageError

MAX_PIXELS = 64_000_000  # 192 MB as RGB: more than any dermatoscope, less than what hurts a server
MAX_BYTES = 64 * 2**20
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")  # beside DICOM; JPEG opens MPO as well, what some cameras write
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".dcm", ".dicom")

_OTHER_KINDS = (  # what people give by mistake: how its first bytes look, and its name
    (re.compile(rb"GIF8"), "a GIF"),
    (re.compile(rb"PK\x03\x04"), "a zip archive or an office document"),
    (re.compile(rb"%PDF"), "a PDF"),
    (re.compile(rb"....ftyp(hei|hev|mif1|msf1)", re.DOTALL), "a HEIC photo"),
    (re.compile(rb"....ftypavi", re.DOTALL), "an AVIF image"),
    (re.compile(rb"....ftyp", re.DOTALL), "a video"),
    (re.compile(rb"\s*(<\?xml[^>]*>\s*)?<svg", re.IGNORECASE), "an SVG drawing"),
    (re.compile(rb"\s*<(!doctype\s+)?html", re.IGNORECASE), "a web page"),
)
_HEAD = 256  # bytes that are looked at to name them
_TURNS = {  # what undoes each EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BAND = 4_000_000  # pixels that are converted at a time: a large picture would need its room several times over
_LONGEST_NAME, _LONGEST_REASON = 80, 200  # characters in a message of a file's name, and of a decoder's words
_PROFILED_MODES = {"RGB": "RGB", "CMYK": "CMYK", "GRAY": "L"}  # of pictures that an ICC profile of each kind is for
_UNSEEN = 2  # levels: a profile that moves no colour further is sRGB under another name

# Pillow refuses twice this at the header, here and wherever else in the process it opens an image
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
# what it warns of (a damaged tag, a size that is refused below) is nothing that a user could act on
warnings.filterwarnings("ignore", module=r"PIL\.")

ImageSource = str | os.PathLike | bytes | np.ndarray


def read_image(source: ImageSource) -> np.ndarray:
    """Read one image.

    EXIF orientation is applied; grey, palette, CMYK and 16-bit images become 8-bit RGB; colours with an ICC profile
    become sRGB; what is transparent is laid on white; of several frames the first is taken. DICOM has rules of its
    own: see `core.data.dicom`. Messages call a file by its name, never by its path.

    Args:
        source: a path, the bytes of a file, or an array: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8,
            0 to 255, or uint16, 0 to 65535.

    Returns:
        (H, W, 3) uint8 RGB, 0 to 255; never a view of the caller's array.

    Raises:
        ImageError: it is no image, damaged, too large, or of an unknown form.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, (bytes, bytearray)):
        return _decode(io.BytesIO(source), len(source), "the bytes")
    if not isinstance(source, (str, os.PathLike)):
        raise ImageError(f"An image is a path, bytes or a NumPy array. Received: {type(source).__name__}.")
    path = Path(source)
    try:
        with path.open("rb") as stream:
            return _decode(stream, os.fstat(stream.fileno()).st_size, _shown(path))
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        reason = getattr(error, "strerror", None) or error
    # outside of the handler: the system's error names the whole path
    raise ImageError(f"An image must be a readable file. Received: {_shown(path)!r} ({reason}). Choose another file.")


def centre_square(height: int, width: int) -> tuple[int, int, int]:
    """The largest centred square of an image: what the model sees of it.

    Args:
        height, width: in pixels.

    Returns:
        top, left, side, in pixels.
    """
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side


def at_most(image: np.ndarray, side: int) -> np.ndarray:
    """The image, shrunk until its longer side has at most so many pixels; a small one as it is.

    Args:
        image: (H, W, 3) uint8 RGB, 0 to 255.
        side: in pixels.

    Returns:
        (h, w, 3) uint8 RGB, of the same aspect ratio.
    """
    height, width = image.shape[:2]
    share = side / max(height, width)
    if share >= 1:
        return image
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def as_jpeg(image: np.ndarray, quality: int = 92) -> bytes:
    """(H, W, 3) uint8 RGB as the bytes of a JPEG file, of a quality from 1 to 100."""
    return cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


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


def check_pixels(width: int, height: int, name: str) -> None:
    """Refuse a picture over the limit.

    Args:
        width, height: in pixels.
        name: what the message calls it.

    Raises:
        ImageError: it has more than `MAX_PIXELS`.
    """
    if width * height > MAX_PIXELS:
        raise _too_many(name, f"{width} x {height} pixels")


def to_8_bit(levels: np.ndarray) -> np.ndarray:
    """16-bit levels, or deeper ones that use no more than 16 bits, to 8 bits.

    Args:
        levels: whole numbers of any shape, 0 to 65535.

    Returns:
        uint8 of the same shape, 0 to 255.

    Raises:
        ImageError: a level lies outside.
    """
    if levels.min() < 0 or levels.max() > 65535:
        raise ImageError(
            f"Grey levels lie between 0 and 65535. Received: {levels.min()} to {levels.max()}. Export it with 16 bits."
        )
    wide = levels.astype(np.uint32)
    wide += 128
    wide //= 257  # rounds, as 257 is odd; in place, because a large picture takes half a gigabyte as fractions
    return wide.astype(np.uint8)


def in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """The picture in the colours that its ICC profile means.

    Args:
        image: of the mode RGB, CMYK or L.
        profile: the bytes of the profile, which may be damaged or of another kind of picture.

    Returns:
        The picture in sRGB, of the mode RGB; the picture as it is where the profile is no use or is sRGB itself.
    """
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if _PROFILED_MODES.get(given.profile.xcolor_space.strip()) != image.mode:
            return image
        change = ImageCms.buildTransform(given, ImageCms.createProfile("sRGB"), image.mode, "RGB")
        if image.mode == "RGB" and _is_unseen(change):
            return image
        return ImageCms.applyTransform(image, change) or image
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):  # a damaged profile: most viewers ignore it too
        return image


def _is_unseen(change: ImageCms.ImageCmsTransform) -> bool:
    """Whether a transform leaves all colours where they are, but for rounding."""
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    changed = np.asarray(ImageCms.applyTransform(Image.fromarray(colours), change))
    return int(np.abs(changed.astype(int) - colours).max()) <= _UNSEEN


def _shown(path: Path) -> str:
    """A file's name for a message: without folders, of printable characters, not endless."""
    last = re.split(r"[\\/]", path.name)[-1] or path.name or "a folder"
    name = _printable(last)
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 20]}…{name[-19:]}"


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def _from_array(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "u" or array.dtype.itemsize > 2:
        divided = "Pixels that were divided by 255 must be multiplied back first."
        hint = divided if array.dtype.kind == "f" else "Convert it first: array.astype(np.uint8)."
        raise ImageError(
            "An image array holds whole numbers, 0 to 255 (uint8) or 0 to 65535 (uint16). "
            f"Received: {array.dtype}. {hint}"
        )
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise ImageError(f"An image array is (H, W), (H, W, 1), (H, W, 3) or (H, W, 4). Received: {array.shape}.")
    check_pixels(array.shape[1], array.shape[0], "the array")
    if array.dtype.itemsize == 2:
        array = to_8_bit(array)
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
    head = stream.read(_HEAD)
    stream.seek(0)
    try:
        if head[128:132] == b"DICM":
            from core.data.dicom import read_dicom  # here, because most processes never see a DICOM file

            return read_dicom(stream, name)
        with Image.open(stream, formats=FORMATS) as image:
            check_pixels(*image.size, name)
            return _to_rgb(image, name)
    except ImageError:
        raise
    except UnidentifiedImageError:
        kind = next((kind for form, kind in _OTHER_KINDS if form.match(head)), "none of these or damaged")
        raise ImageError(
            f"An image must be JPEG, PNG, BMP, TIFF, WebP or DICOM. Received: {name}, which is {kind}. "
            "Export it in one of these forms."
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        pixels = int(next(iter(re.findall(r"\d+", str(error))), 2 * MAX_PIXELS))
        raise _too_many(name, f"{pixels // 10**6:,} megapixels") from None
    except MemoryError:
        raise ImageError(f"An image must fit in memory. Received: {name}, which does not. Make it smaller.") from None
    except Exception as error:  # a damaged file can raise nearly anything from within a decoder
        reason = _printable(str(error))[:_LONGEST_REASON] or type(error).__name__
        raise ImageError(
            f"An image file must be whole. Received: {name}, which is damaged ({reason}). Save it again."
        ) from error


def _too_many(name: str, received: str) -> ImageError:
    return ImageError(
        f"An image has at most {MAX_PIXELS // 10**6} megapixels. Received: {name} with {received}. "
        "Make it smaller first."
    )


def _to_rgb(image: Image.Image, name: str) -> np.ndarray:
    image.load()  # first, because TIFF is turned while it loads
    turn = _TURNS.get(_orientation(image))
    if turn is not None:
        image = image.transpose(turn)
    if image.mode == "F":
        raise ImageError(
            "An image file holds whole numbers. "
            f"Received: {name}, whose pixels are floating-point numbers. Export it with 8 or 16 bits."
        )
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, _BAND // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        band = image if bottom - top == height else image.crop((0, top, width, bottom))
        pixels[top:bottom] = _band_to_rgb(band)
    return pixels


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # a damaged block can raise nearly anything, and is no reason to lose the picture
        return 1
    return value if isinstance(value, int) else 1


def _band_to_rgb(image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8 RGB, or (H, W, 1) where all three are the same."""
    if image.mode.startswith("I"):  # 16-bit and deeper grey
        return to_8_bit(np.asarray(image))[:, :, None]
    profile = image.info.get("icc_profile")
    if not image.has_transparency_data:
        if profile:
            image = in_srgb(image.convert("RGB") if image.mode == "P" else image, profile)
        return np.asarray(image.convert("RGB"))
    image = image.convert("RGBA")
    if profile:
        alpha = image.getchannel("A")
        image = in_srgb(image.convert("RGB"), profile)
        image.putalpha(alpha)
    return _on_white(image)


def _on_white(image: Image.Image) -> np.ndarray:
    ground = Image.new("RGBA", image.size, "white")
    ground.alpha_composite(image)
    return np.array(ground.convert("RGB"))
