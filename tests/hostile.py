"""Files that people, cameras and attackers may hand in: odd, damaged, renamed or dangerous, the same at every call."""

import io
import struct
import zipfile
import zlib
from pathlib import Path

import cv2
import jpeg_ls
import numpy as np
from PIL import Image, ImageCms
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite

HEIGHT, WIDTH = 40, 56
ORIENTATION = 0x0112
CUTS, FLIPS = 13, 13  # damaged copies of each sound file
SEQUENCE = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff"  # the head of a DICOM sequence without a length
RLE_MAXIMUM = b"\x81\x00"  # two bytes that stand for 128


def hostile_files(folder: Path) -> list[Path]:
    """Write them all; those named `bomb...` promise far more than they are.

    Args:
        folder: an existing, empty one.

    Returns:
        The paths, 700 or so, of 10 MB together.
    """
    sound = sound_files()
    files = {f"sound-{name}": data for name, data in sound.items()}
    for number, (name, data) in enumerate(sound.items()):
        dice = np.random.default_rng(number)
        for cut in range(CUTS):
            files[f"cut{cut}-{name}"] = data[: int(len(data) * (cut + dice.random()) / CUTS)]
        for flip in range(FLIPS):
            files[f"flip{flip}-{name}"] = flipped(data, flip, dice)
    files |= oriented() | profiled() | bombs() | other_kinds() | odd_dicom() | named(sound["rgb.png"])
    paths = []
    for name, data in files.items():
        path = folder / name
        path.write_bytes(data)
        paths.append(path)
    return paths


def picture(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """(H, W, 3) uint8 RGB: smooth, with a spot, all corners different."""
    rows, columns = np.mgrid[0:height, 0:width]
    spot = 90 * (np.hypot(rows - height / 2, columns - width / 2) < height / 4)
    channels = (200 - rows - spot, 120 + columns - spot, 60 + rows + columns // 2)
    return np.stack([channel.clip(0, 255) for channel in channels], axis=2).astype(np.uint8)


def encoded(image: Image.Image, form: str, **options) -> bytes:
    """The bytes of a file of this form."""
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def dicom(pixel_data: bytes, syntax: str = uid.ExplicitVRLittleEndian, **elements) -> bytes:
    """A DICOM file.

    Args:
        pixel_data: as the syntax wants them: native, or one compressed frame.
        syntax: the transfer syntax.
        elements: by keyword; what is not given describes 8-bit RGB of `picture()`, and None leaves an element out.

    Returns:
        The bytes of the file.
    """
    usual = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.7",  # Dermoscopic Photography Image Storage
        "SOPInstanceUID": "1.2.3.4",
        "Modality": "DMS",
        "Rows": HEIGHT,
        "Columns": WIDTH,
        "SamplesPerPixel": 3,
        "PhotometricInterpretation": "RGB",
        "PlanarConfiguration": 0,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
    }
    dataset = Dataset()
    for keyword, value in (usual | elements).items():
        if value is not None:
            setattr(dataset, keyword, value)
    if not uid.UID(syntax).is_private and not uid.UID(syntax).is_encapsulated:
        dataset.PixelData = pixel_data
        dataset["PixelData"].VR = "OW" if dataset.get("BitsAllocated") == 16 else "OB"
    else:
        dataset.PixelData = encapsulate([pixel_data])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = uid.UID(syntax)
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", "1.2.3")
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    dataset.file_meta = meta
    stream = io.BytesIO()
    implicit, little = syntax == uid.ImplicitVRLittleEndian, syntax != uid.ExplicitVRBigEndian
    dcmwrite(stream, dataset, implicit_vr=implicit, little_endian=little, enforce_file_format=True)
    return stream.getvalue()


def grey(bits: int = 8, **elements) -> dict:
    """The elements of a grey picture."""
    allocated = 8 if bits <= 8 else 16
    return {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "PlanarConfiguration": None,
        "BitsAllocated": allocated,
        "BitsStored": bits,
        "HighBit": bits - 1,
    } | elements


def rle(planes: list[bytes]) -> bytes:
    """One frame, each plane of bytes as literal runs."""
    segments = []
    for plane in planes:
        runs = [plane[start : start + 128] for start in range(0, len(plane), 128)]
        segment = b"".join(bytes([len(run) - 1]) + run for run in runs)
        segments.append(segment + b"\0" * (len(segment) % 2))
    starts = np.cumsum([64, *map(len, segments)])[:-1]
    header = struct.pack("<16I", len(segments), *(int(start) for start in starts), *[0] * (15 - len(segments)))
    return header + b"".join(segments)


def sound_files() -> dict[str, bytes]:
    """A file of each form that is read, by a name that says which."""
    pixels = picture()
    image, light = Image.fromarray(pixels), pixels[:, :, 0]
    levels = light.astype(np.uint16) * 257
    moving = {"save_all": True, "append_images": [Image.fromarray(255 - pixels)]}
    alpha = np.dstack([pixels, np.indices(light.shape).sum(axis=0).astype(np.uint8) * 2])
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    ybr = np.asarray(image.convert("YCbCr"))
    lookup = {
        f"{name}PaletteColorLookupTable{part}": value
        for name, ramp in (("Red", 1), ("Green", -1), ("Blue", 2))
        for part, value in (
            ("Descriptor", [256, 0, 16]),
            ("Data", ((np.arange(256) * ramp % 256).astype("<u2") * 257).tobytes()),
        )
    }
    return {
        "rgb.jpg": encoded(image, "JPEG", quality=90, exif=exif),
        "progressive.jpg": encoded(image, "JPEG", progressive=True),
        "cmyk.jpg": encoded(image.convert("CMYK"), "JPEG"),
        "rgb.png": encoded(image, "PNG", exif=exif),
        "alpha.png": encoded(Image.fromarray(alpha), "PNG"),
        "palette.png": encoded(image.quantize(8), "PNG", transparency=3),
        "grey16.png": encoded(Image.fromarray(levels), "PNG"),
        "rgb16.png": cv2.imencode(".png", pixels[:, :, ::-1].astype(np.uint16) * 257)[1].tobytes(),
        "moving.png": encoded(image, "PNG", **moving),
        "rgb.bmp": encoded(image, "BMP"),
        "lzw.tif": encoded(image, "TIFF", compression="tiff_lzw"),
        "pages.tif": encoded(image, "TIFF", **moving),
        "rgb.webp": encoded(image, "WEBP", exif=exif),
        "moving.webp": encoded(image, "WEBP", **moving),
        "rgb.dcm": dicom(pixels.tobytes()),
        "implicit.dcm": dicom(pixels.tobytes(), uid.ImplicitVRLittleEndian),
        "big.dcm": dicom(levels.astype(">u2").tobytes(), uid.ExplicitVRBigEndian, **grey(16)),
        "grey12.dcm": dicom((levels >> 4).tobytes(), **grey(12, WindowCenter=2048, WindowWidth=4096)),
        "ybr.dcm": dicom(ybr.tobytes(), PhotometricInterpretation="YBR_FULL"),
        "palette.dcm": dicom(light.tobytes(), **grey(PhotometricInterpretation="PALETTE COLOR"), **lookup),
        "rle.dcm": dicom(rle([pixels[:, :, band].tobytes() for band in range(3)]), uid.RLELossless),
        "jpeg.dcm": dicom(encoded(image, "JPEG"), uid.JPEGBaseline8Bit, PhotometricInterpretation="YBR_FULL_422"),
        "j2k.dcm": dicom(jpeg_2000(image), uid.JPEG2000Lossless, PhotometricInterpretation="YBR_RCT"),
        "jls.dcm": dicom(bytes(jpeg_ls.encode_array(pixels, interleave_mode=2)), uid.JPEGLSLossless),
    }


def jpeg_2000(image: Image.Image) -> bytes:
    """A lossless code stream; of colours, with the reversible transformation."""
    return encoded(image, "JPEG2000", no_jp2=True, mct=int(image.mode == "RGB"))


def flipped(data: bytes, number: int, dice: np.random.Generator) -> bytes:
    """A few bytes changed: every other time where decoders believe what they read, at the beginning."""
    damaged = bytearray(data)
    begin = 128 if data[128:132] == b"DICM" else 0
    reach = len(data) if number % 2 else min(len(data), begin + 500)
    for position in dice.integers(begin, reach, size=1 + number % 5):
        damaged[position] = dice.integers(256)
    return bytes(damaged)


def oriented() -> dict[str, bytes]:
    """EXIF orientations, possible and impossible, and blocks that are full or broken."""
    files, image = {}, Image.fromarray(picture())
    for value in (*range(10), 65535):
        exif = Image.Exif()
        exif[ORIENTATION] = value
        files[f"orientation{value}.jpg"] = encoded(image, "JPEG", exif=exif)
        files[f"orientation{value}.png"] = encoded(image, "PNG", exif=exif)
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x010E] = 3, "x" * 65_000
    files["full-exif.jpg"] = encoded(image, "JPEG", exif=exif)
    files["broken-exif.jpg"] = encoded(image, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0" * 3)
    return files


def profiled() -> dict[str, bytes]:
    """ICC profiles: sound, of another kind of picture, cut, nonsense, large."""
    image = Image.fromarray(picture())
    srgb, lab = profile("sRGB"), profile("LAB")
    kinds = {"sound": srgb, "lab": lab, "cut": srgb[:200], "nonsense": b"\xff" * 500, "large": srgb + bytes(2**20)}
    return {
        f"profile-{name}-{mode.lower()}.{form.lower()}": encoded(image.convert(mode), form, icc_profile=content)
        for name, content in kinds.items()
        for form, mode in (("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "RGBA"), ("WEBP", "RGB"))
        if mode != "CMYK" or name != "large"
    } | {
        f"profile-{name}.dcm": dicom(picture().tobytes(), ICCProfile=content + b"\0" * (len(content) % 2))
        for name, content in kinds.items()
    }


def profile(space: str) -> bytes:
    """An ICC profile of sRGB or LAB, without the time at which it was made."""
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes()
    return content[:24] + bytes(12) + content[36:]


def bombs() -> dict[str, bytes]:
    """Small files that promise a lot of pixels or unpack to a lot of bytes."""
    huge = {"Rows": 65535, "Columns": 65535}
    wide = {"Rows": 8000, "Columns": 8000}
    frame = encoded(Image.fromarray(picture()), "JPEG")
    sizes = frame.index(b"\xff\xc0")
    vast_jpeg = frame[: sizes + 5] + b"\xff\xdc\xff\xdc" + frame[sizes + 9 :]
    stream = jpeg_2000(Image.fromarray(picture()))
    vast_j2k = stream[:8] + struct.pack(">II", 60_000, 60_000) + stream[16:]
    ls = bytes(jpeg_ls.encode_array(picture(), interleave_mode=2))
    sizes = ls.index(b"\xff\xf7")
    vast_ls = ls[: sizes + 5] + b"\xff\xdc\xff\xdc" + ls[sizes + 9 :]
    unpacked = RLE_MAXIMUM * 1_000_000  # 128 MB
    rle_frame = struct.pack("<16I", 3, 64, 64 + len(unpacked), 66 + len(unpacked), *[0] * 12) + unpacked + b"\0" * 4
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        inner = zipfile.ZipInfo("../../lesion.jpg")  # with no time, so that it is the same at every call
        zipped.writestr(inner, bytes(10_000_000), zipfile.ZIP_DEFLATED)
    return {
        "bomb-50000.png": png(50_000, 50_000),
        "bomb-9000.png": png(9_000, 9_000, depth=16),
        "bomb-text.png": png(4, 4, extra=(b"zTXt", b"k\0\0" + zlib.compress(bytes(30_000_000)))),
        "bomb-profile.png": png(4, 4, extra=(b"iCCP", b"k\0\0" + zlib.compress(bytes(30_000_000)))),
        "bomb-inflates.png": png(4, 4, data=bytes(50_000_000)),
        "bomb.jpg": vast_jpeg,
        "bomb.bmp": encoded(Image.fromarray(picture()), "BMP").replace(
            struct.pack("<ii", WIDTH, HEIGHT), struct.pack("<ii", 2**30, 2**30)
        ),
        "bomb.webp": webp(16_383, 16_383),
        "bomb-zip.jpg": archive.getvalue(),
        "bomb-huge.dcm": dicom(b"\0" * 16, **huge),
        "bomb-short.dcm": dicom(b"\0" * 16, **wide),
        "bomb-rle.dcm": dicom(rle_frame, uid.RLELossless, Rows=10, Columns=10),
        "bomb-rle-wide.dcm": dicom(b"\3\0\0\0" + b"\0" * 60, uid.RLELossless, **wide),
        "bomb-jpeg.dcm": dicom(vast_jpeg, uid.JPEGBaseline8Bit),
        "bomb-j2k.dcm": dicom(vast_j2k, uid.JPEG2000Lossless, PhotometricInterpretation="YBR_RCT"),
        "bomb-jls.dcm": dicom(vast_ls, uid.JPEGLSLossless),
        "bomb-stretched.dcm": dicom(b"\0" * 16, **wide, PixelAspectRatio=[4, 1]),
        "bomb-deflated.dcm": dicom(bytes(30_000_000), uid.DeflatedExplicitVRLittleEndian),
        "large-50-megapixels.png": encoded(Image.new("1", (8_000, 6_250)), "PNG"),
    }


def png(width: int, height: int, depth: int = 8, data: bytes = b"\0" * 100, extra: tuple = ()) -> bytes:
    """A PNG file made by hand, whose header may promise anything."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0 if depth == 16 else 2, 0, 0, 0))
    parts = [header, *([chunk(*extra)] if extra else []), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def webp(width: int, height: int) -> bytes:
    """A lossless WebP file whose header promises another size."""
    data = bytearray(encoded(Image.fromarray(picture()), "WEBP", lossless=True))
    place = data.index(b"VP8L") + 9
    flags = struct.unpack_from("<I", data, place)[0] & 0xF0000000
    struct.pack_into("<I", data, place, flags | (width - 1) | (height - 1) << 14)
    return bytes(data)


def other_kinds() -> dict[str, bytes]:
    """What is no image of a form that is read, whatever it is called; and the smallest images that are."""
    image, dice = Image.fromarray(picture()), np.random.default_rng(0)
    one = Image.new("RGB", (1, 1), "red")
    moving = {"save_all": True, "append_images": [Image.new("RGB", image.size)]}
    files = {
        "empty.jpg": b"",
        "empty.dcm": b"",
        "one-byte.png": b"\x89",
        "text.jpg": "Läsion, links".encode(),
        "letters.dcm": b"\0" * 128 + b"DICM",
        "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "entities.jpg": b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>',
        "page.jpg": b"<!DOCTYPE html><script>alert(1)</script>",
        "paper.jpg": b"%PDF-1.7\n" + bytes(200),
        "phone.heic": b"\0\0\0\x18ftypheic" + bytes(200),
        "new.avif": b"\0\0\0\x18ftypavif" + bytes(200),
        "film.jpg": b"\0\0\0\x18ftypmp42" + bytes(200),
        "program.jpg": b"\x7fELF" + bytes(200),
        "pickle.png": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        "moving.gif": encoded(image, "GIF", **moving),
        "moving.jpg": encoded(image, "GIF", **moving),
        "script.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%true) (w) file",
        "icon.jpg": encoded(image, "ICO"),
        "old.jpg": encoded(image, "PPM"),
        "float.tif": encoded(Image.fromarray(np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)), "TIFF"),
        "deep.tif": encoded(Image.fromarray(np.full((9, 9), 70_000, np.int32)), "TIFF"),
        "lab.tif": encoded(Image.new("LAB", (9, 9)), "TIFF"),
        "line.png": encoded(Image.new("RGB", (3_000, 1)), "PNG"),
        "column.bmp": encoded(Image.new("RGB", (1, 3_000)), "BMP"),
        **{f"one.{form.lower()}": encoded(one, form) for form in ("JPEG", "PNG", "BMP", "TIFF", "WEBP")},
        "one.dcm": dicom(b"\1\2\3", Rows=1, Columns=1),
    }
    starts = (
        b"",
        b"\xff\xd8\xff\xe0",
        b"\x89PNG\r\n\x1a\n",
        b"II*\0",
        b"BM",
        b"RIFF....WEBPVP8 ",
        bytes(128) + b"DICM",
    )
    for number in range(21):
        files[f"noise{number}.jpg"] = starts[number % len(starts)] + dice.bytes(int(dice.integers(1, 3_000)))
    return files


def odd_dicom() -> dict[str, bytes]:
    """DICOM files that say impossible, contradictory or unusual things."""
    data = picture().tobytes()
    light = picture()[:, :, 0].tobytes()
    variants: dict[str, dict] = {
        "no-class": {"SOPClassUID": None},
        "pdf": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"},
        "segmentation": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"},
        "two-frames": {"NumberOfFrames": 2},
        "no-frames": {"NumberOfFrames": 0},
        "one-frame": {"NumberOfFrames": 1},
        "no-rows": {"Rows": None},
        "zero-rows": {"Rows": 0},
        "more-rows": {"Rows": HEIGHT + 1},
        "fewer-rows": {"Rows": HEIGHT - 1},
        "no-bits": {"BitsStored": None},
        "impossible-bits": {"BitsStored": 12},
        "odd-bits": {"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11},
        "deep": {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31},
        "four-samples": {"SamplesPerPixel": 4},
        "no-planar": {"PlanarConfiguration": None},
        "planar": {"PlanarConfiguration": 1},
        "planar-7": {"PlanarConfiguration": 7},
        "no-photometric": {"PhotometricInterpretation": None},
        "argb": {"PhotometricInterpretation": "ARGB"},
        "partial": {"PhotometricInterpretation": "YBR_PARTIAL_422"},
        "no-palette": {"PhotometricInterpretation": "PALETTE COLOR", "SamplesPerPixel": 1},
        "oblong": {"PixelSpacing": [0.2, 0.1]},
        "flat": {"PixelAspectRatio": [0, 1]},
        "needles": {"PixelAspectRatio": [1, 9999]},
        "one-spacing": {"PixelSpacing": [0.1]},
    }
    files = {f"odd-{name}.dcm": dicom(data, **elements) for name, elements in variants.items()}
    windows = {"zero": (0, 0), "narrow": (100, 1), "negative": (10, -5), "vast": (0, 1e300)}
    for name, (centre, width) in windows.items():
        files[f"window-{name}.dcm"] = dicom(light, **grey(WindowCenter=centre, WindowWidth=width))
    files |= {
        "slope-zero.dcm": dicom(light, **grey(RescaleSlope=0, RescaleIntercept=1)),
        "slope-vast.dcm": dicom(light, **grey(RescaleSlope=1e307, RescaleIntercept=0)),
        "no-letters.dcm": dicom(light, **grey(WindowCenter=100, WindowWidth=200)).replace(b"200", b"2x0"),
        "no-number.dcm": dicom(light, **grey(NumberOfFrames=1)).replace(b"IS\2\x001 ", b"IS\2\x001A"),
        "wrong-syntax.dcm": dicom(data, uid.JPEGBaseline8Bit),
        "video.dcm": dicom(data, "1.2.840.10008.1.2.4.102"),
        "unknown-syntax.dcm": dicom(data, "1.2.3.4.5"),
        "renamed.jpg": dicom(data),
        "no-suffix": dicom(data),
        "tiff-before.dcm": b"II*\0" + dicom(data)[4:],
        "nested.dcm": nested(2_000),
        "bomb-elements.dcm": before_the_pixels((b"\x09\0\x10\0LO\0\0") * 200_000),
        "bomb-items.dcm": before_the_pixels(
            SEQUENCE + b"\xfe\xff\x00\xe0\0\0\0\0" * 200_000 + b"\xfe\xff\xdd\xe0\0\0\0\0"
        ),
    }
    return files


def nested(depth: int) -> bytes:
    """Sequences in sequences, without lengths, before the pixels."""
    return before_the_pixels((SEQUENCE + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * depth)


def before_the_pixels(elements: bytes) -> bytes:
    """A DICOM file with more elements before those that describe its pixels."""
    data = dicom(picture().tobytes())
    start = data.index(b"\x28\x00\x02\x00US")
    return data[:start] + elements + data[start:]


def named(data: bytes) -> dict[str, bytes]:
    """A sound file under names that could break a message, a page, a shell or a path."""
    names = (
        "line\nbreak\r.png",
        "tab\tbell\x07escape\x1b[31m.png",
        "'quoted' \"twice\" `three`.png",
        "<img src=x onerror=alert(1)>.png",
        "$(touch owned); rm -rf ~.png",
        "-rf.png",
        "..png",
        "...png",
        "..\\..\\etc\\passwd.png",
        "C:\\Users\\somebody\\lesion.png",
        "%2e%2e%2fpasswd.png",
        "{name} %s %d {0}.png",
        "ünïcødé 皮膚 🧑‍⚕️.png",
        "right\u202egnp.exe",
        "zero\u200bwidth.png",
        "x" * 240 + ".png",
        "con.png",
        ".png",
        "png",
    )
    return dict.fromkeys(names, data) | {f"no image {name}"[:250]: b"no image" for name in names}
