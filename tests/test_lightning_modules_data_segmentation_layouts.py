"""Every data set is found where it is kept, and its masks become the numbers of classes."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import Cityscapes, VOCSegmentation

from lightning_modules.data.segmentation.catalog import KNOWN, voc_colours
from lightning_modules.data.segmentation.mask_file import read_mask


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DYC_CACHE", str(tmp_path / "cache"))


def served(data, split="val"):
    """Return the greys and labels of the first image of a split, by columns."""
    images, masks = data.on_after_batch_transfer(next(iter(getattr(data, f"{split}_dataloader")())), 0)
    assert images.dtype == torch.float32
    assert masks.dtype == torch.int64
    mean, std = (torch.tensor(v)[:, None, None] for v in (data.mean, data.std))
    grey = ((images[0] * std + mean) * 255).round().int()
    assert (grey == grey[:1, :1]).all()
    return grey[0, 0].tolist(), masks[0, 0].tolist()


@pytest.mark.parametrize("extension", ["png", "webp"])
def test_camvid(tmp_path, write_pair, segmentation_data, extension, recwarn):
    for split in ("train", "val", "test"):
        for i in range(2):
            write_pair(tmp_path / f"{split}/{i}.{extension}", tmp_path / f"{split}annot/{i}.png", (0, 3, 10, 11))
    data = segmentation_data(tmp_path, "camvid")
    data.setup("fit")
    assert (data.num_classes, data.in_chans, data.image_size, data.ignore_index) == (11, 3, (12, 16), 255)
    assert data.class_names[3] == "road"
    assert data.palette[3] == (128, 64, 128)
    assert served(data) == ([0] * 4 + [30] * 4 + [100] * 4 + [110] * 4, [0] * 4 + [3] * 4 + [10] * 4 + [255] * 4)
    assert data.names("test") == [str(tmp_path / "test" / f"{i}.{extension}") for i in range(2)]
    said = [str(w.message) for w in recwarn if "never in the training masks" in str(w.message)]
    assert said == [
        "data.root: never in the training masks, so that it cannot be learned: "
        "building, pole, pavement, tree, sign, fence, car, pedestrian"
    ]


def test_cityscapes(tmp_path, write_pair, segmentation_data):
    ids = [each.id for each in Cityscapes.classes if each.id >= 0]
    trained = {each.id: each.train_id for each in Cityscapes.classes}
    for split in ("train", "val"):
        for city in ("aachen", "bonn"):
            stem = f"{split}/{city}/{city}_000000_000019"
            masks = tmp_path / "gtFine" / f"{stem}_gtFine"
            image, mask = tmp_path / f"leftImg8bit/{stem}_leftImg8bit.png", tmp_path / f"{masks}_labelIds.png"
            write_pair(image, mask, ids, size=(2, 68))
            Image.new("RGB", (68, 2)).save(f"{masks}_color.png")  # others lie beside it
            (masks.parent / "polygons.json").write_text("{}")
    data = segmentation_data(tmp_path, "cityscapes", crop_size=(2, 4))
    data.setup("fit")
    assert (data.num_classes, data.class_names[0], data.class_names[18]) == (19, "road", "bicycle")
    assert data.palette[0] == (128, 64, 128)
    assert served(data)[1] == [trained[i] for i in ids for _ in range(2)]
    assert data.validates_on_test
    # torchvision's own reader finds the same pairs
    theirs = Cityscapes(str(tmp_path), "train", target_type="semantic")
    assert sorted(theirs.images) == sorted(data.names("train"))
    assert sorted(t[0] for t in theirs.targets) == sorted(data.splits.train.reader.labels)


def test_voc(tmp_path, write_pair, segmentation_data):
    home = tmp_path / "VOCdevkit/VOC2012"
    (home / "ImageSets/Segmentation").mkdir(parents=True)
    for split, names in (("train", ("2007_1", "2007_2")), ("val", ("2007_3",))):
        (home / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            # Written without loss, under the name of a JPEG.
            write_pair(home / "a.png", home / f"SegmentationClass/{name}.png", (0, 15, 20, 255), voc_colours(256))
            (home / "JPEGImages").mkdir(exist_ok=True)
            (home / "a.png").rename(home / f"JPEGImages/{name}.jpg")
    data = segmentation_data(tmp_path, "voc")
    data.setup("fit")
    assert (data.num_classes, data.class_names[15], data.palette[15]) == (21, "person", (192, 128, 128))
    assert served(data)[1] == [0] * 4 + [15] * 4 + [20] * 4 + [255] * 4
    assert data.names("train") == list(VOCSegmentation(str(tmp_path)).images)
    assert data.validates_on_test


def test_voc_is_fetched_by_torchvision(tmp_path, segmentation_data, raises, monkeypatch):
    asked = []

    def fetch(url, root, filename, md5):
        asked.append((url, root))
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.voc.download_and_extract_archive", fetch)
    with raises("data.download", "voc could not be downloaded (no network)"):
        segmentation_data(tmp_path / "new", "voc", download=True).prepare_data()
    assert len(asked) == 1
    assert "VOCtrainval_11-May-2012.tar" in asked[0][0]
    with raises("data.root", "Dataset not found", "--data.download true"):
        segmentation_data(tmp_path, "voc").prepare_data()


@pytest.mark.parametrize(
    ("name", "where"), [("camvid", "SegNet"), ("cityscapes", "cityscapes-dataset"), ("folder", "your own")]
)
def test_what_cannot_be_fetched(tmp_path, segmentation_data, raises, name, where):
    with raises("data.download", f"true with {name!r}", where):
        segmentation_data(tmp_path, name, download=True).prepare_data()


def test_folder(masks_folder, segmentation_data):
    data = segmentation_data(masks_folder)
    data.setup("fit")
    assert (data.num_classes, data.class_names, data.dataset_name) == (3, ["0", "1", "2"], "set")
    assert data.palette == list(voc_colours(3))
    assert [len(split) for split in (data.splits.train, data.splits.val, data.splits.test)] == [4, 2, 2]
    assert served(data) == ([0] * 4 + [10] * 4 + [20] * 4 + [50] * 4, [0] * 4 + [1] * 4 + [2] * 4 + [255] * 4)


def test_folder_with_names_and_a_palette(tmp_path, write_pair, segmentation_data, recwarn):
    palette = [(9, 9, 9), (255, 0, 0), (0, 255, 0)]
    for i in range(4):
        write_pair(tmp_path / f"images/city{i % 2}/{i}.png", tmp_path / f"masks/city{i % 2}/{i}.png", (0, 1), palette)
    (tmp_path / "classes.txt").write_text("ground\nroof\n\ncar\n", encoding="utf-8")
    data = segmentation_data(tmp_path, val_fraction=0.5)
    data.setup("fit")
    assert data.class_names == ["ground", "roof", "car"]
    assert data.palette == [(9, 9, 9), (255, 0, 0), voc_colours(3)[2]]
    assert sorted(data.names("train") + data.names("val")) == sorted(map(str, tmp_path.glob("images/*/*.png")))
    assert served(data)[1] == [0] * 8 + [1] * 8
    assert any("cannot be learned: car" in str(w.message) for w in recwarn)


def test_one_test_split_alone_is_enough_where_the_classes_are_known(masks_folder, segmentation_data):
    (masks_folder / "train/masks/0.png").write_bytes(b"")
    data = segmentation_data(masks_folder, num_classes=3)
    data.setup("test")
    assert served(data, "test")[1] == [0] * 4 + [1] * 4 + [2] * 4 + [255] * 4
    assert data.evaluated_split("test") == "test"


def test_values_of_void_and_16_bits(masks_folder, write_pair, segmentation_data):
    for folder in ("train", "val", "test"):
        for i in range(2 if folder != "train" else 4):
            write_pair(
                masks_folder / folder / f"images/{i}.png", masks_folder / folder / f"masks/{i}.png", (0, 1, 7, 4000)
            )
    data = segmentation_data(masks_folder, void=[7, 4000], ignore_index=200)
    data.setup("fit")
    assert data.num_classes == 2
    assert served(data)[1] == [0] * 4 + [1] * 4 + [200] * 8


def test_one_bit_masks(masks_folder, segmentation_data):
    for path in masks_folder.glob("*/masks/*.png"):
        Image.fromarray(np.arange(16 * 12).reshape(12, 16) % 2 == 1).save(path)
    data = segmentation_data(masks_folder)
    data.setup("fit")
    assert served(data)[1] == [0, 1] * 8


def test_the_known_sets():
    assert {name: len(each.values) for name, each in KNOWN.items()} == {
        "camvid": 11,
        "cityscapes": 19,
        "voc": 21,
        "folder": 0,
    }
    assert all(len(each.colours) == len(each.values) for each in KNOWN.values())
    assert KNOWN["cityscapes"].values == (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
    # The devkit's first colours.
    assert voc_colours(9)[1:] == (
        (128, 0, 0),
        (0, 128, 0),
        (128, 128, 0),
        (0, 0, 128),
        (128, 0, 128),
        (0, 128, 128),
        (128, 128, 128),
        (64, 0, 0),
    )


def write_grey_png(path, values, bits):
    """Write a grey PNG of fewer than 8 bits, which Pillow reads and does not write."""
    height, width = values.shape
    ones = (values[..., None] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8).reshape(height, -1)
    lines = b"".join(b"\0" + line.tobytes() for line in np.packbits(ones, axis=1))
    chunks = {b"IHDR": struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0), b"IDAT": zlib.compress(lines)}
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, content in {**chunks, b"IEND": b""}.items():
            file.write(struct.pack(">I", len(content)) + name + content)
            file.write(struct.pack(">I", zlib.crc32(name + content)))


@pytest.mark.parametrize(("bits", "kind"), [(1, "grey"), (2, "grey"), (4, "grey"), (2, "palette"), (4, "palette")])
def test_masks_of_few_bits_have_the_values_of_their_file(masks_folder, segmentation_data, bits, kind):
    columns = np.arange(15) % 2**bits  # 15 columns: the last byte of a line is not full
    for path in masks_folder.glob("*/masks/*.png"):
        Image.new("RGB", (15, 12)).save(path.parents[1] / "images" / path.name)
        values = np.tile(columns, (12, 1)).astype(np.uint8)
        if kind == "grey":
            write_grey_png(path, values, bits)
        else:
            mask = Image.fromarray(values)
            mask.putpalette([channel for colour in voc_colours(2**bits) for channel in colour])
            mask.save(path, bits=bits)
        with Image.open(path) as opened:
            assert "grey" not in kind or bits == 1 or opened.tile[0][3] == f"L;{bits}"
    data = segmentation_data(masks_folder, num_classes=2**bits)
    data.setup("fit")
    _, masks = next(iter(data.val_dataloader()))
    assert masks[0, 0].tolist() == columns.tolist()


def tiff(values: np.ndarray, bits: int, photometric: int) -> bytes:
    """Return an uncompressed TIFF of one channel whose samples are these values, whatever is shown of them."""
    height, width = values.shape
    if bits == 16:
        pixels = values.astype("<u2").tobytes()
    else:
        planes = np.unpackbits(values.astype(np.uint8)[..., None], axis=2)[..., 8 - bits :]
        pixels = np.packbits(planes.reshape(height, -1), axis=1).tobytes()
    tags = {256: (4, width), 257: (4, height), 258: (3, bits), 259: (3, 1), 262: (3, photometric), 273: (4, 8)}
    tags |= {277: (3, 1), 278: (4, height), 279: (4, len(pixels))}
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in tags.items())
    start = struct.pack("<2sHI", b"II", 42, 8 + len(pixels))
    return start + pixels + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("photometric", [0, 1], ids=["white_is_zero", "black_is_zero"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_tiff_has_the_values_that_are_stored(tmp_path, bits, photometric):
    values = np.arange(12 * 16, dtype=np.int64).reshape(12, 16) * 331 % 2**bits
    (tmp_path / "mask.tif").write_bytes(tiff(values, bits, photometric))
    found, palette = read_mask(tmp_path / "mask.tif")
    assert palette is None
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_a_compressed_tiff_whose_zero_is_white(tmp_path, compression):
    values = np.tile(np.arange(16, dtype=np.uint8), (12, 1))
    # Pillow stores what looks like the image: the largest value less each of these.
    Image.fromarray(255 - values).save(tmp_path / "8.tif", tiffinfo={262: 0}, compression=compression)
    np.testing.assert_array_equal(read_mask(tmp_path / "8.tif")[0], values)
    Image.fromarray(values % 2 == 0).save(tmp_path / "1.tif", tiffinfo={262: 0}, compression=compression)
    np.testing.assert_array_equal(read_mask(tmp_path / "1.tif")[0], values % 2)


def test_a_tiff_of_four_bits(masks_folder, segmentation_data):
    for path in masks_folder.glob("*/masks/*.png"):
        path.unlink()
        path.with_suffix(".tif").write_bytes(tiff(np.tile([0, 1], (12, 8)), 4, 0))
    data = segmentation_data(masks_folder)
    data.setup("fit")
    assert served(data)[1] == [0, 1] * 8


def test_two_classes_of_one_name(masks_folder, segmentation_data, raises):
    names = masks_folder / "classes.txt"
    names.write_text("road\n\nsky\n road \n")
    with raises("data.root", f"{str(names)!r}, whose lines 1 and 4 are both 'road'", "a name of its own for each"):
        segmentation_data(masks_folder).setup("fit")
    with raises("data.class_names", "names, of which numbers 2 and 3 are both 'b'", "a name of its own"):
        segmentation_data(masks_folder, class_names=["a", "b", "b"]).setup("fit")
