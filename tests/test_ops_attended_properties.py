"""The attended convolution over all of its arguments; see test_ops_functional_properties.py."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.property_branches import BRANCH, attention_of, sensitivity
from support.property_checks import USUALLY_AUTO, outcome, uncompiled
from support.property_convolutions import calls
from support.property_settings import cases
from support.property_tensors import check_close, exact, magnitude

import ops
from ops import reference


@pytest.fixture(autouse=True, scope="module")
def _uncompiled():
    with uncompiled():
        yield


@cases(0.06)
@given(calls(USUALLY_AUTO, ("x", "weight", "bias", *BRANCH)), st.data())
def test_attended_conv2d(call, data):
    shapes, hidden = call.shapes(), data.draw(st.integers(1, 18), "hidden")
    del shapes["attention"]
    rows = call.kernels * (call.outputs if call.per_channel else 1)
    branch = {
        "fc1_weight": (hidden, call.inputs),
        "fc1_bias": (hidden,),
        "fc2_weight": (rows, hidden),
        "fc2_bias": (rows,),
    }
    left_out = data.draw(st.sets(st.sampled_from(["fc1_bias", "fc2_bias"])), "left out")
    tensors = call.tensors({**shapes, **{name: shape for name, shape in branch.items() if name not in left_out}})
    temperature = data.draw(st.sampled_from([1.0, 0.1, 30.0]), "temperature")
    options = {**call.window, "groups": call.groups}

    def run(x, weight, bias=None, **given_branch):
        of_branch = [given_branch.get(name) for name in BRANCH]
        branch = ops.GlobalBranch(*of_branch, torch.tensor(temperature, dtype=call.dtype))
        return ops.attended_conv2d(x, weight, branch, bias, **options, mixing=call.mixing, backend=call.backend)

    y = outcome(call, run, tensors)
    if y is None:
        return
    asked = [name for name in tensors if name in call.asks]
    differentiates = bool(asked) and call.mode == "grad"
    assert (y.dtype, y.requires_grad) == (call.dtype, differentiates)
    toward = call.gradient(y)

    def define(x, weight, bias=None, **given_branch):
        of_branch = [given_branch.get(name) for name in BRANCH]
        attention = attention_of(x, *of_branch, float(torch.tensor(temperature, dtype=call.dtype)), call.kernels)
        want = reference.dynamic_conv2d(x, weight, attention, bias, **options)
        leaves = {"x": x, "weight": weight, "bias": bias, **given_branch}
        gradients = torch.autograd.grad(want, [leaves[name] for name in asked], exact(toward)) if differentiates else ()
        return [want.detach(), *gradients]

    found = [y]
    if differentiates:
        found += torch.autograd.grad(y, [tensors[name] for name in asked], toward)
    wants = {name: exact(t).requires_grad_(name in asked) for name, t in tensors.items()}
    # Where a softmax is all but decided, its gradient is a difference of nearly equal values, divided by the
    # temperature: what a bit of these comes to.
    sizes = [magnitude(t).amax() for name, t in tensors.items() if t.numel() and not name.endswith("bias")]
    cancelled = 1e-2 * magnitude(toward).sum() * torch.stack(sizes).prod() / temperature
    names = ["output", *(f"gradient of {name}" for name in asked)]
    for name, got, want, bound in zip(names, found, define(**wants), sensitivity(define, wants)):
        if call.dtype.itemsize < 4 and name != "output":  # rounding lets units of the hidden layer go on or off
            assert got.shape == want.shape
            assert got.isfinite().all()
        else:
            check_close(name, got, want, (bound + cancelled).expand(want.shape), 32)
