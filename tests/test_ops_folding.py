"""Convolutions of each sample with its own kernels in programs that are exported for any batch size."""

import pytest
import torch
from torch import nn
from torch.export import Dim, export

import ops

SHAPES = {"depthwise": (8, 8), "grouped": (12, 4), "dense": (6, 1)}  # output channels and groups for 8 channels
FORMATS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}


class PerSample(nn.Module):
    def __init__(self, groups):
        super().__init__()
        self.groups = groups

    def forward(self, x, kernels):
        options = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": self.groups}
        return ops.per_sample_conv2d(x, kernels, **options, backend="eager")


def tensors(shape, batch, memory_format="nchw", dtype=torch.float32):
    channels, groups = SHAPES[shape]
    x = torch.randn(batch, 8, 9, 7, dtype=dtype).contiguous(memory_format=FORMATS[memory_format])
    return x, torch.randn(batch, channels, 8 // groups, 3, 3, dtype=dtype)


def exported(shape, *form, strict=False):
    """Return an operator and its program for any batch size."""
    operator, batch = PerSample(SHAPES[shape][1]), {0: Dim("batch", min=0)}
    program = export(operator, tensors(shape, 4, *form), dynamic_shapes=(batch, batch), strict=strict)
    return operator, program


def convolutions(program):
    return [node for node in program.graph.nodes if "conv" in str(node.target)]


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_any_number_of_samples(shape, memory_format):
    operator, program = exported(shape, memory_format)
    for batch in (0, 1, 2, 5):
        arguments = tensors(shape, batch, memory_format)
        y, want = program.module()(*arguments), operator(*arguments)
        torch.testing.assert_close(y, want)
        assert y.is_contiguous(memory_format=FORMATS[memory_format])


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients(shape):
    operator, program = exported(shape, "nchw", torch.float64)
    for batch in (0, 1, 3):
        arguments = [t.requires_grad_() for t in tensors(shape, batch, "nchw", torch.float64)]
        y, want = program.module()(*arguments), operator(*arguments)
        weight = torch.randn_like(want)
        torch.testing.assert_close(*(torch.autograd.grad(out, arguments, weight) for out in (y, want)))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_strict_export(shape):
    _, program = exported(shape, strict=True)
    assert program.module()(*tensors(shape, 0)).shape[0] == 0


@pytest.mark.parametrize("strict", [False, True])
def test_a_program_for_one_batch_size_has_the_plain_convolution(strict):
    program = export(PerSample(8), tensors("depthwise", 3), strict=strict)
    (convolution,) = convolutions(program)
    assert convolution.args[-1] == 3 * 8
    assert not [node for node in program.graph.nodes if "pad" in str(node.target)]


@pytest.mark.parametrize("shape", SHAPES)
def test_no_groups_of_the_batch_for_onnx(shape, monkeypatch):
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    operator, program = exported(shape)
    assert convolutions(program) == []
    for batch in (0, 1, 5):
        arguments = tensors(shape, batch)
        torch.testing.assert_close(program.module()(*arguments), operator(*arguments))


def test_no_groups_of_the_batch_for_compilers():
    with ops.constant_attributes():
        operator, program = exported("depthwise")
    assert convolutions(program) == []
    for batch in (0, 1, 5):
        arguments = tensors("depthwise", batch)
        torch.testing.assert_close(program.module()(*arguments), operator(*arguments))
    assert convolutions(exported("depthwise")[1]) != []


def test_the_width_does_not_depend_on_the_height():
    """As a quotient of pixels and height, it could not be compared with the width of other features."""
    sizes = {0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO}
    program = export(PerSample(1), tensors("dense", 4), dynamic_shapes=(sizes, {0: Dim.AUTO}), strict=False)
    (y,) = (node.args[0][0].meta["val"] for node in program.graph.nodes if node.op == "output")
    symbols = [size.node.expr.free_symbols for size in y.shape[2:]]
    assert [len(each) for each in symbols] == [1, 1]
    assert symbols[0] != symbols[1]
