"""What a network is given in prediction is what it was given in evaluation, bit for bit."""

import json

import numpy as np
import pytest
from PIL import Image
from timm.data import create_transform

from lightning_modules.data.preparation import Preparation, complete_preparation, fields_in_json

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CASES = [
    ((32, 32), {"crop_pct": 1.0}),
    ((32, 32), {}),
    ((33, 33), {"crop_pct": 0.9, "interpolation": "bicubic"}),
    ((24, 40), {}),
    ((40, 24), {"crop_pct": 1.1, "interpolation": "lanczos"}),
    ((32, 32), {"crop_mode": "squash", "crop_pct": 0.95}),
    ((24, 40), {"crop_mode": "squash", "crop_pct": 1.0}),
    ((32, 32), {"crop_mode": "border", "crop_pct": 1.0}),
    ((24, 40), {"crop_mode": "border", "crop_pct": 0.875}),
]


def noise(width: int, height: int, mode: str) -> Image.Image:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(("size", "options"), CASES)
def test_it_is_the_transform_that_evaluates(size, options, mode):
    channels = len(mode)
    channels, mean, std = (1, MEAN[:1], STD[:1]) if mode == "L" else (3, MEAN, STD)
    prepare = Preparation((channels, *size), mean, std, **options)
    assert prepare.mode == mode
    transform = create_transform(
        (channels, *size), mean=mean, std=std, **{"interpolation": "bilinear", **options}, is_training=False
    )
    for width, height in [(32, 32), (37, 53), (201, 64), (9, 30), size[::-1]]:
        image = noise(width, height, mode)
        found, expected = prepare(image), transform(image).numpy()
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


def test_an_image_that_is_not_resized_keeps_its_size():
    image = noise(37, 21, "RGB")
    found = Preparation((3, 8, 8), (0.0,) * 3, (1.0,) * 3, crop_mode="squash", resize=False)(image)
    np.testing.assert_array_equal(found, np.asarray(image, np.float32).transpose(2, 0, 1) / 255)


def test_json_and_back():
    prepare = Preparation(
        (1, 8, 9), (0.1,), (0.2,), "bicubic", 0.95, "squash", ("a", "b"), ((1, 2, 3), (4, 5, 6)), resize=False
    )
    found = json.loads(prepare.to_json())
    assert found == {
        "input_size": [1, 8, 9],
        "mean": [0.1],
        "std": [0.2],
        "interpolation": "bicubic",
        "crop_pct": 0.95,
        "crop_mode": "squash",
        "class_names": ["a", "b"],
        "palette": [[1, 2, 3], [4, 5, 6]],
        "resize": False,
    }
    assert fields_in_json(json.dumps({**found, "version": 2})) == found
    assert complete_preparation(found, {"mean": [0.5], "std": None}, "x").mean == [0.5]
    with pytest.raises(ValueError, match="not a JSON object"):
        fields_in_json("[]")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"input_size": [2, 8, 8]}, r"input_size: got \[2, 8, 8\]; need channels \(1 or 3\), height and width"),
        ({"input_size": [3, 8]}, r"input_size: got \[3, 8\]"),
        ({"input_size": [3, 8.5, 8]}, "input_size: got"),
        ({"mean": [0.5]}, r"mean: got \[0.5\]; need 3 numbers, one for each channel"),
        ({"std": [1, 1, 0]}, r"std: got \[1, 1, 0\]; need 3 positive numbers"),
        ({"interpolation": "bilinaer"}, r"interpolation: got 'bilinaer' \(did you mean 'bilinear'"),
        ({"crop_pct": 0}, "crop_pct: got 0"),
        ({"crop_mode": "middle"}, "crop_mode: got 'middle'"),
        ({"palette": [[0, 0, 256]]}, r"palette: got \[0, 0, 256\]; need three numbers from 0 to 255 for each class"),
        ({"mean": 3}, ""),
    ],
)
def test_what_cannot_be_used(raises, changed, message):
    values = {"input_size": [3, 8, 8], "mean": MEAN, "std": STD, **changed}
    with pytest.raises(ValueError, match=rf"^preparation: 'x.onnx': .*{message}"):
        complete_preparation(values, {}, "x.onnx")


def test_what_is_missing_is_named(raises):
    with raises("preparation", "'x.onnx' does not say how its images were prepared; give --mean, --std"):
        complete_preparation({"input_size": [3, 8, 8]}, {"mean": None}, "x.onnx")
