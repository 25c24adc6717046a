"""Calls of ``depthwise_conv2d`` in every shape that has ever broken such a kernel, and how their tensors are drawn."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Case:
    """One call of ``depthwise_conv2d``; ``x`` is ``(B, C, H, W)``."""

    name: str
    x: tuple[int, int, int, int] = (2, 8, 9, 7)
    kernel: tuple[int, int] = (3, 3)
    stride: int | tuple[int, int] = 1
    padding: int | tuple[int, int] | str = 1
    dilation: int | tuple[int, int] = 1
    channels_last: bool = False
    sliced: str = ""  # x is a slice of a larger tensor, along its channels, pixels or batch
    gradient: str = "dense"  # or expanded (all strides 0), or transposed
    frozen: str = ""  # the argument that needs no gradient

    @property
    def geometry(self) -> dict:
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}


CASES = [
    Case("plain"),
    Case("one_sample", x=(1, 8, 9, 7)),
    Case("many_samples", x=(9, 3, 6, 6)),
    Case("one_channel", x=(3, 1, 9, 7)),
    Case("one_sample_one_channel", x=(1, 1, 5, 5)),
    Case("seven_channels", x=(2, 7, 9, 7)),
    Case("more_channels_than_a_vector", x=(2, 67, 6, 5)),
    Case("seventeen_planes", x=(1, 17, 9, 7)),
    Case("thirty_three_planes", x=(3, 11, 9, 8), kernel=(5, 5), stride=2, padding=2),
    Case("many_samples_and_channels", x=(5, 40, 3, 3)),
    Case("wide", x=(2, 5, 4, 33)),
    Case("tall", x=(2, 5, 33, 4)),
    Case("larger_than_a_tile", x=(1, 3, 40, 70)),
    Case("large", x=(1, 3, 60, 60)),
    Case("large_5x5", x=(1, 3, 60, 60), kernel=(5, 5), padding=2),
    Case("large_stride_2", x=(1, 3, 60, 60), stride=2),
    Case("as_wide_as_a_strip", x=(1, 3, 9, 250)),
    Case("wider_than_a_strip", x=(1, 2, 5, 300), kernel=(5, 5), padding=2),
    Case("no_padding", padding=0),
    Case("same_padding", kernel=(5, 3), padding="same"),
    Case("valid_padding", padding="valid"),
    Case("padding_pair", padding=(0, 2)),
    Case("padding_beyond_the_kernel", padding=4),
    Case("smaller_than_the_kernel", x=(2, 8, 2, 3), kernel=(5, 5), padding=2),
    Case("one_pixel", x=(2, 8, 1, 1)),
    Case("one_row", x=(2, 8, 1, 9)),
    Case("one_output_pixel", x=(2, 8, 3, 3), padding=0),
    Case("kernel_1", kernel=(1, 1), padding=0),
    Case("kernel_2", kernel=(2, 2)),
    Case("kernel_3x5", kernel=(3, 5), padding=(1, 2)),
    Case("kernel_5", kernel=(5, 5), padding=2),
    Case("kernel_7", x=(2, 8, 12, 11), kernel=(7, 7), padding=3),
    Case("kernel_9", x=(2, 4, 12, 11), kernel=(9, 9), padding=4),
    Case("stride_2", stride=2),
    Case("stride_2_even_size", x=(2, 8, 8, 8), stride=2),
    Case("stride_2_odd_padding", x=(2, 8, 12, 9), stride=2, padding=(3, 0)),
    Case("stride_2_padding_beyond_the_kernel", x=(1, 2, 7, 9), stride=2, padding=5),
    Case("stride_2_kernel_5", x=(2, 5, 13, 10), kernel=(5, 5), stride=2, padding=2),
    Case("stride_3_no_padding", x=(2, 8, 11, 10), stride=3, padding=0),
    Case("stride_pair", stride=(1, 2)),
    Case("stride_beyond_the_kernel", x=(2, 8, 11, 10), kernel=(1, 1), stride=2, padding=0),
    Case("dilation_2", dilation=2, padding=2),
    Case("dilation_pair_stride_2", x=(2, 8, 12, 11), dilation=(1, 2), stride=2, padding=(1, 2)),
    Case("channels_last", channels_last=True),
    Case("channels_last_seven_channels", x=(2, 7, 9, 7), channels_last=True),
    Case("channels_last_one_channel", x=(2, 1, 9, 7), channels_last=True),
    Case("channels_last_many_channels", x=(2, 136, 9, 10), channels_last=True),
    Case("channels_last_kernel_5", x=(2, 18, 9, 7), kernel=(5, 5), padding=2, channels_last=True),
    Case("channels_last_stride_2", stride=2, channels_last=True),
    Case("channels_last_stride_2_odd_padding", x=(2, 8, 12, 9), stride=2, padding=(0, 3), channels_last=True),
    Case("channels_last_stride_2_padding_beyond", x=(1, 2, 7, 9), stride=2, padding=5, channels_last=True),
    Case("channels_last_stride_2_kernel_5", x=(2, 12, 13, 10), kernel=(5, 5), stride=2, padding=2, channels_last=True),
    Case("channels_last_stride_2_one_vector", x=(2, 16, 10, 9), stride=2, channels_last=True),
    Case("channels_last_stride_2_two_vectors", x=(2, 32, 9, 8), kernel=(5, 5), stride=2, padding=2, channels_last=True),
    Case("channels_last_large", x=(2, 35, 24, 22), channels_last=True),
    Case("channels_last_large_stride_2", x=(2, 35, 24, 22), stride=2, channels_last=True),
    Case("channels_last_large_5x5", x=(2, 35, 24, 22), kernel=(5, 5), padding=2, channels_last=True),
    Case("channels_last_large_5x5_stride_2", x=(2, 35, 24, 22), kernel=(5, 5), stride=2, padding=2, channels_last=True),
    Case("channels_last_kernel_5_dilation_2", kernel=(5, 5), dilation=2, padding=4, channels_last=True),
    Case("channels_last_one_sample", x=(1, 67, 6, 5), channels_last=True),
    Case("sliced_channels", sliced="channels"),
    Case("sliced_pixels", sliced="pixels"),
    Case("sliced_batch", sliced="batch"),
    Case("channels_last_sliced_channels", channels_last=True, sliced="channels"),
    Case("channels_last_sliced_pixels", channels_last=True, sliced="pixels"),
    Case("expanded_gradient", gradient="expanded"),
    Case("expanded_gradient_channels_last", gradient="expanded", channels_last=True),
    Case("transposed_gradient", gradient="transposed", stride=2),
    Case("frozen_x", frozen="x"),
    Case("frozen_weight", frozen="weight"),
]


def inputs(case: Case, dtype: torch.dtype, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Draw ``x`` and ``weight`` of a case, as leaves that need the gradients that the case asks for."""
    batch, channels, height, width = case.x
    whole, part = {
        "": (case.x, (...,)),
        "channels": ((batch, channels + 5, height, width), (slice(None), slice(2, -3))),
        "pixels": ((batch, channels, height + 3, width + 2), (..., slice(1, -2), slice(1, -1))),
        "batch": ((2 * batch, channels, height, width), (slice(None, None, 2),)),
    }[case.sliced]
    x = torch.randn(whole).to(device, dtype).contiguous(memory_format=memory_format(case))[part].detach()
    assert x.shape == case.x
    assert case.sliced != "pixels" or not x.is_contiguous(memory_format=memory_format(case))
    weight = torch.randn(batch, channels, *case.kernel).to(device, dtype)
    return x.requires_grad_(case.frozen != "x"), weight.requires_grad_(case.frozen != "weight")


def memory_format(case: Case) -> torch.memory_format:
    return torch.channels_last if case.channels_last else torch.contiguous_format


def gradient_like(case: Case, y: Tensor) -> Tensor:
    """Draw the incoming gradient of a case."""
    if case.gradient == "expanded":
        return torch.ones((), dtype=y.dtype, device=y.device).expand_as(y)
    if case.gradient == "transposed":
        return torch.randn(y.mT.shape).to(y).mT
    return torch.randn(y.shape).to(y)


def outcome(y: Tensor, x: Tensor, weight: Tensor, gradient: Tensor) -> dict[str, Tensor]:
    """Return the output and every gradient by name, in float64 on the CPU."""
    wanted = {f"grad_{name}": t for name, t in (("x", x), ("weight", weight)) if t.requires_grad}
    found = dict(zip(wanted, torch.autograd.grad(y, tuple(wanted.values()), gradient)))
    assert all(g.shape == wanted[name].shape and g.dtype == y.dtype for name, g in found.items())
    return {name: t.detach().double().cpu() for name, t in {"output": y, **found}.items()}
