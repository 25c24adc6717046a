"""Lines that say what is trained and how it goes, readable in a log file where a progress bar is not."""

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from dyc import iter_dynamic, iter_selective, profile
from lightning_modules.image_shape import image_shape
from lightning_modules.tasks import WATCHED


class EpochReport(Callback):
    """Print the size of the network when training starts, and one line per epoch."""

    SHOWN = (
        ("train/loss", "loss", "{:.4f}"),
        ("val/loss", "val loss", "{:.4f}"),
        *((f"val/{key}", f"val {title}", "{:.2%}") for key, title in WATCHED.items()),
        ("attention/temperature", "temperature", "{:.3g}"),
        ("attention/entropy", "attention entropy", "{:.3f}"),
        ("channels/closed", "closed", "{:.0f}"),
        ("channels/reallocated", "re-allocated", "{:.0f}"),
        ("train/images_per_second", "images/s", "{:,.0f}"),
        ("train/data_time_share", "data time", "{:.1%}"),
    )

    def __init__(self) -> None:
        self._validated = False  # also for an epoch that goes on in its middle, which does not start again

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print what is trained: parameters, MACs at the size of the data, layers, device and precision."""
        net, data = pl_module.net, trainer.datamodule
        size = image_shape(data)
        counts = profile(net, (pl_module.in_chans, *size))
        found = [("dynamic", len(list(iter_dynamic(net)))), ("selective", len(list(iter_selective(net))))]
        layers = [f"{n} {kind} layer{'' if n == 1 else 's'}" for kind, n in found if n or kind == "dynamic"]
        self._print(
            trainer,
            f"{pl_module.source.title}: {counts.parameters:,} parameters, {counts.macs:,} MACs at "
            f"{size[0]}x{size[1]}, {', '.join(layers)}, "
            f"on {pl_module.device} at {trainer.precision}",
        )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the validation of the epoch before."""
        self._validated = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that this epoch has figures of its own."""
        self._validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the figures that were logged."""
        # Read on every process: it may make them exchange their parts of a figure.
        stale = () if self._validated else ("val/", "attention/")
        metrics = {k: v for k, v in trainer.callback_metrics.items() if not k.startswith(stale)}
        figures = [f"{label} {form.format(float(metrics[key]))}" for key, label, form in self.SHOWN if key in metrics]
        self._print(trainer, f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: " + ", ".join(figures))

    @staticmethod
    @rank_zero_only
    def _print(trainer: Trainer, line: str) -> None:
        bar = trainer.progress_bar_callback
        (print if bar is None else bar.print)(line)
