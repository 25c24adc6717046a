"""Find the dynamic layers of a model, and set what they all share: temperature, backend, mixing."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from dyc.layers import BlockCoefficients, DynamicConv2d, SelectiveConv2d
from dyc.layers.attention import check_temperature
from dyc.layers.dynamic_conv import LAYER_MIXINGS
from dyc.layers.gathered import ShiftChannels
from ops import ArgumentError, BackendUnavailable, backend_lacks, check_backend_name, check_mixing


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


def iter_operators(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Yield name, layer and operator of every layer of ``model`` whose ``backend`` can be set.

    These are dynamic convolutions, and layers whose channels are replaced by shifted copies of others. The operator is
    a key of :attr:`ops.Backend.operators`.
    """
    check_model(model)
    for name, module in model.named_modules():
        if isinstance(module, DynamicConv2d):
            yield name, module, module.operator
        elif isinstance(module, ShiftChannels) or (isinstance(module, SelectiveConv2d) and module.reallocates):
            yield name, module, "rewire_channels"


@dataclass(frozen=True)
class BackendSetting:
    """What :func:`set_backend` did.

    Args:
        backend: The backend.
        layers: Names of the layers that it was set for.
        left: Names of the layers that were left as they were, each with the reason.
    """

    backend: str
    layers: tuple[str, ...]
    left: dict[str, str]

    def __str__(self) -> str:
        lines = [f"backend {self.backend!r} set for {len(self.layers)} layers"]
        lines += [f"  left {name}: {reason}" for name, reason in self.left.items()]
        return "\n".join(lines)


def set_backend(model: nn.Module, backend: str) -> BackendSetting:
    """Set the backend of every layer of ``model`` whose operator it has; leave the others as they are.

    Args:
        model: A model with dynamic or selective layers.
        backend: ``"auto"``, which has everything, or a registered name, see :func:`ops.backends`. It need not be able
            to run on this machine: a layer says at its call what is missing.

    Returns:
        The names of the layers that were set, and of those that were left, with the reason; ``print`` it for a list.

    Raises:
        ArgumentError: No such backend, ``model`` is no module or has no layer with a backend.
        BackendUnavailable: The backend fits none of the layers; nothing was changed.

    Example:
        >>> import dyc, timm
        >>> print(set_backend(timm.create_model("dyc_mobilenetv2_cifar"), "cpp"))
        backend 'cpp' set for 11 layers
    """
    check_backend_name(backend)
    operators = list(iter_operators(model))
    if not operators:
        raise ArgumentError("model", sentence="has no dynamic or re-allocating layer whose backend could be set")
    return set_backend_of(operators, backend)


def set_backend_of(layers: Sequence[tuple[str, nn.Module, str]], backend: str) -> BackendSetting:
    """Set the backend of layers given as :func:`iter_operators` yields them; as :func:`set_backend`."""
    lacking = {name: backend_lacks(backend, operator) for name, _, operator in layers}
    left = {name: reason for name, reason in lacking.items() if reason is not None}
    if len(left) == len(layers):
        reasons = "; ".join(dict.fromkeys(left.values()))
        raise BackendUnavailable(f"backend {backend!r} fits none of {len(layers)} layers: {reasons}")
    chosen = {name: layer for name, layer, _ in layers if name not in left}
    for layer in chosen.values():
        layer.backend = backend
    return BackendSetting(backend, tuple(chosen), left)


def set_backend_where_it_fits(layers: Sequence[tuple[str, nn.Module, str]], backend: str) -> None:
    """Set the backend of layers as :func:`set_backend_of`, with a warning that names those that it left."""
    setting = set_backend_of(layers, backend)
    if setting.left:
        warnings.warn(f"{setting}", stacklevel=3)


def set_mixing(model: nn.Module, mixing: str) -> int:
    """Set what every dynamic convolution of ``model`` mixes: ``"auto"``, ``"kernels"``, ``"features"`` or ``"mode"``.

    Returns:
        The number of layers that were set.

    Raises:
        ArgumentError: No such way of mixing, or ``model`` is no module.
        BackendUnavailable: Feature maps are to be mixed by layers whose backend mixes none; nothing was changed.
    """
    check_mixing(mixing, LAYER_MIXINGS)
    layers = dict(iter_dynamic(model))
    if mixing == "features":
        lacking = {name: backend_lacks(layer.backend, "feature_mixing") for name, layer in layers.items()}
        unable = [f"{name}: {reason}" for name, reason in lacking.items() if reason is not None]
        if unable:
            raise BackendUnavailable("mixing 'features' needs another backend first; " + "; ".join(unable))
    for layer in layers.values():
        layer.mixing = mixing
    return len(layers)
