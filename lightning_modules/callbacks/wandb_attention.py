"""The attention of each layer in W&B: its entropy over the epochs, one chart per stage, and a map of the kernels."""

from io import BytesIO
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.figure import Figure
from PIL import Image

from lightning_modules.callbacks.attention_monitor import AttentionMonitor
from lightning_modules.layer_groups import by_group
from lightning_modules.wandb_logger import EPOCH, wandb_loggers


class WandbAttention(Callback):
    """Draw what :class:`AttentionMonitor` found, when training ends.

    Logs ``attention/layers/STAGE``, a chart of each stage's layers with their entropies over the epochs, those before
    a resume included, and ``attention/kernels``, an image of the mean weight of each kernel in each layer after the
    last validation. A static network has neither.
    """

    def __init__(self) -> None:
        self._epochs: list[int] = []
        self._entropies: dict[str, list[float]] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the entropies so far."""
        return {"epochs": list(self._epochs), "entropies": {name: list(v) for name, v in self._entropies.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the entropies of the epochs before."""
        self._epochs, self._entropies = state_dict["epochs"], state_dict["entropies"]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the entropies of this epoch."""
        found = _found(trainer)
        if trainer.sanity_checking or not found or trainer.current_epoch in self._epochs:
            return
        self._epochs.append(trainer.current_epoch)
        for name, layer in found.items():
            self._entropies.setdefault(name, []).append(layer.entropy)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the charts and the map."""
        found = _found(trainer)
        for logger in wandb_loggers(trainer) if found else ():
            logger.attempt(lambda run: run.log({**self._charts(), **_map(found), EPOCH: trainer.current_epoch}))

    def _charts(self) -> dict[str, Any]:
        import wandb

        return {
            f"attention/layers/{group}": wandb.plot.line_series(
                self._epochs,
                [self._entropies[name] for name in names],
                keys=names,
                title=f"entropy of the attention, {group}",
                xname=EPOCH,
            )
            for group, names in by_group(self._entropies).items()
        }


def _found(trainer: Trainer) -> dict[str, Any]:
    return next((each.found for each in trainer.callbacks if isinstance(each, AttentionMonitor)), {})


def _map(found: dict[str, Any]) -> dict[str, Any]:
    import wandb

    return {"attention/kernels": wandb.Image(kernel_map({name: layer.kernels for name, layer in found.items()}))}


def kernel_map(weights: dict[str, tuple[float, ...]]) -> Image.Image:
    """Return an image of the mean weight of each kernel (columns) in each layer (rows); missing kernels stay white.

    Args:
        weights: One weight per kernel, by the name of the layer.
    """
    kernels = max(map(len, weights.values()))
    table = np.full((len(weights), kernels), np.nan)
    for row, values in zip(table, weights.values()):
        row[: len(values)] = values
    figure = Figure(figsize=(3.5 + 0.5 * kernels, 1.2 + 0.25 * len(weights)), layout="constrained")
    axes = figure.add_subplot()
    shown = axes.imshow(table, aspect="auto", vmin=0)
    axes.set_yticks(range(len(weights)), list(weights))
    axes.set_xticks(range(kernels), [str(k) for k in range(1, kernels + 1)])
    axes.set_xlabel("kernel")
    figure.colorbar(shown, label="mean weight")
    file = BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return Image.open(file)
