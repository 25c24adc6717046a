"""The CUDA backend on a batch of no samples, for which a GPU has no grid to launch."""

import torch

from ops.backends.cupy import calls
from ops.window import Window


class Gpu:
    """Launches nothing."""

    processors = 4

    def launch(self, kernel, *_):
        raise AssertionError(f"{kernel.name} was launched")


def test_nothing_is_launched():
    x, weight, window, gpu = torch.empty(0, 6, 9, 8), torch.empty(0, 6, 3, 3), Window((1, 1), (1, 1)), Gpu()
    y = calls.forward(x, weight, *window, gpu=gpu)
    assert y.shape == x.shape
    assert calls.forward_bank(x, torch.randn(4, 6, 3, 3), torch.empty(0, 4, 6), *window, gpu=gpu).shape == x.shape
    assert calls.grad_input(y, weight, (9, 8), *window, gpu=gpu).shape == x.shape
    assert calls.grad_weight(y, x, (3, 3), *window, gpu=gpu).shape == weight.shape
