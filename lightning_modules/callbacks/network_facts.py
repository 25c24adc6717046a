"""What is dynamic about a network, in values of one number or word each, by which tables and charts group runs."""

from collections.abc import Iterable, Mapping
from typing import Any

from lightning.pytorch import Trainer
from torch import nn

from dyc import dynamic_layers, iter_dynamic
from dyc.dynamic_model import iter_temperatures
from lightning_modules.callbacks.temperature import TemperatureAnnealing

STATIC = "static"
"""The attention of a network without dynamic layers."""


def dynamic_facts(net: nn.Module, hparams: Mapping[str, Any], trainer: Trainer) -> dict[str, Any]:
    """Return ``attention``, ``num_kernels``, ``temperature``, ``temperature_end``, ``where`` and ``backend``.

    Args:
        net: The network.
        hparams: What it was built from, see :class:`~lightning_modules.ImageClassifier`.
        trainer: Its callbacks may lower the temperature.

    Returns:
        The values by name. ``temperature`` and ``temperature_end`` are those of the first and the last step.
        ``where`` is None unless it was given: the network's name then says it. Where layers differ, their values are
        joined: ``"dy, dyc"``. A static network's attention is ``"static"``, and the rest is None.
    """
    layers = [layer for _, layer in iter_dynamic(net)]
    if not layers:
        rest = ("num_kernels", "temperature", "temperature_end", "where", "backend")
        return {"attention": STATIC, **dict.fromkeys(rest)}
    start = _one(t.item() for t in iter_temperatures(net))
    end = start
    for callback in trainer.callbacks if start is not None else ():
        if isinstance(callback, TemperatureAnnealing):
            epochs = trainer.max_epochs
            start = callback.temperature(0)
            end = callback.end if epochs is None or epochs < 0 else _last(callback, epochs)
    given = hparams.get("dynamic") or hparams.get("model_kwargs") or {}
    return {
        "attention": _one(row.attention for row in dynamic_layers(net)),
        "num_kernels": _one(layer.num_kernels for layer in layers),
        "temperature": start,
        "temperature_end": end,
        "where": given.get("where"),
        "backend": _one(layer.backend for layer in layers),
    }


def _last(callback: TemperatureAnnealing, epochs: int) -> float:
    """Return the temperature after the last step, or in the last epoch where it is constant within an epoch."""
    return callback.temperature(epochs if callback.per == "step" else epochs - 1)


def _one(values: Iterable[Any]) -> Any:
    """Return the value that all have, their text joined where they differ, and None where there is none."""
    found = list(dict.fromkeys(values))
    return (found or [None])[0] if len(found) < 2 else ", ".join(sorted(map(str, found)))
