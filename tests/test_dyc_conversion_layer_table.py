"""dynamic_layers: a row for every convolution, and counts that add up."""

import pytest
import timm
import torch
from torch import nn

import dyc


def test_a_row_says_what_the_layer_is():
    model = dyc.make_dynamic(
        nn.Sequential(nn.Conv2d(3, 6, (3, 5), stride=(1, 2), padding=(1, 2), groups=3)),
        where="0",
        num_kernels=3,
        temperature=7.5,
        backend="eager",
    )
    (row,) = dyc.dynamic_layers(model)
    layer = model[0]
    assert (row.name, row.in_channels, row.out_channels, row.groups, row.num_kernels) == ("0", 3, 6, 3, 3)
    assert (row.kernel_size, row.stride, row.padding) == ((3, 5), (1, 2), (1, 2))
    assert (row.attention, row.temperature, row.mixing, row.backend, row.static) == ("dyc", 7.5, "auto", "eager", "")
    assert row.bank == layer.weight.numel() + layer.bias.numel()
    assert row.branch == sum(p.numel() for p in layer.attention.parameters())
    _, line, total = str(dyc.dynamic_layers(model)).splitlines()
    assert line.split() == f"0 3 > 6 3x5 1x2 3 3 dyc {row.bank} {row.branch} 7.5 auto eager".split()
    assert total.split() == ["total", str(row.bank), str(row.branch)]


def test_the_counts_add_up_to_the_model():
    static, model = (timm.create_model(f"{kind}mobilenetv2_cifar") for kind in ("", "dyc_"))
    table = dyc.dynamic_layers(model)
    assert [row.name for row in table] == [name for name, _ in dyc.iter_dynamic(model)]
    kernels = sum(static.get_submodule(row.name).weight.numel() for row in table)
    counts = [sum(p.numel() for p in net.parameters()) for net in (static, model)]
    assert sum(row.bank + row.branch for row in table) == counts[1] - counts[0] + kernels
    assert f"{sum(row.bank for row in table):,}" in str(table).splitlines()[-1]


def test_a_shared_branch_counts_once():
    branch = dyc.GlobalAttention(4, 4, 2)
    layers = [dyc.DynamicConv2d(4, 4, 3, num_kernels=2, attention=branch) for _ in range(2)]
    first, second = dyc.dynamic_layers(nn.Sequential(*layers))
    assert first.branch == sum(p.numel() for p in branch.parameters())
    assert second.branch == 0
    assert first.attention == second.attention == "GlobalAttention"


def test_static_layers_in_the_order_of_the_network_with_the_reason():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.ModuleList([nn.Conv1d(4, 4, 3), nn.LazyConv2d(4, 3)]),
    )
    dyc.make_dynamic(model)
    assert [row.name for row in dyc.dynamic_layers(model)] == ["2"]
    table = dyc.dynamic_layers(model, static=True)
    assert [(row.name, row.static) for row in table] == [
        ("0", "not chosen"),
        ("1", "its padding_mode 'circular' is not 'zeros'"),
        ("2", ""),
        ("3.0", "its class Conv1d is not an nn.Conv2d"),
        ("3.1", "its weight is of type UninitializedParameter, not nn.Parameter"),
    ]
    assert [row.num_kernels for row in table] == [1, 1, 4, 1, 1]
    lines = str(table).splitlines()
    assert len(lines) == 7
    assert lines[2].endswith("its padding_mode 'circular' is not 'zeros'")


def test_other_paddings_devices_and_models():
    model = timm.create_model("tf_mobilenetv3_small_minimal_100", device="meta")
    assert not dyc.dynamic_layers(model)
    assert len(str(dyc.dynamic_layers(model)).splitlines()) == 2
    table = dyc.dynamic_layers(dyc.make_dynamic(model))
    assert {row.padding for row in table} == {"same", (1, 1)}
    assert {row.temperature for row in table} == {None}


def test_a_module_as_attention_is_called_by_its_class():
    class Even(nn.Module):
        def forward(self, x):
            return torch.full((len(x), 2), 0.5)

    (row,) = dyc.dynamic_layers(nn.Sequential(dyc.DynamicConv2d(4, 4, 1, num_kernels=2, attention=Even())))
    assert (row.attention, row.branch, row.temperature) == ("Even", 0, None)


@pytest.mark.parametrize(
    "function",
    [
        dyc.make_dynamic,
        dyc.dynamic_layers,
        dyc.iter_dynamic,
        dyc.profile,
        lambda model: dyc.set_backend(model, "auto"),
        lambda model: dyc.set_mixing(model, "auto"),
        lambda model: dyc.set_temperature(model, 1.0),
        lambda model: dyc.attention_statistics(model, torch.zeros(1, 3, 8, 8)),
    ],
)
def test_what_is_no_model_is_named(function, raises):
    need = "a torch.nn.Module, as timm.create_model(...) returns"
    with raises("model", "'mobilenetv2_100'", need):
        function("mobilenetv2_100")
    with raises("model", "the class Conv2d", need):
        function(nn.Conv2d)
    with raises("model", "a NoneType", need):
        function(None)


@pytest.mark.parametrize("size", [224, (3, 224), (3, 0, 224), (3, 8.0, 8), "333", None])
def test_what_is_no_image_size_is_named(size, raises):
    with raises("input_size", repr(size), "(C, H, W)"):
        dyc.profile(nn.Conv2d(3, 4, 1), size)
