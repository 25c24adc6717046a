"""Wrong arguments of any kind, two at a time: an operator runs, or says in an error of its own what is wrong."""

import warnings

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from support.property_checks import BACKENDS, uncompiled
from support.property_settings import cases
from support.property_wrong import ANYTHING, CHANGES

import ops


@pytest.fixture(autouse=True, scope="module")
def _uncompiled():
    with uncompiled():
        yield


WINDOW = {"stride": 1, "padding": 1, "dilation": 1}
MIXED = {**WINDOW, "groups": 2, "mixing": "auto", "backend": "auto"}
X = torch.randn(2, 4, 5, 6)
BANK, DEPTHWISE_BANK = torch.randn(3, 6, 2, 3, 3), torch.randn(3, 4, 1, 3, 3)
BRANCH = {"fc1": torch.randn(5, 4), "bias1": torch.randn(5), "fc2": torch.randn(3, 5), "bias2": torch.randn(3)}


def attended(x, weight, fc1, bias1, fc2, bias2, temperature, branch, **options):
    made = ops.GlobalBranch(fc1, bias1, fc2, bias2, temperature)
    return ops.attended_conv2d(x, weight, made if isinstance(branch, str) else branch, **options)


def scaled(x, weight, kernels, inputs, taps, attention, **options):
    made = ops.KernelAttention(kernels, inputs, taps)
    return ops.scaled_conv2d(x, weight, made if isinstance(attention, str) else attention, **options)


RIGHT = {
    "depthwise": (ops.depthwise_conv2d, {"x": X, "weight": torch.randn(2, 4, 3, 3), **WINDOW, "backend": "auto"}),
    "per_sample": (
        ops.per_sample_conv2d,
        {"x": X, "weight": torch.randn(2, 6, 2, 3, 3), **WINDOW, "groups": 2, "backend": "auto"},
    ),
    "dynamic": (
        ops.dynamic_conv2d,
        {"x": X, "weight": BANK, "attention": torch.rand(2, 3), "bias": torch.randn(3, 6), **MIXED},
    ),
    "dynamic_depthwise": (
        ops.dynamic_conv2d,
        {"x": X, "weight": DEPTHWISE_BANK, "attention": torch.rand(2, 3, 4), "bias": None, **MIXED, "groups": 4},
    ),
    "mix": (ops.mix_kernels, {"weight": BANK, "attention": torch.rand(2, 3, 6)}),
    "scaled": (
        scaled,
        {"x": X, "weight": BANK, "kernels": torch.rand(2, 3), "inputs": torch.rand(2, 4), "taps": torch.rand(2, 3, 3)}
        | {"attention": "made", "bias": torch.randn(3, 6), **MIXED},
    ),
    "attended": (
        attended,
        {"x": X, "weight": BANK, **BRANCH, "temperature": torch.tensor(3.0), "branch": "made"}
        | {"bias": torch.randn(3, 6), **MIXED},
    ),
    "attended_depthwise": (
        attended,
        {"x": X.contiguous(memory_format=torch.channels_last), "weight": DEPTHWISE_BANK, **BRANCH}
        | {"temperature": torch.tensor(3.0), "branch": "made", "bias": None, **MIXED, "groups": 4},
    ),
    "rewire": (
        ops.rewire_channels,
        {"x": X, "slots": torch.tensor([3, 1]), "sources": torch.tensor([0, 1]), "shift": torch.randn(2, 2)}
        | {"backend": "auto"},
    ),
}


@st.composite
def wrong_calls(draw):
    """Draw a call that is right but for one or two arguments, as what changes; all of it prints in one line."""
    name = draw(st.sampled_from([*RIGHT]))
    arguments = RIGHT[name][1]
    changes = {}
    for argument in draw(
        st.lists(st.sampled_from([*arguments]), min_size=1, max_size=draw(st.sampled_from([1, 1, 2])), unique=True)
    ):
        is_tensor = isinstance(arguments[argument], torch.Tensor)
        to = st.sampled_from([*CHANGES]) if is_tensor else st.integers(0, len(ANYTHING) - 1)
        changes[argument] = draw(st.one_of(to, st.integers(0, len(ANYTHING) - 1)))
    return name, draw(st.sampled_from([None, *BACKENDS])), draw(st.booleans()), changes


def changed(arguments: dict, changes: dict) -> dict:
    made = {n: CHANGES[to](arguments[n]) if isinstance(to, str) else ANYTHING[to] for n, to in changes.items()}
    return {**arguments, **made}


@cases(0.25)
@given(wrong_calls())
def test_an_operator_runs_or_says_what_is_wrong(call):
    name, backend, autocast, changes = call
    run, right = RIGHT[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sparse and nested tensors, which are new
        arguments = changed(right, changes)
    if backend and "backend" in arguments and "backend" not in changes:
        arguments["backend"] = backend
    assume(not isinstance(arguments.get("padding"), int) or arguments["padding"] < 2**31 - 1)  # right, with the memory
    try:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            y = run(**arguments)
    except (ops.ArgumentError, ops.BackendUnavailable):
        return
    assert isinstance(y, torch.Tensor)


# The smallest cases of what once ended in an error of Python or PyTorch; the numbers are places in ANYTHING.
NONE, ARRAY, TEXT = ANYTHING.index(None), len(ANYTHING) - 6, ANYTHING.index("")
ONCE_WRONG = [
    ("depthwise", {"weight": NONE}),
    ("depthwise", {"x": "sparse"}),
    ("depthwise", {"x": "to_float8_e4m3fn"}),
    ("depthwise", {"stride": ANYTHING.index(2**70)}),
    ("depthwise", {"backend": ARRAY}),
    ("dynamic", {"bias": TEXT}),
    ("mix", {"attention": "to_float64"}),
    ("mix", {"weight": "size_0_-9"}),
    ("scaled", {"attention": NONE}),
    ("scaled", {"bias": "size_1_+1"}),
    ("attended", {"branch": NONE}),
    ("attended", {"fc1": "to_float64"}),
    ("attended", {"temperature": "meta"}),
    ("attended", {"mixing": ARRAY}),
    ("attended_depthwise", {"temperature": "sparse"}),
    ("attended_depthwise", {"x": "one_dimension_less"}),
]


@pytest.mark.parametrize(("name", "changes"), ONCE_WRONG)
def test_arguments_that_once_ended_in_another_error(name, changes):
    run, right = RIGHT[name]
    with pytest.raises(ops.ArgumentError):
        run(**changed(right, changes))
