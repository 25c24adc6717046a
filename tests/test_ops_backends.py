"""Every backend against the float64 definition, in every shape that has ever broken such a kernel."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from support.backends import able
from support.depthwise_cases import CASES, Case, gradient_like, inputs, memory_format, outcome
from support.rounding import excess, excess_of_conv2d
from torch import Tensor

import ops
from ops import reference

BACKENDS = able("depthwise_conv2d")
DEVICES = ["cpu", *([pytest.param("cuda", marks=pytest.mark.gpu)] if torch.cuda.is_available() else [])]


# Inductor takes many seconds for each kernel, window, layout and dtype, and again where a size is 1. These cases cover
# its forms as compiled code: planes at stride 1 and 2, taps in NCHW, taps in channels_last with and without phases, and
# sums in float32 of bfloat16. The others run the same functions uncompiled, with the same layouts, paddings and
# gradient rules around them.
THROUGH_INDUCTOR = (("plain", torch.float32), ("channels_last", torch.bfloat16))
# The third form is in tests/test_ops_backends_compiled.py, too, where it is exhaustive.
THROUGH_INDUCTOR_TOO = {
    "stride_2": pytest.mark.exhaustive,
    "no_padding": pytest.mark.grid,
    "channels_last_stride_2": pytest.mark.grid,
}


@contextmanager
def uncompiled(unless: bool) -> Iterator[None]:
    """Keep torch.compile from compiling, unless told otherwise."""
    if unless:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def run_or_skip(case: Case, x: Tensor, weight: Tensor, backend: str) -> Tensor:
    try:
        return ops.depthwise_conv2d(x, weight, **case.geometry, backend=backend)
    except ops.BackendUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_output_and_gradients_match_the_definition(case, dtype, backend, device):
    match_the_definition(case, dtype, backend, device, through_inductor=(case.name, dtype) in THROUGH_INDUCTOR)


@pytest.mark.skipif("compile" not in BACKENDS, reason="got no compile backend here")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=THROUGH_INDUCTOR_TOO[case.name])
        for case in CASES
        if case.name in THROUGH_INDUCTOR_TOO
    ],
)
def test_inductor_matches_the_definition_in_its_other_forms(case, device):
    match_the_definition(case, torch.float32, "compile", device, through_inductor=True)


def match_the_definition(case: Case, dtype: torch.dtype, backend: str, device: str, through_inductor: bool) -> None:
    x, weight = inputs(case, dtype, device)
    with uncompiled(unless=through_inductor or backend != "compile"):
        y = run_or_skip(case, x, weight, backend)
        gradient = gradient_like(case, y)
        found = outcome(y, x, weight, gradient)
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=memory_format(case))
    exact_x, exact_weight = (t.detach().double().requires_grad_(t.requires_grad) for t in (x, weight))
    exact_y = reference.depthwise_conv2d(exact_x, exact_weight, **case.geometry)
    exact = outcome(exact_y, exact_x, exact_weight, gradient.double())
    allowed = excess_of_conv2d(x, weight, gradient, exact, **case.geometry)
    for name, want in exact.items():
        # PyTorch sums in another order than a backend does, so a backend may be twice as far off; 1e-5 is for its sums.
        limit = 2 * allowed[name] + 1e-5 * want.abs().max()
        assert excess(found[name], want, dtype) <= limit, name


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_output_keeps_the_memory_format_of_the_input(case, backend, device):
    with uncompiled(unless=backend != "compile"):
        y = run_or_skip(case, *inputs(case, torch.float32, device), backend)
    assert y.is_contiguous(memory_format=memory_format(case))


SMOOTH = [
    Case("plain", x=(2, 3, 5, 4)),
    Case("stride_pair_dilation", x=(2, 2, 6, 7), kernel=(2, 3), stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
    Case("channels_last", x=(2, 3, 5, 4), stride=2, channels_last=True),
    Case("sliced_pixels", x=(1, 2, 4, 4), kernel=(1, 3), padding=0, sliced="pixels"),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", SMOOTH, ids=lambda case: case.name)
def test_first_and_second_derivatives_are_right(case, backend):
    x, weight = inputs(case, torch.float64)

    def call(x, weight):
        return ops.depthwise_conv2d(x, weight, **case.geometry, backend=backend)

    with uncompiled(unless=backend != "compile"):
        run_or_skip(case, x, weight, backend)
        assert torch.autograd.gradcheck(call, (x, weight))
        assert torch.autograd.gradgradcheck(call, (x, weight))


def test_the_definition_is_the_convolution_of_each_sample():
    x, weight = inputs(Case("plain"), torch.float64)
    each = [
        torch.nn.functional.conv2d(x[n : n + 1], weight[n].unsqueeze(1), stride=2, padding=1, groups=8)
        for n in range(2)
    ]
    torch.testing.assert_close(reference.depthwise_conv2d(x, weight, stride=2, padding=1), torch.cat(each))


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_available_backend_runs_somewhere(backend):
    """Cases that a backend declines are skipped above; this keeps one from declining them all."""
    ran, reasons = [], []
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        x, weight = inputs(Case("plain"), torch.float32, device)
        try:
            with uncompiled(unless=backend != "compile"):
                ops.depthwise_conv2d(x, weight, backend=backend)
            ran.append(device)
        except ops.BackendUnavailable as error:
            reasons.append(str(error))
    assert ran, "; ".join(reasons)
