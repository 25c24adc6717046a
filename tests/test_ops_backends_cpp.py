"""The C++ backend beyond the cases that every backend passes: operators, second derivatives, threads."""

import pytest
import torch

import ops

STATUS = {status.name: status for status in ops.backends()}["cpp"]
pytestmark = pytest.mark.skipif(not STATUS.available, reason="; ".join(STATUS.reasons))

WINDOW = ((2, 1), (1, 2), (1, 1))  # stride, padding, dilation


def features(channels_last=True, dtype=torch.float32):
    x = torch.randn(3, 20, 9, 7, dtype=dtype)
    return x.contiguous(memory_format=torch.channels_last) if channels_last else x


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    ops.depthwise_conv2d(features(), torch.randn(3, 20, 3, 3), backend="cpp")


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("name", ["depthwise", "depthwise_grad_input", "depthwise_grad_weight"])
def test_operators_keep_the_rules_of_pytorch(name, channels_last):
    x, weight = features(channels_last), torch.randn(3, 20, 3, 3)
    y = torch.ops.dyc.depthwise(x, weight, *WINDOW)
    arguments = {
        "depthwise": (x, weight, *WINDOW),
        "depthwise_grad_input": (torch.randn_like(y), weight, x.shape[2:], *WINDOW),
        "depthwise_grad_weight": (torch.randn_like(y), x, weight.shape[2:], *WINDOW),
    }[name]
    arguments = tuple(a.requires_grad_() if isinstance(a, torch.Tensor) else a for a in arguments)
    torch.library.opcheck(getattr(torch.ops.dyc, name).default, arguments)


def derivatives(backend, x, weight, **window):
    """Return the gradients of a function of the output, and the gradients of a function of those."""
    asked = [t for t in (x, weight) if t.requires_grad]
    y = ops.depthwise_conv2d(x, weight, **window, backend=backend)
    first = torch.autograd.grad(y.square().sum(), asked, create_graph=True)
    return *first, *torch.autograd.grad(sum(g.square().sum() for g in first), asked)


@pytest.mark.parametrize("frozen", ["", "x", "weight"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (5, 3)])
@pytest.mark.parametrize("channels_last", [True, False])
def test_second_derivatives_equal_those_of_the_definition(channels_last, kernel, stride, frozen):
    x = features(channels_last).requires_grad_(frozen != "x")
    weight = torch.randn(3, 20, *kernel, requires_grad=frozen != "weight")
    window = {"stride": stride, "padding": kernel[0] // 2}
    ours = derivatives("cpp", x, weight, **window)
    exact = derivatives("eager", *(t.detach().double().requires_grad_(t.requires_grad) for t in (x, weight)), **window)
    assert len(ours) == (2 if frozen else 4)
    for found, want in zip(ours, exact, strict=True):
        assert found.shape == want.shape
        torch.testing.assert_close(found.double(), want, rtol=0, atol=1e-5 * want.abs().max().item())


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(3, 20, 9, 7), (1, 16, 40, 40)], ids=["many_units", "few_units"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_result_does_not_depend_on_the_number_of_threads(channels_last, size, stride, kernel):
    x = torch.randn(size).contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    x, weight = x.requires_grad_(), torch.randn(*size[:2], kernel, kernel, requires_grad=True)
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3, 4):
            torch.set_num_threads(count)
            y = ops.depthwise_conv2d(x, weight, stride=stride, padding=kernel // 2, backend="cpp")
            found.append((y, *torch.autograd.grad(y.square().sum(), (x, weight))))
    finally:
        torch.set_num_threads(threads)
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: ops.depthwise_conv2d(*(t.double() for t in PAIR), backend="cpp"), "got torch.float64, need float32"),
        (lambda: ops.depthwise_conv2d(*(t.to("meta") for t in PAIR), backend="cpp"), "got device meta, need cpu"),
    ],
)
def test_what_it_cannot_run(call, reason):
    with pytest.raises(ops.BackendUnavailable, match=reason):
        call()


PAIR = (torch.randn(1, 2, 5, 5), torch.randn(1, 2, 3, 3))


BAD_WINDOWS = {  # stride, padding, dilation
    r"stride: got \[1\]; need two numbers >= 1": ((1,), (1, 1), (1, 1)),
    r"stride: got \[0, 0\]; need": ((0, 0), (1, 1), (1, 1)),
    r"padding: got \[1, -1\]; need two numbers >= 0": ((1, 1), (1, -1), (1, 1)),
    r"padding: got \[1, 1, 1\]; need": ((1, 1), (1, 1, 1), (1, 1)),
    r"dilation: got \[0, 1\]; need two numbers >= 1": ((1, 1), (1, 1), (0, 1)),
    r"dilation: got \[1, -1\]; need": ((1, 1), (1, 1), (1, -1)),
    r"kernel: got \[3, 3\] with dilation \[1, 4\]; need one within the image of \[9, 7\]": ((1, 2), (0, 0), (1, 4)),
}


@pytest.mark.parametrize("name", ["depthwise", "depthwise_grad_input", "depthwise_grad_weight", "attended_depthwise"])
@pytest.mark.parametrize("message", BAD_WINDOWS)
def test_operators_called_directly_refuse_a_bad_window(message, name, draw_layer):
    x, weight, (_, _, bank, branch) = features(), torch.randn(3, 20, 3, 3), draw_layer()
    arguments = {
        "depthwise": (x, weight),
        "depthwise_grad_input": (torch.randn_like(x), weight, x.shape[2:]),
        "depthwise_grad_weight": (torch.randn_like(x), x, weight.shape[2:]),
        "attended_depthwise": (x, bank, *branch),
    }[name]
    with torch.no_grad(), pytest.raises(RuntimeError, match=message):
        getattr(torch.ops.dyc, name)(*arguments, *BAD_WINDOWS[message])
