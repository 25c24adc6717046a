"""The cupy backend on a GPU, beyond the cases of every backend: streams, graphs, autocast, compilation, equal bits."""

import threading

import pytest
import torch

import ops
from ops import reference

STATUS = {status.name: status for status in ops.backends()}["cupy"]
GEOMETRY = ((2, 1), (1, 2), (1, 1))  # stride, padding, dilation
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not STATUS.available, reason="; ".join(STATUS.reasons))]


def drawn(batch=4, channels=16, size=(14, 13), kernel=3, dtype=torch.float32, channels_last=True, device="cuda"):
    format_ = torch.channels_last if channels_last else torch.contiguous_format
    x = torch.randn(batch, channels, *size, device=device, dtype=dtype).contiguous(memory_format=format_)
    return x, torch.randn(batch, channels, kernel, kernel, device=device, dtype=dtype)


def call(x, weight, **geometry):
    return ops.depthwise_conv2d(x, weight, padding=weight.shape[2] // 2, backend="cupy", **geometry)


def results(x, weight, **geometry):
    """Return the output and both gradients."""
    leaves = [t.detach().requires_grad_() for t in (x, weight)]
    y = call(*leaves, **geometry)
    return [y.detach(), *torch.autograd.grad(y, leaves, torch.ones_like(y))]


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1)])
def test_bank_is_mixed_inside(kernel, stride, per_channel, dtype, channels_last):
    x, _ = drawn(dtype=dtype, channels_last=channels_last)
    bank = torch.randn(4, 16, 1, kernel, kernel, device="cuda", dtype=dtype)
    attention = torch.rand(4, 4, *([16] if per_channel else []), device="cuda", dtype=dtype)
    geometry = {"stride": stride, "padding": kernel // 2, "groups": 16}
    exact = reference.dynamic_conv2d(x, bank, attention, **geometry)
    found = ops.dynamic_conv2d(x, bank, attention, backend="cupy", **geometry)
    limit = (torch.finfo(dtype).eps + 1e-5) * exact.abs().max()
    assert (found.double() - exact).abs().max() <= limit


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_same_call_gives_the_same_bits(dtype, stride, channels_last):
    for size in ((14, 14), (112, 112)):
        x, weight = drawn(2, 24, size, 3, dtype, channels_last)
        first = results(x, weight, stride=stride)
        for _ in range(5):
            assert all(torch.equal(a, b) for a, b in zip(first, results(x, weight, stride=stride)))


@pytest.mark.parametrize("channels_last", [True, False])
def test_more_planes_than_a_dimension_of_the_grid_holds(channels_last):
    x, weight = drawn(1100, 64, (5, 6), dtype=torch.bfloat16, channels_last=channels_last)
    for found, exact in zip(results(x, weight), definition(x, weight)):
        torch.testing.assert_close(found.double(), exact, rtol=1e-2, atol=3e-2)


def definition(x, weight):
    leaves = [t.detach().double().requires_grad_() for t in (x, weight)]
    y = reference.depthwise_conv2d(*leaves, padding=1)
    return [y.detach(), *torch.autograd.grad(y, leaves, torch.ones_like(y))]


def test_it_runs_on_the_current_stream():
    x, weight = drawn(32, 64, (56, 56))
    want = call(x, weight)
    torch.cuda.synchronize()
    stream, source = torch.cuda.Stream(), torch.zeros_like(x)
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)  # on another stream, the call would read the zeros
        source.copy_(x)
        y = call(source, weight)
    stream.synchronize()
    assert torch.equal(y, want)


def test_it_runs_on_a_new_thread():
    x, weight = drawn()
    want, found = call(x, weight), []
    thread = threading.Thread(target=lambda: found.append(call(x, weight)))
    thread.start()
    thread.join()
    assert torch.equal(found[0], want)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="got fewer than two GPUs; need two")
def test_it_runs_where_the_tensors_are():
    x, weight = drawn()
    elsewhere = call(x.to("cuda:1"), weight.to("cuda:1"))
    assert elsewhere.device == torch.device("cuda:1")
    assert torch.cuda.current_device() == 0
    torch.testing.assert_close(elsewhere.cpu(), call(x, weight).cpu())


@pytest.mark.parametrize("channels_last", [True, False])
def test_a_cuda_graph_records_it(channels_last):
    x, weight = drawn(1, 96, (32, 32), channels_last=channels_last)
    results(x, weight)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        recorded = results(x, weight)
    for _ in range(2):
        x.normal_()
        graph.replay()
        torch.cuda.synchronize()
        assert all(torch.equal(a, b) for a, b in zip(recorded, results(x, weight)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_decides_the_dtype(dtype):
    x, weight = drawn()
    leaf = weight.requires_grad_()
    with torch.autocast("cuda", dtype):
        y = call(x, leaf)
    assert y.dtype == dtype
    y.float().sum().backward()
    assert leaf.grad.dtype == torch.float32
    assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("needs_grad", [True, False])
def test_it_compiles_whole_for_every_batch_size(needs_grad):
    torch.compiler.reset()

    def layer(x, bank, attention):
        return ops.dynamic_conv2d(x, bank, attention, padding=1, groups=16, backend="cupy").relu()

    compiled = torch.compile(layer, fullgraph=True, dynamic=True)
    bank = torch.randn(4, 16, 1, 3, 3, device="cuda", requires_grad=needs_grad)
    for batch in (2, 3, 5):
        x, attention = drawn(batch)[0], torch.rand(batch, 4, device="cuda")
        found, want = compiled(x, bank, attention), layer(x, bank, attention)
        torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-4)
        if needs_grad:
            for y in (found, want):
                (grad,) = torch.autograd.grad(y.square().sum(), bank)
                assert grad.abs().max() > 0


@pytest.mark.parametrize("name", ["depthwise", "depthwise_bank", "depthwise_grad_input", "depthwise_grad_weight"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_operators_keep_the_rules_of_pytorch(name, channels_last):
    x, weight = drawn(channels_last=channels_last)
    y = torch.ops.dyc.depthwise(x, weight, *GEOMETRY)
    arguments = {
        "depthwise": (x, weight, *GEOMETRY),
        "depthwise_bank": (x, torch.randn_like(weight), torch.rand(4, 4, device="cuda"), *GEOMETRY),
        "depthwise_grad_input": (torch.randn_like(y), weight, x.shape[2:], *GEOMETRY),
        "depthwise_grad_weight": (torch.randn_like(y), x, weight.shape[2:], *GEOMETRY),
    }[name]
    arguments = tuple(a.requires_grad_() if isinstance(a, torch.Tensor) else a for a in arguments)
    torch.library.opcheck(getattr(torch.ops.dyc, name).default, arguments)


def test_the_mixed_kernels_are_never_in_memory():
    x = drawn(256, 64, (4, 4))[0]
    bank, attention = torch.randn(4, 64, 1, 3, 3, device="cuda"), torch.rand(256, 4, 64, device="cuda")

    def layer():
        with torch.no_grad():
            return ops.dynamic_conv2d(x, bank, attention, padding=1, groups=64, backend="cupy")

    layer()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    y = layer()
    assert torch.cuda.max_memory_allocated() - before <= y.numel() * y.element_size() + 512
