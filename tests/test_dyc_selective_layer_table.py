"""dyc.selective_layers: what selective layers make of their channels, counted."""

import torch
from torch import nn

import dyc
from dyc.selective import SelectiveRow


class Net(nn.Sequential):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)  # 224
        self.first = dyc.SelectiveConv2d(8, 10, 3, bias=True)  # 720 + 10 + 16 + 16
        self.second = dyc.SelectiveConv2d(10, 4, 1, reallocate=False)  # 40 + 20


def test_every_count():
    net = Net()
    net.first.mask[[0, 1, 2]] = False
    net.first.pointers[[3, 4]] = 6
    net.second.mask[9] = False
    table = dyc.selective_layers(net)
    assert list(table) == [
        SelectiveRow("first", 8, 5, 3, 2, 762, 5 * 90 + 10 + 5 * 2 + 2 * 2),
        SelectiveRow("second", 10, 9, 1, 0, 60, 9 * 4 + 9 * 2),
    ]
    assert table.total == SelectiveRow("total", 18, 14, 4, 2, 822, 474 + 54)
    assert table.parameters == sum(p.numel() for p in net.parameters()) == 224 + 822
    assert table.effective_parameters == 224 + 474 + 54


def test_network_that_was_never_rewired_has_the_size_of_the_static_one():
    """Shifts count where they are used."""
    net = Net()
    static = [net.stem, net.first.norm, net.first.conv, net.second.norm, net.second.conv]
    assert dyc.selective_layers(net).effective_parameters == sum(
        p.numel() for part in static for p in part.parameters()
    )


def test_printed_table():
    lines = str(dyc.selective_layers(Net())).splitlines()
    assert [line.split() for line in lines] == [
        ["layer", "channels", "open", "closed", "re-allocated", "parameters", "effective"],
        ["first", "8", "8", "0", "0", "762", "746"],
        ["second", "10", "10", "0", "0", "60", "60"],
        ["total", "18", "18", "0", "0", "822", "806"],
        ["network", "1,046", "1,030"],
    ]
    assert len({len(line) for line in lines}) == 1, "columns of numbers end where their titles end"


def test_network_without_selective_layers(raises):
    table = dyc.selective_layers(nn.Linear(3, 4))
    assert list(table) == []
    assert table.parameters == table.effective_parameters == 16
    assert str(table).splitlines()[1].split() == ["total", *"000000"]
    with raises("model", "", ""):
        dyc.selective_layers(torch.zeros(1))
