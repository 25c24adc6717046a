"""explain: the backend that would run a call, and why the others would not."""

import pytest
from support.backends import WEIGHT, X, depthwise, names

import ops


@pytest.mark.usefixtures("backend_registry")
def test_explain_names_the_choice_and_every_reason():
    ops.register_backend(depthwise("picky", lambda problem: ("got 3 channels, need 4", "got float32")))
    first, *lines = ops.explain(X, WEIGHT, backend="eager").splitlines()
    assert first == "backend 'eager' runs this call"
    assert "  eager: can run" in lines
    assert "  picky: got 3 channels, need 4; got float32" in lines
    assert len(lines) == len(names())


def test_explain_refuses_what_is_no_operator(raises):
    with raises("operator", "max", "one of ops.depthwise_conv2d"):
        ops.explain(max, X, WEIGHT)
