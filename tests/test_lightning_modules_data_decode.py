"""How the pixels of every kind of file are read; the table in lightning_modules/data/README.md says the same."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from lightning_modules.data.decode import UnusableImage, read_image, to_8_bits

WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def rows(image: Image.Image) -> list[list[tuple[int, ...]]]:
    pixels = np.asarray(image)
    return [[tuple(np.atleast_1d(pixel).tolist()) for pixel in row] for row in pixels]


def save(path: Path, pixels, mode: str | None = None, **kwargs) -> None:
    image = Image.fromarray(np.asarray(pixels))
    (image if mode is None else image.convert(mode)).save(path, **kwargs)


def png(path: Path, width: int, height: int, depth: int, colour: int, data: bytes) -> None:
    """Write a PNG with pixels that Pillow cannot write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    stride = len(data) // height
    lines = b"".join(b"\0" + data[i * stride : (i + 1) * stride] for i in range(height))
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    )


def grey_16(values) -> np.ndarray:
    return np.asarray([values], np.uint16)


def palette(path: Path, transparency) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    image.save(path, transparency=transparency)


def two_frames(path: Path) -> None:
    first, second = (Image.new("RGB", (1, 1), colour) for colour in ((200, 0, 0), (0, 200, 0)))
    first.save(path, save_all=True, append_images=[second])


def tiff(path: Path, bits: int, count: int, data: bytes, sample_format: int = 1) -> None:
    """Write a row of grey pixels that Pillow cannot write."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in ((256, count), (257, 1), (258, bits), (259, 1), (262, 1), (277, 1), (278, 1), (279, len(data))):
        tags[tag] = value
    tags[273] = 0  # the first byte after the tags
    tags[339] = sample_format
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8) + tags.tobytes(8) + data)


def tiff_of_12_bits(path: Path) -> None:
    """Write the values 0, 4095, 2048 and 16 in 12 bits each."""
    tiff(path, 12, 4, bytes([0x00, 0x0F, 0xFF, 0x80, 0x00, 0x10]))


def turned(path: Path) -> None:
    """Write two pixels side by side that EXIF turns by a quarter, so that the left one comes to the top."""
    exif = Image.Exif()
    exif[274] = 6
    save(path, np.asarray([[[250, 0, 0], [0, 250, 0]]], np.uint8), exif=exif)


RGB = np.asarray([[[10, 20, 30], [200, 210, 220]]], np.uint8)
RGBA = np.asarray([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], np.uint8)

READ = {
    "1": ("0.png", lambda p: save(p, [[False, True]]), [[BLACK, WHITE]]),
    "L": ("0.png", lambda p: save(p, np.asarray([[7, 200]], np.uint8)), [[(7,) * 3, (200,) * 3]]),
    "RGB": ("0.png", lambda p: save(p, RGB), [[(10, 20, 30), (200, 210, 220)]]),
    "bmp": ("0.bmp", lambda p: save(p, RGB), [[(10, 20, 30), (200, 210, 220)]]),
    "webp": ("0.webp", lambda p: save(p, RGB, lossless=True), [[(10, 20, 30), (200, 210, 220)]]),
    "transparent LA": ("0.png", lambda p: save(p, RGBA[..., 2:]), [[(30,) * 3, WHITE, (204,) * 3]]),
    "transparent RGBA": ("0.png", lambda p: save(p, RGBA), [[(10, 20, 30), WHITE, (204,) * 3]]),
    "P": ("0.png", lambda p: palette(p, None), [[(10, 20, 30), (40, 50, 60)]]),
    "transparent entry of P": ("0.png", lambda p: palette(p, 0), [[WHITE, (40, 50, 60)]]),
    "half transparent entry of P": ("0.png", lambda p: palette(p, bytes([204, 255])), [[(59, 67, 75), (40, 50, 60)]]),
    "transparent colour of RGB": (
        "0.png",
        lambda p: save(p, RGB, transparency=(10, 20, 30)),
        [[WHITE, (200, 210, 220)]],
    ),
    "transparent gif": ("0.gif", lambda p: palette(p, 0), [[WHITE, (40, 50, 60)]]),
    "CMYK": ("0.tif", lambda p: save(p, RGB, "CMYK"), [[(10, 20, 30), (200, 210, 220)]]),
    "YCbCr": ("0.tif", lambda p: save(p, np.full((1, 1, 3), 77, np.uint8), "YCbCr"), [[(77,) * 3]]),
    "16 bits, grey PNG": (
        "0.png",
        lambda p: save(p, grey_16([0, 257, 32896, 65535])),
        [[BLACK, (1,) * 3, (128,) * 3, WHITE]],
    ),
    "16 bits, transparent grey of a PNG": (
        "0.png",
        lambda p: save(p, grey_16([0, 257, 65535]), transparency=257),
        [[BLACK, WHITE, WHITE]],
    ),
    "16 bits, grey TIFF": (
        "0.tif",
        lambda p: save(p, grey_16([0, 257, 32896, 65535])),
        [[BLACK, (1,) * 3, (128,) * 3, WHITE]],
    ),
    "16 bits, white is zero": (
        "0.tif",
        lambda p: save(p, grey_16([0, 65535]), tiffinfo={262: 0}),
        [[WHITE, BLACK]],
    ),
    "16 bits, PGM": ("0.pgm", lambda p: p.write_bytes(b"P5 2 1 65535\n\x80\x80\xff\xff"), [[(128,) * 3, WHITE]]),
    "12 bits, TIFF": ("0.tif", tiff_of_12_bits, [[BLACK, WHITE, (128,) * 3, (1,) * 3]]),
    "16 bits, RGB PNG": (
        "0.png",
        lambda p: png(p, 1, 1, 16, 2, struct.pack(">HHH", 0, 0x8080, 0xFFFF)),
        [[(0, 128, 255)]],
    ),
    "16 bits, RGBA PNG": (
        "0.png",
        lambda p: png(p, 2, 1, 16, 6, struct.pack(">8H", 0, 0x8080, 0xFFFF, 0xFFFF, 9, 9, 9, 0)),
        [[(0, 128, 255), WHITE]],
    ),
    "16 bits, grey and alpha PNG": (
        "0.png",
        lambda p: png(p, 2, 1, 16, 4, struct.pack(">4H", 0x8080, 0xFFFF, 9, 0)),
        [[(128,) * 3, WHITE]],
    ),
    "turned by EXIF": ("0.png", turned, [[(250, 0, 0)], [(0, 250, 0)]]),
    "frames of a gif": ("0.gif", two_frames, [[(200, 0, 0)]]),
    "pages of a tiff": ("0.tiff", two_frames, [[(200, 0, 0)]]),
}


@pytest.mark.parametrize(("name", "write", "expected"), READ.values(), ids=READ)
def test_every_kind_is_read_as_a_viewer_shows_it(tmp_path, name, write, expected):
    write(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.mode == "RGB"
    assert rows(image) == expected
    grey = read_image(tmp_path / name, "L")
    assert grey.mode == "L"
    assert rows(grey) == rows(image.convert("L"))


def test_a_jpeg_in_cmyk(tmp_path):
    save(tmp_path / "0.jpg", np.full((8, 8, 3), (200, 100, 50), np.uint8), "CMYK", quality=100)
    assert np.abs(np.asarray(read_image(tmp_path / "0.jpg")).astype(int) - (200, 100, 50)).max() <= 3


def test_damaged_exif_turns_nothing(tmp_path):
    save(tmp_path / "0.png", RGB, exif=b"Exif\0\0not EXIF")
    assert rows(read_image(tmp_path / "0.png"))[0][0] == (10, 20, 30)


REFUSED = {
    "32-bit floats": (np.asarray([[0.5]], np.float32), "floating-point numbers (Pillow's mode F)"),
    "32-bit integers": (np.asarray([[70000]], np.int32), "signed integers"),
}


@pytest.mark.parametrize(("pixels", "kind"), REFUSED.values(), ids=REFUSED)
def test_pixels_whose_range_is_unknown_are_refused_by_name(tmp_path, pixels, kind):
    save(tmp_path / "0.tif", pixels)
    with pytest.raises(UnusableImage) as error:
        read_image(tmp_path / "0.tif")
    assert kind in str(error.value)
    assert "which value is white" in error.value.need


@pytest.mark.parametrize(
    ("dtype", "sample_format", "kind"),
    [
        ("<i1", 2, "signed integers"),
        ("<i2", 2, "signed integers"),
        ("<i8", 2, "signed integers"),
        ("<f2", 3, "floating-point numbers"),
        ("<f4", 3, "floating-point numbers (Pillow's mode F)"),
        ("<f8", 3, "floating-point numbers"),
    ],
)
@pytest.mark.parametrize("opened", [False, True])
def test_every_depth_of_a_tiff_without_a_known_range(tmp_path, dtype, sample_format, kind, opened):
    values = np.asarray([56, 0], dtype)
    tiff(tmp_path / "0.tif", 8 * values.itemsize, 2, values.tobytes(), sample_format)
    with (tmp_path / "0.tif").open("rb") as file, pytest.raises(UnusableImage) as error:
        read_image(file if opened else tmp_path / "0.tif")
    assert str(error.value) == f"whose pixels are {kind}"
    assert "which value is white" in error.value.need


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_tiff_is_not_taken_for_an_error_of_the_disk(tmp_path):
    tiff(tmp_path / "0.tif", 8, 2, b"\0\0")
    content = (tmp_path / "0.tif").read_bytes()
    for length in range(0, len(content), 7):
        (tmp_path / "0.tif").write_bytes(content[:length])
        with pytest.raises(UnusableImage, match="damaged"):
            read_image(tmp_path / "0.tif")


def test_pixels_that_pillow_cannot_convert_are_refused_by_name():
    with pytest.raises(UnusableImage, match="of Pillow's mode La"):
        to_8_bits(Image.new("La", (1, 1)), "RGB")


def test_an_image_beyond_pillow_s_limit_is_not_called_damaged(tmp_path, monkeypatch):
    save(tmp_path / "0.png", np.zeros((9, 9), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with pytest.raises(UnusableImage) as error:
        read_image(tmp_path / "0.png")
    assert str(error.value) == "which has more than 80 pixels, Pillow's limit against decompression bombs"
    assert "resize it" in error.value.need
