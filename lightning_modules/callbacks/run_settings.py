"""What a run was, for its loggers: every setting, the size of the network and the name of the data."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from dyc import profile
from lightning_modules.callbacks.network_facts import dynamic_facts
from lightning_modules.image_shape import image_shape


class RunSettings(Callback):
    """Log all settings of a run as its hyperparameters, so that two runs that differ, differ there too.

    Logs the settings of network and data with what was found out about them (classes, image size), ``parameters``,
    ``macs`` (per image, of the size of the data), ``data_name``, what is dynamic about the network (see
    :func:`~lightning_modules.callbacks.network_facts.dynamic_facts`), and the other settings. Values are plain:
    numbers, text, lists and dicts, so that every logger can write them.

    Args:
        settings: Settings of the run beside network and data, by name.
    """

    def __init__(self, settings: dict[str, Any]):
        self.settings = settings

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log, now that network and data are there and no step was made."""
        if not trainer.is_global_zero or not trainer.loggers:
            return
        data = trainer.datamodule
        counts = profile(pl_module.net, (pl_module.in_chans, *image_shape(data)))
        found = {
            **pl_module.hparams,
            **data.hparams,
            "seed": data.hparams_initial.get("seed"),  # as it was given: runs are compared by all but the run's seed
            "data_name": data.dataset_name,
            "parameters": counts.parameters,
            "macs": counts.macs,
            **dynamic_facts(pl_module.net, pl_module.hparams, trainer),
        }
        for logger in trainer.loggers:
            logger.log_hyperparams(plain({**found, **self.settings}))


def plain(value: Any) -> Any:
    """Return a value made of what YAML and JSON know: tuples become lists, other objects their text."""
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    # A subclass, such as an enumeration of strings, would be written with its type.
    return value if value is None or type(value) in (bool, int, float, str) else str(value)


def callbacks_by_name(callbacks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the arguments of each callback by the name of its class, so that loggers can compare them one by one."""
    found: dict[str, Any] = {}
    for each in callbacks:
        name = each["class_path"].rpartition(".")[2]
        same = sum(key.partition("#")[0] == name for key in found)
        found[f"{name}#{same + 1}" if same else name] = each.get("init_args") or {}
    return found
