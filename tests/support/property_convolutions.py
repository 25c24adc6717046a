"""Any call of a convolution of ``ops``, drawn by hypothesis: what is called with what, and what is right."""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from support.property_tensors import DTYPES, LAYOUTS, draw
from torch import Tensor

import ops
from ops import reference

BATCHES = st.sampled_from([2, 1, 3, 0, 5, 17])
CHANNELS = st.sampled_from([3, 1, 2, 7, 8, 15, 16, 17, 20, 33, 48, 65])
FEW_CHANNELS = st.sampled_from([2, 1, 3, 5, 8])
PIXELS = st.one_of(st.integers(1, 9), st.sampled_from([5, 8, 12, 16, 17, 33]))
MOST_VALUES = 8000  # of the features: what takes long is the definition
KERNELS = st.one_of(st.sampled_from([(3, 3), (5, 5), (1, 1)]), st.tuples(st.integers(1, 5), st.integers(1, 7)))
PADDINGS = st.one_of(
    st.integers(0, 3), st.tuples(st.integers(0, 6), st.integers(0, 6)), st.sampled_from(["same", "valid"])
)


def steps(largest: int) -> st.SearchStrategy:
    """Draw a stride or a dilation: mostly 1 or 2, one int or a pair, tuple or list."""
    one = st.one_of(st.sampled_from([1, 1, 2]), st.integers(1, largest))
    return st.one_of(one, st.tuples(one, one), st.lists(one, min_size=2, max_size=2))


@dataclass(frozen=True)
class Call:
    """One call; ``layouts`` and ``asks`` go by the names of the tensors, ``gradient`` is that of the output."""

    batch: int
    inputs: int
    outputs: int
    groups: int
    size: tuple[int, int]
    kernel: tuple[int, int]
    window: dict
    kernels: int
    per_channel: bool
    has_bias: bool
    backend: str
    mixing: str
    dtype: torch.dtype
    layouts: dict[str, str]
    asks: frozenset[str]
    mode: str
    seed: int

    @property
    def depthwise(self) -> bool:
        return self.inputs == self.outputs == self.groups

    def refused(self) -> str | None:
        """Name the argument that has to be refused, None if the call is right."""
        padding, kernel = self.window["padding"], self.kernel
        stride, dilation = (ops.pair(name, self.window[name], 1) for name in ("stride", "dilation"))
        if padding == "same" and (stride != (1, 1) or any(d * (k - 1) % 2 for d, k in zip(dilation, kernel))):
            return "padding"
        both = {"same": None, "valid": (0, 0)}[padding] if isinstance(padding, str) else ops.pair("", padding, 0)
        if both is None:
            return None
        fits = all(n + 2 * p > d * (k - 1) for n, p, d, k in zip(self.size, both, dilation, kernel))
        return None if fits else "x"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the tensors' shapes, each by name."""
        bank = (self.kernels, self.outputs, self.inputs // self.groups, *self.kernel)
        attention = (self.batch, self.kernels, *([self.outputs] if self.per_channel else []))
        shapes = {"x": (self.batch, self.inputs, *self.size), "weight": bank, "attention": attention}
        return {**shapes, "bias": (self.kernels, self.outputs)} if self.has_bias else shapes

    def tensors(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """Draw tensors of these shapes."""
        generator = torch.Generator().manual_seed(self.seed)
        drawn = {n: draw(shape, self.dtype, self.layouts.get(n, "dense"), generator) for n, shape in shapes.items()}
        return {name: t.requires_grad_(name in self.asks) for name, t in drawn.items()}

    def gradient(self, y: Tensor) -> Tensor:
        """Draw the gradient of the output."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        return draw(tuple(y.shape), self.dtype, self.layouts["gradient"], generator)


def _layouts(names: tuple[str, ...]) -> st.SearchStrategy:
    each = st.one_of(st.just("dense"), st.sampled_from([*LAYOUTS]))
    features = st.one_of(st.sampled_from(["dense", "channels_last"]), st.sampled_from([*LAYOUTS]))
    return st.fixed_dictionaries({name: features if name in ("x", "gradient") else each for name in names})


@st.composite
def calls(draw, backends: list[str], names: tuple[str, ...], kinds=("depthwise", "pointwise", "dense", "grouped")):
    """Draw a call on tensors of these names, right but for its window."""
    kind = draw(st.sampled_from(kinds))
    if kind == "depthwise":
        inputs = outputs = groups = draw(CHANNELS)
    else:
        groups = draw(st.integers(2, 4)) if kind == "grouped" else 1
        inputs, outputs = groups * draw(FEW_CHANNELS), groups * draw(FEW_CHANNELS)
    window = {"stride": draw(steps(4)), "padding": draw(PADDINGS), "dilation": draw(steps(3))}
    batch, height, width = draw(BATCHES), draw(PIXELS), draw(PIXELS)
    return Call(
        batch=batch,
        inputs=inputs,
        outputs=outputs,
        groups=groups,
        size=(height, min(width, max(1, MOST_VALUES // max(1, batch * inputs * height)))),
        kernel=(1, 1) if kind == "pointwise" else draw(KERNELS),
        window=window,
        kernels=draw(st.integers(1, 5)),
        per_channel=draw(st.booleans()),
        has_bias=draw(st.booleans()),
        backend=draw(st.sampled_from(backends)),
        mixing=draw(st.sampled_from(["auto", "auto", "kernels", "features"])),
        dtype=draw(st.sampled_from(DTYPES)),
        layouts=draw(_layouts((*names, "gradient"))),
        asks=frozenset(draw(st.sets(st.sampled_from(names)))),
        mode=draw(st.sampled_from(["grad", "grad", "no_grad", "inference"])),
        seed=draw(st.integers(0, 2**20)),
    )


def scaled(
    x: Tensor, weight: Tensor, attention: Tensor, bias: Tensor | None, inputs, taps, groups: int, **window
) -> Tensor:
    """Define :func:`ops.scaled_conv2d` in float64; ``attention`` is that of the kernels."""
    mixed = reference.mix_kernels(weight, attention)
    mixed = mixed if taps is None else mixed * taps[:, None, None]
    x = x if inputs is None else x * inputs[:, :, None, None]
    y = reference.conv2d_per_sample(x, mixed, **window, groups=groups)
    return y if bias is None else y + reference.mix_kernels(bias, attention)[:, :, None, None]
