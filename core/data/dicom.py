"""DICOM: a file with one ordinary picture becomes (H, W, 3) uint8 RGB; names and dates in it are never looked at.

Only what describes pixels is read (`NEEDED`); all other elements are stepped over, so that nothing of a patient can
reach a message, a log or the array. This module is imported when the first DICOM file arrives, not before.

What the standard leaves to us:

- Orientation. Patient Orientation says where on the body right and down are, and turns nothing. The EXIF orientation
  of an embedded JPEG is not applied: the data set rules over the bit stream (PS3.5, annex F), Rows and Columns are
  those of the stored pixels, and every DICOM viewer shows them as stored.
- Colour. ICC Profile (0028,2000) comes first, the profile in an embedded JPEG second.
- Whether an embedded JPEG holds RGB or YCbCr is said by its own markers, JFIF or Adobe, where it has them: files whose
  Photometric Interpretation is wrong are common. Without a marker, Photometric Interpretation decides.
- Presentation. Rescale and the first window hold for grey pictures; without a window the full range of the stored bits
  becomes 0 to 255. Tables for it (Modality LUT, VOI LUT) and overlays are not applied.
"""

import io
import logging
import math
import warnings
from dataclasses import dataclass
from typing import Any, BinaryIO

import cv2
import jpeg_ls
import numpy as np
import pydicom.config
from PIL import Image
from pydicom import uid
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.filereader import read_dataset, read_preamble
from pydicom.pixels import apply_color_lut
from pydicom.pixels.decoders import ExplicitVRBigEndianDecoder, ExplicitVRLittleEndianDecoder

from core.data.images import check_pixels, in_srgb, to_8_bit
from core.errors import ImageError

NEEDED = (
    *("SOPClassUID", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames"),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelSpacing", "PixelAspectRatio", "ICCProfile"),
    *("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    *(
        f"{colour}PaletteColorLookupTable{part}"
        for colour in ("Red", "Green", "Blue")
        for part in ("Descriptor", "Data")
    ),
    "PixelData",
)
GREY, PALETTE = ("MONOCHROME1", "MONOCHROME2"), "PALETTE COLOR"
YBR = ("YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1)
JPEG_2000 = (uid.JPEG2000Lossless, uid.JPEG2000)
JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
NO_PICTURES = (  # they have pixels, but what these mean is no light
    uid.SegmentationStorage,
    uid.ParametricMapStorage,
    uid.RTDoseStorage,
)
MAX_READS = 200_000  # from the stream: an ordinary picture needs some thousand, in whatever pieces
SQUARE, LONGEST = 1.01, 4.0  # sides of a pixel: up to the first it is square, beyond the second it is a mistake

# what pydicom says of a damaged file could quote it, and is nothing that a user could act on
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


@dataclass(frozen=True)
class Form:
    """How the pixels are stored.

    Attributes:
        syntax: the transfer syntax, a UID.
        rows, columns: in pixels.
        samples: 1 or 3 for each pixel.
        photometric: what the samples mean, as in Photometric Interpretation.
        allocated, stored, high: bits of a sample, those that are used, and the highest of these.
        signed: whether samples are two's complement.
    """

    syntax: str
    rows: int
    columns: int
    samples: int
    photometric: str
    allocated: int
    stored: int
    high: int
    signed: bool


class _Bounded:
    """A stream that ends the reading of millions of empty elements: 5 MB of them would take 20 seconds."""

    def __init__(self, stream: BinaryIO) -> None:
        self.left = MAX_READS
        self.read_some, self.seek, self.tell = stream.read, stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise ValueError("too many elements")
        return self.read_some(size)


def read_dicom(stream: BinaryIO, name: str) -> np.ndarray:
    """Read the one picture of a DICOM file.

    Little and big endian, RLE, JPEG (8 bits, lossy and lossless), JPEG-LS and JPEG 2000; grey, palette, RGB and YBR;
    8 and 16 bits, and 1. Pixels that are no squares are made so by stretching their short side.

    Args:
        stream: the file, from its beginning.
        name: what messages call it.

    Returns:
        (H, W, 3) uint8 RGB, 0 to 255.

    Raises:
        ImageError: it holds no picture or several, is damaged, too large, or of another form.
    """
    _hush()
    try:
        return _read(stream, name)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # a damaged file can raise nearly anything from within a parser or a decoder
        reason = f"it cannot be decoded: {type(error).__name__}"
    # outside of the handler, so that the parser's words, which may quote the file, are not chained to ours
    raise _damaged(name, reason)


def _hush() -> None:
    """Keep pydicom's warnings inside, again if somebody took the filter back; `catch_warnings` knows no threads."""
    if not any(entry[1] is None and getattr(entry[3], "pattern", "") == r"pydicom\b" for entry in warnings.filters):
        warnings.filterwarnings("ignore", module=r"pydicom\b")


def _read(stream: BinaryIO, name: str) -> np.ndarray:
    bounded: Any = _Bounded(stream)
    meta, syntax = _read_meta(bounded, name)
    dataset = _read_elements(bounded, syntax)
    form = _form(dataset, meta, syntax, name)
    height, width = _square_size(dataset, form, name)
    check_pixels(max(width, form.columns), max(height, form.rows), name)
    rgb = _rgb(dataset, form, name)
    return rgb if rgb.shape[:2] == (height, width) else cv2.resize(rgb, (width, height))


def _read_meta(stream: BinaryIO, name: str) -> tuple[Dataset, str]:
    """The file's own header, and how the rest is written: before a byte of the rest is read or inflated."""
    read_preamble(stream, force=False)
    wanted = [_tag("MediaStorageSOPClassUID"), _tag("TransferSyntaxUID")]
    meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2, specific_tags=wanted)
    syntax = str(meta.get("TransferSyntaxUID", ""))
    if syntax in (*NATIVE, *JPEG, *JPEG_2000, *JPEG_LS, uid.RLELossless):
        return meta, syntax
    known = uid.UID(syntax).name if syntax in uid.UID_dictionary else "an unknown one"
    received = "which is a video" if any(word in known for word in ("MPEG", "HEVC")) else f"whose syntax is {known}"
    raise ImageError(
        "A DICOM file is uncompressed or compressed by RLE, JPEG, JPEG-LS or JPEG 2000. "
        f"Received: {name}, {received}. Export one picture in one of these forms."
    )


def _read_elements(stream: BinaryIO, syntax: str) -> Dataset:
    """The needed elements; what comes after the pixels is left alone."""
    last, tags = _tag("PixelData"), [_tag(keyword) for keyword in NEEDED]
    implicit, little = syntax == uid.ImplicitVRLittleEndian, syntax != uid.ExplicitVRBigEndian
    return read_dataset(stream, implicit, little, stop_when=lambda tag, vr, length: tag > last, specific_tags=tags)


def _form(dataset: Dataset, meta: Dataset, syntax: str, name: str) -> Form:
    kind = str(dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID", ""))
    if "PixelData" not in dataset or kind in NO_PICTURES:
        # the standard's word for the kind, never the file's own
        what = f" ({uid.UID(kind).name})" if kind in uid.UID_dictionary else ""
        raise ImageError(
            f"A DICOM file holds a picture. Received: {name}, which holds none{what}. Export a picture instead."
        )
    frames = _whole(dataset, "NumberOfFrames", name, 1)
    if frames != 1:
        count = str(frames) if 0 <= frames < 10**6 else "countless"
        raise ImageError(
            f"A DICOM file holds a single picture. Received: {name} with {count} frames. Export one of them."
        )
    stored = _whole(dataset, "BitsStored", name)
    form = Form(
        syntax=syntax,
        rows=_whole(dataset, "Rows", name),
        columns=_whole(dataset, "Columns", name),
        samples=_whole(dataset, "SamplesPerPixel", name),
        photometric=str(dataset.get("PhotometricInterpretation", "")),
        allocated=_whole(dataset, "BitsAllocated", name),
        stored=stored,
        high=_whole(dataset, "HighBit", name, stored - 1),
        signed=_whole(dataset, "PixelRepresentation", name, 0) == 1,
    )
    if not 1 <= form.stored <= form.high + 1 <= form.allocated or form.rows < 1 or form.columns < 1:
        raise _damaged(name, "its bits and sides contradict each other")
    if form.allocated not in (1, 8, 16):
        raise ImageError(
            f"A DICOM picture has 8 or 16 bits. Received: {name} with {form.allocated} bits. Export it with 8 or 16."
        )
    samples = 1 if form.photometric in (*GREY, PALETTE) else 3
    bits = 8 if form.photometric in YBR else 16
    if form.photometric not in (*GREY, PALETTE, "RGB", *YBR) or form.samples != samples or form.stored > bits:
        raise ImageError(
            "A DICOM picture is grey, has a palette, or is RGB or YBR_FULL, YBR_FULL_422, YBR_ICT or YBR_RCT of "
            f"8 bits. Received: {name}, which is of another form. Export it as RGB."
        )
    if syntax in JPEG and form.stored > 8:
        raise ImageError(
            f"A DICOM picture compressed by JPEG has 8 bits. Received: {name} with {form.stored} bits. "
            "Export it uncompressed."
        )
    return form


def _square_size(dataset: Dataset, form: Form, name: str) -> tuple[int, int]:
    """Height and width once pixels are squares: the side along which they are longer gets more of them."""
    sides = _numbers(dataset, "PixelSpacing", name) or _numbers(dataset, "PixelAspectRatio", name) or [1.0, 1.0]
    if len(sides) != 2 or min(sides) <= 0 or max(sides) > LONGEST * min(sides):
        raise _damaged(name, "its pixels have no possible shape")
    tall = sides[0] / sides[1]  # both name the vertical side first
    if max(tall, 1 / tall) <= SQUARE:
        return form.rows, form.columns
    return round(form.rows * max(1.0, tall)), round(form.columns * max(1.0, 1 / tall))


# ---- pixels as they are stored -------------------------------------------------------------------


def _rgb(dataset: Dataset, form: Form, name: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB of the stored size."""
    profile = dataset.get("ICCProfile")
    if form.syntax in NATIVE:
        for keyword in ("PlanarConfiguration", "PixelRepresentation"):
            dataset.setdefault(keyword, 0)  # what is meant where they were forgotten
        _check_length(len(dataset.PixelData), form, name)
        dataset.BitsStored = form.allocated  # or the decoder cuts off the upper bits, in which the picture may be
        native = ExplicitVRBigEndianDecoder if form.syntax == uid.ExplicitVRBigEndian else ExplicitVRLittleEndianDecoder
        return _displayed(_used_bits(native.as_array(dataset, raw=True)[0], form), dataset, form, profile, name)
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    if form.syntax == uid.RLELossless:
        return _displayed(_used_bits(_from_rle(frame, form, name), form), dataset, form, profile, name)
    if form.syntax in JPEG_LS:
        return _displayed(_used_bits(_from_jpeg_ls(frame, form, name), form), dataset, form, profile, name)
    with Image.open(io.BytesIO(frame), formats=["JPEG" if form.syntax in JPEG else "JPEG2000"]) as image:
        _check_inner(image.size, form, name)
        profile = profile or image.info.get("icc_profile")
        levels = _from_jpeg(image, form) if form.syntax in JPEG else _from_jpeg_2000(image, frame, form)
    return _displayed(levels, dataset, form, profile, name)


def _check_length(length: int, form: Form, name: str) -> None:
    """Rows and columns that do not fit the pixels would be read as a sheared picture."""
    whole = -(-form.rows * form.columns * form.samples * form.allocated // 8)
    possible = [whole, whole * 2 // 3] if form.photometric == "YBR_FULL_422" else [whole]
    if length not in (size + odd for size in possible for odd in (0, size % 2)):
        raise _damaged(name, "it has not as many pixels as it says")


def _check_inner(size: tuple[int, int], form: Form, name: str) -> None:
    """What is embedded could promise a larger picture than the limit was checked for."""
    if size != (form.columns, form.rows):
        raise _damaged(name, "the embedded picture has other sides than the file says")


def _from_jpeg(image: Any, form: Form) -> np.ndarray:
    marked = "jfif" in image.info or "adobe_transform" in image.info
    named = bytes(layer[0] for layer in image.layer) == b"RGB"  # the decoder knows such components
    if form.photometric == "RGB" and not marked and not named:
        image.draft("YCbCr", image.size)  # to the decoder: leave the samples as they are
    return np.asarray(image)


def _from_jpeg_2000(image: Any, frame: bytes, form: Form) -> np.ndarray:
    """Levels of the stored bits; the decoder gives them scaled to 8 or 16 bits, and signed ones shifted above 0."""
    levels = np.asarray(image)
    if form.samples == 3:
        return levels  # colours are 8 bits by now, whatever they were
    sizes = frame.index(b"\xff\x51")  # the marker segment of sizes, and in it sign and precision
    signed, precision = frame[sizes + 40] >> 7, (frame[sizes + 40] & 0x7F) + 1
    half, container = 1 << (precision - 1), 8 * levels.itemsize
    if levels.dtype.kind != "u" or precision > container:
        raise ValueError("no grey levels of 16 bits or less")
    levels = (levels >> (container - precision)).astype(np.int32)
    # two's complement of bits that the stream calls unsigned, or the other way round: the data set rules
    above = (levels ^ half) if signed else levels
    return (above ^ half) - half if form.signed else above


def _from_jpeg_ls(frame: bytes, form: Form, name: str) -> np.ndarray:
    header = frame.index(b"\xff\xf7")  # its size is read before the decoder makes room for it
    rows, columns = (int.from_bytes(frame[header + at : header + at + 2], "big") for at in (5, 7))
    _check_inner((columns, rows), form, name)
    if frame[header + 9] != form.samples:
        raise ValueError("another number of components")
    buffer, info = jpeg_ls.decode_pixel_data(frame)
    flat = np.frombuffer(buffer, "<u2" if info["bits_per_sample"] > 8 else np.uint8)
    if form.samples == 3 and info["interleave_mode"] == 0:
        return flat.reshape(3, rows, columns).transpose(1, 2, 0)
    return flat.reshape((rows, columns, 3) if form.samples == 3 else (rows, columns))


def _from_rle(frame: bytes, form: Form, name: str) -> np.ndarray:
    """Segments of one byte each, the highest first; Pillow's decoder stops where the picture is full."""
    size, pixels = form.allocated // 8, form.rows * form.columns
    header = np.frombuffer(frame[:64], "<u4")
    if header[0] != form.samples * size or form.allocated == 1:
        raise _damaged(name, "its RLE header contradicts it")
    starts = [*(int(start) for start in header[1 : 1 + header[0]]), len(frame)]
    planes = [
        np.frombuffer(Image.frombytes("L", (pixels, 1), frame[start:end], "packbits", "L").tobytes(), np.uint8)
        for start, end in zip(starts, starts[1:], strict=False)
    ]
    bytes_of_samples = np.stack(planes, axis=1).reshape(form.rows, form.columns, form.samples, size)
    levels = bytes_of_samples.view(f">u{size}")[..., 0]
    return levels if form.samples == 3 else levels[..., 0]


def _used_bits(levels: np.ndarray, form: Form) -> np.ndarray:
    """Without what other things hide in unused bits, and with the sign where there is one."""
    bits = 8 * levels.itemsize
    if form.allocated == 1 or (form.stored == bits and not form.signed):
        return levels
    if bits < form.stored:
        raise ValueError("fewer bits than promised")
    high = min(form.high, bits - 1)
    kind = np.dtype(f"{'i' if form.signed else 'u'}{levels.itemsize}")
    whole = levels.astype(np.dtype(f"u{levels.itemsize}"))
    return (whole << (bits - 1 - high)).view(kind) >> (bits - form.stored)


# ---- from levels to colours ----------------------------------------------------------------------


def _displayed(levels: np.ndarray, dataset: Dataset, form: Form, profile: Any, name: str) -> np.ndarray:
    if levels.shape[2:] != ((3,) if form.samples == 3 else ()):
        raise ValueError("another number of components")
    if form.photometric == PALETTE:
        colours = apply_color_lut(levels, dataset)
        return _in_srgb(to_8_bit(colours) if colours.dtype.itemsize == 2 else colours, profile)
    if form.photometric in GREY:
        grey = _looked_up(levels, _grey_levels(dataset, form, name), form)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if form.syntax in (*JPEG, *JPEG_2000):
        ybr = form.syntax in JPEG_2000 and form.photometric in ("YBR_FULL", "YBR_FULL_422")
    else:
        ybr = form.photometric in YBR
        lowest = -(1 << (form.stored - 1)) if form.signed else 0
        full = np.arange(1 << form.stored) / ((1 << form.stored) - 1)
        levels = _looked_up(levels, _as_bytes(full), form) if form.stored != 8 or lowest else levels
    if ybr:
        levels = np.asarray(Image.fromarray(np.ascontiguousarray(levels), "YCbCr").convert("RGB"))
    return _in_srgb(levels, profile)


def _in_srgb(rgb: np.ndarray, profile: Any) -> np.ndarray:
    if not isinstance(profile, bytes) or not profile:
        return np.array(rgb, order="C")
    return np.array(in_srgb(Image.fromarray(np.ascontiguousarray(rgb)), profile))


def _grey_levels(dataset: Dataset, form: Form, name: str) -> np.ndarray:
    """(2 ** stored,) uint8: what each stored level, from the lowest, looks like."""
    lowest = -(1 << (form.stored - 1)) if form.signed else 0
    slope = (_numbers(dataset, "RescaleSlope", name) or [1.0])[0]
    intercept = (_numbers(dataset, "RescaleIntercept", name) or [0.0])[0]
    centres, widths = _numbers(dataset, "WindowCenter", name), _numbers(dataset, "WindowWidth", name)
    with np.errstate(all="ignore"):  # what overflows is no finite number, and found to be none below
        values = (lowest + np.arange(1 << form.stored)) * slope + intercept
        if centres and widths:
            shares = _windowed(values, centres[0], widths[0], str(dataset.get("VOILUTFunction") or "LINEAR"))
        else:
            shares = (values - values.min()) / (values.max() - values.min())
        grey = _as_bytes(shares)
    return 255 - grey if form.photometric == "MONOCHROME1" else grey


def _windowed(values: np.ndarray, centre: float, width: float, function: str) -> np.ndarray:
    """Shares of the full brightness by a window (PS3.3, C.11.2.1.2 and C.11.2.1.3)."""
    if width < (1 if function == "LINEAR" else 1e-9):
        raise ValueError("no width")
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return (values - centre) / width + 0.5
    if width == 1:
        return (values > centre - 0.5).astype(float)
    return (values - (centre - 0.5)) / (width - 1) + 0.5


def _as_bytes(shares: np.ndarray) -> np.ndarray:
    if not np.isfinite(shares).all():
        raise ValueError("no finite levels")
    return np.round(np.clip(shares, 0, 1) * 255).astype(np.uint8)


def _looked_up(levels: np.ndarray, table: np.ndarray, form: Form) -> np.ndarray:
    lowest = -(1 << (form.stored - 1)) if form.signed else 0
    out = np.empty(levels.shape, np.uint8)
    for row, line in enumerate(levels):  # row by row: as indices, levels take eight times their room
        out[row] = np.take(table, line.astype(np.int64) - lowest, mode="clip")
    return out


# ---- elements ------------------------------------------------------------------------------------


def _tag(keyword: str) -> Any:
    return tag_for_keyword(keyword)


def _whole(dataset: Dataset, keyword: str, name: str, default: int | None = None) -> int:
    value = dataset.get(keyword)
    if value is None or value == "":
        value = default
    try:
        return int(value)  # type: ignore[arg-type]  # whatever stands in the file: int() says what is none
    except (TypeError, ValueError):
        pass
    raise _damaged(name, f"{keyword} is no whole number")


def _numbers(dataset: Dataset, keyword: str, name: str) -> list[float]:
    """The values of an element; none where it is missing or empty."""
    value = dataset.get(keyword)
    if value is None or value == "":
        return []
    try:
        values = [float(value)] if isinstance(value, (str, int, float)) else [float(part) for part in value]
    except (TypeError, ValueError):
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise _damaged(name, f"{keyword} is no number")
    return values


def _damaged(name: str, reason: str) -> ImageError:
    return ImageError(f"A DICOM file must be whole. Received: {name}, which is damaged ({reason}). Export it again.")
