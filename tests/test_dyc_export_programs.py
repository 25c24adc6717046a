"""Programs: the network's outputs at any batch and size, in a process that knows nothing of this package."""

import os

import pytest
import timm
import torch
from support.without_the_package import outside
from timm.layers import AvgPool2dSame
from torch import nn

import dyc
from dyc.export import programs
from dyc.export.programs import save_pt2


def layer() -> nn.Module:
    """Return a network of a kind of its own for each mechanism, small enough for the default suite."""
    first = dyc.DynamicConv2d(3, 6, 3, stride=2, padding=1, attention="dyc", num_kernels=2)
    second = dyc.DynamicConv2d(6, 6, 3, padding=1, groups=6, attention="dy", bias=False)
    return nn.Sequential(first, nn.BatchNorm2d(6), second, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def plain() -> nn.Module:
    """Return a network that is exported at once."""
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()


def test_sizes_that_are_divided_and_rounded_up_can_be_stored(tmp_path):
    network = nn.Sequential(AvgPool2dSame(2, 3), nn.Conv2d(3, 4, 3)).eval()
    assert save_pt2(network, tmp_path / "a.pt2", image=(3, 16, 16)).any_size
    program = torch.export.load(tmp_path / "a.pt2").module()
    for size in ((1, 3, 17, 21), (3, 3, 24, 19)):
        images = torch.randn(size)
        torch.testing.assert_close(program(images), network(images))


def test_any_batch_and_size(tmp_path):
    network = layer()
    written = save_pt2(network, tmp_path / "layer.pt2", image=(3, 16, 16))
    assert written.any_size
    assert written.difference <= 1e-5
    program = torch.export.load(tmp_path / "layer.pt2").module()
    for size in ((1, 3, 16, 16), (9, 3, 16, 16), (2, 3, 17, 40)):
        x = torch.randn(size)
        torch.testing.assert_close(program(x), network(x), rtol=1e-4, atol=1e-6)


def test_a_network_that_takes_one_size_is_written_for_it(tmp_path):
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 14 * 14, 4)).eval()
    written = save_pt2(network, tmp_path / "fixed.pt2", image=(3, 16, 16))
    assert not written.any_size
    assert written.why_not
    assert "one image size alone (" in str(written)
    program = torch.export.load(tmp_path / "fixed.pt2").module()
    assert program(torch.randn(5, 3, 16, 16)).shape == (5, 4)


def test_modes_and_random_numbers_are_kept(tmp_path):
    network = plain().train()
    network[1].eval()
    state = torch.get_rng_state()
    save_pt2(network, tmp_path / "plain.pt2", image=(3, 8, 8))
    assert torch.equal(torch.get_rng_state(), state)
    assert [network.training, network[0].training, network[1].training] == [True, True, False]


def test_a_program_that_differs_is_not_written(tmp_path, raises):
    class Noise(nn.Module):
        def forward(self, x):
            return x + torch.rand(())

    with raises("network", "its program differs by"):
        save_pt2(Noise(), tmp_path / "noise.pt2", image=(3, 8, 8))
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_cannot_be_exported(tmp_path, raises):
    class Loop(nn.Module):
        def forward(self, x):
            return x * (2 if x.sum() > 0 else 3)

    with raises("network", "cannot be exported for a batch of any size ("):
        save_pt2(Loop(), tmp_path / "loop.pt2", image=(3, 8, 8))


@pytest.mark.parametrize(
    ("path", "image", "argument"), [("x.onnx", (3, 8, 8), "path"), ("x.pt2", (3, 0, 8), "input_size")]
)
def test_wrong_arguments(tmp_path, path, image, argument):
    with pytest.raises(ValueError, match=f"{argument}: got"):
        save_pt2(layer(), tmp_path / path, image=image)


def test_a_file_that_cannot_be_written(tmp_path, raises, monkeypatch):
    with raises("path", "whose folder does not exist", "a file in a folder that exists"):
        save_pt2(plain(), tmp_path / "none/plain.pt2", image=(3, 8, 8))

    def fail(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(programs, "written_whole", fail)
    with raises("path", "No space left on device", "with enough space"):
        save_pt2(plain(), tmp_path / "plain.pt2", image=(3, 8, 8))


def fixing(dim):
    """Return a compiler that takes one size of the images for a constant, as AOTInductor does in silence."""

    def build(program):
        (name,) = program.graph_signature.user_inputs
        images = next(node.meta["val"] for node in program.graph.nodes if node.name == name)
        if not isinstance(images.shape[dim], int):
            int(images.shape[dim])
        return program.module()

    return build


@torch.no_grad()
def test_what_a_compiler_fixes(raises):
    written = programs.exported(plain(), (3, 8, 8), fixing(2))
    assert not written.any_size
    assert written.why_not == "it fixes the height"
    with raises("network", "cannot be exported for a batch of any size (it fixes the batch)"):
        programs.exported(plain(), (3, 8, 8), fixing(0))


def test_operators_of_this_package_are_refused(tmp_path, raises):
    network = nn.Sequential(dyc.DynamicConv2d(8, 8, 3, padding=1, groups=8, attention="dyc"))
    program = torch.export.export(network.eval(), (torch.randn(2, 8, 8, 8),))
    programs._check_operators(program)
    for node in program.graph.nodes:
        if node.op == "call_function":
            node.target = torch.ops.dyc.depthwise.default
    with raises("network", "needs dyc.depthwise.default", "PyTorch's own operators"):
        programs._check_operators(program)


NETWORKS = os.environ.get("DYC_EXPORTED_NETWORKS", "").split()
"""Names of networks to export whole, separated by spaces; each takes half a minute or more."""


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", NETWORKS or [None])
def test_a_network_without_this_package(name, images, tmp_path):
    network, image = layer(), (3, 16, 16)
    if name is not None:
        network, image = timm.create_model(name, num_classes=4).eval(), tuple(images(name).shape[1:])
    written = save_pt2(network, tmp_path / "network.pt2", image=image)
    print(name, written)
    assert written.any_size, written.why_not
    assert max(outside(tmp_path / "network.pt2", network, image, tmp_path)) <= 1e-4
