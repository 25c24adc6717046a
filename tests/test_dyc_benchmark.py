"""The benchmarks of operators and layers: the shapes are the networks' own, the means and ratios what they say."""

import pytest
import timm
import torch
from torch import nn

import dyc
import ops
from dyc.benchmark import operators as benchmark
from dyc.benchmark.layers import time_layers
from dyc.benchmark.peers import PeerLayer
from dyc.benchmark.shapes import SHAPES, geometric_mean
from ops import ArgumentError, BackendUnavailable

QUICK = {"seconds": 0.001}


@pytest.mark.parametrize(
    ("name", "size", "shapes"),
    [("mobilenetv2_cifar", 32, "mobilenetv2_32"), ("mobilenetv2_100", 224, "mobilenetv2_224")],
)
def test_shapes_are_those_of_the_network(name, size, shapes):
    model = timm.create_model(name).eval().to("meta")
    seen = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            module.register_forward_hook(lambda m, x, y: seen.append((m.in_channels, x[0].shape[2], m.stride[0])))
    model(torch.empty(1, 3, size, size, device="meta"))
    assert tuple(seen) == SHAPES[shapes]


def test_cases_are_every_combination_once():
    found = benchmark.cases(["mobilenetv2_32", "report", "report"], layouts=["nchw", "nchw"])
    assert len(found) == len(set(found)) == 2 * 2 * len(set(SHAPES["mobilenetv2_32"])) + 2 * 3
    assert {case.batch for case in found if case.shapes == "report"} == {1}
    assert len(benchmark.cases(["report"], batches=[3, 4], directions=["forward"])) == 2 * 2 * 3


def test_unknown_shapes():
    with pytest.raises(ArgumentError, match=r"shapes: got 'mobilenetv2' .did you mean .* need one of"):
        benchmark.cases(["mobilenetv2"], batches=[1])


@pytest.mark.parametrize("direction", ["forward", "forward+backward"])
@pytest.mark.parametrize("layout", ["channels_last", "nchw"])
def test_contestants_of_the_operator(layout, direction):
    case = benchmark.Case("mobilenetv2_32", layout, 2, direction, (192, 16, 2), **QUICK)
    found = {t.contestant: t for t in benchmark.time_operators(case, ["eager", "auto"])}
    expected = {"static", "grouped", "eager", "auto"}
    expected |= {"copy"} if direction == "forward" else set()
    expected |= {"static channels_last"} if layout == "nchw" else set()
    assert set(found) == expected
    for t in found.values():
        assert 0 < t.p20_ms <= t.median_ms <= t.p80_ms
        for other in ("static", "grouped"):
            assert t.ratios[other] == t.median_ms / found[other].median_ms
    last = found["static channels_last" if layout == "nchw" else "static"]
    assert found["eager"].ratios["static channels_last"] == found["eager"].median_ms / last.median_ms
    assert found["eager"].ratios["memory"] == found["eager"].peak_mib / found["static"].peak_mib
    output = 4 * 2 * 192 * 8 * 8 / 2**20
    assert all(t.peak_mib >= output for t in found.values() if t.contestant != "copy")
    if direction == "forward":
        assert "memory" not in found["copy"].ratios


@pytest.mark.parametrize(("stride", "kernel", "dilation"), [(1, 3, 1), (2, 3, 1), (1, 5, 2), (2, 7, 1), (1, 1, 1)])
def test_contestants_compute_the_same_in_the_memory_format_of_the_case(stride, kernel, dilation):
    case = benchmark.Case(
        "mobilenetv2_32", "channels_last", 3, "forward", (32, 9, stride), kernel=kernel, dilation=dilation
    )
    x = case.features("channels_last")
    assert x.is_contiguous(memory_format=torch.channels_last)
    weight = torch.randn(3, 32, kernel, kernel)
    expected = ops.depthwise_conv2d(x, weight, **case.window)
    assert expected.shape[2:] == (-(-9 // stride), -(-9 // stride))
    torch.testing.assert_close(benchmark.grouped(x, weight, stride, kernel, dilation), expected, rtol=1e-4, atol=1e-4)
    static = benchmark.static(case, "channels_last")
    assert static.call().is_contiguous(memory_format=torch.channels_last)
    features, kernels = static.leaves
    each = kernels.squeeze(1).expand(3, -1, -1, -1)
    torch.testing.assert_close(static.call(), ops.depthwise_conv2d(features, each, **case.window), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("window", "argument"), [({"kernel": 4}, "kernel"), ({"dilation": 0}, "dilation")])
def test_kernels_have_a_middle(window, argument, raises):
    with raises(argument, str(window[argument]), "at least 1"):
        benchmark.cases(["report"], **window)


def test_the_operator_is_timed_with_the_kernel_of_the_case(monkeypatch):
    seen = set()

    def spy(x, weight, **options):
        seen.add((tuple(weight.shape), options["padding"], options["dilation"]))
        return ops.depthwise_conv2d(x, weight, **options)

    monkeypatch.setattr(benchmark, "depthwise_conv2d", spy)
    case = benchmark.Case("report", "nchw", 2, "forward", (8, 9, 1), kernel=5, dilation=2, **QUICK)
    benchmark.time_operators(case, ["eager"])
    assert seen == {((2, 8, 5, 5), 4, 2)}


def test_forward_is_without_gradients_and_backward_reaches_every_leaf():
    x = torch.randn(4, requires_grad=True)
    unused = torch.randn(2, requires_grad=True)
    assert not benchmark.Contestant(lambda: 2 * x, (x,)).timed("forward")().requires_grad
    assert len(benchmark.Contestant(lambda: 2 * x, (x,)).timed("forward+backward")()) == 1
    with pytest.raises(RuntimeError, match="not have been used"):
        benchmark.Contestant(lambda: 2 * x, (x, unused)).timed("forward+backward")()


def test_backends_that_cannot_run_are_named_with_reasons(backend_registry):
    lame = ops.Implementation(lambda *_: None, lambda _: ("got legs, need wheels",))
    ops.register_backend(ops.Backend("lame", {"depthwise_conv2d": lame}))
    assert "lame" not in benchmark.runnable("cpu", torch.float32)
    assert "eager" in benchmark.runnable("cpu", torch.float32)
    with pytest.raises(BackendUnavailable, match="need wheels"):
        benchmark.check_runs("lame", "cpu", torch.float32)


def test_means_weigh_a_shape_as_often_as_the_network_holds_it():
    def timing(shape, ratio):
        case = benchmark.Case("mobilenetv2_32", "nchw", 1, "forward", shape)
        return benchmark.Timing(case, "eager", 1.0, 1.0, 1.0, 1.0, {"static": ratio, "grouped": 2 * ratio})

    # (384, 8, 1) stands four times in the network, (960, 4, 1) three times.
    found = benchmark.means([timing((384, 8, 1), 2.0), timing((960, 4, 1), 0.5)])
    ratios = found[("mobilenetv2_32", "nchw", 1, "forward", "eager")]
    assert ratios["static"] == pytest.approx(2 ** (1 / 7))
    assert ratios["grouped"] == pytest.approx(2 * ratios["static"])
    assert geometric_mean("report", [((128, 32, 1), 4.0), ((128, 256, 1), 1.0)]) == pytest.approx(2.0)


@pytest.mark.parametrize("attention", ["dy", "dyc"])
@pytest.mark.parametrize(("stride", "kernel", "dilation"), [(1, 3, 1), (2, 3, 1), (1, 5, 2)])
def test_the_peer_layer_computes_what_ours_does(attention, stride, kernel, dilation):
    padding = dilation * (kernel // 2)
    layer = dyc.DynamicConv2d(
        16, 16, kernel, stride, padding, dilation, groups=16, bias=False, attention=attention, temperature=2.0
    )
    nn.init.normal_(layer.attention.fc2.bias)
    peer = PeerLayer(layer)
    x = torch.randn(3, 16, 7, 9)
    torch.testing.assert_close(peer(x), layer(x))
    assert sum(p.numel() for p in peer.parameters()) == sum(p.numel() for p in layer.parameters())


@pytest.mark.parametrize("direction", ["forward", "forward+backward"])
def test_contestants_of_the_layer(direction):
    case = benchmark.Case("mobilenetv2_32", "channels_last", 2, direction, (32, 8, 1), **QUICK)
    found = {t.contestant: t for t in time_layers(case, ["auto", "eager"])}
    kinds = ("dy", "dyc")
    assert set(found) == {"static"} | {f"{a} {what}" for a in kinds for what in ("peer", "auto", "eager")}
    for attention in kinds:
        t = found[f"{attention} eager"]
        assert t.ratios["peer"] == t.median_ms / found[f"{attention} peer"].median_ms
        assert t.ratios["static"] == t.median_ms / found["static"].median_ms
    assert "peer" not in found["static"].ratios


def test_layers_in_their_own_type():
    case = benchmark.Case("mobilenetv2_32", "nchw", 1, "forward+backward", (32, 8, 1), dtype=torch.bfloat16, **QUICK)
    found = time_layers(case, attentions=["dyc"])
    assert [t.contestant for t in found] == ["static", "static channels_last", "dyc peer", "dyc auto"]
