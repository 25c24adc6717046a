"""The operators on a batch of no samples: the shapes that ``F.conv2d`` gives, and gradients of zero."""

import pytest
import torch
import torch.nn.functional as F

import ops

BACKENDS = [status.name for status in ops.backends() if status.available]
DTYPES = (torch.float32, torch.bfloat16, torch.float64)
WINDOW = {"stride": 2, "padding": 1, "dilation": 1}


def tensor(*shape):
    return torch.randn(*shape, requires_grad=True)


def branch(channels, rows):
    first, second = (tensor(5, channels), tensor(5)), (tensor(rows, 5), None)
    return ops.GlobalBranch(*first, *second, torch.tensor(2.0))


def attended(x, weight, *parts, **options):
    return ops.attended_conv2d(x, weight, ops.GlobalBranch(*parts), **options)


def scaled(x, weight, kernels, inputs, taps, bias, **options):
    return ops.scaled_conv2d(x, weight, ops.KernelAttention(kernels, inputs, taps), bias, **options)


# Each with its arguments after x, output channels, kernel size and groups.
CALLS = {
    "depthwise": (ops.depthwise_conv2d, lambda: [tensor(0, 6, 3, 3)], 6, 3, None),
    "per_sample_depthwise": (ops.per_sample_conv2d, lambda: [tensor(0, 6, 1, 3, 3)], 6, 3, 6),
    "per_sample_dense": (ops.per_sample_conv2d, lambda: [tensor(0, 4, 6, 3, 3)], 4, 3, 1),
    "per_sample_grouped": (ops.per_sample_conv2d, lambda: [tensor(0, 4, 3, 3, 3)], 4, 3, 2),
    "dynamic_depthwise": (ops.dynamic_conv2d, lambda: [tensor(4, 6, 1, 3, 3), tensor(0, 4, 6), tensor(4, 6)], 6, 3, 6),
    "dynamic_shared": (ops.dynamic_conv2d, lambda: [tensor(4, 6, 1, 3, 3), tensor(0, 4), None], 6, 3, 6),
    "dynamic_dense": (ops.dynamic_conv2d, lambda: [tensor(4, 4, 6, 3, 3), tensor(0, 4, 4), tensor(4, 4)], 4, 3, 1),
    "dynamic_pointwise": (ops.dynamic_conv2d, lambda: [tensor(4, 4, 6, 1, 1), tensor(0, 4), tensor(4, 4)], 4, 1, 1),
    "attended_depthwise": (attended, lambda: [tensor(4, 6, 1, 3, 3), *branch(6, 24)], 6, 3, 6),
    "attended_grouped": (attended, lambda: [tensor(4, 4, 3, 3, 3), *branch(6, 4)], 4, 3, 2),
    "scaled_depthwise": (
        scaled,
        lambda: [tensor(4, 6, 1, 3, 3), tensor(0, 4), tensor(0, 6), tensor(0, 3, 3), tensor(4, 6)],
        *(6, 3, 6),
    ),
    "scaled_dense": (
        scaled,
        lambda: [tensor(4, 4, 6, 3, 3), tensor(0, 4, 4), tensor(0, 6), None, tensor(4, 4)],
        *(4, 3, 1),
    ),
}


@pytest.mark.parametrize("channels_last", [False, True], ids=["nchw", "channels_last"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CALLS)
def test_shapes_and_gradients_are_those_of_a_static_convolution(name, backend, dtype, channels_last):
    call, build, out_channels, kernel, groups = CALLS[name]
    x = torch.randn(0, 6, 9, 8).to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    arguments = [None if t is None else t.detach().to(dtype).requires_grad_(t.requires_grad) for t in [x, *build()]]
    arguments[0].requires_grad_()
    options = dict(WINDOW) if groups is None else {**WINDOW, "groups": groups}
    try:
        y = call(*arguments, **options, backend=backend)
    except ops.BackendUnavailable:
        if backend in ("cpp", "compile") and "depthwise" in name and dtype != torch.float64:
            raise
        return  # as with samples: no such operator, or no such dtype
    want = F.conv2d(arguments[0], torch.zeros(out_channels, 6, kernel, kernel, dtype=dtype), None, **WINDOW)
    assert (y.shape, y.dtype) == (want.shape, want.dtype)
    y.sum().backward()
    for argument in arguments:
        if argument is not None and argument.requires_grad:
            assert argument.grad.shape == argument.shape
            assert not argument.grad.any()


@pytest.mark.parametrize("mixing", ["kernels", "features"])
@pytest.mark.parametrize(("kernel", "groups"), [(1, 1), (3, 1), (3, 2)])
def test_each_mixing(mixing, kernel, groups):
    bank, attention, bias = tensor(4, 4, 6 // groups, kernel, kernel), tensor(0, 4, 4), tensor(4, 4)
    y = ops.dynamic_conv2d(torch.randn(0, 6, 5, 5), bank, attention, bias, groups=groups, mixing=mixing)
    assert y.shape == (0, 4, 6 - kernel, 6 - kernel)
    y.sum().backward()
    assert attention.grad.shape == (0, 4, 4)
    assert not bank.grad.any()
    assert not bias.grad.any()


@pytest.mark.parametrize("shared", [False, True])
def test_mixed_kernels(shared):
    bank, attention = tensor(4, 6, 1, 3, 3), tensor(0, 4) if shared else tensor(0, 4, 6)
    y = ops.mix_kernels(bank, attention)
    assert y.shape == (0, 6, 1, 3, 3)
    y.sum().backward()
    assert not bank.grad.any()
    with torch.no_grad():
        assert ops.mix_kernels(bank, attention).shape == (0, 6, 1, 3, 3)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name in ("eager", "cpp")])
def test_rewired_channels(backend, dtype):
    if backend == "cpp" and dtype == torch.float64:
        return
    x, shift = torch.randn(0, 6, 5, 4, dtype=dtype, requires_grad=True), tensor(2, 2)
    y = ops.rewire_channels(x, torch.tensor([1, 4]), torch.tensor([0, 0]), shift, backend=backend)
    assert (y.shape, y.dtype) == (x.shape, dtype)
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert shift.grad.shape == (2, 2)
    assert not shift.grad.any()


def test_autocast_and_inference():
    bank, attention = torch.randn(4, 6, 1, 3, 3), torch.rand(0, 4, 6)
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        y = ops.dynamic_conv2d(torch.randn(0, 6, 5, 5), bank, attention, groups=6)
    assert (y.shape, y.dtype) == ((0, 6, 3, 3), torch.bfloat16)


def test_a_named_backend_that_could_not_run_it_is_refused_all_the_same():
    with pytest.raises(ops.BackendUnavailable, match="cupy"):
        ops.depthwise_conv2d(torch.randn(0, 6, 5, 5), torch.randn(0, 6, 3, 3), backend="cupy")


def test_the_kernel_must_still_fit():
    with pytest.raises(ops.ArgumentError, match="2 x 5 pixels"):
        ops.depthwise_conv2d(torch.randn(0, 6, 2, 5), torch.randn(0, 6, 3, 3))


def test_a_compiled_function_serves_none_and_some_samples():
    def call(x, bank, attention):
        return ops.dynamic_conv2d(x, bank, attention, padding=1, groups=6)

    torch.compiler.reset()
    compiled, bank = torch.compile(call, fullgraph=True, dynamic=True, backend="aot_eager"), tensor(4, 6, 1, 3, 3)
    for batch in (3, 0, 2):
        x, attention = torch.randn(batch, 6, 5, 5), torch.rand(batch, 4, 6)
        y = compiled(x, bank, attention)
        torch.testing.assert_close(y, call(x, bank, attention))
        (gradient,) = torch.autograd.grad(y.sum(), bank)
        assert gradient.any() == (batch > 0)
