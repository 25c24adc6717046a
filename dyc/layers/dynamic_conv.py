"""A convolution whose kernels are mixed for each input: a bank of kernels times an attention branch."""

import math
from collections.abc import Callable

import torch
from timm.layers import register_notrace_module
from torch import Tensor, nn

from dyc.layers.attention import GlobalAttention, check_temperature
from dyc.layers.checks import check_features, check_kind
from dyc.layers.kinds import AttentionFactory, build_attention
from dyc.layers.scripting import scripted_conv2d
from dyc.layers.static_weights import as_bank
from ops import (
    MIXINGS,
    ArgumentError,
    BackendUnavailable,
    GlobalBranch,
    IntPair,
    KernelAttention,
    attended_conv2d,
    backend_lacks,
    check_mixing,
    dynamic_conv2d,
    mixes_kernels_alone,
    padding_pair,
    pair,
    positive_int,
    scaled_conv2d,
)

LAYER_MIXINGS = (*MIXINGS, "mode")
"""What a layer can mix: as :func:`ops.dynamic_conv2d`, or by its mode (feature maps in training, else kernels)."""


@register_notrace_module  # torch.fx cannot trace the choice of an operator
class DynamicConv2d(nn.Module):
    """A drop-in for :class:`torch.nn.Conv2d` with ``num_kernels`` kernels, mixed per input by an attention branch.

    ``F.conv2d(x[n], sum_k a[n, k] * weight[k], sum_k a[n, k] * bias[k], ...)`` with ``a = attention(x)``.
    ``load_state_dict`` takes the weights of a static convolution too, and makes each kernel a copy of them.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: One int or ``(vertical, horizontal)``.
        stride: Step in pixels.
        padding: Zero padding in pixels, or ``"same"`` / ``"valid"``.
        dilation: Distance of the taps in pixels.
        groups: Groups; must divide both channel counts.
        bias: Give each kernel a bias, mixed by the same attention.
        num_kernels: Kernels in the bank, ``K``.
        attention: A registered kind (``"dy"``, ``"dyc"``, ...), a factory, or a finished module. None: the layer has
            no branch, and its weights come with each call, ``layer(x, attention)``.
        temperature: Softmax temperature the attention starts with.
        mixing: ``"kernels"``, ``"features"`` or ``"auto"``: what :func:`ops.dynamic_conv2d` mixes. ``"mode"``: features
            while the module trains and kernels in evaluation, as DyNet does; the results are equal.
        backend: ``"auto"`` or the name of a backend that has the layer's operator; depthwise convolutions have several,
            others ``"eager"``.
        attention_kwargs: Further arguments of the attention kind.

    Shape:
        ``(B, C_in, H, W)`` to ``(B, C_out, H', W')``, or ``(C_in, H, W)`` to ``(C_out, H', W')``, in the memory format
        of the input. As :class:`torch.nn.Conv2d` it takes a batch of no samples.

    Raises:
        ArgumentError: An argument cannot be used; names it, what was got and what is needed.
        BackendUnavailable: The named backend does not have the layer's operator.

    Source: https://arxiv.org/abs/1912.03458

    Example:
        >>> import torch
        >>> layer = DynamicConv2d(64, 64, 3, padding=1, groups=64, attention="dyc")
        >>> layer(torch.randn(2, 64, 16, 16)).shape
        torch.Size([2, 64, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair | str = 0,
        dilation: IntPair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        num_kernels: int = 4,
        attention: str | AttentionFactory | nn.Module | None = "dy",
        temperature: float = 30.0,
        mixing: str = "auto",
        backend: str = "auto",
        attention_kwargs: dict | None = None,
    ):
        super().__init__()
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "groups": groups, "num_kernels": num_kernels}
        for name, value in sizes.items():
            positive_int(name, value)
        check_temperature(temperature)
        if in_channels % groups or out_channels % groups:
            raise ArgumentError(
                "groups", groups, f"a divisor of in_channels {in_channels} and out_channels {out_channels}"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = pair("kernel_size", kernel_size, 1)
        self.stride = pair("stride", stride, 1)
        self.dilation = pair("dilation", dilation, 1)
        self.padding = padding_pair(padding, self.kernel_size, self.stride, self.dilation)
        self.groups = groups
        self.attention_kind = attention if isinstance(attention, str) else ""  # what listings call it
        self.num_kernels = num_kernels
        self.mixing = check_mixing(mixing, LAYER_MIXINGS)
        self.weight = nn.Parameter(torch.empty(num_kernels, out_channels, in_channels // groups, *self.kernel_size))
        self.bias = nn.Parameter(torch.empty(num_kernels, out_channels)) if bias else None
        self.attention = None
        if attention is not None:
            self.attention = build_attention(
                attention,
                in_channels,
                out_channels,
                num_kernels,
                temperature,
                attention_kwargs,
                kernel_size=self.kernel_size,
                groups=groups,
            )
        elif attention_kwargs:
            raise ArgumentError("attention_kwargs", sentence="have no meaning without attention; leave them out")
        lacking = backend_lacks(backend, self.operator)
        if lacking:
            raise BackendUnavailable(f"backend: {lacking}")
        self.backend = backend
        self.reset_parameters()

    __jit_unused_properties__ = ("operator",)

    @property
    def operator(self) -> str:
        """What the layer needs of its backend, a key of :attr:`ops.Backend.operators`; a part of it will do."""
        if self.mixing == "features":
            return "feature_mixing"
        if not self.in_channels == self.out_channels == self.groups:
            return "per_sample_conv2d"
        whole = type(self.attention) is GlobalAttention and self.bias is None
        return "attended_depthwise" if whole else "dynamic_depthwise"

    def reset_parameters(self) -> None:
        """Draw every kernel from He's normal distribution by its true fan-in, and zero the biases.

        The fan-in of one output is ``C_in/groups * kH * kW``: with the full ``C_in``, as in public code, a depthwise
        kernel would start ``sqrt(C_in)`` too small.
        """
        fan_in = math.prod(self.weight.shape[2:])
        nn.init.normal_(self.weight, std=math.sqrt(2 / fan_in))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    @torch.no_grad()
    def copy_from(self, conv: nn.Conv2d, scale: float = 1.0, bias_scale: float = 1.0) -> None:
        """Set every kernel of the bank, and every bias, to those of a static convolution of the same shape.

        Args:
            conv: The static convolution.
            scale: Multiplies the kernels, for an attention that does not sum to one; see :func:`dyc.make_dynamic`.
            bias_scale: Multiplies the biases.
        """
        self.weight.copy_(conv.weight * scale)
        if self.bias is not None:
            self.bias.copy_(conv.bias * bias_scale)

    def forward(self, x: Tensor, attention: Tensor | None = None) -> Tensor:
        """Convolve ``(B, C_in, H, W)``, each sample with its own mixture of the bank, or one image ``(C_in, H, W)``.

        A layer without a branch needs ``attention``, ``(B, K)`` or ``(B, K, C_out)``, for one image without ``B``; one
        with a branch takes none.
        """
        if not torch.jit.is_scripting():
            check_features(x, self.in_channels)
        if x.dim() == 3:
            given = attention if attention is None else attention.unsqueeze(0)
            return self._batch(x.unsqueeze(0), given).squeeze(0)
        return self._batch(x, attention)

    def _batch(self, x: Tensor, attention: Tensor | None) -> Tensor:
        if torch.jit.is_scripting():
            return scripted_conv2d(
                self._padded(x),
                self.weight,
                torch.jit._unwrap_optional(attention) if self.attention is None else self.attention(x),
                self.bias,
                self.stride,
                self.padding,
                self.dilation,
                self.groups,
            )
        else:  # not after the return: TorchScript would compile that
            return self._forward(x, attention)

    def _forward(self, x: Tensor, given: Tensor | None) -> Tensor:
        if self.attention is None:
            if given is None:
                need = "must be given as (B, K) or (B, K, C_out), as the layer has no branch of its own"
                raise ArgumentError("attention", sentence=need)
            return self._convolve(dynamic_conv2d, x, given)
        if given is not None:
            raise ArgumentError("attention", sentence="cannot be given, as the layer has a branch of its own")
        attention = self.attention
        # Exactly this class: what a subclass overrides would be passed over.
        branch = attention.branch() if type(attention) is GlobalAttention else None
        if branch is None:
            check_kind(x, self.weight)
            weights = attention(x)
            operator = scaled_conv2d if isinstance(weights, KernelAttention) else dynamic_conv2d
            return self._convolve(operator, x, weights)
        return self._convolve(attended_conv2d, x, branch)

    def _convolve(
        self, operator: Callable[..., Tensor], x: Tensor, attention: Tensor | KernelAttention | GlobalBranch
    ) -> Tensor:
        mixing = self.mixing
        if torch.onnx.is_in_onnx_export() and getattr(attention, "taps", None) is None:
            mixing = "features"  # every kernel a constant, as ONNX's convolutions want them
        if mixing == "mode":
            mixing = "features" if self.training and self._can_mix_features(attention) else "kernels"
        return operator(
            x,
            self.weight,
            attention,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            mixing=mixing,
            backend=self.backend,
        )

    def _can_mix_features(self, attention: Tensor | KernelAttention | GlobalBranch) -> bool:
        """Tell whether the backend mixes feature maps and no tap has a weight, which would need mixed kernels."""
        return not mixes_kernels_alone(self.backend, self.operator) and getattr(attention, "taps", None) is None

    def _padded(self, x: Tensor) -> Tensor:
        """Return what the convolution sees of the features, of which the attention sees all."""
        return x

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        as_bank(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _apply(self, fn, recurse: bool = True):
        """Let ``model.to(memory_format=torch.channels_last)``, which takes four dimensions, reach the bank.

        A depthwise bank then lies as ``(K, kH, kW, C)``, as kernels for channels_last features are read; others stay.
        """

        def on_kernels(t: Tensor) -> Tensor:
            if t.dim() != 5:
                return fn(t)
            if t.shape[2] == 1:
                return fn(t.squeeze(2)).unsqueeze(2)
            return fn(t.flatten(0, 1)).unflatten(0, t.shape[:2]).contiguous()

        return super()._apply(on_kernels, recurse)

    def extra_repr(self) -> str:
        """Describe the convolution as :class:`torch.nn.Conv2d` does."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, "
            f"bias={self.bias is not None}, num_kernels={self.num_kernels}, "
            f"mixing={self.mixing!r}, backend={self.backend!r}"
        )
