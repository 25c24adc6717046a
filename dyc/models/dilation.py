"""Networks that keep their resolution: from a given output stride on, kernels are dilated instead of moved by strides.

The weights are those of the network as it was. Each convolution reads the same pixels as before, of a map that has the
pixels between them as well (the "à trous" algorithm; DeepLab, https://arxiv.org/abs/1606.00915). For networks that do
not take timm's ``output_stride`` themselves.
"""

from collections.abc import Callable, Iterator

import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional as F

from dyc.layers import Attention, BlockCoefficients, DynamicConv2d, DynamicConv2dSame
from dyc.meta_device import empty_image, meta_copy, usual_input_sizes
from dyc.models.arguments import REFUSED, Argument, offers
from ops import ArgumentError, pair, positive_int

_POOLS = (nn.MaxPool2d, nn.AvgPool2d)
_BESIDE = (Attention, BlockCoefficients)
"""What reads a map without making one of its size."""


class DilatedPool2d(nn.Module):
    """Pooling of stride 1 whose pixels lie apart; beyond the right and lower edge, the last ones are repeated.

    Args:
        kernel_size: Pixels that are pooled, along one side, from the one in the same place on.
        dilation: Their distance.
        maximum: Take the largest rather than the mean.

    Shape:
        ``(B, C, H, W)`` to the same.
    """

    def __init__(self, kernel_size: int, dilation: int, maximum: bool = False):
        super().__init__()
        self.kernel_size, self.dilation, self.maximum = kernel_size, dilation, maximum

    def forward(self, x: Tensor) -> Tensor:
        """Pool."""
        height, width = x.shape[-2:]
        steps = range(0, self.kernel_size * self.dilation, self.dilation)
        padded = F.pad(x, (0, steps[-1], 0, steps[-1]), mode="replicate")
        parts = torch.stack([padded[..., i : i + height, j : j + width] for i in steps for j in steps])
        return parts.amax(0) if self.maximum else parts.mean(0)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"{self.kernel_size}, dilation={self.dilation}, maximum={self.maximum}"


def with_output_stride(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Return a builder that takes ``output_stride`` as well: given to the network's class, or by :func:`dilate`."""

    @offers({"output_stride": Argument("output_stride", "int | None", None)}, build)
    def built(*, output_stride: int | None = None, **kwargs) -> nn.Module:
        if output_stride is None:
            return build(**kwargs)
        positive_int("output_stride", output_stride)
        try:
            return build(output_stride=output_stride, **kwargs)
        except TypeError as error:  # of the class that the builder ends in
            refused = REFUSED.search(str(error))
            if refused is None or refused[1] != "output_stride":
                raise
        return dilate(build(**kwargs), output_stride)

    built.timm_name = getattr(build, "timm_name", None)
    return built


def dilate(model: nn.Module, output_stride: int) -> nn.Module:
    """Let a network keep its resolution from an output stride on, in place, and return it.

    Args:
        model: A network with timm's ``feature_info``, a list of levels with their ``reduction``.
        output_stride: Pixels of the image per pixel of the last map, along one side.

    Raises:
        ArgumentError: The network's own output stride is smaller, or its layers cannot be dilated to it.
    """
    own = max(int(level["reduction"]) for level in model.feature_info)
    if output_stride > own:
        raise ArgumentError("output_stride", output_stride, f"at most {own}, the network's own")
    if output_stride == own:
        return model
    reductions = dict(_reductions(model, own))
    reached = max((reduction * _steps(model.get_submodule(name)) for name, reduction in reductions.items()), default=1)
    if reached < own:
        what = f"from {reached} to {own} go layers that are neither convolutions nor pools"
        raise ArgumentError("output_stride", sentence=f"{output_stride} is not reached: {what}; take {own}, its own")
    for name, reduction in reductions.items():
        module = model.get_submodule(name)
        steps = _steps(module)
        if steps > 1 and reduction < output_stride < reduction * steps:
            sentence = f"{output_stride} is not reached: {name!r} goes from {reduction} to {reduction * steps} at once"
            raise ArgumentError("output_stride", sentence=sentence)
        factor = max(1, reduction // output_stride)
        _dilate(model, name, factor, keeps=reduction * steps <= output_stride)
    for level in model.feature_info:
        level["reduction"] = min(int(level["reduction"]), output_stride)
    return model


def _steps(module: nn.Module) -> int:
    return max(module.stride) if isinstance(module.stride, tuple) else module.stride


def _dilate(model: nn.Module, name: str, factor: int, keeps: bool) -> None:
    """Dilate a layer by a factor; unless it keeps its stride, it gets a stride of 1."""
    layer = model.get_submodule(name)
    if keeps and factor == 1:
        return
    size = pair("kernel_size", layer.kernel_size, 1)
    even = not isinstance(layer, Conv2dSame | DynamicConv2dSame) and any(side % 2 == 0 for side in size)
    if isinstance(layer, nn.AvgPool2d) or even:
        if not isinstance(layer, _POOLS) or size[0] != size[1] or pair("padding", layer.padding, 0) != (0, 0):
            raise ArgumentError("output_stride", sentence=f"{name!r} cannot be dilated: {layer}")
        model.set_submodule(name, DilatedPool2d(size[0], factor, isinstance(layer, nn.MaxPool2d)))
        return
    if not keeps:
        layer.stride = (1, 1)
    if factor > 1:
        layer.dilation = tuple(each * factor for each in pair("dilation", layer.dilation, 1))
        if not isinstance(layer.padding, str):
            layer.padding = tuple(each * factor for each in pair("padding", layer.padding, 0))


def _reductions(model: nn.Module, own: int) -> Iterator[tuple[str, int]]:
    """Yield every layer that moves a window, by name, with the pixels of the image per pixel of its input."""
    shell = meta_copy(model)
    beside = [name for name, module in shell.named_modules() if isinstance(module, _BESIDE)]
    (channels, *_) = usual_input_sizes(model)[0]
    size = 8 * own
    found: dict[str, int] = {}

    def note(name: str) -> Callable:
        def hook(module: nn.Module, inputs: tuple) -> None:
            height = inputs[0].shape[-2]
            if size % height:
                raise ArgumentError("output_stride", sentence=f"{name!r} gets {height} pixels of {size}, no whole part")
            found[name] = size // height

        return hook

    for name, module in shell.named_modules():
        moves = isinstance(module, (nn.Conv2d, DynamicConv2d, *_POOLS))
        if moves and not any(f"{name}.".startswith(f"{outer}.") for outer in beside):
            sides = pair("kernel_size", module.kernel_size, 1)
            if max(sides) > 1 or max(pair("stride", module.stride, 1)) > 1:
                module.register_forward_pre_hook(note(name), prepend=True)
    try:
        with torch.no_grad():
            shell(empty_image(shell, (channels, size, size)))
    except (AssertionError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        sentence = f"the network does not run at {size} x {size} pixels, which tells what to dilate ({reason})"
        sentence += f"; take {own}, its own, and dynamic_img_size=True where it has that argument"
        raise ArgumentError("output_stride", sentence=sentence) from error
    yield from found.items()
