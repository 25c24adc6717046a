"""Time the depthwise operator of every backend beside the convolutions that it is compared with.

The contestants of a case: ``static``, F.conv2d with one kernel for all samples, in the case's memory format; in NCHW
also ``static channels_last``; ``grouped``, the batch folded into the groups of one convolution as public
implementations do, always on NCHW features, which suit it best; ``copy``, which moves as many bytes as the convolution
must (forward only); and the backends.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from dyc.benchmark.shapes import SHAPE_BATCHES, Shape, geometric_mean, same_padding, unique_shapes
from dyc.benchmark.timing import measure
from ops import ArgumentError, BackendUnavailable, Problem, Window, backends, depthwise_conv2d, select_backend

FORWARD, BACKWARD = "forward", "forward+backward"
DIRECTIONS = (FORWARD, BACKWARD)
LAYOUTS = {"channels_last": torch.channels_last, "nchw": torch.contiguous_format}
STATIC, STATIC_LAST, GROUPED, COPY = "static", "static channels_last", "grouped", "copy"


@dataclass(frozen=True)
class Case:
    """What all contestants of one comparison have in common."""

    shapes: str
    layout: str
    batch: int
    direction: str
    shape: Shape
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    seconds: float = 0.5
    kernel: int = 3  # pixels, odd
    dilation: int = 1

    def __post_init__(self) -> None:
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ArgumentError("kernel", self.kernel, "an odd int, at least 1")
        if self.dilation < 1:
            raise ArgumentError("dilation", self.dilation, "an int, at least 1")

    def __str__(self) -> str:
        channels, size, stride = self.shape
        window = "" if self.taps == "3x3" else f"{self.taps} "
        return f"{self.batch}x{channels}x{size}x{size}/{stride} {window}{self.layout} {self.direction}"

    @property
    def taps(self) -> str:
        """The kernel as tables name it: ``"5x5"``, or ``"5x5 dilation 2"``."""
        return f"{self.kernel}x{self.kernel}" + (f" dilation {self.dilation}" if self.dilation > 1 else "")

    @property
    def window(self) -> dict[str, int]:
        """Stride, padding and dilation in pixels, as all convolutions take them."""
        padding = same_padding(self.kernel, self.dilation)
        return {"stride": self.shape[2], "padding": padding, "dilation": self.dilation}

    def features(self, layout: str) -> Tensor:
        """Return random features ``(B, C, H, W)`` in a memory format; they require gradients."""
        channels, size, _ = self.shape
        x = torch.randn(self.batch, channels, size, size, device=self.device, dtype=self.dtype)
        return x.contiguous(memory_format=LAYOUTS[layout]).requires_grad_()


def cases(
    shapes: Sequence[str],
    *,
    batches: Sequence[int] | None = None,
    layouts: Sequence[str] = tuple(LAYOUTS),
    directions: Sequence[str] = DIRECTIONS,
    **common: object,
) -> list[Case]:
    """List the comparisons over lists of shapes, each shape once.

    Args:
        shapes: Names of :data:`dyc.benchmark.shapes.SHAPES`.
        batches: Batch sizes; those of each list in :data:`dyc.benchmark.shapes.SHAPE_BATCHES` by default.
        layouts: Names of :data:`LAYOUTS`.
        directions: ``"forward"`` (without gradients) and ``"forward+backward"`` (to features and parameters).
        common: ``device``, ``dtype``, ``kernel``, ``dilation``, and ``seconds`` for one comparison.

    Raises:
        ArgumentError: Unknown shapes, or an even kernel.
    """
    found = {}  # in order, each once
    for name in shapes:
        unique = unique_shapes(name)
        for batch, layout, direction in itertools.product(batches or SHAPE_BATCHES[name], layouts, directions):
            found |= {Case(name, layout, batch, direction, shape, **common): None for shape in unique}
    return list(found)


@dataclass(frozen=True)
class Contestant:
    """A computation and the tensors that its gradients go to."""

    call: Callable[[], Tensor]
    leaves: tuple[Tensor, ...] = ()

    def timed(self, direction: str) -> Callable[[], object]:
        """Return what is timed: the computation without gradients, or with all of them."""
        if direction == FORWARD:
            return torch.no_grad()(self.call)
        grad = torch.randn_like(self.call().detach())  # in the memory format that the next layer would send back
        return lambda: torch.autograd.grad(self.call(), self.leaves, grad)


@dataclass(frozen=True)
class Timing:
    """A contestant in one case: milliseconds, MiB at the peak of a call, and ratios to others by name."""

    case: Case
    contestant: str
    median_ms: float
    p20_ms: float
    p80_ms: float
    peak_mib: float
    ratios: dict[str, float] = field(default_factory=dict)


def compare(
    case: Case, contestants: dict[str, Contestant], references: Callable[[str], dict[str, str]]
) -> list[Timing]:
    """Measure contestants in turns.

    Args:
        case: What they have in common.
        contestants: By name; ``"static"`` must be among them.
        references: Returns, for a contestant, the names of ratios and the contestants that they are taken to. The
            ratio ``"memory"``, to ``"static"``, comes on top where both take memory.
    """
    found = measure(
        {n: c.timed(case.direction) for n, c in contestants.items()}, device=case.device, seconds=case.seconds
    )
    timings = []
    for name, m in found.items():
        ratios = {key: m.median_ms / found[other].median_ms for key, other in references(name).items()}
        if m.peak_bytes and found[STATIC].peak_bytes:
            ratios["memory"] = m.peak_bytes / found[STATIC].peak_bytes
        timings.append(Timing(case, name, m.median_ms, m.p20_ms, m.p80_ms, m.peak_bytes / 2**20, ratios))
    return timings


def runnable(device: str, dtype: torch.dtype, kernel: int = 3, dilation: int = 1) -> tuple[str, ...]:
    """Return the backends that run such a convolution on this machine; compiles what is compiled at first use."""
    found = (s.name for s in backends() if s.available)
    return tuple(name for name in found if _reason(name, device, dtype, kernel, dilation) is None)


def check_runs(name: str, device: str, dtype: torch.dtype, kernel: int = 3, dilation: int = 1) -> None:
    """Raise :class:`ops.BackendUnavailable` unless a backend, or one of them for ``"auto"``, runs a convolution."""
    padding = same_padding(kernel, dilation)
    window = Window((1, 1), (padding, padding), (dilation, dilation))
    facts = (1, 32, (8, 8), dtype, device, True, False)  # batch, channels, size; channels_last, no gradients
    select_backend(Problem("depthwise_conv2d", *facts, kernel=(kernel, kernel), window=window), name)


def _reason(name: str, *what: object) -> BackendUnavailable | None:
    try:
        check_runs(name, *what)
    except BackendUnavailable as error:
        return error
    return None


def grouped(x: Tensor, weight: Tensor, stride: int, kernel: int = 3, dilation: int = 1) -> Tensor:
    """Fold the batch into the channels and call a grouped convolution, as public implementations do.

    Args:
        x: Features, ``(B, C, H, W)``.
        weight: Kernels, ``(B, C, kernel, kernel)`` or any view of them.
        stride: Step in pixels; the padding is :func:`dyc.benchmark.shapes.same_padding`.
        kernel: Height and width of the kernels.
        dilation: Distance of the taps in pixels.
    """
    batch, channels = x.shape[:2]
    planes, kernels = x.reshape(1, batch * channels, *x.shape[2:]), weight.reshape(batch * channels, 1, kernel, kernel)
    y = F.conv2d(planes, kernels, None, stride, same_padding(kernel, dilation), dilation, batch * channels)
    return y.view(batch, channels, *y.shape[2:])


def static(case: Case, layout: str) -> Contestant:
    """Return the convolution with one kernel for all samples; features and kernel in the same memory format."""
    channels, x = case.shape[0], case.features(layout)
    weight = torch.randn(channels, 1, case.kernel, case.kernel, device=case.device, dtype=case.dtype)
    weight = weight.to(memory_format=LAYOUTS[layout]).requires_grad_()
    return Contestant(partial(F.conv2d, x, weight, groups=channels, **case.window), (x, weight))


def statics(case: Case) -> dict[str, Contestant]:
    """Return the static contestants of a case by name."""
    found = {STATIC: static(case, case.layout)}
    if case.layout != "channels_last":
        found[STATIC_LAST] = static(case, "channels_last")
    return found


def _copy(case: Case) -> Contestant:
    channels, size, stride = case.shape
    pixels = size**2 + ((size - 1) // stride + 1) ** 2  # read once and written once
    source = torch.randn(case.batch * channels * pixels // 2, device=case.device, dtype=case.dtype)
    return Contestant(partial(torch.empty_like(source).copy_, source))


def time_operators(case: Case, names: Iterable[str]) -> list[Timing]:
    """Time the depthwise operator of each named backend on one case.

    Raises:
        ArgumentError: Unknown backend.
        BackendUnavailable: A backend cannot run the case.
    """
    if case.layout not in LAYOUTS or case.direction not in DIRECTIONS:
        raise ArgumentError("case", case, f"a layout among {tuple(LAYOUTS)} and a direction among {DIRECTIONS}")
    channels, _, stride = case.shape
    x, planes = case.features(case.layout), case.features("nchw")
    weight = torch.randn(case.batch, channels, case.kernel, case.kernel, device=case.device, dtype=case.dtype)
    weight.requires_grad_()
    folded = partial(grouped, planes, weight, stride, case.kernel, case.dilation)
    found = {**statics(case), GROUPED: Contestant(folded, (planes, weight))}
    if case.direction == FORWARD:
        found[COPY] = _copy(case)
    for name in names:
        call = partial(depthwise_conv2d, x, weight, **case.window, backend=name)
        found[name] = Contestant(call, (x, weight))
    fixed = {STATIC: STATIC, STATIC_LAST: STATIC_LAST if STATIC_LAST in found else STATIC, GROUPED: GROUPED}
    return compare(case, found, lambda _: {**fixed, COPY: COPY} if COPY in found else fixed)


Group = tuple[str, str, int, str, str]


def means(timings: Iterable[Timing]) -> dict[Group, dict[str, float]]:
    """Return the geometric means of all ratios by (shapes, layout, batch, direction, contestant)."""
    groups: dict[Group, dict[str, list[tuple[Shape, float]]]] = {}
    for t in timings:
        case = t.case
        group = groups.setdefault((case.shapes, case.layout, case.batch, case.direction, t.contestant), {})
        for key, value in t.ratios.items():
            group.setdefault(key, []).append((case.shape, value))
    return {g: {key: geometric_mean(g[0], rows) for key, rows in ratios.items()} for g, ratios in groups.items()}
