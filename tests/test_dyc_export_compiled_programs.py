"""Programs that AOTInductor compiles: the network's outputs, in a process that knows nothing of this package."""

import pytest
import torch
from support.without_the_package import outside
from torch import nn

import dyc
from dyc.export.compiled_programs import save_aoti
from lightning_modules.cli import main
from lightning_modules.prediction.program_network import ProgramNetwork


def selective() -> nn.Module:
    """Return selective layers with closed, re-used and shifted channels, made compact."""
    layers = nn.Sequential(dyc.SelectiveConv2d(8, 6, 1), dyc.SelectiveConv2d(6, 4, 3, padding=1, bias=True)).eval()
    for layer in layers:
        layer.mask[[0, 2]] = False
        with torch.no_grad():
            layer.pointers[1] = 3
            layer.shift.uniform_(-1.5, 1.5)
        layer.refresh()
    return dyc.compact(layers, input_size=(8, 8, 8))


def network() -> nn.Module:
    """Return a network with each kind of dynamic convolution, and selective layers."""
    return nn.Sequential(
        dyc.DynamicConv2d(3, 8, 3, stride=2, padding=1, attention="dyc", num_kernels=2),
        nn.BatchNorm2d(8),
        dyc.DynamicConv2d(8, 8, 3, padding=1, groups=8, attention="dyc", bias=False),
        dyc.DynamicConv2d(8, 8, 3, padding=1, groups=4, attention="odconv"),
        dyc.DynamicConv2d(8, 8, 1, attention="eam"),
        selective(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ).eval()


@pytest.mark.exhaustive  # a compiler takes a minute
def test_without_this_package(tmp_path, raises, monkeypatch):
    monkeypatch.setenv("AOTI_RUNTIME_CHECK_INPUTS", "0")  # so that it is as before afterwards
    image, net = (3, 16, 16), network()
    written = save_aoti(net, tmp_path / "network.pt2", image=image, preparation={"mean": [0.5]})
    assert written.any_size, written.why_not
    assert [path.name for path in tmp_path.iterdir()] == ["network.pt2"]
    assert max(outside(tmp_path / "network.pt2", net, image, tmp_path, kind="aoti")) <= 1e-5
    predicting = ProgramNetwork(str(tmp_path / "network.pt2"))
    assert predicting.preparation["mean"] == [0.5]
    images = torch.randn(1, *image)
    torch.testing.assert_close(torch.from_numpy(predicting(images.numpy())), net(images), rtol=1e-4, atol=1e-5)
    with raises("model", "which failed for a batch (1, 1, 16, 16)", "a network for such images"):
        predicting(images[:, :1].numpy())


def test_attributes_of_operators_are_constant(tmp_path, monkeypatch):
    programs = []

    def compile(program, package_path, inductor_configs):
        programs.append(program)
        raise RuntimeError("no time")

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", compile)
    with pytest.raises(ValueError, match=r"cannot be exported for a batch of any size \(no time\)"):
        save_aoti(network(), tmp_path / "a.pt2", image=(3, 16, 16))
    assert list(tmp_path.iterdir()) == []
    assert len(programs) == 2  # for images of any size, then of one
    for program in programs:
        calls = [(str(node.target), node.args) for node in program.graph.nodes if node.op == "call_function"]
        groups = [arguments[6] for name, arguments in calls if name == "aten.conv2d.default" and len(arguments) > 6]
        assert all(isinstance(number, int) for number in groups)
        # Of other pooling, AOTInductor fixes height and width.
        assert [arguments[1] for name, arguments in calls if "adaptive" in name] == [[1, 1]]


def test_a_network_elsewhere(tmp_path, raises):
    with raises("network", "one on meta", "one on cpu"):
        save_aoti(nn.Conv2d(3, 4, 3, device="meta"), tmp_path / "a.pt2", image=(3, 8, 8))


def test_no_compiler(tmp_path, monkeypatch, capsys):
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    def fail():
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", fail)
    monkeypatch.chdir(tmp_path)
    assert main(["export", "test_resnet", "--format=aoti", "--output=a.pt2"]) == 2
    assert "aoti: got no C++ compiler; need a C++ compiler, such as g++" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
