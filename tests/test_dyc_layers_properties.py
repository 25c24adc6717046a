"""DynamicConv2d and SelectiveConv2d over the arguments of their constructors: right as defined, or refused by name."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from support.property_branches import sensitivity
from support.property_checks import BACKENDS, uncompiled
from support.property_convolutions import BATCHES, KERNELS, PADDINGS, PIXELS, steps
from support.property_settings import cases
from support.property_tensors import LAYOUTS, check_close, draw, exact
from support.property_wrong import ANYTHING, CHANGES

import dyc
import ops
from dyc.layers import attention_kinds

DTYPES = (torch.float32, torch.float64, torch.bfloat16)


@pytest.fixture(autouse=True, scope="module")
def _uncompiled():
    with uncompiled():
        yield


@st.composite
def sizes(draw_, grouped: bool):
    """Draw what both layers are built with: channels that groups may not divide, windows that may not fit."""
    inputs = draw_(st.sampled_from([8, 1, 3, 16, 17, 20]))
    groups = draw_(st.sampled_from([inputs, 1, 2])) if grouped else 1
    outputs = inputs if groups == inputs else draw_(st.sampled_from([8, 1, 6]))
    sizes = {
        "in_channels": inputs,
        "out_channels": outputs,
        "kernel_size": draw_(st.one_of(KERNELS, st.integers(1, 3))),
    }
    sizes |= {"stride": draw_(steps(3)), "padding": draw_(PADDINGS), "dilation": draw_(steps(2))}
    return sizes | {"bias": draw_(st.booleans())} | ({"groups": groups} if grouped else {})


def refused(arguments: dict, size: tuple[int, int]) -> set[str]:
    """Name the arguments that one of the constructor or the call has to refuse."""
    groups, padding = arguments.get("groups", 1), arguments["padding"]
    kernel, stride, dilation = (ops.pair(n, arguments[n], 1) for n in ("kernel_size", "stride", "dilation"))
    if arguments["in_channels"] % groups or arguments["out_channels"] % groups:
        return {"groups"}
    spans = [d * (k - 1) for k, d in zip(kernel, dilation)]
    if padding == "same":
        return {"padding"} if stride != (1, 1) or any(span % 2 for span in spans) else set()
    both = (0, 0) if padding == "valid" else ops.pair("padding", padding, 0)
    return set() if all(n + 2 * p > s for n, p, s in zip(size, both, spans)) else {"x"}


def definition(layer: dyc.DynamicConv2d, x: torch.Tensor) -> torch.Tensor:
    """Convolve one sample after the other with kernels mixed by what the layer's branch says."""
    weights = layer.attention(x)
    weights = weights if isinstance(weights, ops.KernelAttention) else ops.KernelAttention(weights)
    images = []
    for n in range(len(x)):
        shares = weights.kernels[n].reshape(layer.num_kernels, -1)
        kernel = (shares[:, :, None, None, None] * layer.weight).sum(0)
        kernel = kernel if weights.taps is None else kernel * weights.taps[n]
        image = x[n] if weights.inputs is None else x[n] * weights.inputs[n][:, None, None]
        bias = None if layer.bias is None else (shares * layer.bias).sum(0)
        window = layer.stride, layer.padding, layer.dilation, layer.groups
        images.append(F.conv2d(image[None], kernel, bias, *window))
    return torch.cat(images)


def hold(layer, define, x: torch.Tensor, names: list[str], roundings: int) -> None:
    """Hold a layer's output and gradients to its definition in float64."""
    parameters = dict(layer.named_parameters())
    leaves = {"x": x, **{name: parameters[name] for name in names}}
    y = layer(x)
    assert y.dtype == x.dtype
    generator = torch.Generator().manual_seed(1)
    toward = draw(tuple(y.shape), y.dtype, "dense", generator)
    found = [y, *torch.autograd.grad(y, [*leaves.values()], toward)]
    wide = copy.deepcopy(layer).double()

    def defined(**values):
        wanted = define(wide, values)
        return [wanted.detach(), *torch.autograd.grad(wanted, [*values.values()], exact(toward))]

    doubles = {name: exact(t).requires_grad_() for name, t in leaves.items()}
    for name, got, want, bound in zip(["y", *leaves], found, defined(**doubles), sensitivity(defined, doubles)):
        check_close(name, got, want, bound.expand(want.shape), roundings)


@cases(0.06)
@given(sizes(grouped=True), st.data())
def test_dynamic_conv2d(arguments, data):
    kind = data.draw(st.sampled_from(attention_kinds()), "attention")
    arguments |= {"attention": kind, "num_kernels": data.draw(st.integers(1, 4), "num_kernels")}
    arguments["temperature"] = data.draw(st.sampled_from([30.0, 1, 0.3]), "temperature")
    arguments["mixing"] = data.draw(st.sampled_from(["auto", "kernels", "features", "mode"]), "mixing")
    arguments["backend"] = data.draw(st.sampled_from(["auto", "auto", *BACKENDS]), "backend")
    dtype, batch = data.draw(st.sampled_from(DTYPES), "dtype"), data.draw(BATCHES.filter(bool), "batch")
    size = data.draw(PIXELS, "height"), data.draw(PIXELS, "width")
    layout, training = data.draw(st.sampled_from([*LAYOUTS]), "layout"), data.draw(st.booleans(), "training")
    wrong, error = refused(arguments, size), None
    torch.manual_seed(0)
    x = draw((batch, arguments["in_channels"], *size), dtype, layout, torch.Generator().manual_seed(0)).requires_grad_()
    try:
        layer = dyc.DynamicConv2d(**arguments).train(training)
        if layer.bias is not None:
            torch.nn.init.normal_(layer.bias)
        layer = layer.to(dtype)
        layer(x)
    except (ops.ArgumentError, ops.BackendUnavailable) as raised:
        error = raised
    if isinstance(error, ops.ArgumentError):
        taps = kind == "odconv" and arguments["mixing"] == "features"
        assert error.argument in (wrong or ({"mixing"} if taps else set())), str(error)
        return
    if error is not None:
        assert arguments["backend"] in ("cpp", "compile", "cupy"), str(error)
        return
    assert not wrong
    names = ["weight"] + ([] if layer.bias is None else ["bias"])

    def define(wide, values):
        return torch.func.functional_call(_Defined(wide), {f"layer.{n}": values[n] for n in names}, (values["x"],))

    hold(layer, define, x, names, 32)


class _Defined(torch.nn.Module):
    """A layer, computed by its definition."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return definition(self.layer, x)


@cases(0.03)
@given(sizes(grouped=False), st.data())
def test_selective_conv2d(arguments, data):
    channels, size = arguments["in_channels"], (data.draw(PIXELS, "height"), data.draw(PIXELS, "width"))
    closed = data.draw(st.sets(st.integers(0, channels - 1)), "closed channels")
    read = {
        slot: data.draw(st.integers(0, channels - 1), "source")
        for slot in data.draw(st.sets(st.sampled_from(range(channels)), max_size=4), "slots")
    }
    backend, training = (
        data.draw(st.sampled_from(["auto", "eager", "cpp"]), "backend"),
        data.draw(st.booleans(), "training"),
    )
    layout, batch = data.draw(st.sampled_from([*LAYOUTS]), "layout"), data.draw(st.sampled_from([3, 2, 5]), "batch")
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]), "dtype")
    wrong, error, padding = refused(arguments, size), None, arguments["padding"]
    if padding == "same" and ops.pair("stride", arguments["stride"], 1) == (1, 1):
        wrong = set()  # torch.nn.Conv2d pads more on one side
    x = draw((batch, channels, *size), dtype, layout, torch.Generator().manual_seed(0)).requires_grad_()
    torch.manual_seed(0)
    try:
        layer = dyc.SelectiveConv2d(**arguments).train(training).to(dtype)
        layer.backend = backend
        with torch.no_grad():
            layer.mask[[*closed]] = False
            for slot, source in read.items():
                layer.pointers[slot] = source
            layer.shift.copy_(torch.randn(layer.shift.shape))
        layer.refresh()
        layer(x)
    except (ops.ArgumentError, ops.BackendUnavailable) as raised:
        error = raised
    if isinstance(error, ops.ArgumentError):
        assert error.argument in wrong, str(error)
        return
    if error is not None:
        assert (backend, dtype) == ("cpp", torch.float64)
        return
    assert not wrong
    plain = copy.deepcopy(layer).double()
    plain.backend = "eager"  # held to its definition by test_ops_rewiring_properties.py

    def define(wide, values):
        norm = layer.norm
        x = ops.rewire_channels(
            values["x"], plain.slots, plain.sources, plain.shift.detach()[plain.slots], backend="eager"
        )
        if not training:
            x = (x - norm.running_mean.double()[:, None, None]) / (
                norm.running_var.double()[:, None, None] + norm.eps
            ).sqrt()
        else:
            x = F.batch_norm(x, None, None, training=True, eps=norm.eps)
        x = F.relu(x) * layer.mask[:, None, None]
        bias = None if layer.conv.bias is None else layer.conv.bias.double()
        return F.conv2d(x, values["conv.weight"], bias, *(arguments[n] for n in ("stride", "padding", "dilation")))

    if training and batch * size[0] * size[1] < 8:
        return  # few values, of which a BatchNorm makes any: how exact is open
    hold(layer.eval() if not training else layer, define, x, ["conv.weight"], 8)


LAYERS = {
    "dynamic": (
        dyc.DynamicConv2d,
        {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "stride": 1, "padding": 1}
        | {"dilation": 1, "groups": 2, "bias": True, "num_kernels": 3, "attention": "dyc", "temperature": 30.0}
        | {"mixing": "auto", "backend": "auto", "attention_kwargs": None},
    ),
    "selective": (
        dyc.SelectiveConv2d,
        {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "stride": 1, "padding": 1}
        | {"dilation": 1, "bias": True, "reallocate": True, "drop_rate": 0.0},
    ),
}
IMAGES = torch.randn(2, 4, 5, 6)


@st.composite
def wrong_layers(draw_):
    name = draw_(st.sampled_from([*LAYERS]))
    names = st.sampled_from(["x", *sorted({*LAYERS[name][1]} - {"bias", "reallocate"})])  # these are true or not
    changes = {
        n: draw_(st.sampled_from([*CHANGES]) if n == "x" else st.integers(0, len(ANYTHING) - 1))
        for n in draw_(st.lists(names, min_size=1, max_size=2, unique=True))
    }
    return name, changes


@cases(0.08)
@given(wrong_layers())
def test_a_layer_runs_or_says_what_is_wrong(call):
    name, changes = call
    build, right = LAYERS[name]
    arguments = {**right, **{n: ANYTHING[to] for n, to in changes.items() if n != "x"}}
    huge = {n for n, value in arguments.items() if isinstance(value, int) and value >= 2**31 - 1}
    assume(not huge - {"stride", "dilation"})  # right, if there were the memory
    x = CHANGES[changes["x"]](IMAGES) if "x" in changes else IMAGES
    try:
        y = build(**arguments)(x)
    except (ops.ArgumentError, ops.BackendUnavailable):
        return
    assert isinstance(y, torch.Tensor)


ONCE_WRONG = {
    "no_channels": (lambda: dyc.SelectiveConv2d(0, 6, 3), "in_channels"),
    "no_stride": (lambda: dyc.SelectiveConv2d(4, 6, 3, stride=0), "stride"),
    "unknown_padding": (lambda: dyc.SelectiveConv2d(4, 6, 3, padding="smae"), "padding"),
    "small_image": (lambda: dyc.SelectiveConv2d(4, 6, 3)(IMAGES[..., :2]), "x"),
    "other_channels": (lambda: dyc.SelectiveConv2d(5, 6, 3)(IMAGES), "x"),
    "no_tensor": (lambda: dyc.DynamicConv2d(4, 6, 3)(None), "x"),
    "other_channels_of_a_branch": (lambda: dyc.DynamicConv2d(5, 6, 3, attention="odconv")(IMAGES), "x"),
    "other_dtype": (lambda: dyc.DynamicConv2d(4, 6, 3, attention="condconv")(IMAGES.double()), "x"),
}


@pytest.mark.parametrize(("call", "argument"), ONCE_WRONG.values(), ids=ONCE_WRONG)
def test_arguments_that_once_ended_in_another_error(call, argument):
    with pytest.raises(ops.ArgumentError) as error:
        call()
    assert error.value.argument == argument
