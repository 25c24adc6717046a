"""Leave out the images that cannot be read, and say which they are."""

from lightning.pytorch.utilities import rank_zero_warn

from lightning_modules.data.decode import UnusableImage
from lightning_modules.data.image_files import Decoded
from lightning_modules.data.parallel import for_each
from ops import ArgumentError

NAMED = 10
"""How many of them a warning names."""


def without_damaged(data: Decoded) -> Decoded:
    """Decode every image once, and return the set without those that cannot be read.

    A warning counts them and names the first ten. To know them before training starts keeps batches whole and, where a
    run is resumed or has several processes, the same.

    Raises:
        ArgumentError: No image can be read.
    """
    damaged: dict[int, str] = {}

    def check(index: int) -> None:
        try:
            data.decode(index)
        except UnusableImage as error:
            damaged[index] = f"{data.name(index)!r}, {error}"

    for_each(len(data), check, "looking for damaged images")
    if not damaged:
        return data
    first = [damaged[index] for index in sorted(damaged)][:NAMED]
    if len(damaged) == len(data):
        one = "a single image, which cannot be read"
        found = one if len(data) == 1 else f"{len(data):,} images of which none can be read"
        raise ArgumentError(data.argument, f"{found}: {first[0]}", "images")
    more = f"; and {len(damaged) - NAMED:,} more" if len(damaged) > NAMED else ""
    rank_zero_warn(f"{data.argument}: {len(damaged):,} of {len(data):,} images left out: {'; '.join(first)}{more}")
    kept = [number for index, number in enumerate(data.kept) if index not in damaged]
    return Decoded(data.reader, data.argument, data.mode, kept)
