"""Convolutions whose input channels can be closed, and re-used for shifted copies of other channels."""

from typing import Any

import torch
from timm.layers import register_notrace_module
from torch import Tensor, nn

from dyc.layers.checks import check_features, check_kind, check_size
from dyc.layers.masked_conv import MaskedConv2d
from ops import ArgumentError, IntPair, padding_pair, pair, positive_int, rewire_channels, rewire_eager


class _WithoutGradient(torch.autograd.Function):
    """Pass features on and give a parameter that took no part a gradient of zero, as gradient reducers expect."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, parameter: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        parameter = inputs[1]
        ctx.like = parameter.shape, parameter.dtype, parameter.device

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        shape, dtype, device = ctx.like
        return grad, torch.zeros(shape, dtype=dtype, device=device)


@register_notrace_module  # torch.fx cannot trace the choice of an operator
class SelectiveConv2d(nn.Module):
    """BatchNorm, ReLU and convolution with selective allocation of input channels: SelectConv.

    ``conv(mask * drop(act(norm(rewired(x)))))``. A closed channel contributes exactly nothing (of finite features: its
    weights are masked, whatever they are). A re-allocated one reads another
    channel of the same input, shifted by a learned fraction of pixels; channels are closed and re-allocated by
    :func:`dyc.rewire` between epochs. As long as none is, the layer costs what its parts cost.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: One int or ``(vertical, horizontal)``.
        stride: Step in pixels.
        padding: Zero padding in pixels, or ``"same"`` / ``"valid"``.
        dilation: Distance of the taps in pixels.
        bias: Give the convolution a bias.
        reallocate: Closed channels can be re-used; adds the parameter ``shift``. False: they can only be closed.
        drop_rate: Dropout between activation and convolution.

    Shape:
        ``(B, C_in, H, W)`` to ``(B, C_out, H', W')``, or ``(C_in, H, W)`` to ``(C_out, H', W')``. As
        :class:`torch.nn.Conv2d` it takes a batch of no samples.

    State: ``conv.mask`` ``(C_in,)``, True for open channels; ``pointers`` ``(C_in,)``, the channel that each slot
    reads, -1 for its own; ``shift`` ``(C_in, 2)``, horizontal and vertical in pixels, used where there is a pointer.
    Call :meth:`refresh` after changing mask or pointers by hand; loading a state dict does.

    Source: Jeong and Shin, ICML 2019, http://proceedings.mlr.press/v97/jeong19c.html

    Example:
        >>> import torch
        >>> layer = SelectiveConv2d(64, 48, 1)
        >>> layer(torch.randn(2, 64, 8, 8)).shape
        torch.Size([2, 48, 8, 8])
    """

    pointers: Tensor
    slots: Tensor
    sources: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair | str = 0,
        dilation: IntPair = 1,
        bias: bool = False,
        *,
        reallocate: bool = True,
        drop_rate: float = 0.0,
    ):
        super().__init__()
        positive_int("in_channels", in_channels)
        positive_int("out_channels", out_channels)
        kernel_size, stride = pair("kernel_size", kernel_size, 1), pair("stride", stride, 1)
        dilation = pair("dilation", dilation, 1)
        if (
            not isinstance(padding, str) or padding != "same" or stride != (1, 1)
        ):  # torch.nn.Conv2d has "same" for kernels of even extent too
            padding = padding_pair(padding, kernel_size, stride, dilation)
        conv = MaskedConv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, 1, bias)
        self._assemble(nn.BatchNorm2d(in_channels), nn.ReLU(inplace=True), conv, reallocate, drop_rate)

    @classmethod
    def wrap(
        cls, norm: nn.BatchNorm2d, act: nn.Module, conv: nn.Conv2d, *, reallocate: bool = True, drop_rate: float = 0.0
    ) -> "SelectiveConv2d":
        """Build the layer around existing modules, whose parameters it takes over.

        Args:
            norm: BatchNorm with scale, offset and running statistics.
            act: ReLU, or ``nn.Identity()`` where ``norm`` has its own as timm's ``BatchNormAct2d``.
            conv: The convolution.
            reallocate: As in the constructor.
            drop_rate: As in the constructor.
        """
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer._assemble(norm, act, MaskedConv2d.from_conv(conv), reallocate, drop_rate)
        layer.training = conv.training
        if layer.drop is not None:
            layer.drop.train(conv.training)
        return layer  # the norm keeps its mode: it may be frozen

    def _assemble(
        self, norm: nn.BatchNorm2d, act: nn.Module, conv: MaskedConv2d, reallocate: bool, drop_rate: float
    ) -> None:
        if not isinstance(drop_rate, int | float) or not 0 <= drop_rate < 1:
            raise ArgumentError("drop_rate", repr(drop_rate), "a probability in [0, 1)")
        if norm.weight is None or norm.running_mean is None:
            raise ArgumentError("norm", norm, "a BatchNorm with affine=True and track_running_stats=True")
        if norm.num_features != conv.in_channels:
            raise ArgumentError(
                "norm", f"{norm.num_features} channels", f"{conv.in_channels}, those of the convolution"
            )
        self.norm, self.act, self.drop, self.conv = norm, act, nn.Dropout(drop_rate) if drop_rate else None, conv
        channels, device = conv.in_channels, conv.weight.device
        self.register_buffer("pointers", torch.full((channels,), -1, dtype=torch.long, device=device))
        # What the forward pass reads; follows from the pointers.
        self.register_buffer("slots", torch.empty(0, dtype=torch.long, device=device), persistent=False)
        self.register_buffer("sources", torch.empty(0, dtype=torch.long, device=device), persistent=False)
        shift = nn.Parameter(torch.zeros(channels, 2, device=device, dtype=conv.weight.dtype)) if reallocate else None
        self.register_parameter("shift", shift)
        self.backend = "auto"  # of ops.rewire_channels; dyc.set_backend changes it

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        return self.conv.in_channels

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.conv.out_channels

    @property
    def mask(self) -> Tensor:
        """``(C_in,)``, True for open channels."""
        return self.conv.mask

    @property
    def reallocates(self) -> bool:
        """Whether closed channels can be re-used."""
        return self.shift is not None

    def reset_parameters(self) -> None:
        """Open every channel and let each read itself; norm and convolution reset themselves."""
        self.pointers.fill_(-1)
        if self.shift is not None:
            nn.init.zeros_(self.shift)
        self.refresh()

    def refresh(self) -> None:
        """Recompute what the forward pass derives from mask and pointers."""
        self.conv.refresh()
        if not self.pointers.is_meta:
            self.slots = (self.pointers >= 0).nonzero().flatten()
            self.sources = self.pointers[self.slots]

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.refresh()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C_in, H, W)`` to ``(B, C_out, H', W')``, or one image without ``B``."""
        if not torch.jit.is_scripting():
            check_features(x, self.conv.in_channels)
            check_kind(x, self.conv.weight)
            check_size(x, self.conv)
        # BatchNorm and the operators take batches.
        return self._batch(x.unsqueeze(0)).squeeze(0) if x.dim() == 3 else self._batch(x)

    def _batch(self, x: Tensor) -> Tensor:
        if self.shift is not None:
            if self.slots.shape[0] > 0:
                shift = self.shift[self.slots]
                if torch.jit.is_scripting():  # which cannot follow the choice of a backend
                    x = rewire_eager(x, self.slots, self.sources, shift)
                else:
                    x = rewire_channels(x, self.slots, self.sources, shift, backend=self.backend)
            elif self.training and not torch.jit.is_scripting():
                x = self._unshifted(x)
        x = self.act(self.norm(x))
        if self.drop is not None:
            x = self.drop(x)
        return self.conv(x)

    @torch.jit.unused
    def _unshifted(self, x: Tensor) -> Tensor:
        shift = self.shift
        return _WithoutGradient.apply(x, shift) if shift.requires_grad and torch.is_grad_enabled() else x

    def extra_repr(self) -> str:
        """Describe what is not in the parts."""
        backend = f", backend={self.backend!r}" if self.reallocates else ""
        return f"{self.in_channels}, {self.out_channels}, reallocate={self.reallocates}{backend}"
