"""Programs that AOTInductor compiles: the network's outputs, in a process that knows nothing of this package."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from support.without_the_package import outside
from torch import nn

import dyc
from dyc.export import compiled_programs
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


@pytest.mark.exhaustive  # AOTInductor writes C++ twice, which nobody compiles
def test_a_batch_that_aotinductor_fixes_is_found(tmp_path, raises, monkeypatch):
    """A package with as many groups as the traced batch needs returned NaN for one image."""
    net = dyc.DynamicConv2d(6, 6, 3, padding=1, groups=6, attention="dy").eval()
    monkeypatch.setattr(compiled_programs, "constant_attributes", nullcontext)
    monkeypatch.setattr(torch._inductor, "aoti_load_package", lambda path: lambda images: pytest.fail("it was run"))
    with (
        torch._inductor.config.patch({"aot_inductor.package_cpp_only": True}),
        raises("network", "cannot be exported for a batch of any size (it fixes the batch)"),
    ):
        save_aoti(net, tmp_path / "a.pt2", image=(6, 16, 16))


def compiles(monkeypatch, compile):
    """Let a function stand for AOTInductor, and return the list of programs that it is called with."""
    programs = []

    def stand_in(program, package_path, inductor_configs):
        programs.append(program)
        Path(package_path).write_bytes(b"compiled")
        compile(program)

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", stand_in)
    monkeypatch.setattr(torch._inductor, "aoti_load_package", lambda path: programs[-1].module())
    return programs


def test_attributes_of_operators_are_constant(tmp_path, monkeypatch):
    programs = compiles(monkeypatch, lambda program: None)
    depthwise = dyc.DynamicConv2d(4, 4, 3, padding=1, groups=4, attention="dyc")
    net = nn.Sequential(depthwise, dyc.DynamicConv2d(4, 6, 1, attention="eam")).eval()
    written = save_aoti(net, tmp_path / "a.pt2", image=(4, 8, 8))
    assert written.any_size, written.why_not
    assert (tmp_path / "a.pt2").read_bytes() == b"compiled"
    (program,) = programs
    calls = [(str(node.target), node.args) for node in program.graph.nodes if node.op == "call_function"]
    assert len(calls) > 10
    groups = [arguments[6] for name, arguments in calls if name == "aten.conv2d.default" and len(arguments) > 6]
    assert all(isinstance(number, int) for number in groups)
    assert [name for name, _ in calls if "adaptive" in name] == []  # AOTInductor fixes height and width of such pooling


def test_a_network_that_cannot_be_compiled(tmp_path, raises, monkeypatch):
    def fail(program):
        raise RuntimeError("C++ compile error\n\nof many lines")

    programs = compiles(monkeypatch, fail)
    with raises("network", "cannot be exported for a batch of any size (C++ compile error)"):
        save_aoti(nn.Conv2d(3, 4, 3), tmp_path / "a.pt2", image=(3, 8, 8))
    assert len(programs) == 2  # for images of any size, then of one
    assert list(tmp_path.iterdir()) == []


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
