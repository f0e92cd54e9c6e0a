"""Pixels enter: every form that is promised becomes (H, W, 3) uint8 RGB, everything else one clear error."""

import io
import os
import struct
import subprocess
import sys
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from core.data import images
from core.data.images import centre_square, model_input, read_image
from core.errors import ImageError

HEIGHT, WIDTH = 20, 30
ORIENTATION = 0x0112


@pytest.fixture
def rgb() -> np.ndarray:
    """A smooth picture whose corners differ, so that turning and mirroring show."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([rows * 12, columns * 8, 255 - rows * 6 - columns * 2], axis=2).astype(np.uint8)


def encoded(image: Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def png(width: int, height: int, depth: int = 8, colour: int = 2, data: bytes = b"\0" * 100) -> bytes:
    """A PNG file made by hand, whose header may promise anything."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def with_damaged_exif(pixels: np.ndarray) -> bytes:
    """A JPEG file whose EXIF block ends in the middle of a tag."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0" * 3
    return encoded(Image.fromarray(pixels), "JPEG", quality=95, exif=exif)


def refusal(source) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(source)
    return str(caught.value)


# ---- what is read ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "tiff_deflate"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 16),
        ("JPEG", {"quality": 95}, 12),
        ("JPEG", {"quality": 95, "progressive": True}, 12),
    ],
)
def test_each_format_gives_the_pixels_that_were_saved(rgb, tmp_path, form, options, tolerance):
    data = encoded(Image.fromarray(rgb), form, **options)
    path = tmp_path / "picture"
    path.write_bytes(data)
    for source in (data, bytearray(data), path, str(path)):
        pixels = read_image(source)
        assert pixels.dtype == np.uint8
        assert pixels.shape == rgb.shape
        assert np.abs(pixels.astype(int) - rgb).max() <= tolerance


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(rgb, form, orientation):
    stored = {  # how the camera held the picture: the transformation that each value undoes
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }[orientation](rgb)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(form, {})
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), form, exif=exif, **options)
    pixels = read_image(data)
    assert pixels.shape == rgb.shape
    assert np.abs(pixels.astype(int) - rgb).max() <= 6


@pytest.mark.filterwarnings(r"ignore::UserWarning:PIL\..*")  # what images.py sets for a process, pytest takes back
def test_damaged_exif_leaves_the_picture_readable(rgb):
    assert np.abs(read_image(with_damaged_exif(rgb)).astype(int) - rgb).max() <= 12


def test_grey_is_repeated_in_three_channels(rgb):
    grey = Image.fromarray(rgb).convert("L")
    pixels = read_image(encoded(grey, "PNG"))
    assert (pixels == np.asarray(grey)[:, :, None]).all()
    assert read_image(encoded(grey, "JPEG")).shape == rgb.shape


def profile_of(primaries: list[list[float]]) -> bytes:
    """An ICC profile like sRGB's, but for its primaries: (3, 3), the D50 XYZ of red, green and blue."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for count in range(struct.unpack_from(">I", profile, 128)[0]):
        name, place, _ = struct.unpack_from(">4sII", profile, 132 + 12 * count)
        if name in (b"rXYZ", b"gXYZ", b"bXYZ"):
            values = primaries[b"rgb".index(name[:1])]
            struct.pack_into(">3i", profile, place + 8, *(round(value * 65536) for value in values))
    return bytes(profile)


DISPLAY_P3 = [[0.5151, 0.2412, -0.0011], [0.2920, 0.6922, 0.0419], [0.1571, 0.0666, 0.7841]]
ADOBE_RGB = [[0.6097, 0.3111, 0.0195], [0.2053, 0.6257, 0.0609], [0.1492, 0.0632, 0.7446]]
SRGB = [[0.4361, 0.2225, 0.0139], [0.3851, 0.7169, 0.0971], [0.1431, 0.0606, 0.7141]]


def by_arithmetic(pixels: np.ndarray, primaries: list[list[float]]) -> np.ndarray:
    """What colours of these primaries are in sRGB, without a library of colour management."""
    shares = pixels / 255
    light = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    light = (light @ np.array(primaries) @ np.linalg.inv(SRGB)).clip(0, 1)
    return 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("primaries", [DISPLAY_P3, ADOBE_RGB])
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_colours_of_wider_spaces_become_srgb(rgb, primaries, form):
    """A phone's photograph in Display P3, taken for sRGB, is paler than the skin was."""
    pixels = rgb // 2 + 60
    expected = by_arithmetic(pixels, primaries)
    assert np.abs(expected - pixels).max() > 10
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(Image.fromarray(pixels), form, icc_profile=profile_of(primaries), **options)
    assert np.abs(read_image(data) - expected).max() <= 2
    clear = np.dstack([pixels, np.full((HEIGHT, WIDTH), 255, np.uint8)])
    data = encoded(Image.fromarray(clear), "PNG", icc_profile=profile_of(primaries))
    assert np.abs(read_image(data) - expected).max() <= 2


def test_a_profile_of_srgb_changes_no_pixel(rgb):
    for profile in (profile_of(SRGB), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()):
        assert (read_image(encoded(Image.fromarray(rgb), "PNG", icc_profile=profile)) == rgb).all()


def test_a_profile_that_is_no_use_is_ignored(rgb):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (b"\xff" * 300, profile_of(DISPLAY_P3)[:150], lab):
        assert (read_image(encoded(Image.fromarray(rgb), "PNG", icc_profile=profile)) == rgb).all()
        cmyk = encoded(Image.fromarray(rgb).convert("CMYK"), "JPEG", icc_profile=profile)
        assert (read_image(cmyk) == read_image(encoded(Image.fromarray(rgb).convert("CMYK"), "JPEG"))).all()


def test_a_damaged_tag_does_not_cost_the_picture(rgb):
    """Orientation is read; nothing else in the block need be sound."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x010F] = 6, "maker"
    data = encoded(Image.fromarray(rgb), "JPEG", exif=exif)
    for position in range(data.index(b"maker") - 40, data.index(b"maker")):
        for value in (0, 7, 13, 255):
            damaged = bytearray(data)
            damaged[position] = value
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert read_image(bytes(damaged)).shape in (rgb.shape, (WIDTH, HEIGHT, 3))


def test_a_large_image_is_converted_in_bands_that_nobody_sees(rgb, monkeypatch):
    alpha = np.dstack([rgb, rgb[:, :, 0]])
    palette = Image.fromarray(rgb).quantize(8)
    files = [
        encoded(Image.fromarray(rgb), "JPEG"),
        encoded(Image.fromarray(alpha), "PNG"),
        encoded(palette, "PNG", transparency=3),
        encoded(Image.fromarray(rgb[:, :, 0].astype(np.uint16) * 200), "PNG"),
        encoded(Image.fromarray(rgb), "PNG", icc_profile=profile_of(DISPLAY_P3)),
        encoded(Image.fromarray(rgb).convert("CMYK"), "JPEG"),
    ]
    whole = [read_image(data) for data in files]
    for band in (1, 7 * WIDTH, HEIGHT * WIDTH - 1):
        monkeypatch.setattr(images, "_BAND", band)
        for data, expected in zip(files, whole, strict=True):
            assert (read_image(data) == expected).all()


def test_one_bit_is_black_and_white():
    pattern = np.indices((HEIGHT, WIDTH)).sum(axis=0) % 2 == 0
    for form in ("PNG", "TIFF", "BMP"):
        pixels = read_image(encoded(Image.fromarray(pattern), form))
        assert (pixels == np.where(pattern, 255, 0)[:, :, None]).all()


@pytest.mark.parametrize("exif", [False, True])
def test_palette_with_and_without_transparency(rgb, exif):
    palette = Image.fromarray(rgb).quantize(8)
    opaque = np.asarray(palette.convert("RGB"))
    transparent = (np.asarray(palette) == 3)[:, :, None]
    options = {"exif": Image.Exif()} if exif else {}
    assert (read_image(encoded(palette, "PNG", **options)) == opaque).all()
    by_index = read_image(encoded(palette, "PNG", transparency=3, **options))
    by_table = read_image(encoded(palette, "PNG", transparency=bytes([255, 255, 255, 0, 255]), **options))
    assert transparent.any()
    assert (by_index == np.where(transparent, 255, opaque)).all()
    assert (by_table == np.where(transparent, 255, opaque)).all()


def test_what_is_transparent_lies_on_white(rgb):
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[:, :10], alpha[:, 10:20] = 0, 128
    share = alpha[:, :, None] / 255
    for form in ("PNG", "TIFF"):
        pixels = read_image(encoded(Image.fromarray(np.dstack([rgb, alpha])), form))
        assert np.abs(pixels - (rgb * share + 255 * (1 - share))).max() <= 1
    grey = rgb[:, :, 0]
    pixels = read_image(encoded(Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]), "PNG"))
    assert np.abs(pixels - (grey[:, :, None] * share + 255 * (1 - share))).max() <= 1
    keyed = read_image(encoded(Image.fromarray(rgb), "PNG", transparency=tuple(int(level) for level in rgb[0, 0])))
    assert (keyed[0, 0] == 255).all()
    assert (keyed[5:] == rgb[5:]).all()


def test_cmyk_jpeg_has_the_colours_that_were_meant(rgb):
    data = encoded(Image.fromarray(rgb).convert("CMYK"), "JPEG", quality=98, subsampling=0)
    assert np.abs(read_image(data).astype(int) - rgb).max() <= 12


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_whole_range(form):
    levels = np.linspace(0, 65535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    pixels = read_image(encoded(Image.fromarray(levels), form))
    assert (pixels == np.round(levels / 257)[:, :, None]).all()
    assert (read_image(levels) == pixels).all()


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_colour_keeps_its_whole_range(rgb, suffix):
    data = cv2.imencode(suffix, rgb[:, :, ::-1].astype(np.uint16) * 257)[1].tobytes()
    assert np.abs(read_image(data).astype(int) - rgb).max() <= 1


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "MPO"])
def test_of_several_frames_the_first_is_taken(rgb, form):
    frames = [Image.fromarray(255 - rgb), Image.fromarray(rgb // 2)]
    options = {"lossless": True} if form == "WEBP" else {}
    pixels = read_image(encoded(Image.fromarray(rgb), form, save_all=True, append_images=frames, **options))
    assert np.abs(pixels.astype(int) - rgb).max() <= (40 if form == "MPO" else 0)


@pytest.mark.parametrize(
    "name", ["with space.png", "ünïcødé 皮膚.png", "-rf.png", "no_suffix", "wrong.jpg", "a%b?#'\".png"]
)
def test_the_name_of_a_file_does_not_matter(rgb, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(encoded(Image.fromarray(rgb), "PNG"))
    assert (read_image(path) == rgb).all()


def test_a_name_that_is_no_utf8(rgb, tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Path(os.fsdecode(path)).write_bytes(encoded(Image.fromarray(rgb), "PNG"))
    assert (read_image(os.fsdecode(path)) == rgb).all()


# ---- arrays ------------------------------------------------------------------------------------


def test_arrays_are_copied_and_never_changed(rgb):
    alpha = np.full((HEIGHT, WIDTH, 1), 128, np.uint8)
    for array in (rgb, rgb[:, :, 0], rgb[:, :, :1], np.dstack([rgb, alpha]), rgb.astype(np.uint16), rgb[::-1, ::2]):
        before = array.copy()
        pixels = read_image(array)
        assert pixels.shape == (*array.shape[:2], 3)
        assert not np.shares_memory(pixels, array)
        pixels[:] = 7
        assert (array == before).all()


def test_read_only_and_foreign_byte_order_arrays(rgb):
    rgb.setflags(write=False)
    assert read_image(rgb).flags.writeable
    swapped = (rgb.astype(np.uint16) * 257).astype(">u2")
    assert (read_image(swapped) == rgb).all()


@pytest.mark.parametrize("kind", ["float32", "float64", "int64", "bool", "object"])
def test_arrays_of_other_numbers_are_refused(rgb, kind):
    text = refusal((rgb / 255).astype(kind))
    assert kind in text
    assert ("divided by 255" in text) == kind.startswith("float")


@pytest.mark.parametrize("shape", [(4,), (3, 4, 2), (3, 4, 5), (0, 4, 3), (4, 0), (1, 3, 4, 3)])
def test_arrays_of_other_shapes_are_refused(shape):
    assert str(shape[0]) in refusal(np.zeros(shape, np.uint8))


def test_what_is_no_source_is_refused(rgb):
    for source in (None, 5, [1], io.BytesIO(b"1"), Image.fromarray(rgb)):
        assert type(source).__name__ in refusal(source)


# ---- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"This is no picture at all, whatever it is called.\n" * 9, "none of these"),
        (b"GIF89a" + b"\0" * 99, "a GIF"),
        (b"PK\x03\x04" + b"\0" * 99, "zip"),
        (b"%PDF-1.7\n" + b"\0" * 99, "a PDF"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 99, "HEIC"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"\0" * 128 + b"DICM" + b"\0" * 99, "DICOM"),
    ],
)
def test_other_files_are_named(tmp_path, content, word):
    path = tmp_path / "lesion.jpg"
    path.write_bytes(content)
    text = refusal(path)
    assert word in text
    assert "lesion.jpg" in text
    assert word in refusal(content)


def test_a_real_gif_is_refused_as_one(rgb):
    assert "a GIF" in refusal(encoded(Image.fromarray(rgb), "GIF"))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_files_are_refused(rgb, form, share):
    noise = np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), form)
    refusal(data[: int(len(data) * share)])


def test_float_files_are_refused_instead_of_turned_black():
    pixels = np.linspace(0, 1, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    assert "floating-point" in refusal(encoded(Image.fromarray(pixels), "TIFF"))


def test_levels_beyond_16_bits_are_refused():
    levels = np.full((HEIGHT, WIDTH), 70_000, np.int32)
    assert "70000" in refusal(encoded(Image.fromarray(levels), "TIFF"))


@pytest.mark.parametrize("side", [9_000, 50_000, 2**31 - 1])
@pytest.mark.parametrize(("depth", "colour"), [(8, 2), (16, 0), (1, 0)])
def test_decompression_bombs_are_refused_at_the_header(side, depth, colour):
    started = time.monotonic()
    text = refusal(png(side, side, depth, colour))
    assert "megapixels" in text
    assert time.monotonic() - started < 2


def test_a_bomb_with_real_content_costs_no_memory():
    """A small file that would unpack to 4 GB: the process may not grow by a hundredth of it."""
    content = zlib.compress(bytes(2**20), 9) * 4
    bomb = png(40_000, 40_000)[:-12] + b"\0" * 8
    code = (
        "import resource, sys\n"
        "from core.data.images import read_image\n"
        "from core.errors import ImageError\n"
        "data = sys.stdin.buffer.read()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    read_image(data)\n"
        "except ImageError as error:\n    print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    answer = subprocess.run([sys.executable, "-c", code], input=bomb + content, capture_output=True, check=True)
    *text, grown = answer.stdout.decode().splitlines()
    assert "megapixels" in text[0]
    assert int(grown) < 40_000  # kB


def test_other_users_of_pillow_in_the_process_are_protected_too():
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(png(50_000, 50_000)))


def test_pixel_limit_holds_for_arrays_too():
    wide = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (8_001, 8_000, 3))  # takes no memory
    assert "8000 x 8001" in refusal(wide)


def test_files_over_the_limit_are_not_read(tmp_path):
    path = tmp_path / "large.png"
    with path.open("wb") as stream:
        stream.write(png(4, 4))
        stream.truncate(images.MAX_BYTES + 1)  # sparse: takes no disk
    assert "64 MB" in refusal(path)
    assert "64 MB" in refusal(bytes(images.MAX_BYTES + 1))


def test_missing_files_folders_and_impossible_names(tmp_path):
    assert "No such file" in refusal(tmp_path / "gone.png")
    assert "directory" in refusal(tmp_path)
    assert "null byte" in refusal("a\0b.png")
    assert "too long" in refusal(tmp_path / ("x" * 300))


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    def denied(self, *arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)  # file modes do not stop root
    assert "Permission denied" in refusal(tmp_path / "secret.png")


# ---- robustness --------------------------------------------------------------------------------


def test_damaged_files_give_an_image_or_an_image_error(rgb):
    """300 files with flipped bytes or cut short: nothing else may come out, whatever a decoder thinks of them."""
    dice = np.random.default_rng(5)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    originals = [
        encoded(Image.fromarray(rgb), "JPEG", exif=exif),
        encoded(Image.fromarray(rgb), "PNG", exif=exif),
        encoded(Image.fromarray(rgb).quantize(8), "PNG", transparency=3),
        encoded(Image.fromarray(rgb), "BMP"),
        encoded(Image.fromarray(rgb), "TIFF", compression="tiff_lzw"),
        encoded(Image.fromarray(rgb), "WEBP", exif=exif),
    ]
    outcomes = {"image": 0, "refused": 0}
    for number in range(300):
        data = bytearray(originals[number % len(originals)])
        # the header is where a decoder believes what it reads
        reach = len(data) if number % 3 else min(len(data), 64)
        for position in dice.integers(0, reach, size=1 + number % 4):
            data[position] = dice.integers(256)
        if number % 5 == 0:
            data = data[: dice.integers(1, len(data))]
        try:
            pixels = read_image(bytes(data))
        except ImageError:
            outcomes["refused"] += 1
        else:
            assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
            outcomes["image"] += 1
    assert min(outcomes.values()) > 30  # the damage is neither too small nor too large to mean anything


def test_warnings_of_pillow_stay_inside(rgb):
    """A picture with a damaged tag is read, and nobody hears of the tag: in a process of its own, as users have it."""
    shape = "import sys\nfrom core.data.images import read_image\nprint(read_image(sys.stdin.buffer.read()).shape)"
    plain = "import io, sys\nfrom PIL import Image\nImage.open(io.BytesIO(sys.stdin.buffer.read())).getexif()"
    alone, ours = (
        subprocess.run([sys.executable, "-c", code], input=with_damaged_exif(rgb), capture_output=True, check=True)
        for code in (plain, shape)
    )
    assert b"Warning" in alone.stderr
    assert ours.stderr == b""
    assert ours.stdout.decode().strip() == str(rgb.shape)


def test_many_threads_read_at_once(rgb):
    files = [encoded(Image.fromarray(rgb), form) for form in ("JPEG", "PNG", "BMP", "TIFF", "WEBP")]
    expected = [read_image(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(read_image, files * 40))
    assert all((answer == expected[index % len(files)]).all() for index, answer in enumerate(answers))


# ---- geometry ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "width", "square"),
    [(450, 600, (0, 75, 450)), (600, 450, (75, 0, 450)), (5, 8, (0, 1, 5)), (8, 5, (1, 0, 5)), (1, 1, (0, 0, 1))],
)
def test_centre_square(height, width, square):
    assert centre_square(height, width) == square


def test_model_input_is_the_centre_square():
    image = np.zeros((40, 100, 3), np.uint8)
    image[:, 30:70] = 200  # exactly the centre square
    assert (model_input(image, 40) == 200).all()
    assert (model_input(image, 20) == 200).all()
    assert (model_input(image, 90) == 200).all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (223, 225), (449, 601), (224, 224)])
def test_model_input_of_any_size(height, width):
    image = np.full((height, width, 3), (10, 100, 200), np.uint8)
    before = image.copy()
    pixels = model_input(image, 224)
    assert pixels.shape == (224, 224, 3) and pixels.dtype == np.uint8
    assert (pixels == (10, 100, 200)).all()
    assert (image == before).all()


def test_aspect_ratio_is_kept():
    """A round spot in an oblong photograph is still round."""
    rows, columns = np.mgrid[0:450, 0:600]
    disc = (rows - 224.5) ** 2 + (columns - 299.5) ** 2 < 150**2
    seen = model_input(np.where(disc[:, :, None], 0, 255).astype(np.uint8).repeat(3, axis=2), 224)[:, :, 0] < 128
    height, width = seen.any(axis=1).sum(), seen.any(axis=0).sum()
    assert height == width
    assert abs(height - 300 * 224 / 450) <= 2


def test_an_image_already_of_the_right_size_is_not_touched(rgb):
    square = np.ascontiguousarray(rgb[:, :HEIGHT])
    pixels = model_input(square, HEIGHT)
    assert (pixels == square).all()
    assert not np.shares_memory(pixels, square)


def test_model_input_takes_nothing_but_pixels(rgb):
    for wrong in (rgb / 255, rgb[:, :, 0], np.dstack([rgb, rgb])):
        with pytest.raises(ImageError):
            model_input(wrong, 8)


def test_a_large_image_is_shrunk_and_a_small_one_left_alone():
    small = images.at_most(np.zeros((3000, 4000, 3), np.uint8), 1024)
    assert small.shape == (768, 1024, 3)
    assert images.at_most(small, 1024) is small
    assert images.at_most(np.zeros((1, 5000, 3), np.uint8), 100).shape == (1, 100, 3)
