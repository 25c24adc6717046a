"""A network that the user built, which may be any module: its name, its classes, and whether it fits the data."""

from typing import Any

import torch
from torch import nn

from ops import ArgumentError


def check_own(net: Any, model: str | None, model_kwargs: dict[str, Any], pretrained: bool) -> str:
    """Return the name of a finished network; raise unless it is one, and nothing is asked of it that timm would do.

    Args:
        net: The network, or the name of its class, which is what a checkpoint keeps of it.
        model: A name for it in logs; by default that of its class.
        model_kwargs: Arguments of timm's, of which none is left to be used; a checkpoint's ``in_chans`` is allowed.
        pretrained: Whether timm should load weights.
    """
    if isinstance(net, str):
        sentence = f"the checkpoint has only the weights of a {net}; build it and pass it: load_from_checkpoint(..., "
        raise ArgumentError("net", sentence=sentence + "net=...)")
    if not isinstance(net, nn.Module):
        raise ArgumentError("net", repr(net), "a torch.nn.Module")
    if model_kwargs.keys() - {"in_chans"}:
        raise ArgumentError("model_kwargs", model_kwargs, "none, as net is finished")
    if pretrained:
        raise ArgumentError("pretrained", True, "False, as net is finished; load its weights before")
    return model or type(net).__name__


def known_classes(net: nn.Module) -> int | None:
    """Return the number of classes that a network says it has (``num_classes``), or None."""
    classes = getattr(net, "num_classes", None)
    return classes if isinstance(classes, int) and not isinstance(classes, bool) and classes > 0 else None


def known_channels(net: nn.Module) -> int:
    """Return the channels of the first convolution, or 3."""
    sizes = (getattr(module, "in_channels", None) for module in net.modules())
    return next((size for size in sizes if isinstance(size, int)), 3)


@torch.no_grad()
def check_output(net: nn.Module, name: str, num_classes: int, image: tuple[int, int, int]) -> None:
    """Run a network in evaluation mode on black images, and raise unless it returns one logit for each class.

    Args:
        net: The network; it is not changed.
        name: Its name, for the message.
        num_classes: The classes.
        image: Size of an image, ``(C, H, W)``.
    """
    parameter = next((p for p in net.parameters() if p.is_floating_point()), torch.empty(0))
    modes = {module: module.training for module in net.modules()}
    shown = " x ".join(map(str, image))
    try:
        output = net.eval()(torch.zeros(2, *image, dtype=parameter.dtype, device=parameter.device))
    except Exception as error:  # whatever the user's code raises
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ArgumentError("net", f"a {name} that fails ({reason})", f"one that takes images of {shown}") from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    got = f"outputs of shape {tuple(output.shape)}" if isinstance(output, torch.Tensor) else type(output).__name__
    if not isinstance(output, torch.Tensor) or output.shape != (2, num_classes):
        need = f"logits of shape (2, {num_classes}), one for each class"
        raise ArgumentError("net", f"a {name} that returns {got} for 2 images of {shown}", need)
