"""What was found in the masks of several splits, by the files of their images."""

from collections.abc import Iterable

import torch
from torch import Tensor

from lightning_modules.data.segmentation.classes import Classes
from lightning_modules.data.segmentation.masked_images import MaskedImages
from lightning_modules.data.segmentation.survey import Facts, survey
from lightning_modules.data.segmentation.windows import Size
from lightning_modules.data.splits import Splits


class Surveyed:
    """The facts of the splits that were surveyed so far."""

    def __init__(self) -> None:
        self.facts: dict[str, Facts] = {}
        self.masks: dict[str, str] = {}
        self._splits: set[str] = set()

    def add(self, splits: Splits, names: Iterable[str]) -> None:
        """Survey some splits, each of them once.

        Raises:
            ArgumentError: A file cannot be used; it is named.
        """
        for name in sorted(set(names) - self._splits):
            data: MaskedImages = getattr(splits, name)
            images = [data.name(i) for i in range(len(data))]
            self.facts.update(zip(images, survey(data, name)))
            self.masks.update(zip(images, data.reader.labels))
            self._splits.add(name)

    def by_mask(self, images: Iterable[str] | None = None) -> dict[str, Facts]:
        """Return the facts of some images, by default of all, by the files of their masks."""
        return {self.masks[image]: self.facts[image] for image in (self.facts if images is None else images)}

    def sizes(self, images: Iterable[str]) -> list[Size]:
        """Return the height and width of some images."""
        return [self.facts[image].size[::-1] for image in images]

    def one_size(self) -> Size | None:
        """Return the height and width of all images, or None if they differ."""
        sizes = {facts.size for facts in self.facts.values()}
        return sizes.pop()[::-1] if len(sizes) == 1 else None

    def two_sizes(self) -> str:
        """Name two images of different sizes."""
        (name, first), *others = self.facts.items()
        other, second = next((n, each) for n, each in others if each.size != first.size)
        sizes = (f"{name!r} of {first.size[0]} x {first.size[1]}", f"{other!r} of {second.size[0]} x {second.size[1]}")
        return f"images have several sizes in pixels, such as {' and '.join(sizes)}"

    def count_pixels(self, images: Iterable[str], classes: Classes) -> Tensor:
        """Return how many pixels of each image have each class, ``(N, classes)``, int64; void has none."""
        values = [None if value in classes.void else value for value in classes.values]
        return torch.tensor([[self.facts[image].counts.get(value, 0) for value in values] for image in images])
