"""Run a network while somebody looks at its layers, or changes the attention that they get."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from dyc.dynamic_model import check_model, iter_dynamic
from ops import KernelAttention, unknown_name

Seen = Callable[[str, Tensor], Tensor | None]
"""Is given a layer's name and its weights of kernels, ``(B, K)`` or ``(B, K, C_out)``; may return others to use."""


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode without gradients; afterwards the mode of each module is restored."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def run(model: nn.Module, x: Tensor) -> Tensor:
    """Return the network's output for images of any floating-point type; hooks see the layers of a compiled one too."""
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), x.dtype)
    return model.forward(x.to(dtype) if x.is_floating_point() else x)  # a call would run what is compiled


@contextmanager
def attention_seen(model: nn.Module, seen: Seen) -> Iterator[None]:
    """Show the weights of the kernels of every dynamic layer, each time it runs, and use those that are returned.

    Args:
        model: The network; a static one shows nothing.
        seen: What they are shown to. Of a branch that several layers share, it is told for each of them, and the
            weights that it returned last are used by all.
    """
    layers = list(iter_dynamic(model))
    shared: dict[nn.Module, list[str]] = {}
    for name, layer in layers:
        if layer.attention is not None:
            shared.setdefault(layer.attention, []).append(name)

    def shown(names: list[str], weights: Tensor | KernelAttention) -> Tensor | KernelAttention | None:
        kernels = weights.kernels if isinstance(weights, KernelAttention) else weights
        answers = [answer for name in names if (answer := seen(name, kernels)) is not None]
        if not answers:
            return None
        return weights._replace(kernels=answers[-1]) if isinstance(weights, KernelAttention) else answers[-1]

    def of_branch(names: list[str]):
        return lambda _, inputs, weights: shown(names, weights)

    def of_call(name: str):  # without a branch the weights come with the features
        def hook(_: nn.Module, inputs: tuple) -> tuple | None:
            changed = shown([name], inputs[1])
            return None if changed is None else (inputs[0], changed, *inputs[2:])

        return hook

    with ExitStack() as hooks:
        for branch, names in shared.items():
            hooks.callback(branch.register_forward_hook(of_branch(names)).remove)
        for name, layer in layers:
            if layer.attention is None:
                hooks.callback(layer.register_forward_pre_hook(of_call(name)).remove)
        yield


@contextmanager
def outputs_seen(model: nn.Module, names: list[str], seen: Callable[[str, nn.Module, Tensor, Tensor], None]):
    """Show input and output of some layers each time they run.

    Args:
        model: The network.
        names: The layers' names, as in ``model.named_modules()``.
        seen: Is given the name, the layer, its first input and its output.

    Raises:
        ArgumentError: There is no such layer.
    """
    found = {name: layer_of(model, name) for name in names}
    with ExitStack() as hooks:
        for name, layer in found.items():
            hook = layer.register_forward_hook(lambda layer, x, y, name=name: seen(name, layer, x[0], y))
            hooks.callback(hook.remove)
        yield


def layer_of(model: nn.Module, name: str) -> nn.Module:
    """Return a layer by its name.

    Raises:
        ArgumentError: There is none of that name; proposes others.
    """
    check_model(model)
    layers = dict(model.named_modules())
    if name not in layers or not name:
        raise unknown_name("layer", name, [each for each in layers if each], listing="a name of model.named_modules()")
    return layers[name]
