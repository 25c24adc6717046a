"""The arithmetic of the CUDA kernels without a GPU: the same sources and plans, run by support/cuda_on_cpu.h."""

import ctypes
from itertools import product

import pytest
import torch
from support import depthwise_cases as operators
from support.cuda_emulator import Emulator, build
from support.depthwise_cases import Case

from ops import reference
from ops.backends.cpp.build import compiler
from ops.backends.cupy import calls as cuda_calls
from ops.backends.cupy.plan import Call
from ops.layout import is_channels_last
from ops.window import padding_pair, pair

pytestmark = pytest.mark.skipif(compiler() is None, reason="got no C++ compiler; need g++ or clang++ on PATH")

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

# Beyond the cases of every backend: what decides between the ways in which the kernels divide their work.
MORE = [
    Case("last_two_chunks", x=(1, 272, 6, 5), channels_last=True),
    Case("last_two_channels", x=(3, 2, 11, 9), kernel=(5, 5), padding=2, channels_last=True),
    Case("last_long_strips", x=(1, 8, 70, 9), channels_last=True),
    Case("last_unaligned", x=(2, 8, 9, 7), channels_last=True),
    Case("first_bands", x=(1, 2, 130, 101)),
    Case("first_bands_stride_2", x=(1, 2, 130, 101), stride=2),
    Case("first_bands_kernel_5", x=(1, 1, 130, 101), kernel=(5, 5), stride=2, padding=2),
    Case("first_wide_rows", x=(1, 1, 7, 2300)),
    Case("first_rows_beyond_shared_memory", x=(1, 1, 4, 9000)),
]
# Left out is what is large only to fill the scratch of the C++ kernels: the large ones above are made for these here.
CASES = [*(case for case in operators.CASES if "large" not in case.name.split("_")), *MORE]


@pytest.fixture(scope="module")
def library(made_once):
    return ctypes.CDLL(str(made_once("cuda_on_cpu", build) / "kernels.so"))


@pytest.fixture
def gpu(library):
    return Emulator(library)


def window(case):
    stride, dilation = pair("stride", case.stride, 1), pair("dilation", case.dilation, 1)
    return stride, padding_pair(case.padding, case.kernel, stride, dilation), dilation


def drawn(case, dtype):
    """Draw a case's tensors: features, kernels, and the output's gradient."""
    x, weight = (t.detach() for t in operators.inputs(case, dtype))
    if "unaligned" in case.name:
        x = torch.empty(x.numel() + 1, dtype=dtype)[1:].as_strided(x.shape, x.stride()).copy_(x)
    y = reference.depthwise_conv2d(x, weight, **case.geometry)
    return x, weight, operators.gradient_like(case, y.to(dtype))


def close(name, found, want, dtype):
    scale = want.abs().max()
    assert found.dtype == dtype
    assert found.shape == want.shape
    error = (found.double() - want).abs().max()
    assert error <= (0.5 * torch.finfo(dtype).eps + 1e-5) * scale, f"{name}: {error} of {scale}"


def test_host_and_kernels_agree_on_the_arguments(library):
    library.size_of_call.restype = ctypes.c_ulonglong
    assert library.size_of_call() == ctypes.sizeof(Call)


# The types differ in how they are read and written alone: each third case runs in all of them.
TYPED = [
    pytest.param(case, DTYPES[name], marks=() if name == "float32" or i % 3 == 0 else pytest.mark.exhaustive)
    for i, case in enumerate(CASES)
    for name in DTYPES
]


@pytest.mark.parametrize(
    ("case", "dtype"), TYPED, ids=lambda value: value.name if isinstance(value, Case) else str(value)
)
def test_output_and_gradients_match_the_definition(case, dtype, gpu):
    x, weight, grad = drawn(case, dtype)
    exact = [t.double().requires_grad_() for t in (x, weight)]
    want = reference.depthwise_conv2d(*exact, **case.geometry)
    want_x, want_weight = torch.autograd.grad(want, exact, grad.double())
    format_ = torch.channels_last if is_channels_last(x) else torch.contiguous_format
    y = cuda_calls.forward(x, weight, *window(case), gpu=gpu)
    close("output", y, want.detach(), dtype)
    assert y.is_contiguous(memory_format=format_)
    grad = grad.contiguous(memory_format=format_)
    close("grad_input", cuda_calls.grad_input(grad, weight, x.shape[2:], *window(case), gpu=gpu), want_x, dtype)
    close("grad_weight", cuda_calls.grad_weight(grad, x, case.kernel, *window(case), gpu=gpu), want_weight, dtype)


@pytest.mark.parametrize("processors", [1, 132])
@pytest.mark.parametrize("case", [case for case in CASES if case.x[0] == 1], ids=lambda case: case.name)
def test_result_hardly_depends_on_how_the_work_is_divided(case, processors, gpu):
    x, weight, grad = drawn(case, torch.float32)
    y = cuda_calls.forward(x, weight, *window(case), gpu=gpu)
    gw = cuda_calls.grad_weight(grad, x, case.kernel, *window(case), gpu=gpu)
    gpu.processors = processors
    assert torch.equal(cuda_calls.forward(x, weight, *window(case), gpu=gpu), y)
    other = cuda_calls.grad_weight(grad, x, case.kernel, *window(case), gpu=gpu)
    torch.testing.assert_close(other, gw, rtol=1e-5, atol=1e-5 * gw.abs().max().item())


BANK_CASES = [case for case in CASES if case.x[0] > 1 and not case.frozen and case.gradient == "dense"]


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("case", BANK_CASES[::3], ids=lambda case: case.name)
def test_bank_is_mixed_inside_the_kernel(case, dtype, per_channel, gpu):
    (batch, channels, *_), kernels = case.x, 4
    x = drawn(case, dtype)[0]
    bank = torch.randn(kernels, channels, *case.kernel).to(dtype)
    attention = torch.rand(batch, kernels, channels).to(dtype) if per_channel else torch.rand(batch, kernels).to(dtype)
    want = reference.dynamic_conv2d(x, bank.unsqueeze(2), attention, groups=channels, **case.geometry)
    found = cuda_calls.forward_bank(x, bank, attention, *window(case), gpu=gpu)
    close("output", found, want, dtype)
    assert len(gpu.launched) == 1, "one kernel, and nothing mixed before it"
    transposed = attention.mT.contiguous().mT if per_channel else attention.t().contiguous().t()
    strided = bank.contiguous(memory_format=torch.channels_last)
    assert torch.equal(cuda_calls.forward_bank(x, strided, transposed, *window(case), gpu=gpu), found)


def test_kernels_are_read_in_either_memory_format(gpu):
    for case in (Case("first"), Case("last", channels_last=True), Case("any", dilation=2)):
        x, weight, grad = drawn(case, torch.float32)
        strided = weight.contiguous(memory_format=torch.channels_last)
        for call, first, others in (
            (cuda_calls.forward, x, ()),
            (cuda_calls.grad_input, grad, (x.shape[2:],)),
        ):
            results = [call(first, w, *others, *window(case), gpu=gpu) for w in (weight, strided)]
            assert torch.equal(*results)


def test_common_shapes_have_kernels_of_their_own(gpu):
    for kernel, stride, channels_last in product((3, 5), (1, 2), (True, False)):
        case = Case("common", x=(2, 8, 12, 12), kernel=(kernel, kernel), stride=stride, channels_last=channels_last)
        x, weight, _ = drawn(case, torch.bfloat16)
        y = cuda_calls.forward(x, weight, *window(case), gpu=gpu)
        cuda_calls.grad_input(y, weight, x.shape[2:], *window(case), gpu=gpu)
        cuda_calls.grad_weight(y, x, case.kernel, *window(case), gpu=gpu)
    assert not [name for name in gpu.launched if name.startswith("any")]


def test_parts_of_a_sum_are_added_in_a_second_kernel(gpu):
    gpu.processors = 132
    case = Case("one_large_sample", x=(1, 8, 40, 40), channels_last=True)
    x, _, grad = drawn(case, torch.float32)
    cuda_calls.grad_weight(grad.contiguous(memory_format=torch.channels_last), x, case.kernel, *window(case), gpu=gpu)
    assert gpu.launched == ["correlate_last2_k3_s1_float", "add_parts_float"]


def test_nothing_is_invented_where_the_input_is_not_finite(gpu):
    """Padding adds nothing, so what is finite in the definition is finite here."""
    for channels_last in (True, False):
        case = Case("infinite", x=(1, 4, 9, 8), channels_last=channels_last)
        x, weight, _ = drawn(case, torch.float32)
        x[0, 1, 4, 7] = float("inf")
        want = reference.depthwise_conv2d(x, weight, **case.geometry)
        found = cuda_calls.forward(x, weight, *window(case), gpu=gpu)
        assert torch.equal(found.isfinite(), want.isfinite())


@pytest.fixture
def cpu_operators(gpu):
    """Let the emulator implement on the CPU what nothing else implements there."""
    library = torch.library.Library("dyc", "IMPL")
    for name, function in (
        ("depthwise", cuda_calls.forward),
        ("depthwise_bank", cuda_calls.forward_bank),
        ("depthwise_grad_input", cuda_calls.grad_input),
        ("depthwise_grad_weight", cuda_calls.grad_weight),
    ):
        if not torch._C._dispatch_has_kernel_for_dispatch_key(f"dyc::{name}", "CPU"):
            library.impl(name, lambda *args, function=function: function(*args, gpu=gpu), "CPU")
    yield
    library._destroy()


@pytest.mark.usefixtures("cpu_operators")
@pytest.mark.parametrize("per_channel", [False, True])
def test_bank_operator_keeps_the_rules_of_pytorch(per_channel):
    x = torch.randn(3, 8, 9, 7).contiguous(memory_format=torch.channels_last).requires_grad_()
    bank = torch.randn(4, 8, 3, 3, requires_grad=True)
    attention = torch.rand(3, 4, 8, requires_grad=True) if per_channel else torch.rand(3, 4, requires_grad=True)
    geometry = ((2, 1), (1, 2), (1, 1))
    torch.library.opcheck(torch.ops.dyc.depthwise_bank.default, (x, bank, attention, *geometry))
    exact = [t.detach().double().requires_grad_() for t in (x, bank, attention)]
    stride, padding, dilation = geometry
    want = reference.dynamic_conv2d(
        exact[0], exact[1].unsqueeze(2), exact[2], groups=8, stride=stride, padding=padding, dilation=dilation
    )
    found = torch.ops.dyc.depthwise_bank(x, bank, attention, *geometry)
    gradient = torch.randn_like(found)
    for ours, theirs in zip(
        torch.autograd.grad(found, (x, bank, attention), gradient), torch.autograd.grad(want, exact, gradient.double())
    ):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-5 * theirs.abs().max().item())
