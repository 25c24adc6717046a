"""Plans of launches keep the limits of a GPU and leave no work out, for any size."""

from itertools import product

import pytest

from ops.backends.cupy.kernels import BYTES, THREADS
from ops.backends.cupy.plan import GRID, Task, plan
from ops.errors import ArgumentError
from ops.window import Window

USUAL = ((32, 112), (144, 56), (384, 14), (960, 7))
SHAPES = [  # batch, channels, height, width
    *((batch, channels, size, size) for batch in (1, 256) for channels, size in USUAL),
    *((1, 1, 1, 1), (1, 1, 4096, 4096), (3, 7, 1, 5000), (1, 2, 20000, 3), (70000, 5, 2, 2), (1, 100003, 3, 3)),
    *((2, 3, 224, 225), (1, 4096, 64, 64), (2**31 - 1, 2, 1, 1), (2**20, 4096, 1, 1), (1, 1, 60000, 60000)),
]


def task(kind, storage, last, shape, kernel, stride):
    batch, channels, *size = shape
    pad, taps = kernel // 2, kernel * kernel
    out = tuple((n + 2 * pad - kernel) // stride + 1 for n in size)
    window = Window((stride, stride), (pad, pad))
    sizes, strides = (tuple(size), out, (kernel, kernel)), (channels * taps, taps, 1, 0)
    return Task(kind, storage, last, True, batch, channels, *sizes, window, strides)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_limits_are_kept_and_no_work_is_left_out(shape):
    calls = product(("forward", "input", "weight"), BYTES, (True, False), (3, 5, 7), (1, 2), (4, 132))
    for kind, storage, last, kernel, stride, processors in calls:
        found = plan(task(kind, storage, last, shape, kernel, stride), processors)
        call = found.call
        assert 1 <= found.grid <= GRID
        assert 1 <= found.threads <= THREADS
        assert 0 <= found.shared <= 48 * 1024
        if found.kernel.name.startswith("any"):
            continue
        assert found.grid == call.blocks
        assert (
            call.columns * found.kernel.columns
            >= (call.out_width + 1) // (2 if "Spread" in found.kernel.body else 1) - 1
        )
        if last:
            assert found.threads == call.lanes * call.groups
            assert call.chunks * call.lanes * found.kernel.vector >= shape[1]
            assert call.units >= call.columns * call.rows / call.strip
            assert call.tiles * call.groups >= call.units
            assert call.blocks == shape[0] * call.chunks * (call.splits if kind == "weight" else call.tiles)
        else:
            assert found.threads == THREADS
            assert call.bands * call.band >= call.rows
            assert call.bands == 1 or call.planes == 1
            planes = -(-shape[0] * shape[1] // call.planes)
            assert call.blocks == planes * (call.splits if kind == "weight" else call.bands)
            assert kind != "weight" or THREADS // call.planes % 32 == 0


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("storage", BYTES)
def test_a_large_call_occupies_a_large_gpu(storage, last):
    for (channels, size, stride), kind in product(
        ((32, 112, 1), (96, 112, 2), (144, 56, 1), (384, 14, 1), (960, 7, 1)), ("forward", "input", "weight")
    ):
        found = plan(task(kind, storage, last, (256, channels, size, size), 3, stride), 132)
        assert not found.kernel.name.startswith("any")
        assert found.grid * found.threads >= 132 * 2 * THREADS


@pytest.mark.parametrize("shape", [(2**31, 2, 1, 1), (1, 2**31, 1, 1), (1, 1, 1, 2**31)])
def test_sizes_beyond_32_bits_are_refused(shape):
    with pytest.raises(ArgumentError, match=r"x: got .*2147483648.*; need fewer than 2147483648 of each"):
        plan(task("forward", "half", True, shape, 3, 1), 132)
