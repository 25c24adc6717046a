"""How one call runs on a GPU: which kernel, how many blocks of how many threads, and its arguments.

Plain arithmetic on sizes, without a GPU: the tests run the same plans on the CPU.
"""

import ctypes
from itertools import chain
from typing import NamedTuple

from ops.backends.cupy.kernels import BYTES, SIZES, STRIDES, THREADS, Kernel, any_kernel, strip_kernel
from ops.errors import ArgumentError
from ops.window import Pair, Window

GRID = 2**31 - 1  # blocks of a launch, at most
LANES = 64  # threads that share a pixel in channels_last, at most
USUAL, MOST = 24 * 1024, 47 * 1024  # bytes of shared memory for planes: for several blocks at once; for one at all
_POINTERS = ("in", "grad", "kernels", "attention", "out")
_LONGS = (
    *("blocks", "kernel_sample", "kernel_channel", "kernel_tap", "kernel_bank"),
    *("attention_sample", "attention_bank", "attention_channel"),
)
_INTS = (
    *("batch", "channels", "height", "width", "out_height", "out_width", "kernel_h", "kernel_w"),
    *("stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w", "bank", "flip", "lanes", "groups"),
    *("chunks", "tiles", "splits", "rows", "columns", "units", "first_row", "first_column", "strip"),
    *("planes", "band", "bands"),
)


class Call(ctypes.Structure):
    """The one argument of every kernel; ``Call`` of csrc/call.cuh says what each field means."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in _POINTERS),
        *((name, ctypes.c_longlong) for name in _LONGS),
        *((name, ctypes.c_int) for name in _INTS),
    )


class Task(NamedTuple):
    """A call as the plan needs it; sizes in pixels."""

    kind: str  # forward, input (its gradient) or weight (its gradient)
    storage: str  # a key of BYTES
    last: bool  # channels_last
    aligned: bool  # every tensor of features starts at a multiple of 8 bytes
    batch: int
    channels: int
    size: Pair  # of the features
    out: Pair  # of the output
    kernel: Pair
    window: Window
    kernel_strides: tuple[int, int, int, int]  # of the kernels or their gradient, by sample, channel, tap, bank
    attention_strides: tuple[int, int, int] = (0, 0, 0)  # by sample, bank, channel
    bank: int = 0  # K, or 0 where the kernels are given


class Plan(NamedTuple):
    """A launch. ``call`` lacks the addresses."""

    kernel: Kernel
    grid: int
    threads: int
    shared: int  # bytes of shared memory
    call: Call
    parts: int  # floats that are to be added afterwards, 0 where the kernel writes the result


def _up(a: int, b: int) -> int:
    return -(-a // b)


def plan(task: Task, processors: int) -> Plan:
    """Return how ``task`` runs on a GPU of so many multiprocessors.

    Raises:
        ArgumentError: A size that does not fit into 32 bits.
    """
    shape = (task.batch, task.channels, *task.size)
    if max(*shape, *task.out) >= 2**31:
        raise ArgumentError("x", f"shape {shape}", f"fewer than {2**31} of each")
    call = _arguments(task)
    (kernel, stride), special = (task.kernel[0], task.window.stride[0]), None
    square = task.kernel == (kernel, kernel) and task.window.stride == (stride, stride)
    # Strips count the elements of a row, and the steps of a plane, in 32 bits.
    small = max(task.size[1], task.out[1]) * task.channels < 2**31 and max(*task.size, *task.out) < 2**20
    if square and kernel in SIZES and stride in STRIDES and task.window.dilation == (1, 1) and small:
        kind = {"forward": "Slide", "input": "Spread" if stride == 2 else "Slide", "weight": "Correlate"}[task.kind]
        if kind == "Slide" and task.kind == "input":
            # The gradient of a convolution at stride 1 is one, with the kernels turned.
            call.flip, call.pad_h, call.pad_w = 1, kernel - 1 - call.pad_h, kernel - 1 - call.pad_w
        vectorised = task.last and task.aligned
        special = strip_kernel(kind, task.storage, task.last, vectorised, kernel, stride)
        if task.channels % special.vector:
            special = strip_kernel(kind, task.storage, task.last, False, kernel, stride)
        _steps(call, kind, task, special)
        layout = _channels_last if task.last else _channels_first
        found = layout(task, call, kind, special, processors)
        if found is not None and found.grid <= GRID:
            return found
        call = _arguments(task)
    return _any(task, call)


def _arguments(task: Task) -> Call:
    reads, writes = (task.out, task.size) if task.kind == "input" else (task.size, task.out)
    both = [*reads, *writes, *task.kernel, *chain.from_iterable(task.window)]
    call = Call(batch=task.batch, channels=task.channels, bank=task.bank, splits=1)
    for name, value in zip(_INTS[2:14], both):
        setattr(call, name, value)
    for name, value in zip(_LONGS[1:], (*task.kernel_strides, *task.attention_strides)):
        setattr(call, name, value)
    return call


def _steps(call: Call, kind: str, task: Task, kernel: Kernel) -> None:
    """Set how many row steps and strips side by side there are, and where they start."""
    if kind != "Spread":
        call.rows, call.columns = call.out_height, _up(call.out_width, kernel.columns)
        return
    call.first_row, call.first_column = call.pad_h // 2, call.pad_w // 2
    call.rows = (call.out_height - 1 + call.pad_h) // 2 - call.first_row + 1
    call.columns = _up((call.out_width - 1 + call.pad_w) // 2 - call.first_column + 1, kernel.columns)


def _channels_last(task: Task, call: Call, kind: str, kernel: Kernel, processors: int) -> Plan:
    vectors, size = _up(task.channels, kernel.vector), task.kernel[0]
    call.lanes = _up(vectors, _up(vectors, LANES))
    call.chunks = _up(vectors, call.lanes)
    places, most = task.batch * call.chunks, THREADS // call.lanes
    # Long strips read fewer rows twice; short ones occupy more of the GPU.
    call.strip = min(call.rows, 32)
    while call.strip > 2 and places * _up(call.columns * _up(call.rows, call.strip), most) < 4 * processors:
        call.strip = _up(call.strip, 2)
    call.units = call.columns * _up(call.rows, call.strip)
    call.tiles = _up(call.units, min(most, call.units))
    call.groups = _up(call.units, call.tiles)
    threads, parts = call.lanes * call.groups, 0
    if kind == "Correlate":
        call.splits = max(1, min(call.tiles, _up(2 * processors, places)))
        parts = task.batch * task.channels * size * size * call.splits if call.splits > 1 else 0
        call.blocks = places * call.splits
        shared = 4 * size * kernel.vector * threads
    else:
        call.blocks = places * call.tiles
        shared = 4 * size * size * kernel.vector * call.lanes
    return Plan(kernel, call.blocks, threads, shared, call, parts)


def _channels_first(task: Task, call: Call, kind: str, kernel: Kernel, processors: int) -> Plan | None:
    """Return the plan, or None where not even one row step fits into shared memory."""
    size, stride, bytes_ = task.kernel[0], task.window.stride[0], BYTES[task.storage]
    planes, weight = task.batch * task.channels, kind == "Correlate"

    def room(steps: int) -> int:
        """Return the bytes that a band of so many row steps takes."""
        rows = steps + (size + 1) // 2 - 1 if kind == "Spread" else (steps - 1) * stride + size
        grads = steps * call.out_width if weight else 0
        return (rows * call.width + grads) * bytes_

    whole = (call.height * call.width + (call.out_height * call.out_width if weight else 0)) * bytes_
    wanted = 2 * processors
    call.planes, call.band = 1, call.rows
    if whole <= USUAL:
        call.planes = max(1, min(USUAL // whole, planes // wanted, 8 if weight else 64))
        if planes < wanted and call.rows > 8:
            call.band = max(8, _up(call.rows, _up(wanted, planes)))
    else:
        limit = USUAL if room(min(4, call.rows)) <= USUAL else MOST
        if room(1) > limit:
            return None
        call.band = max(1, min(call.rows, (limit - room(1)) // (room(2) - room(1)) + 1))
    call.bands = _up(call.rows, call.band)
    call.strip = min(call.band, 8)
    if weight:
        call.planes = 2 ** (call.planes.bit_length() - 1)  # each takes a power of two of whole warps
        threads = THREADS // call.planes
        enough, lines, kernels = threads, 1, THREADS // 32
    else:
        enough, lines, kernels = THREADS, call.planes, call.planes
    while call.strip > 1 and lines * call.columns * _up(call.band, call.strip) < enough:
        call.strip = _up(call.strip, 2)
    parts = 0
    if weight:
        call.splits = min(call.bands, max(1, _up(wanted, planes)))
        parts = planes * size * size * call.splits if call.splits > 1 else 0
    call.blocks = _up(planes, call.planes) * (call.splits if weight else call.bands)
    held = call.planes * whole if call.bands == 1 else room(call.band)
    # Each copy may begin and end within a word of 16 bytes.
    shared = _up(4 * size * size * kernels, 16) * 16 + held + 64
    return Plan(kernel, call.blocks, THREADS, shared, call, parts)


def _any(task: Task, call: Call) -> Plan:
    kernel = any_kernel(task.kind, task.storage, task.last)
    if task.kind != "weight":
        elements = task.batch * task.channels * call.out_height * call.out_width
        return Plan(kernel, min(_up(elements, THREADS), 2**20), THREADS, 0, call, 0)
    call.lanes = min(32, 2 ** (task.channels - 1).bit_length()) if task.last else 1
    call.groups = min(THREADS // call.lanes, 2 ** (call.out_height * call.out_width - 1).bit_length())
    call.chunks, threads = _up(task.channels, call.lanes), call.lanes * call.groups
    call.blocks = task.batch * call.chunks * task.kernel[0] * task.kernel[1]
    return Plan(kernel, min(call.blocks, GRID), threads, 4 * threads, call, 0)
