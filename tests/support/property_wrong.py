"""Arguments of every kind that an operator cannot use, or that one would not expect it to."""

import numpy as np
import torch
from torch import Tensor

NUMBERS = [0, -1, 3, 2**31 - 1, 2**40, 2**70, 1.5, float("nan"), True, None, "2", "same", "", b"1"]
SEQUENCES = [(), (1,), (1, 2, 3), [1, 2], (1, -1), (None, 1), (1, [2]), (2**40, 1), (1.0, 1.0), {"a": 1}, [[1], [2]]]
NAMES = ["eagr", "cpp", "eager", "compile", "cupy", "kernels", "features", "mode"]
OBJECTS = [np.int64(2), np.ones((2, 3)), torch.tensor(1), torch.tensor([1, 2]), torch.Size([1, 1]), [], object]
ANYTHING = [*NUMBERS, *SEQUENCES, *NAMES, *OBJECTS]


def _resized(dim: int, by: int):
    def resize(t: Tensor) -> Tensor:
        sizes = list(t.shape)
        if dim < t.dim():
            sizes[dim] = max(0, sizes[dim] + by) if abs(by) < 9 else 0
        return torch.randn(sizes, dtype=t.dtype if t.is_floating_point() else torch.float32).to(t.dtype)

    return resize


def _to(name: str):
    return lambda t: t.to(getattr(torch, name))


OTHER_DTYPES = ("float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool", "complex64", "float8_e4m3fn")
CHANGES = {
    **{f"to_{name}": _to(name) for name in OTHER_DTYPES},
    **{f"size_{dim}_{by:+}": _resized(dim, by) for dim in range(5) for by in (-1, 1, -9)},
    "meta": lambda t: t.to("meta"),
    "sparse": lambda t: t.to_sparse(),
    "csr": lambda t: t.to_sparse_csr() if t.dim() == 2 else t.to_sparse(),
    "mkldnn": lambda t: t.to_mkldnn() if t.dtype == torch.float32 else t,
    "nested": lambda t: (
        torch.nested.nested_tensor([t[0], t[0]] if t.dim() and len(t) else [t], layout=torch.jagged)
        if t.dim() > 1 and len(t)
        else t
    ),
    "quantized": lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8) if t.dtype == torch.float32 else t,
    "one_more_dimension": lambda t: t.unsqueeze(0),
    "last_dimension": lambda t: t.unsqueeze(-1),
    "one_dimension_less": lambda t: t[0] if t.dim() and len(t) else t,
    "scalar": lambda t: torch.tensor(1.0),
    "empty": lambda t: torch.empty(0),
    "array": lambda t: t.detach().numpy(),
    "list": lambda t: t.detach().tolist(),
    "parameter": lambda t: torch.nn.Parameter(t) if t.is_floating_point() else t,
    "asks": lambda t: t.clone().requires_grad_() if t.is_floating_point() else t,
}
