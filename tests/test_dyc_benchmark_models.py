"""Whole networks: what counts as memory, one entry per backend, the floor, and that a step trains."""

import pytest
import timm
import torch

from dyc.benchmark.models import ModelCase, _Network, time_models

NAMES = ("mobilenetv2_cifar", "dyc_mobilenetv2_cifar")
QUICK = {"seconds": 0.001}


def parameters(name):
    return sum(p.numel() for p in timm.create_model(name).parameters())


def test_inference_has_a_floor_and_one_entry_per_backend():
    case = ModelCase("inference", 1, 32, **QUICK)
    found = time_models(case, NAMES, ["auto", "eager"])
    labels = ["mobilenetv2_cifar", "dyc_mobilenetv2_cifar [auto]", "dyc_mobilenetv2_cifar [eager]"]
    assert [t.contestant for t in found] == labels
    base, *dynamic = found
    assert (base.ratios, base.attention_parameters, base.floor_ms) == ({"time": 1.0, "memory": 1.0}, 0, 0.0)
    for t in dynamic:
        assert t.parameters == parameters("dyc_mobilenetv2_cifar")
        assert t.attention_parameters == 5_540_544
        assert t.ratios["floor"] == 1 + t.floor_ms / base.median_ms
        assert t.ratios["time"] == t.median_ms / base.median_ms
        assert t.peak_mib * 2**20 > 4 * t.parameters


def test_beside_another_network_there_is_no_floor():
    found = time_models(ModelCase("inference", 1, 64, **QUICK), ["mobilenetv2_035", "dynet_shuffle_100"])
    assert found[1].attention_parameters > 0
    assert [(t.floor_ms, "floor" in t.ratios) for t in found] == [(0.0, False)] * 2


def test_attention_parameters_are_those_of_the_layers():
    network = _Network("dyc_mobilenetv2_cifar", "auto", ModelCase("inference", 1, 32))
    expected = [p for name, p in network.model.named_parameters() if ".attention." in name]
    assert sum(p.numel() for p in network.attention) == sum(p.numel() for p in expected)


def test_a_training_step_counts_its_optimizer_and_changes_the_network():
    case = ModelCase("training", 2, 32, **QUICK)
    network = _Network("mobilenetv2_cifar", "auto", case)
    before = [p.detach().clone() for p in network.model.parameters()]
    network.call()
    assert all(not torch.equal(p, q) for p, q in zip(before, network.model.parameters()))
    assert all(p.grad is None for p in network.model.parameters())
    count = parameters("mobilenetv2_cifar")
    assert network.held >= 2 * 4 * count + 4 * 2 * 3 * 32 * 32
    (found,) = time_models(case, ["mobilenetv2_cifar"])
    assert found.peak_mib * 2**20 > 3 * 4 * count  # parameters, momentum and gradients
    assert "floor" not in found.ratios


@pytest.mark.parametrize("layout", ["channels_last", "nchw"])
def test_networks_run_in_the_case_layout_and_type(layout):
    case = ModelCase("inference", 2, 32, layout, dtype=torch.bfloat16)
    network = _Network("dy_mobilenetv2_cifar", "eager", case)
    seen = []
    network.model.conv_stem.register_forward_hook(lambda m, x, y: seen.append((x[0], y)))
    assert network.call().dtype == torch.bfloat16
    x, y = seen[0]
    last = layout == "channels_last"
    assert (
        x.is_contiguous(memory_format=torch.channels_last) == y.is_contiguous(memory_format=torch.channels_last) == last
    )
    assert y.dtype == torch.bfloat16
    assert not network.model.training


def test_the_same_network_twice_counts_once():
    case = ModelCase("inference", 1, 32, **QUICK)
    assert len(time_models(case, ["mobilenetv2_cifar", "mobilenetv2_cifar"])) == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_graph_gives_the_same_outputs():
    plain = _Network("dyc_mobilenetv2_cifar", "auto", ModelCase("inference", 1, 32, device="cuda"))
    graph = _Network("dyc_mobilenetv2_cifar", "auto", ModelCase("inference", 1, 32, device="cuda", cuda_graph=True))
    torch.testing.assert_close(graph.call(), plain.call())
    found = time_models(ModelCase("training", 2, 32, device="cuda", **QUICK), NAMES)
    assert all(t.peak_mib > 0 for t in found)
