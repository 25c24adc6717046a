"""Arguments that are wrong whatever the data, and those that contradict it."""

import pytest

from lightning_modules import SegmentationData

ARGUMENTS = {
    "dataset_misspelt": ({"dataset": "cityscape"}, "data.dataset", "did you mean 'cityscapes'?", "'camvid'"),
    "batch_size": ({"batch_size": 0}, "data.batch_size", "0", "at least 1"),
    "image_size": ({"image_size": 0}, "data.image_size", "0", "height and width"),
    "image_size_of_three": ({"image_size": [1, 2, 3]}, "data.image_size", "[1, 2, 3]", "height and width"),
    "crop_size": ({"crop_size": (8, -1)}, "data.crop_size", "(8, -1)", "at least 1"),
    "scale_turned": ({"scale": (2.0, 0.5)}, "data.scale", "(2.0, 0.5)", "smallest <= largest"),
    "scale_zero": ({"scale": (0.0, 0.5)}, "data.scale", "(0.0, 0.5)", "0 < smallest"),
    "hflip": ({"hflip": 2}, "data.hflip", "2", "from 0 to 1"),
    "colour_jitter": ({"colour_jitter": -0.1}, "data.colour_jitter", "-0.1", "at least 0"),
    "val_fraction": ({"val_fraction": 1}, "data.val_fraction", "1", "below 1"),
    "mean_of_one": ({"mean": [0.5]}, "data.mean / data.std", "(0.5,)", "3 numbers each"),
    "std_zero": ({"std": [0.0, 1.0, 1.0]}, "data.std", "[0.0, 1.0, 1.0]", "positive"),
    "void_negative": ({"void": -1}, "data.void", "-1", "from 0 to 65535"),
    "palette_of_pairs": ({"palette": [(0, 0)]}, "data.palette", "[0, 0]", "three numbers"),
    "palette_of_shares": ({"palette": [(0, 0, 256)]}, "data.palette", "[0, 0, 256]", "from 0 to 255"),
}


@pytest.mark.parametrize(("kwargs", "argument", "got", "need"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments(raises, kwargs, argument, got, need):
    with raises(argument, got, need):
        SegmentationData(**kwargs)


def test_sizes():
    data = SegmentationData(image_size=4, crop_size=[2, 3])
    assert (data.image_size, data.crop_size) == ((4, 4), (2, 3))


CONTRADICTIONS = {
    "names": ({"class_names": ["a", "b"], "num_classes": 3}, "data.class_names", "2 names", "3, one for each"),
    "palette": ({"palette": [(0, 0, 0)] * 2}, "data.palette", "2 colours", "3, one for each class"),
    "ignore_index": ({"ignore_index": 2}, "data.ignore_index", "2", "from 3 to 255"),
    "ignore_index_beyond": ({"ignore_index": 256}, "data.ignore_index", "256", "from 3 to 255"),
    "too_many_classes": ({"num_classes": 256}, "data.num_classes", "256", "from 2 to 255"),
}


@pytest.mark.parametrize(("kwargs", "argument", "got", "need"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_contradictions(masks_folder, segmentation_data, raises, kwargs, argument, got, need):
    with raises(argument, got, need):
        segmentation_data(masks_folder, **kwargs).setup("fit")


def test_classes_of_a_known_set(tmp_path, write_pair, segmentation_data, raises):
    for split in ("train", "val", "test"):
        write_pair(tmp_path / split / "0.png", tmp_path / f"{split}annot/0.png")
    with raises("data.num_classes", "12", "11, the classes of the data set"):
        segmentation_data(tmp_path, "camvid", num_classes=12).setup("test")
    with raises("data.class_names", "2 names", "11, one for each class"):
        segmentation_data(tmp_path, "camvid", class_names=["a", "b"]).setup("test")


def test_an_empty_list_of_classes(masks_folder, segmentation_data, raises):
    (masks_folder / "classes.txt").write_text("\n")
    with raises("data.root", "classes.txt', which is empty", "name of a class"):
        segmentation_data(masks_folder).setup("fit")
