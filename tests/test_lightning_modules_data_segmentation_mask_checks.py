"""Nothing is trained on wrong labels: what is wrong with a mask or an image is found before, and names the file."""

import errno

import numpy as np
import pytest
from PIL import Image

GREY = np.zeros((12, 16), np.uint8)


def setup(make, root, **options):
    """Check the data as before a training, and return them."""
    data = make(root, **options)
    data.setup("fit")
    return data


def column(value, dtype=np.uint8):
    """Return a mask of class 0 with a column of another value."""
    values = GREY.astype(dtype)
    values[:, 0] = value
    return values


def rgb(mode):
    return lambda path: Image.new(mode, (16, 12)).save(path)


BAD_MASKS = {
    "beyond_the_classes": (
        lambda p: Image.fromarray(column(7)).save(p),
        "with the value 7 (12 of 192 pixels)",
        "0 to 2 for 3",
    ),
    "beyond_8_bits": (lambda p: Image.fromarray(column(300, np.uint16)).save(p), "the value 300", "255 for void"),
    "another_size": (lambda p: Image.new("L", (12, 16)).save(p), "of 12 x 16 pixels", "16 x 12, the size of its image"),
    "rgb": (rgb("RGB"), "whose pixels are colours (Pillow's mode RGB)", "lightning_modules/segmentation/README.md"),
    "rgba": (rgb("RGBA"), "(Pillow's mode RGBA)", "numbers of classes"),
    "grey_and_alpha": (rgb("LA"), "(Pillow's mode LA)", "numbers of classes"),
    "jpeg": (lambda p: Image.fromarray(GREY).save(p, "jpeg"), "which is a JPEG", "changes values"),
    "jpeg_in_tiff": (lambda p: Image.fromarray(GREY).save(p, "tiff", compression="jpeg"), "which is a JPEG", "a PNG"),
    "float": (
        lambda p: Image.fromarray(GREY.astype("f")).save(p, "tiff"),
        "floating-point numbers",
        "numbers of classes",
    ),
    "negative": (lambda p: Image.fromarray(column(-3, np.int32)).save(p, "tiff"), "values from -3 to 0", "0 to 65535"),
    "damaged": (lambda p: p.write_bytes(p.read_bytes()[:50]), "which is damaged", "a whole mask"),
    "no_image": (lambda p: p.write_bytes(b"text"), "which is not an image", "a whole mask"),
    "turned": (lambda p: save_turned(p, 3), "which its EXIF turns or mirrors", "without EXIF"),
}


def save_turned(path, orientation, size=(16, 12)):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB" if path.parent.name == "images" else "L", size).save(path, exif=exif)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(("spoil", "got", "need"), BAD_MASKS.values(), ids=BAD_MASKS)
def test_masks(masks_folder, segmentation_data, raises, spoil, got, need, split):
    path = masks_folder / split / "masks" / "1.png"
    spoil(path)
    with raises("data.root", got, need):
        setup(segmentation_data, masks_folder, num_classes=3)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", ["beyond_the_classes", "rgb", "another_size", "damaged"])
def test_the_file_is_named(masks_folder, segmentation_data, name, split):
    path = masks_folder / split / "masks" / "1.png"
    BAD_MASKS[name][0](path)
    with pytest.raises(ValueError, match=r"^data.root: got ") as error:
        setup(segmentation_data, masks_folder, num_classes=3)
    assert repr(str(path)) in str(error.value)
    assert "\n" not in str(error.value)


BAD_IMAGES = {
    "float": (lambda p: Image.fromarray(GREY.astype("f")).save(p, "tiff"), "whose pixels are floating-point", "8 bits"),
    "damaged": (lambda p: p.write_bytes(p.read_bytes()[:60]), "which is damaged", "images only"),
    "empty": (lambda p: p.write_bytes(b""), "which is not an image", "images only"),
    "mirrored": (lambda p: save_turned(p, 2), "which its EXIF turns or mirrors", "saved upright"),
    "turned_round": (lambda p: save_turned(p, 3), "which its EXIF turns or mirrors", "saved upright"),
    "turned_and_its_mask_is_not": (lambda p: save_turned(p, 6), "of 16 x 12 pixels", "12 x 16, the size of its image"),
}


@pytest.mark.parametrize(("spoil", "got", "need"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_images(masks_folder, segmentation_data, raises, spoil, got, need):
    spoil(masks_folder / "train/images/1.png")
    for part in (got, f"{masks_folder}/train/"):
        with raises("data.root", part, need):
            setup(segmentation_data, masks_folder)


def test_an_image_turned_by_a_quarter_has_the_mask_of_what_is_shown(masks_folder, segmentation_data):
    save_turned(masks_folder / "train/images/1.png", 6, (12, 16))
    data = setup(segmentation_data, masks_folder)
    image, mask = data.splits.train[1]
    assert np.asarray(image).shape[:2] == np.asarray(mask).shape[-2:] == (12, 16)  # what is shown, not what is stored


def test_a_turned_square_is_refused(masks_folder, write_pair, segmentation_data, raises):
    for path in masks_folder.glob("*/images/*.png"):
        write_pair(path, path.parents[1] / "masks" / path.name, size=(16, 16))
    save_turned(masks_folder / "train/images/1.png", 6, (16, 16))
    with raises("data.root", "which its EXIF turns or mirrors", "saved upright"):
        setup(segmentation_data, masks_folder)


def test_16_bit_images_are_read_as_elsewhere(masks_folder, segmentation_data):
    Image.fromarray(np.full((12, 16), 65535, np.uint16)).save(masks_folder / "val/images/0.png")
    data = segmentation_data(masks_folder)
    data.setup("fit")
    images, _ = next(iter(data.val_dataloader()))
    assert (images[0] == 255).all()


def test_how_many_more(masks_folder, segmentation_data, raises):
    for i in range(3):
        Image.fromarray(column(7)).save(masks_folder / f"train/masks/{i}.png")
    masks = [f"{masks_folder}/train/masks/{i}.png" for i in range(3)]
    more = f"(and 2 more masks with such values: {masks[1]!r}, {masks[2]!r})"
    with raises(
        "data.root", f"{masks[0]!r} with the value 7 (12 of 192 pixels) {more}", "0 to 2 for 3 classes, or 255"
    ):
        setup(segmentation_data, masks_folder, num_classes=3)
    for i in range(3):
        Image.new("RGB", (16, 12)).save(masks_folder / f"train/masks/{i}.png")
    more = f"(and 2 more files that cannot be used: {masks[1]!r}, {masks[2]!r})"
    with raises("data.root", more, "numbers of classes"):
        setup(segmentation_data, masks_folder, num_classes=3)


def test_ten_are_named(masks_folder, write_pair, segmentation_data, raises):
    for i in range(12):
        write_pair(masks_folder / f"train/images/{i:02}.png", masks_folder / f"train/masks/{i:02}.png", (0, 7))
    for part in ("00.png' with the value 7", "(and 11 more masks with such values: ", "09.png', ...)"):
        with raises("data.root", part, "0 to 2 for 3 classes"):
            setup(segmentation_data, masks_folder, num_classes=3)


def test_partners(masks_folder, segmentation_data, raises):
    (masks_folder / "val/masks/1.png").rename(masks_folder / "val/masks/9.png")
    with raises("data.root", f"'{masks_folder}/val/images/1.png' without a mask", f"{masks_folder}/val/masks"):
        setup(segmentation_data, masks_folder)
    (masks_folder / "val/images/1.png").unlink()
    with raises("data.root", f"'{masks_folder}/val/masks/9.png' without an image", f"{masks_folder}/val/images"):
        setup(segmentation_data, masks_folder)
    (masks_folder / "val/masks/9.png").unlink()
    (masks_folder / "val/images/0.jpg").write_bytes((masks_folder / "val/images/0.png").read_bytes())
    with raises("data.root", "0.jpg' and", "one file of that name among the images"):
        setup(segmentation_data, masks_folder)


def test_a_listed_file_is_missing(tmp_path, write_pair, segmentation_data, raises):
    home = tmp_path / "VOCdevkit/VOC2012"
    (home / "ImageSets/Segmentation").mkdir(parents=True)
    (home / "ImageSets/Segmentation/train.txt").write_text("a\nb\n")
    write_pair(home / "a.png", home / "SegmentationClass/a.png")
    (home / "JPEGImages").mkdir()
    for name in ("a", "b"):
        (home / f"JPEGImages/{name}.jpg").write_bytes((home / "a.png").read_bytes())
    with raises("data.root", "b.jpg' without a mask", "SegmentationClass"):
        setup(segmentation_data, tmp_path, dataset="voc")
    (home / "JPEGImages/a.jpg").unlink()
    with raises("data.root", "a.jpg' missing", "every image that the data set lists"):
        setup(segmentation_data, tmp_path, dataset="voc")
    (home / "ImageSets/Segmentation/train.txt").write_text("")
    with raises("data.root", "without images", "at least one"):
        setup(segmentation_data, tmp_path, dataset="voc")


EMPTY = {
    "root": ("", "which does not exist", "'folder'"),
    "train": ("train", "without a training split", "train/images and train/masks"),
    "images": ("val/images", "which does not exist", "a folder of images"),
    "masks": ("val/masks", "which does not exist", "a folder of masks"),
}


@pytest.mark.parametrize(("gone", "got", "need"), EMPTY.values(), ids=EMPTY)
def test_folders_that_are_missing(masks_folder, segmentation_data, raises, gone, got, need):
    (masks_folder / gone).rename(masks_folder.parent / "elsewhere")
    with raises("data.root", got, need):
        setup(segmentation_data, masks_folder)


def test_an_empty_split(masks_folder, segmentation_data, raises):
    for path in masks_folder.glob("val/*/*.png"):
        path.unlink()
    with raises("data.root", f"'{masks_folder}/val/images' without images", "files that end with .bmp"):
        setup(segmentation_data, masks_folder)


def test_palettes_must_agree(masks_folder, write_pair, segmentation_data, raises):
    for i, colours in enumerate([[(1, 1, 1), (2, 2, 2)], [(1, 1, 1), (2, 2, 2), (3, 3, 3)], [(1, 1, 1), (9, 2, 2)]]):
        write_pair(masks_folder / f"train/images/{i}.png", masks_folder / f"train/masks/{i}.png", (0, 1), colours)
    with raises("data.root", "2.png', where the palette shows the value 1 as (9, 2, 2)", "masks of one palette"):
        setup(segmentation_data, masks_folder)


def test_the_colour_of_void_does_not_matter(masks_folder, write_pair, segmentation_data):
    for i in range(2):
        colours = [(1, 1, 1), (2, 2, 2), (i, i, i)]
        write_pair(masks_folder / f"train/images/{i}.png", masks_folder / f"train/masks/{i}.png", (0, 1, 2), colours)
    data = setup(segmentation_data, masks_folder, void=[2, 255])
    assert data.num_classes == 2


def test_classes_are_not_guessed_from_gaps(masks_folder, write_pair, segmentation_data, raises):
    write_pair(masks_folder / "train/images/3.png", masks_folder / "train/masks/3.png", (0, 9, 200))
    where = f"the values 0, 1, 2, 9, 200, of which '{masks_folder}/train/masks/3.png' has 9"
    with raises("data.num_classes", where, "classes.txt"):
        setup(segmentation_data, masks_folder)
    for path in masks_folder.glob("train/images/*.png"):
        write_pair(path, path.parents[1] / "masks" / path.name, (255,))
    where = f"the values of void only, such as '{masks_folder}/train/masks/0.png'"
    with raises("data.num_classes", where, "classes.txt"):
        setup(segmentation_data, masks_folder)


def test_a_value_of_validation_alone_is_no_class(masks_folder, write_pair, segmentation_data, raises):
    write_pair(masks_folder / "val/images/0.png", masks_folder / "val/masks/0.png", (0, 3))
    with raises("data.root", "val/masks/0.png' with the value 3 (96 of 192 pixels)", "0 to 2 for 3 classes"):
        setup(segmentation_data, masks_folder)


def test_0_and_255_are_not_two_classes(masks_folder, write_pair, segmentation_data, raises):
    for path in masks_folder.glob("*/images/*.png"):
        write_pair(path, path.parents[1] / "masks" / path.name, (0, 255))
    with raises("data.root", "values 0, 255, of which 255 means void", "two classes at least"):
        setup(segmentation_data, masks_folder, num_classes=2)
    with raises("data.num_classes", "1", "from 2 to 255"):
        setup(segmentation_data, masks_folder)


def test_a_class_only_in_what_is_held_out_is_named(masks_folder, write_pair, segmentation_data):
    for split in ("val", "test"):
        (masks_folder / split).rename(masks_folder.parent / split)
    data = segmentation_data(masks_folder, val_fraction=0.25)
    data.setup("fit")
    (held,) = data.names("val")
    write_pair(masks_folder / "a.png", masks_folder / "train/masks" / held.rsplit("/", 1)[1], (0, 1, 2, 3))
    with pytest.warns(UserWarning, match=r"cannot be learned: 3$"):
        setup(segmentation_data, masks_folder, val_fraction=0.25)


def test_a_mask_that_changes_during_the_training(masks_folder, write_pair, segmentation_data, raises):
    data = segmentation_data(masks_folder)
    data.setup("fit")
    for values, size in (((0, 9), (12, 16)), ((0, 1), (16, 12))):
        write_pair(masks_folder / "a.png", masks_folder / "val/masks/1.png", values, size=size)
        with raises("data.root", "val/masks/1.png', which has changed", "as they were checked"):
            list(data.val_dataloader())


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_a_file_that_may_not_be_read(masks_folder, segmentation_data, raises, monkeypatch, folder):
    path, original = str(masks_folder / f"train/{folder}/1.png"), Image.open

    def refuse(file, *rest):
        if file == path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return original(file, *rest)

    monkeypatch.setattr(Image, "open", refuse)  # the owner of this process may read everything
    with raises("data.root", f"{path!r}, which cannot be read (Permission denied)", "files that you may read"):
        setup(segmentation_data, masks_folder)
