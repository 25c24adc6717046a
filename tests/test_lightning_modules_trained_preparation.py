"""What a checkpoint says of its images."""

import pytest

from lightning_modules.trained_preparation import preparation_of

DATA = {"dataset": "folder", "image_size": 32, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}


@pytest.mark.parametrize(
    ("more", "crop"), [({}, 0.875), ({"in_memory": True}, 1.0), ({"dataset": "torch/cifar10"}, 1.0)], ids=str
)
def test_it_is_that_of_the_evaluation(more, crop):
    checkpoint = {"datamodule_hyper_parameters": DATA | more, "ImageData": {"class_names": ("a", "b", "c")}}
    assert preparation_of(checkpoint) == {
        "input_size": [3, 32, 32],
        "mean": [0.4, 0.5, 0.6],
        "std": [0.2, 0.3, 0.4],
        "interpolation": "bilinear",
        "crop_pct": crop,
        "crop_mode": "center",
        "class_names": ["a", "b", "c"],
    }


@pytest.mark.parametrize(("image_size", "size"), [([360, 480], [360, 480]), (None, [64, 96])], ids=str)
def test_of_a_segmentation_it_has_the_colours_of_the_classes(image_size, size):
    data = {"dataset": "voc", "image_size": image_size, "crop_size": [64, 96], "mean": [0.4] * 3, "std": [0.2] * 3}
    classes = {"class_names": ["a", "b"], "palette": [(0, 0, 0), (9, 8, 7)]}
    task = {"hyper_parameters": {"task": "segmentation"}}
    found = preparation_of({**task, "datamodule_hyper_parameters": data, "SegmentationData": classes})
    assert found == {
        "input_size": [3, *size],
        "mean": [0.4] * 3,
        "std": [0.2] * 3,
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "crop_mode": "squash",
        "class_names": ["a", "b"],
        "palette": [[0, 0, 0], [9, 8, 7]],
        **({} if image_size else {"resize": False}),  # images of several sizes are taken as they are
    }
    assert preparation_of(task) == {}


def test_one_without_data_says_nothing():
    assert preparation_of({}) == {}
