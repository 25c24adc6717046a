"""How exact a result has to be: as exact as ``F.conv2d`` is in the same dtype on the machine that runs the tests.

What PyTorch's convolution does in half precision depends on the processor: it sums in float32 and rounds once where
there are instructions for that, and rounds every partial sum elsewhere. So no test assumes a number for it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def excess(found: Tensor, exact: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the largest error beyond what storing the exact value in ``dtype`` costs.

    It is measured element by element, so a result that is summed in float32 and rounded once has next to none, whereas
    one that is rounded twice has about a unit in the last place.
    """
    exact = exact.detach()
    stored = (exact.to(dtype).double() - exact).abs()
    return ((found.detach().double().cpu() - exact).abs() - stored).max().clamp(min=0)


def excess_of_bank(x: Tensor, bank: Tensor, **geometry) -> Tensor:
    """Return the largest :func:`excess` of ``F.conv2d`` with any kernel ``(C_out, C_in/groups, kH, kW)`` of a bank."""
    return max(
        excess(F.conv2d(x, kernel, **geometry), F.conv2d(x.double(), kernel.double(), **geometry), x.dtype)
        for kernel in bank.detach()
    )


def excess_of_conv2d(x: Tensor, weight: Tensor, gradient: Tensor, exact: dict[str, Tensor], **geometry) -> dict:
    """Return the :func:`excess` of PyTorch's own depthwise convolution, by name of the result.

    The worse of its two ways is taken, since they may run different code: one call for each sample, and one for the
    whole batch folded into the channels. ``exact`` holds the output and the gradients asked for, in float64.
    """
    batch, channels = x.shape[:2]
    found: dict[str, list[Tensor]] = {name: [] for name in exact}
    for folded in (False, True):
        leaves = [t.detach().requires_grad_(t.requires_grad) for t in (x, weight)]
        features, kernels = leaves
        if folded:
            features, kernels = features.reshape(1, batch * channels, *x.shape[2:]), kernels.flatten(0, 1)[None]
        samples = zip(features.split(1), kernels)
        y = torch.cat([F.conv2d(f, k.unsqueeze(1), groups=f.shape[1], **geometry) for f, k in samples])
        y = y.reshape(gradient.shape)
        asked = {f"grad_{name}": t for name, t in zip(("x", "weight"), leaves) if t.requires_grad}
        results = {"output": y, **dict(zip(asked, torch.autograd.grad(y, tuple(asked.values()), gradient)))}
        for name, values in found.items():
            values.append(excess(results[name], exact[name], x.dtype))
    return {name: max(values) for name, values in found.items()}
