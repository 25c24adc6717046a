"""How whole images are segmented in evaluation: at once or by windows, at one size or several."""

import math
from dataclasses import dataclass, field

from lightning_modules.errors import ArgumentError  # what reads tables of evaluations need not load PyTorch


@dataclass(frozen=True)
class EvaluationSettings:
    """How an image is segmented in evaluation; by default as a whole, once.

    What several views of a pixel find is averaged, as probabilities.

    Args:
        window: Height and width of the windows that slide over larger images, or one number for both; null for whole
            images.
        overlap: Share of a window that the next one overlaps.
        scales: Factors by which images are resized before, such as ``[0.5, 0.75, 1.0, 1.25, 1.5]``.
        flip: Segment the mirrored image as well.

    Raises:
        ArgumentError: A value is out of range.
    """

    window: int | list[int] | None = None
    overlap: float = 1 / 3
    scales: list[float] = field(default_factory=lambda: [1.0])
    flip: bool = False

    def __post_init__(self) -> None:
        sides = [*self.window] if isinstance(self.window, list | tuple) else [1 if self.window is None else self.window]
        if not 1 <= len(sides) <= 2 or not all(isinstance(side, int) and side > 0 for side in sides):
            need = "one or two whole numbers of at least 1, or null"
            raise ArgumentError("model.evaluation.window", self.window, need)
        if not 0 <= self.overlap < 1:
            raise ArgumentError("model.evaluation.overlap", self.overlap, "a share in [0, 1)")
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise ArgumentError("model.evaluation.scales", self.scales, "one positive factor or more")

    def __str__(self) -> str:
        """Return what a table says of them: ``plain``, or ``window 512 (overlap 0.33), scales 0.75 1, flip``."""
        parts = []
        if self.window is not None:
            parts.append(f"window {' x '.join(map(str, dict.fromkeys(self.window_size)))} (overlap {self.overlap:.2g})")
        if self.scales != [1.0]:
            parts.append(f"scales {' '.join(f'{scale:g}' for scale in self.scales)}")
        return ", ".join([*parts, *(["flip"] if self.flip else [])]) or "plain"

    @property
    def window_size(self) -> tuple[int, int] | None:
        """Height and width of the windows."""
        if self.window is None:
            return None
        sides = [self.window] if isinstance(self.window, int) else self.window
        return sides[0], sides[-1]

    @property
    def plain(self) -> bool:
        """Whether images are segmented as a whole, once."""
        return self.window is None and self.scales == [1.0] and not self.flip
