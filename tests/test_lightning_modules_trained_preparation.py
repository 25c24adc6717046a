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


def test_one_without_data_says_nothing():
    assert preparation_of({}) == {}
