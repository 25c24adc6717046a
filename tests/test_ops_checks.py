"""Every argument that cannot be used is named, with what was got and what is needed."""

import pickle

import pytest
import torch

import ops

X = torch.randn(2, 6, 9, 8)

DEPTHWISE = {
    "x_three_dimensions": ({"x": X[0]}, "x", "shape (6, 9, 8)", "x.unsqueeze(0) makes of one image"),
    "x_integers": ({"x": X.long()}, "x", "torch.int64", "floating point"),
    "x_no_channels": ({"x": X[:, :0]}, "x", "shape (2, 0, 9, 8)", "channel"),
    "x_no_pixels": ({"x": X[..., :0], "padding": 3}, "x", "shape (2, 6, 9, 0)", "pixel"),
    "x_smaller_than_the_kernel": ({"x": X[:, :, :2]}, "x", "2 x 8 pixels", "kernel of 3 x 3"),
    "x_smaller_than_the_dilated_kernel": ({"dilation": 5}, "x", "9 x 8 pixels", "dilation (5, 5) and padding (0, 0)"),
    "weight_five_dimensions": ({"weight": torch.randn(2, 6, 1, 3, 3)}, "weight", "(2, 6, 1, 3, 3)", "(B, C, kH, kW)"),
    "weight_other_batch": ({"weight": torch.randn(1, 6, 3, 3)}, "weight", "(1, 6, 3, 3)", "x of shape (2, 6, 9, 8)"),
    "weight_other_channels": ({"weight": torch.randn(2, 5, 3, 3)}, "weight", "(2, 5, 3, 3)", "(B, C, kH, kW)"),
    "weight_without_taps": ({"weight": torch.randn(2, 6, 0, 3)}, "weight", "(2, 6, 0, 3)", "none of C, kH and kW 0"),
    "weight_dtype": ({"weight": torch.randn(2, 6, 3, 3).double()}, "weight", "torch.float64", "torch.float32 on cpu"),
    "weight_device": ({"weight": torch.randn(2, 6, 3, 3, device="meta")}, "weight", "on meta", "torch.float32 on cpu"),
    "stride_zero": ({"stride": 0}, "stride", "0", "each at least 1"),
    "stride_triple": ({"stride": (1, 1, 1)}, "stride", "(1, 1, 1)", "one int or a pair"),
    "stride_float": ({"stride": 1.0}, "stride", "1.0", "one int or a pair"),
    "stride_bool": ({"stride": True}, "stride", "True", "one int or a pair"),
    "stride_none": ({"stride": None}, "stride", "None", "one int or a pair"),
    "padding_negative": ({"padding": (0, -1)}, "padding", "(0, -1)", "each at least 0"),
    "padding_unknown": ({"padding": "circular"}, "padding", "'circular'", "'valid', or 'same'"),
    "padding_same_with_stride": ({"padding": "same", "stride": 2}, "padding", "stride (2, 2)", "'same' with stride 1"),
    "padding_same_with_even_kernel": (
        {"padding": "same", "weight": torch.randn(2, 6, 2, 3)},
        "padding",
        "kernel (2, 3)",
        "kernels of odd extent",
    ),
    "dilation_zero": ({"dilation": (1, 0)}, "dilation", "(1, 0)", "each at least 1"),
    "backend_misspelt": ({"backend": "eagr"}, "backend", "'eagr' (did you mean 'eager'?)", "'auto', "),
    "backend_unlike_any": ({"backend": "quantum"}, "backend", "'quantum'", "'auto', "),
}


@pytest.mark.parametrize("function", [ops.depthwise_conv2d, ops.explain])
@pytest.mark.parametrize(("changes", "argument", "got", "need"), DEPTHWISE.values(), ids=DEPTHWISE)
def test_depthwise_conv2d(raises, function, changes, argument, got, need):
    with raises(argument, got, need):
        function(**{"x": X, "weight": torch.randn(2, 6, 3, 3), **changes})


DYNAMIC = {
    "x_three_dimensions": ({"x": X[0]}, "x", "shape (6, 9, 8)", "(B, C, H, W)"),
    "x_smaller_than_the_kernel": ({"x": X[..., :2]}, "x", "9 x 2 pixels", "kernel of 3 x 3"),
    "weight_four_dimensions": ({"weight": torch.randn(4, 3, 3, 3)}, "weight", "(4, 3, 3, 3)", "(K, C_out, C_in/groups"),
    "weight_other_channels": ({"weight": torch.randn(4, 4, 5, 3, 3)}, "weight", "(4, 4, 5, 3, 3)", "(K, C_out, 3, "),
    "weight_no_kernels": ({"weight": torch.randn(0, 4, 3, 3, 3)}, "weight", "(0, 4, 3, 3, 3)", "none of them 0"),
    "weight_no_outputs": ({"weight": torch.randn(4, 0, 3, 3, 3)}, "weight", "(4, 0, 3, 3, 3)", "none of them 0"),
    "weight_without_taps": ({"weight": torch.randn(4, 4, 3, 3, 0)}, "weight", "(4, 4, 3, 3, 0)", "none of them 0"),
    "weight_dtype": ({"weight": torch.randn(4, 4, 3, 3, 3).half()}, "weight", "torch.float16", "torch.float32"),
    "attention_other_batch": ({"attention": torch.rand(3, 4)}, "attention", "(3, 4)", "(B, K) or (B, K, C_out)"),
    "attention_other_kernels": ({"attention": torch.rand(2, 5)}, "attention", "(2, 5)", "(B, 4) or (B, 4, 4)"),
    "attention_other_channels": ({"attention": torch.rand(2, 4, 6)}, "attention", "(2, 4, 6)", "(B, 4) or (B, 4, 4)"),
    "attention_one_dimension": ({"attention": torch.rand(2)}, "attention", "(2,)", "(B, K)"),
    "attention_scalar": ({"attention": torch.tensor(1.0)}, "attention", "shape ()", "(B, K)"),
    "attention_dtype": ({"attention": torch.rand(2, 4).double()}, "attention", "torch.float64", "torch.float32"),
    "bias_shape": ({"bias": torch.randn(4)}, "bias", "(4,)", "(4, 4) (K, C_out)"),
    "bias_dtype": ({"bias": torch.randn(4, 4).double()}, "bias", "torch.float64", "torch.float32"),
    "groups_zero": ({"groups": 0}, "groups", "0", "a divisor of C_in 6 and C_out 4"),
    "groups_not_a_divisor": ({"groups": 3}, "groups", "3", "a divisor of C_in 6 and C_out 4"),
    "groups_text": ({"groups": "2"}, "groups", "'2'", "a divisor of C_in 6 and C_out 4"),
    "stride_zero": ({"stride": 0}, "stride", "0", "each at least 1"),
    "padding_unknown": ({"padding": "circular"}, "padding", "'circular'", "'valid', or 'same'"),
    "dilation_zero": ({"dilation": 0}, "dilation", "0", "each at least 1"),
    # A grouped convolution asks no backend; its name is checked all the same.
    "backend_misspelt": ({"backend": "eagr"}, "backend", "'eagr' (did you mean 'eager'?)", "'auto', "),
    "mixing_misspelt": (
        {"mixing": "feature"},
        "mixing",
        "'feature' (did you mean 'features'?)",
        "'auto', 'features', ",
    ),
    "mixing_not_a_name": ({"mixing": None}, "mixing", "None", "one of 'auto', 'kernels', 'features'"),
}


@pytest.mark.parametrize(("changes", "argument", "got", "need"), DYNAMIC.values(), ids=DYNAMIC)
def test_dynamic_conv2d(raises, changes, argument, got, need):
    call = {"x": X, "weight": torch.randn(4, 4, 3, 3, 3), "attention": torch.rand(2, 4), "groups": 2, **changes}
    with raises(argument, got, need):
        ops.dynamic_conv2d(**call)


@pytest.mark.parametrize(
    ("weight", "attention", "argument", "got", "need"),
    [
        (torch.randn(4), torch.rand(2, 4), "weight", "shape (4,)", "(K, C_out, ...)"),
        (torch.randn(4, 6), torch.rand(2, 3), "attention", "shape (2, 3)", "(B, 4) or (B, 4, 6)"),
        (torch.randn(4, 6), torch.rand(2, 4, 5), "attention", "shape (2, 4, 5)", "bank of shape (4, 6)"),
        (torch.randn(4, 6), torch.rand(4), "attention", "shape (4,)", "(B, 4) or (B, 4, 6)"),
    ],
)
def test_mix_kernels(raises, weight, attention, argument, got, need):
    with raises(argument, got, need):
        ops.mix_kernels(weight, attention)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ops.ArgumentError("stride", 0, "an int, at least 1"), "stride: got 0; need an int, at least 1"),
        (
            ops.ArgumentError("bias", sentence="has no meaning here; leave it out"),
            "bias: has no meaning here; leave it out",
        ),
        (ops.ArgumentError("a finished message"), "a finished message"),
    ],
)
def test_a_message_starts_with_the_argument_and_survives_pickling(error, message):
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == message
    assert again.argument == error.argument == message.split(":")[0]
    assert str(type(error)(str(error))) == message  # as the workers of a data loader rebuild it
