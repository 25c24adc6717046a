"""Adaptive pooling by products, beside PyTorch's."""

import pytest
import torch
from torch.nn import functional as F

from dyc.layers.adaptive_pool import adaptive_pool


@pytest.mark.parametrize("cells", [1, 4, 5])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4), (7, 7), (11, 28), (40, 56)])
def test_it_is_pytorchs(size, cells):
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(adaptive_pool(x, cells, "avg"), F.adaptive_avg_pool2d(x, cells))
    torch.testing.assert_close(adaptive_pool(x, cells, "max"), F.adaptive_max_pool2d(x, cells), rtol=0, atol=0)


def test_values_that_are_not_finite_count_as_pixels():
    x = torch.randn(1, 2, 6, 7)
    x[0, 0, 0, 0], x[0, 0, 2, 0] = float("nan"), float("inf")
    other = slice(1, 2)  # of the other channel nothing changes
    torch.testing.assert_close(adaptive_pool(x, 3, "avg")[:, other], F.adaptive_avg_pool2d(x, 3)[:, other])
