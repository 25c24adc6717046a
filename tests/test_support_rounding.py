"""The measure of exactness itself: it passes one rounding, and fails two where ``F.conv2d`` needs one."""

import torch
import torch.nn.functional as F
from support.rounding import excess, excess_of_conv2d

from ops import reference

DTYPE = torch.bfloat16


def taps(x, weight):
    """Yield what each weight of a 3 x 3 kernel adds to the output."""
    padded = F.pad(x, (1, 1, 1, 1))
    for i in range(3):
        for j in range(3):
            yield padded[:, :, i : i + x.shape[2], j : j + x.shape[3]] * weight[:, :, i, j, None, None]


def draw():
    x, weight = torch.randn(2, 8, 9, 7).to(DTYPE), torch.randn(2, 8, 3, 3).to(DTYPE)
    exact = reference.depthwise_conv2d(x.double(), weight.double(), padding=1)
    return x, weight, exact


def test_one_rounding_is_free_and_two_are_not():
    x, weight, exact = draw()
    products = list(taps(x.float(), weight.float()))
    once = sum(products).to(DTYPE)
    twice = (sum(products[:5]).to(DTYPE) + sum(products[5:])).to(DTYPE)
    assert excess(once, exact, DTYPE) <= 1e-5 * exact.abs().max()
    assert excess(twice, exact, DTYPE) > 1e-3 * exact.abs().max()
    assert excess(sum(taps(x, weight)), exact, DTYPE) > 1e-3 * exact.abs().max()


def test_a_wrong_kernel_fails_beside_any_convolution():
    """Even where PyTorch rounds every partial sum, as its gradients in bfloat16 do on some processors."""
    x, weight, exact = draw()
    allowed = excess_of_conv2d(x.requires_grad_(), weight, exact.to(DTYPE), {"output": exact}, padding=1)["output"]
    x = x.detach()
    every_sum = max(allowed, excess(sum(taps(x, weight)), exact, DTYPE))
    limit = 2 * every_sum + 1e-5 * exact.abs().max()
    *all_but_one, _ = taps(x.float(), weight.float())
    assert excess(sum(all_but_one).to(DTYPE), exact, DTYPE) > limit
    one_pixel = exact.to(DTYPE)
    one_pixel[1, 3, 4, 5] += 0.1 * exact.abs().max()
    assert excess(one_pixel, exact, DTYPE) > limit
