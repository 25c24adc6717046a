"""Time the depthwise operators: every backend, beside the static convolution and the grouped one that peers use.

All contestants of a shape take turns within each repetition, so that a change in the machine's mood meets them alike;
what counts is the ratio within one run.
"""

import itertools
import math
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ops.errors import ArgumentError
from ops.functional import depthwise_conv2d
from ops.registry import backends

MOBILENETV2_32 = (
    *((32, 32, 1), (96, 32, 1), (144, 32, 1), (144, 32, 2), (192, 16, 1), (192, 16, 1), (192, 16, 2)),
    *((384, 8, 1), (384, 8, 1), (384, 8, 1), (384, 8, 1), (576, 8, 1), (576, 8, 1), (576, 8, 2)),
    *((960, 4, 1), (960, 4, 1), (960, 4, 1)),
)
"""Channels, height (pixels) and stride of MobileNetV2's seventeen depthwise convolutions on 32x32 images."""

MOBILENETV2_224 = (
    *((32, 112, 1), (96, 112, 2), (144, 56, 1), (144, 56, 2), (192, 28, 1), (192, 28, 1), (192, 28, 2)),
    *((384, 14, 1), (384, 14, 1), (384, 14, 1), (384, 14, 1), (576, 14, 1), (576, 14, 1), (576, 14, 2)),
    *((960, 7, 1), (960, 7, 1), (960, 7, 1)),
)
"""The same for 224x224 images (ImageNet form)."""

REPORT = ((128, 32, 1), (128, 256, 1), (128, 512, 1))
"""The DYC report's operator benchmark: 32, 256 and 512 pixels; its channel count is not printed, 128 is our guess."""

SHAPES = {"mobilenetv2_32": MOBILENETV2_32, "mobilenetv2_224": MOBILENETV2_224, "report": REPORT}
STATIC, GROUPED = "static", "grouped"


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one contestant on one shape, and its ratio to the static and the grouped convolution."""

    shapes: str
    batch: int
    channels: int
    size: int
    stride: int
    layout: str
    dtype: str
    device: str
    direction: str
    contestant: str
    median_ms: float
    p20_ms: float
    p80_ms: float
    to_static: float
    to_grouped: float


def machine() -> dict[str, str]:
    """Return what a figure depends on: processor, threads, accelerator, versions, and the commit if there is one."""
    facts = {"torch": torch.__version__, "python": platform.python_version(), "threads": str(torch.get_num_threads())}
    try:
        with open("/proc/cpuinfo") as file:
            facts["cpu"] = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        facts["cpu"] = platform.processor()
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    here = os.path.dirname(os.path.abspath(__file__))
    done = subprocess.run(["git", "-C", here, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    facts["commit"] = done.stdout.strip() or "unknown"
    return facts


def _grouped(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Fold the batch into the channels and call a grouped convolution, as public implementations do."""
    batch, channels = x.shape[:2]
    planes, kernels = x.reshape(1, batch * channels, *x.shape[2:]), weight.reshape(batch * channels, 1, 3, 3)
    y = F.conv2d(planes, kernels, stride=stride, padding=1, groups=batch * channels)
    return y.view(batch, channels, *y.shape[2:])


@dataclass(frozen=True)
class _Contestant:
    call: Callable[[], Tensor]
    leaves: tuple[Tensor, Tensor]  # what gradients go to

    def forward(self) -> None:
        with torch.no_grad():
            self.call()

    def forward_and_backward(self, grad: Tensor) -> None:
        torch.autograd.grad(self.call(), self.leaves, grad)


def _contestants(x: Tensor, weight: Tensor, stride: int, names: tuple[str, ...]) -> dict[str, _Contestant]:
    static = weight[0].detach().unsqueeze(1).clone().requires_grad_()

    def with_static() -> Tensor:
        return F.conv2d(x, static, stride=stride, padding=1, groups=x.shape[1])

    found = {
        STATIC: _Contestant(with_static, (x, static)),
        GROUPED: _Contestant(partial(_grouped, x, weight, stride), (x, weight)),
    }
    for name in names:
        call = partial(depthwise_conv2d, x, weight, stride=stride, padding=1, backend=name)
        found[name] = _Contestant(call, (x, weight))
    return found


def _measure(calls: dict[str, Callable[[], None]], device: str, seconds: float) -> dict[str, list[float]]:
    """Return milliseconds of each call, taken in turns for about so many seconds after a warm-up."""

    def once(call: Callable[[], None]) -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - start)

    warm = sum(once(call) for _ in range(3) for call in calls.values()) / 3
    rounds = min(200, max(5, int(1e3 * seconds / max(warm, 1e-3))))
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            found[name].append(once(call))
    return found


def benchmark_ops(
    shapes: str = "mobilenetv2_32",
    *,
    batches: tuple[int, ...] = (1, 32),
    layouts: tuple[str, ...] = ("channels_last", "nchw"),
    directions: tuple[str, ...] = ("forward", "forward+backward"),
    names: tuple[str, ...] | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    seconds: float = 0.5,
) -> Iterator[Timing]:
    """Time the depthwise operator over a list of shapes with 3x3 kernels; yields one shape's timings after the other.

    Args:
        shapes: A name of :data:`SHAPES`. A shape that the list holds several times is timed once.
        batches: Batch sizes.
        layouts: ``"channels_last"`` and ``"nchw"``.
        directions: ``"forward"`` (without gradients) and ``"forward+backward"`` (to features and kernels).
        names: Backends; all that can run on this machine by default.
        device: ``"cpu"`` or ``"cuda"``.
        dtype: Type of features and kernels.
        seconds: Time for one shape, all contestants together.

    Raises:
        ArgumentError: Unknown shapes.
        BackendUnavailable: A named backend cannot run a call.
    """
    if shapes not in SHAPES:
        raise ArgumentError("shapes", repr(shapes), "one of " + ", ".join(map(repr, SHAPES)))
    if names is None:
        names = tuple(status.name for status in backends() if status.available)
    unique = tuple(dict.fromkeys(SHAPES[shapes]))
    for layout, batch, (channels, size, stride), direction in itertools.product(layouts, batches, unique, directions):
        memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        x = torch.randn(batch, channels, size, size, device=device, dtype=dtype).contiguous(memory_format=memory_format)
        weight = torch.randn(batch, channels, 3, 3, device=device, dtype=dtype)
        contestants = _contestants(x.requires_grad_(), weight.requires_grad_(), stride, names)
        if direction == "forward":
            timed = {name: c.forward for name, c in contestants.items()}
        else:
            # In the memory format that the next layer would send back.
            grads = {name: torch.randn_like(c.call().detach()) for name, c in contestants.items()}
            timed = {name: partial(c.forward_and_backward, grads[name]) for name, c in contestants.items()}
        found = _measure(timed, device, seconds)
        medians = {name: statistics.median(times) for name, times in found.items()}
        for name, times in found.items():
            p20, *_, p80 = statistics.quantiles(times, n=5)
            yield Timing(
                shapes=shapes,
                batch=batch,
                channels=channels,
                size=size,
                stride=stride,
                layout=layout,
                dtype=str(dtype).removeprefix("torch."),
                device=device,
                direction=direction,
                contestant=name,
                median_ms=medians[name],
                p20_ms=p20,
                p80_ms=p80,
                to_static=medians[name] / medians[STATIC],
                to_grouped=medians[name] / medians[GROUPED],
            )


def geometric_means(timings: list[Timing]) -> dict[tuple[str, str, int, str, str], tuple[float, float]]:
    """Return the mean ratios to the static and the grouped convolution.

    Every shape counts as often as the network holds it. The keys are (shapes, layout, batch, direction, contestant).
    """
    logs: dict[tuple, list[tuple[float, float, int]]] = {}
    for t in timings:
        count = SHAPES[t.shapes].count((t.channels, t.size, t.stride))
        key = (t.shapes, t.layout, t.batch, t.direction, t.contestant)
        logs.setdefault(key, []).append((math.log(t.to_static), math.log(t.to_grouped), count))

    def mean(rows: list[tuple[float, float, int]], column: int) -> float:
        return math.exp(sum(row[column] * row[2] for row in rows) / sum(row[2] for row in rows))

    return {key: (mean(rows, 0), mean(rows, 1)) for key, rows in logs.items()}


def columns() -> list[str]:
    """Return the names of the columns of a table of timings."""
    return list(Timing.__dataclass_fields__)


def as_row(timing: Timing) -> dict[str, object]:
    """Return a timing as a row for :mod:`csv`, times and ratios with four significant figures."""
    return {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in asdict(timing).items()}
