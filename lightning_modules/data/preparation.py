"""How an image becomes the input of a network in evaluation, with NumPy and Pillow alone.

The values are those of the transform that evaluates a training, ``timm.data.create_transform``, bit for bit.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from lightning_modules.errors import ArgumentError, unknown_name

PROPERTY = "dyc.preparation"
"""Metadata property of ONNX files whose value is a :class:`Preparation` in JSON."""

FILTERS = {each.name.lower(): each for each in Image.Resampling}
CROPS = ("center", "squash", "border")
DEFAULT_CROP = 0.875
"""The share of an image's shorter side that is seen unless something else is said, as timm has it."""


@dataclass(frozen=True)
class Preparation:
    """Resizes, crops to the middle and normalises an image; the fields are those of timm's ``pretrained_cfg``.

    Args:
        input_size: Channels, height and width of the network's input; images of one channel are grey.
        mean: Channel means of pixels in 0..1.
        std: Channel standard deviations.
        interpolation: Name of Pillow's filter.
        crop_pct: The share of the resized image that the crop keeps of its height and width; null is 0.875.
        crop_mode: ``center`` keeps the proportions and crops what is longer, ``squash`` does not keep them, ``border``
            adds a border to what is shorter.
        class_names: Names of the classes in the order of the network's outputs; null if they have none.
        palette: Of a network that classifies every pixel: red, green and blue of each class, from 0 to 255.
        resize: False to take each image as it is, of any size; ``input_size`` is then an example of one.

    Raises:
        ArgumentError: A value that cannot be used.

    Example:
        >>> prepare = Preparation([1, 2, 2], [0.5], [0.5], crop_pct=1.0)
        >>> prepare(Image.new("L", (20, 20), 255)).tolist()
        [[[1.0, 1.0], [1.0, 1.0]]]
    """

    input_size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"
    crop_pct: float | None = None
    crop_mode: str = "center"
    class_names: tuple[str, ...] | None = None
    palette: tuple[tuple[int, int, int], ...] | None = None
    resize: bool = True

    def __post_init__(self) -> None:
        size = tuple(self.input_size)
        if len(size) != 3 or size[0] not in (1, 3) or not all(type(n) is int and n > 0 for n in size):
            raise ArgumentError("input_size", list(size), "channels (1 or 3), height and width")
        for name in ("mean", "std"):
            values = tuple(getattr(self, name))
            if len(values) != size[0] or not all(map(math.isfinite, values)) or (name == "std" and min(values) <= 0):
                need = f"{size[0]} {'positive ' if name == 'std' else ''}numbers, one for each channel"
                raise ArgumentError(name, list(values), need)
        if self.interpolation not in FILTERS:
            raise unknown_name("interpolation", self.interpolation, FILTERS)
        if self.crop_pct is not None and not 0 < self.crop_pct < math.inf:
            raise ArgumentError("crop_pct", self.crop_pct, "a positive number, or null for 0.875")
        if self.crop_mode not in CROPS:
            raise unknown_name("crop_mode", self.crop_mode, CROPS)
        for colour in self.palette or ():
            if len(colour) != 3 or not all(type(n) is int and 0 <= n <= 255 for n in colour):
                raise ArgumentError("palette", list(colour), "three numbers from 0 to 255 for each class")

    def to_json(self) -> str:
        """Return the value of the property ``dyc.preparation``."""
        return json.dumps({field.name: getattr(self, field.name) for field in fields(self)})

    @property
    def mode(self) -> str:
        """Pillow's mode of the images that are prepared."""
        return "L" if self.input_size[0] == 1 else "RGB"

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Return the input ``(C, H, W)``, float32, for an image of this mode."""
        pixels = np.asarray(self._crop(self._resize(image)) if self.resize else image)
        channels = (pixels,) if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        return np.stack([row[channel] for row, channel in zip(self._values, channels)])

    @cached_property
    def _values(self) -> np.ndarray:
        """What each of the 256 values of a channel becomes, ``(C, 256)``."""
        mean, std = (np.asarray(values, np.float32)[:, None] for values in (self.mean, self.std))
        return (np.arange(256, dtype=np.float32) / np.float32(255) - mean) / std

    def _resize(self, image: Image.Image) -> Image.Image:
        height, width = (math.floor(n / (self.crop_pct or DEFAULT_CROP)) for n in self.input_size[1:])
        if self.crop_mode == "squash":
            size = width, height
        elif self.crop_mode == "center" and height == width:
            short, long = sorted(image.size)
            longer = int(width * long / short)
            size = (width, longer) if image.width <= image.height else (longer, width)
        else:
            choose = max if self.crop_mode == "border" else min
            ratio = choose(image.height / height, image.width / width)
            size = round(image.width / ratio), round(image.height / ratio)
        return image if size == image.size else image.resize(size, FILTERS[self.interpolation])

    def _crop(self, image: Image.Image) -> Image.Image:
        height, width = self.input_size[1:]
        if image.size == (width, height):
            return image
        fill = tuple(round(255 * value) for value in self.mean) if self.crop_mode == "border" else (0,) * len(self.mean)
        result = Image.new(image.mode, (width, height), fill[0] if len(fill) == 1 else fill)
        result.paste(image, (-_offset(image.width, width), -_offset(image.height, height)))
        return result


def _offset(length: int, wanted: int) -> int:
    """Return where the middle part begins; before the image where that is shorter, as torchvision pads."""
    return -((wanted - length) // 2) if wanted > length else round((length - wanted) / 2)


def fields_in_json(text: str) -> dict[str, Any]:
    """Return what the value of the property ``dyc.preparation`` says, by field; keys of others are left out.

    Raises:
        ValueError: It is no JSON object.
    """
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    names = {field.name for field in fields(Preparation)}
    return {name: value for name, value in found.items() if name in names}


def read_fields(text: str | None, path: str) -> dict[str, Any]:
    """Return what an exported file says of the preparation, by field; nothing if it says nothing.

    Args:
        text: The value of its property ``dyc.preparation``, if it has one.
        path: The file, for errors.

    Raises:
        ArgumentError: The value is no JSON object.
    """
    try:
        return fields_in_json(text) if text else {}
    except ValueError as error:
        got = f"{path!r} whose property {PROPERTY} cannot be read ({error})"
        raise ArgumentError("model", got, "a JSON object") from error


def complete_preparation(found: Mapping[str, Any], given: Mapping[str, Any], place: str) -> Preparation:
    """Return the preparation that a network's file describes, with what was given in its place.

    Args:
        found: What the file says, by field.
        given: What the user says; None for what was not said.
        place: The file, for errors.

    Raises:
        ArgumentError: A part is missing or cannot be used.
    """
    values = {**found, **{name: value for name, value in given.items() if value is not None}}
    missing = [name for name in ("input_size", "mean", "std") if name not in values]
    if missing:
        options = ", ".join(f"--{name}" for name in missing)
        sentence = f"{place!r} does not say how its images were prepared; give {options}"
        raise ArgumentError("preparation", sentence=sentence)
    try:
        return Preparation(**values)
    except (ArgumentError, TypeError) as error:  # a value of another type, say
        raise ArgumentError("preparation", sentence=f"{place!r}: {error}") from error
