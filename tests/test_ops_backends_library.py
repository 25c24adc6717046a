"""The direct call of ``dyc::depthwise`` beside the operator, with the C++ kernels as what computes."""

import pytest
import torch
from support.backends import able

import ops
from ops.backends import library

pytestmark = pytest.mark.skipif("cpp" not in able("depthwise_conv2d"), reason="got no C++ backend here")
WINDOW = ops.Window((2, 1), (1, 2), (1, 1))


@pytest.fixture(autouse=True)
def built():
    ops.prepare_backend("cpp")


def drawn(frozen="", channels_last=True):
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x = torch.randn(2, 5, 6, 7).contiguous(memory_format=layout)
    return x.requires_grad_(frozen != "x"), torch.randn(2, 5, 3, 3).requires_grad_(frozen != "weight")


def derivatives(function, x, weight):
    """Return the output, the gradients, and the gradients of their squares."""
    leaves = [each for each in (x, weight) if each.requires_grad]
    y = function(x, weight)
    first = torch.autograd.grad(y.sin().sum(), leaves, create_graph=True)
    return y, *first, *torch.autograd.grad(sum(each.square().sum() for each in first), leaves)


@pytest.mark.parametrize("frozen", ["", "x", "weight"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_it_has_the_gradients_of_the_operator(frozen, channels_last):
    x, weight = drawn(frozen, channels_last)
    y = library.depthwise(x, weight, WINDOW)
    assert y.grad_fn.name() == "_DepthwiseBackward"
    wanted = derivatives(lambda x, weight: torch.ops.dyc.depthwise(x, weight, *WINDOW), x, weight)
    found = derivatives(lambda x, weight: library.depthwise(x, weight, WINDOW), x, weight)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs)
        assert ours.stride() == theirs.stride()


def test_nothing_is_kept_without_gradients():
    x, weight = drawn()
    with torch.no_grad():
        assert library.depthwise(x, weight, WINDOW).grad_fn is None
    assert library.depthwise(x.detach(), weight.detach(), WINDOW).grad_fn is None


def test_compilers_see_the_operator():
    x, weight = drawn()
    program = torch.export.export(Call(), (x, weight)).graph
    assert [str(node.target) for node in program.nodes if node.op == "call_function"] == ["dyc.depthwise.default"]


class Call(torch.nn.Module):
    def forward(self, x, weight):
        return library.depthwise(x, weight, WINDOW)
