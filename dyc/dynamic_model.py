"""Find the dynamic layers of a model, and set what they all share: temperature, backend, mixing."""

from collections.abc import Iterator

import torch
from torch import nn

from dyc.layers import BlockCoefficients, DynamicConv2d
from dyc.layers.attention import check_temperature
from dyc.layers.dynamic_conv import LAYER_MIXINGS
from ops import ArgumentError, check_backend_name
from ops.mixing import check_mixing


def check_model(model: nn.Module) -> None:
    """Raise ArgumentError unless ``model`` is a module; a name, which other functions take, is the usual mistake."""
    if not isinstance(model, nn.Module):
        got = repr(model) if isinstance(model, str) else f"a {type(model).__name__}"
        if isinstance(model, type):
            got = f"the class {model.__name__}"
        raise ArgumentError("model", got, "a torch.nn.Module, as timm.create_model(...) returns")


def iter_dynamic(model: nn.Module) -> Iterator[tuple[str, DynamicConv2d]]:
    """Yield the name and layer of every dynamic convolution of ``model``.

    Raises:
        ArgumentError: ``model`` is no module; at the call already.
    """
    check_model(model)
    return ((name, module) for name, module in model.named_modules() if isinstance(module, DynamicConv2d))


def iter_attention(model: nn.Module) -> Iterator[nn.Module]:
    """Yield every module of ``model`` that predicts weights of kernels, once: layers may share one."""
    found = [layer.attention for _, layer in iter_dynamic(model) if layer.attention is not None]
    found += [module for module in model.modules() if isinstance(module, BlockCoefficients)]
    yield from dict.fromkeys(found)


def iter_temperatures(model: nn.Module) -> Iterator[torch.Tensor]:
    """Yield the temperature buffer of every attention branch of ``model``."""
    for branch in iter_attention(model):
        for name, buffer in branch.named_buffers():
            if name.rsplit(".", 1)[-1] == "temperature":
                yield buffer


def set_temperature(model: nn.Module, temperature: float) -> int:
    """Set the softmax temperature of every attention branch of ``model``; a static model has none.

    Returns:
        The number of branches that were set.

    Raises:
        ArgumentError: The temperature is not positive, or ``model`` is no module.
    """
    check_temperature(temperature)
    buffers = list(iter_temperatures(model))
    with torch.no_grad():
        for buffer in buffers:
            buffer.fill_(temperature)
    return len(buffers)


def set_backend(model: nn.Module, backend: str) -> int:
    """Set the backend of every dynamic convolution of ``model``.

    Returns:
        The number of layers that were set.

    Raises:
        ArgumentError: No such backend, or ``model`` is no module.
    """
    check_backend_name(backend)
    layers = [layer for _, layer in iter_dynamic(model)]
    for layer in layers:
        layer.backend = backend
    return len(layers)


def set_mixing(model: nn.Module, mixing: str) -> int:
    """Set what every dynamic convolution of ``model`` mixes: ``"auto"``, ``"kernels"``, ``"features"`` or ``"mode"``.

    Returns:
        The number of layers that were set.

    Raises:
        ArgumentError: No such way of mixing, or ``model`` is no module.
    """
    check_mixing(mixing, LAYER_MIXINGS)
    layers = [layer for _, layer in iter_dynamic(model)]
    for layer in layers:
        layer.mixing = mixing
    return len(layers)
