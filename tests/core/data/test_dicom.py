"""DICOM: the same pixels as any other file, one picture or a clear refusal, and nothing of a patient anywhere."""

import io
import logging
import subprocess
import sys
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jpeg_ls
import numpy as np
import pydicom
import pytest
from PIL import Image, ImageCms
from pydicom import dcmread, uid

from core.data.images import read_image
from core.errors import ImageError
from tests.hostile import HEIGHT, ORIENTATION, WIDTH, dicom, encoded, grey, jpeg_2000, picture, rle, sound_files

THEIRS = Path(pydicom.__file__).parent / "data" / "test_files"
SECRET = "SECRETNAME"
NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)


def refusal(source) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(source)
    assert caught.value.__cause__ is None and (caught.value.__context__ is None or caught.value.__suppress_context__)
    return str(caught.value)


def colours(image: np.ndarray) -> np.ndarray:
    """Grey as (H, W, 3)."""
    return np.repeat(image[:, :, None], 3, axis=2)


@pytest.fixture
def rgb() -> np.ndarray:
    return picture()


# ---- the same pixels ---------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("planar", [0, 1])
def test_uncompressed_colours(rgb, syntax, planar):
    stored = rgb.transpose(2, 0, 1) if planar else rgb
    assert (read_image(dicom(stored.tobytes(), syntax, PlanarConfiguration=planar)) == rgb).all()


def test_lossless_syntaxes_give_what_a_png_of_the_same_pixels_gives(rgb):
    expected = read_image(encoded(Image.fromarray(rgb), "PNG"))
    planes = [rgb[:, :, band].tobytes() for band in range(3)]
    lossless_jpeg = {"YBR_RCT": jpeg_2000(Image.fromarray(rgb))}
    lossless_jpeg["RGB"] = encoded(Image.fromarray(rgb), "JPEG2000", no_jp2=True, mct=0)
    files = [
        dicom(rle(planes), uid.RLELossless),
        *(dicom(frame, uid.JPEG2000Lossless, PhotometricInterpretation=word) for word, frame in lossless_jpeg.items()),
        *(dicom(bytes(jpeg_ls.encode_array(rgb, interleave_mode=mode)), uid.JPEGLSLossless) for mode in (1, 2)),
        dicom(
            bytes(jpeg_ls.encode_array(np.ascontiguousarray(rgb.transpose(2, 0, 1)), interleave_mode=0)),
            uid.JPEGLSLossless,
        ),
    ]
    for data in files:
        assert (read_image(data) == expected).all()


def test_path_and_bytes_whatever_the_file_is_called(rgb, tmp_path):
    for name in ("lesion.dcm", "IM0001", "renamed.jpg", "lesion.DICOM"):
        path = tmp_path / name
        path.write_bytes(dicom(rgb.tobytes()))
        for source in (path, str(path), path.read_bytes(), bytearray(path.read_bytes())):
            pixels = read_image(source)
            assert (pixels == rgb).all()
            assert pixels.flags.writeable and type(pixels) is np.ndarray


@pytest.mark.parametrize("kind", ["1.2.840.10008.5.1.4.1.1.77.1.4", "1.2.840.10008.5.1.4.1.1.77.1.7", "1.2.3.4", None])
def test_kinds_of_pictures(rgb, kind):
    assert (read_image(dicom(rgb.tobytes(), SOPClassUID=kind)) == rgb).all()


def test_lossy_jpeg_is_what_the_jpeg_alone_would_be(rgb):
    for options in ({}, {"subsampling": 0}, {"progressive": True}):
        frame = encoded(Image.fromarray(rgb), "JPEG", quality=92, **options)
        for word in ("YBR_FULL_422", "RGB"):  # the second is a common mistake: the file's own marker says YCbCr
            data = dicom(frame, uid.JPEGBaseline8Bit, PhotometricInterpretation=word)
            assert (read_image(data) == read_image(frame)).all()


def test_jpeg_without_markers_is_what_the_file_says(rgb):
    with Image.open(io.BytesIO(encoded(Image.fromarray(rgb), "JPEG", quality=95, subsampling=0))) as image:
        image.draft("YCbCr", image.size)
        stored = np.asarray(image).astype(int)
    frame = encoded(Image.fromarray(rgb), "JPEG", quality=95, subsampling=0)
    assert frame[2:4] == b"\xff\xe0"
    bare = frame[:2] + frame[4 + int.from_bytes(frame[4:6], "big") :]  # without the JFIF marker
    as_rgb = read_image(dicom(bare, uid.JPEGBaseline8Bit, PhotometricInterpretation="RGB"))
    as_ybr = read_image(dicom(bare, uid.JPEGBaseline8Bit, PhotometricInterpretation="YBR_FULL"))
    assert (as_rgb == stored).all()
    assert (as_ybr == read_image(frame)).all()


def test_ybr_full(rgb):
    image = Image.fromarray(rgb).convert("YCbCr")
    ybr = np.asarray(image)
    expected = np.asarray(image.convert("RGB"))
    assert (read_image(dicom(ybr.tobytes(), PhotometricInterpretation="YBR_FULL")) == expected).all()
    planes = [ybr[:, :, band].tobytes() for band in range(3)]
    assert (read_image(dicom(rle(planes), uid.RLELossless, PhotometricInterpretation="YBR_FULL")) == expected).all()
    # two pixels share their colour: Y Y Cb Cr
    pairs = np.concatenate([ybr[:, 0::2, :1], ybr[:, 1::2, :1], ybr[:, 0::2, 1:]], axis=2)
    half = read_image(dicom(pairs.tobytes(), PhotometricInterpretation="YBR_FULL_422"))
    assert np.abs(half[:, ::2].astype(int) - expected[:, ::2]).max() <= 1
    assert np.abs(half.astype(int) - rgb).mean() < 2


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("signed", [0, 1])
def test_grey_fills_the_range_of_its_stored_bits(syntax, bits, signed):
    top = (1 << bits) - 1
    levels = np.round(np.linspace(0, top, HEIGHT * WIDTH)).reshape(HEIGHT, WIDTH).astype(np.int64)
    stored = levels - ((top + 1) // 2 if signed else 0)
    kind = f"{'>' if syntax == uid.ExplicitVRBigEndian else '<'}{'i' if signed else 'u'}{1 if bits == 8 else 2}"
    data = dicom(stored.astype(kind).tobytes(), syntax, **grey(bits, PixelRepresentation=signed))
    assert (read_image(data) == colours(np.round(levels / top * 255).astype(np.uint8))).all()


def test_one_bit_is_black_and_white():
    spots = picture()[:, :, 0] > 100
    data = dicom(np.packbits(spots.ravel(), bitorder="little").tobytes(), **grey(1, BitsAllocated=1))
    assert (read_image(data) == colours(spots * np.uint8(255))).all()


def test_unused_bits_are_no_light():
    """Old devices keep drawings in the bits above the picture, or the picture in the upper bits."""
    levels = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 4096
    expected = read_image(dicom(levels.astype("<u2").tobytes(), **grey(12)))
    assert (read_image(dicom((levels | 0x5000).astype("<u2").tobytes(), **grey(12))) == expected).all()
    shifted = dicom((levels << 4).astype("<u2").tobytes(), **grey(12, HighBit=15))
    assert (read_image(shifted) == expected).all()


def test_deep_colours():
    levels = picture().astype(np.uint16) * 257
    deep = {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}
    assert (read_image(dicom(levels.astype("<u2").tobytes(), **deep)) == picture()).all()
    planes = [(levels[:, :, band] >> shift).astype(np.uint8).tobytes() for band in range(3) for shift in (8, 0)]
    assert (read_image(dicom(rle(planes), uid.RLELossless, **deep)) == picture()).all()


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("signed", [0, 1])
def test_compressed_grey(bits, signed):
    levels = np.round(np.linspace(0, (1 << bits) - 1, HEIGHT * WIDTH)).reshape(HEIGHT, WIDTH).astype(np.int64)
    expected = colours(np.round(levels / ((1 << bits) - 1) * 255).astype(np.uint8))
    stored = (levels - ((1 << (bits - 1)) if signed else 0)) & ((1 << bits) - 1)
    stored = stored.astype(np.uint8 if bits == 8 else "<u2")
    elements = grey(bits, PixelRepresentation=signed)
    assert (read_image(dicom(bytes(jpeg_ls.encode_array(stored)), uid.JPEGLSLossless, **elements)) == expected).all()
    size = stored.dtype.itemsize
    planes = [(stored >> (8 * part)).astype(np.uint8).tobytes() for part in reversed(range(size))]
    assert (read_image(dicom(rle(planes), uid.RLELossless, **elements)) == expected).all()
    if bits != 12:  # Pillow writes 8 or 16 bits, without a sign: here the file's word counts
        frame = jpeg_2000(Image.fromarray(stored))
        assert (read_image(dicom(frame, uid.JPEG2000Lossless, **elements)) == expected).all()


def test_inverted_grey():
    light = picture()[:, :, 0]
    data = dicom(light.tobytes(), **grey(PhotometricInterpretation="MONOCHROME1"))
    assert (read_image(data) == colours(255 - light)).all()


@pytest.mark.parametrize(
    ("elements", "level", "seen"),
    [  # by hand, from the formulas of PS3.3, C.11.2.1.2
        ({"WindowCenter": 128, "WindowWidth": 256}, 77, 77),
        ({"WindowCenter": 100, "WindowWidth": 51}, 74, 0),
        ({"WindowCenter": 100, "WindowWidth": 51}, 100, 130),
        ({"WindowCenter": 100, "WindowWidth": 51}, 125, 255),
        ({"WindowCenter": 100, "WindowWidth": 1}, 99, 0),
        ({"WindowCenter": 100, "WindowWidth": 1}, 100, 255),
        ({"WindowCenter": [100, 0], "WindowWidth": [51, 9]}, 100, 130),  # the first of several
        ({"WindowCenter": 100, "WindowWidth": 50, "VOILUTFunction": "LINEAR_EXACT"}, 110, 178),
        ({"WindowCenter": 100, "WindowWidth": 50, "VOILUTFunction": "SIGMOID"}, 100, 128),
        ({"WindowCenter": 100, "WindowWidth": 50, "VOILUTFunction": "SIGMOID"}, 125, 225),
        ({"RescaleSlope": 2, "RescaleIntercept": -50, "WindowCenter": 100, "WindowWidth": 51}, 75, 130),
        ({"RescaleSlope": 2, "RescaleIntercept": -50}, 75, 75),
        ({"RescaleSlope": -1, "RescaleIntercept": 0}, 75, 180),
        ({"WindowCenter": "", "WindowWidth": ""}, 75, 75),
    ],
)
def test_windows(elements, level, seen):
    pixels = read_image(dicom(bytes([level] * (HEIGHT * WIDTH)), **grey(**elements)))
    assert (pixels == seen).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_palette(bits):
    table = np.random.default_rng(1).integers(0, 256, (256, 3)).astype(np.uint16)
    stored = table * 257 if bits == 16 else table
    elements = grey(PhotometricInterpretation="PALETTE COLOR")
    for band, name in enumerate(("Red", "Green", "Blue")):
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        elements[f"{name}PaletteColorLookupTableData"] = stored[:, band].astype("<u2" if bits == 16 else "u1").tobytes()
    index = picture()[:, :, 0]
    assert (read_image(dicom(index.tobytes(), **elements)) == table[index]).all()


# ---- shape, orientation, colour ----------------------------------------------------------------


def test_pixels_that_are_no_squares_become_squares(rgb):
    for elements, shape in (
        ({"PixelSpacing": [0.2, 0.1]}, (2 * HEIGHT, WIDTH)),
        ({"PixelSpacing": [0.1, 0.15]}, (HEIGHT, round(1.5 * WIDTH))),
        ({"PixelAspectRatio": [1, 2]}, (HEIGHT, 2 * WIDTH)),
        ({"PixelSpacing": [0.1, 0.1], "PixelAspectRatio": [1, 2]}, (HEIGHT, WIDTH)),
        ({"PixelSpacing": [0.1, 0.1005]}, (HEIGHT, WIDTH)),
    ):
        pixels = read_image(dicom(rgb.tobytes(), **elements))
        assert pixels.shape == (*shape, 3)
        small = np.asarray(Image.fromarray(pixels).resize((WIDTH, HEIGHT), Image.Resampling.BOX))
        assert np.abs(small.astype(int) - rgb).mean() < 3


def test_nothing_turns_the_picture(rgb):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    plain = encoded(Image.fromarray(rgb), "JPEG", quality=95)
    turned = encoded(Image.fromarray(rgb), "JPEG", quality=95, exif=exif)
    assert read_image(turned).shape == (WIDTH, HEIGHT, 3)
    elements = {"PhotometricInterpretation": "YBR_FULL_422", "PatientOrientation": ["A", "F"]}
    assert (read_image(dicom(turned, uid.JPEGBaseline8Bit, **elements)) == read_image(plain)).all()


def other_profile() -> bytes:
    """sRGB with red and blue exchanged: what it does to a picture can be told without arithmetic."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    table = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * 16, 12)}
    red, blue = table[b"rXYZ"], table[b"bXYZ"]
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


def test_colours_with_a_profile_become_srgb(rgb):
    exchanged = rgb[:, :, ::-1].astype(int)
    profile = other_profile()
    frame = encoded(Image.fromarray(rgb), "JPEG", quality=95, subsampling=0, icc_profile=profile)
    ybr = {"PhotometricInterpretation": "YBR_FULL"}
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.abs(read_image(dicom(rgb.tobytes(), ICCProfile=profile)) - exchanged).max() <= 2
    plain = read_image(encoded(Image.fromarray(rgb), "JPEG", quality=95, subsampling=0))
    embedded = read_image(dicom(frame, uid.JPEGBaseline8Bit, **ybr))
    assert np.abs(embedded - plain[:, :, ::-1].astype(int)).max() <= 2
    # the data set's profile counts before the one in the picture
    assert (read_image(dicom(frame, uid.JPEGBaseline8Bit, ICCProfile=srgb, **ybr)) == plain).all()
    assert (read_image(dicom(rgb.tobytes(), ICCProfile=srgb)) == rgb).all()
    assert (read_image(dicom(rgb.tobytes(), ICCProfile=b"\xff" * 200)) == rgb).all()


# ---- what is refused ---------------------------------------------------------------------------


def test_several_frames_are_counted(rgb):
    assert "17 frames" in refusal(dicom(rgb.tobytes() * 17, NumberOfFrames=17))
    assert (read_image(dicom(rgb.tobytes(), NumberOfFrames=1)) == rgb).all()


@pytest.mark.parametrize(
    ("file", "word"),
    [
        ("test-SR.dcm", "Comprehensive SR"),
        ("waveform_ecg.dcm", "Waveform"),
        ("rtplan.dcm", "RT Plan"),
        ("rtdose_1frame.dcm", "RT Dose"),
        ("liver_1frame.dcm", "Segmentation"),
        ("image_dfl.dcm", "Deflated"),
        ("JPGExtended.dcm", "12 bits"),
        ("examples_ybr_color.dcm", "30 frames"),
        ("SC_rgb_rle_32bit.dcm", "32 bits"),
        ("meta_missing_tsyntax.dcm", "unknown"),
        ("MR_truncated.dcm", "not as many pixels"),
        ("ExplVR_LitEndNoMeta.dcm", "none of these"),
    ],
)
def test_no_pictures_are_refused_with_a_sentence(file, word):
    text = refusal(THEIRS / file)
    assert word in text and file in text


def test_documents_and_videos():
    paper = dicom(b"", SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1")
    start = paper.rindex(b"\xe0\x7f\x10\x00")
    assert "Encapsulated PDF" in refusal(paper[:start])
    assert "a video" in refusal(dicom(b"\0" * 64, "1.2.840.10008.1.2.4.102"))


def test_the_limit_holds_before_anything_is_decoded():
    for syntax in (*NATIVE, uid.RLELossless, uid.JPEGBaseline8Bit, uid.JPEGLSLossless, uid.JPEG2000):
        assert "60000 x 2000 pixels" in refusal(dicom(b"\0" * 64, syntax, Rows=2000, Columns=60000))
    stretched = dicom(b"\0" * 64, Rows=6000, Columns=6000, PixelSpacing=[0.4, 0.1])
    assert "6000 x 24000" in refusal(stretched)


def test_an_embedded_picture_of_another_size_is_refused(rgb):
    larger = picture(2 * HEIGHT, 2 * WIDTH)
    for frame, syntax, word in (
        (encoded(Image.fromarray(larger), "JPEG"), uid.JPEGBaseline8Bit, "YBR_FULL_422"),
        (jpeg_2000(Image.fromarray(larger)), uid.JPEG2000Lossless, "YBR_RCT"),
        (bytes(jpeg_ls.encode_array(larger, interleave_mode=2)), uid.JPEGLSLossless, "RGB"),
    ):
        assert "other sides" in refusal(dicom(frame, syntax, PhotometricInterpretation=word))


def test_rows_and_columns_that_do_not_fit_the_pixels_are_refused(rgb):
    """They would be read as a sheared picture, and a sheared lesion gets an answer too."""
    for elements in ({"Columns": WIDTH - 1}, {"Columns": WIDTH + 1}, {"Rows": HEIGHT - 1}, {"Rows": HEIGHT + 1}):
        assert "not as many pixels" in refusal(dicom(rgb.tobytes(), **elements))


# ---- nothing of a patient ----------------------------------------------------------------------


def identified(data: bytes) -> bytes:
    """The same file with a name wherever a name can be."""
    dataset = dcmread(io.BytesIO(data))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword in (
        *("PatientName", "PatientID", "InstitutionName", "ReferringPhysicianName", "StudyDescription"),
        *("PatientComments", "ImageComments", "AccessionNumber", "OperatorsName", "StationName"),
    ):
        setattr(dataset, keyword, SECRET)
    dataset.private_block(0x0029, SECRET, create=True).add_new(0x10, "LO", SECRET)
    dataset.OtherPatientIDsSequence = [pydicom.Dataset()]
    dataset.OtherPatientIDsSequence[0].PatientID = SECRET
    stream = io.BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


def test_no_name_shows_anywhere(tmp_path, caplog, capfd):
    """In whatever way a file is damaged: not in messages, tracebacks, warnings, logs, nor in the pixels."""
    dice = np.random.default_rng(3)
    caplog.set_level(logging.DEBUG)
    outcomes = {"read": 0, "refused": 0}
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        for name, data in sound_files().items():
            if not name.endswith(".dcm"):
                continue
            whole = identified(data)
            assert SECRET.encode() in whole
            assert (read_image(whole) == read_image(data)).all()
            for number in range(60):
                damaged = bytearray(whole)
                for position in dice.integers(132, min(len(whole), 1500), size=1 + number % 4):
                    damaged[position] = dice.integers(256)
                damaged = damaged[: dice.integers(132, len(damaged))] if number % 3 == 0 else damaged
                path = tmp_path / name
                path.write_bytes(bytes(damaged))
                for source in (path, bytes(damaged)):
                    try:
                        pixels = read_image(source)
                    except ImageError as error:
                        told = "".join(traceback.format_exception(error, chain=True))
                        outcomes["refused"] += 1
                    else:
                        told = repr(vars(pixels) if hasattr(pixels, "__dict__") else "") + repr(pixels.dtype.metadata)
                        assert SECRET.encode() not in pixels.tobytes() and pixels.base is None
                        outcomes["read"] += 1
                    assert SECRET not in told
    output = capfd.readouterr()
    for text in (caplog.text, output.out, output.err, *(str(warning.message) for warning in heard)):
        assert SECRET not in text
    assert heard == []
    assert min(outcomes.values()) > 100


def test_a_process_hears_nothing_of_a_damaged_file(rgb):
    """As users have it: the library is not loaded for other files, and neither warns nor logs when it is."""
    damaged = identified(dicom(picture()[:, :, 0].tobytes(), **grey(NumberOfFrames=1)))
    damaged = damaged.replace(b"IS\2\x001 ", b"IS\2\x001A").replace(b"ISO_IR 192", b"SECRETNAME")
    code = (
        "import logging, sys\n"
        "logging.basicConfig(level=logging.DEBUG)\n"
        "from core.data.images import read_image\n"
        "from core.errors import ImageError\n"
        "import numpy as np\n"
        "read_image(np.zeros((9, 9, 3), np.uint8))\n"
        "print('pydicom' in sys.modules)\n"
        "try:\n    read_image(sys.stdin.buffer.read())\n"
        "except ImageError as error:\n    print(error)\n"
        "print('pydicom' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-W", "always", "-c", code], input=damaged, capture_output=True, check=True)
    before, text, after = run.stdout.decode().splitlines()
    assert (before, after) == ("False", "True")
    assert "NumberOfFrames" in text and SECRET not in text
    assert b"pydicom" not in run.stderr and SECRET.encode() not in run.stderr


def test_many_threads_read_at_once():
    files = [data for name, data in sound_files().items() if name.endswith(".dcm")]
    expected = [read_image(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(read_image, files * 20))
    assert all((answer == expected[index % len(files)]).all() for index, answer in enumerate(answers))


# ---- the files of others -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "tolerance"),
    [
        ("SC_rgb_small_odd.dcm", 0),
        ("SC_rgb_small_odd_big_endian.dcm", 0),
        ("SC_rgb_small_odd_jpeg.dcm", 0),
        ("SC_rgb_rle.dcm", 0),
        ("SC_rgb_rle_16bit.dcm", 0.5),
        ("SC_ybr_full_422_uncompressed.dcm", 1),
        ("SC_rgb_jpeg_dcmtk.dcm", 0),
        ("SC_rgb_dcmtk_+eb+cr.dcm", 0),
        ("SC_rgb_dcmtk_+eb+cy+n1.dcm", 0),
        ("SC_rgb_dcmtk_+eb+cy+np.dcm", 0),
        ("SC_jpeg_no_color_transform.dcm", 0),
        ("SC_jpeg_no_color_transform_2.dcm", 0),
        ("SC_rgb_jls_lossy_line.dcm", 0),
        ("SC_rgb_jls_lossy_sample.dcm", 0),
        ("SC_rgb_gdcm_KY.dcm", 0),
        ("examples_jpeg2k.dcm", 0),
        ("examples_rgb_color.dcm", 0),
        ("examples_palette.dcm", 0.5),
        ("ExplVR_BigEnd.dcm", 0),
    ],
)
def test_colours_as_pydicom_decodes_them(file, tolerance):
    dataset = dcmread(THEIRS / file)
    expected = dataset.pixel_array
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        expected = pydicom.pixels.apply_color_lut(expected, dataset)
    expected = expected / 257 if expected.dtype == np.uint16 else expected.astype(float)
    assert np.abs(read_image(THEIRS / file) - expected).max() <= tolerance


@pytest.mark.parametrize(
    "file",
    [
        *("CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm"),
        *("MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm"),
        *("JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm", "JPEG2000.dcm", "examples_overlay.dcm"),
    ],
)
def test_grey_as_pydicom_decodes_it(file):
    dataset = dcmread(THEIRS / file)
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    values = dataset.pixel_array * slope + intercept
    if "WindowWidth" in dataset:
        centre, width = (float(np.ravel(dataset[word].value)[0]) for word in ("WindowCenter", "WindowWidth"))
        shares = (values - centre + 0.5) / (width - 1) + 0.5
    else:
        lowest = -(2 ** (dataset.BitsStored - 1)) if dataset.PixelRepresentation else 0
        shares = (values - lowest * slope - intercept) / ((2**dataset.BitsStored - 1) * slope)
    expected = np.round(shares.clip(0, 1) * 255)
    assert np.abs(read_image(THEIRS / file) - expected[:, :, None]).max() == 0


def test_every_file_of_pydicom_is_read_or_refused():
    files = sorted(THEIRS.rglob("*.dcm"))
    assert len(files) > 50
    read = 0
    for path in files:
        try:
            pixels = read_image(path)
        except ImageError:
            continue
        assert pixels.dtype == np.uint8 and pixels.shape[2:] == (3,)
        read += 1
    assert read > 35


def test_lossless_jpeg_of_8_bits():
    """Written by GDCM; another file of the same picture says what it must look like."""
    pixels = read_image(THEIRS / "SC_rgb_jpeg_gdcm.dcm")
    assert (pixels == read_image(THEIRS / "SC_rgb_rle.dcm")).all()


def test_real_images_in_dicom_keep_their_pixels(real_data):
    paths = sorted((real_data / "ham10000").rglob("ISIC_*.jpg"))[::2000]
    assert len(paths) >= 3
    for path in paths:
        rgb = read_image(path)
        sides = {"Rows": rgb.shape[0], "Columns": rgb.shape[1]}
        image = Image.fromarray(rgb)
        assert (read_image(dicom(rgb.tobytes(), **sides)) == rgb).all()
        ybr = image.convert("YCbCr")
        stored = dicom(ybr.tobytes(), PhotometricInterpretation="YBR_FULL", **sides)
        assert (read_image(stored) == np.asarray(ybr.convert("RGB"))).all()
        assert np.abs(read_image(stored).astype(int) - rgb).max() <= 3
        light = np.asarray(image.convert("L"))
        assert (read_image(dicom(light.tobytes(), **grey(), **sides)) == colours(light)).all()
        frame = dicom(jpeg_2000(image), uid.JPEG2000Lossless, PhotometricInterpretation="YBR_RCT", **sides)
        assert (read_image(frame) == rgb).all()
        wrapped = dicom(path.read_bytes(), uid.JPEGBaseline8Bit, PhotometricInterpretation="YBR_FULL_422", **sides)
        assert (read_image(wrapped) == rgb).all()
