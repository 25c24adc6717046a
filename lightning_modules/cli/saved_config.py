"""The file that repeats a run: its ``config.yaml``, in its folder whatever the loggers are."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from lightning_modules.disk import naming

CONFIG = "config.yaml"


class SaveRunConfig(SaveConfigCallback):
    """Write every setting into the folder of the run; Lightning's own callback asks the first logger for a folder.

    Args:
        args: As Lightning's.
        folder: Folder of the run.
        kwargs: As Lightning's.
    """

    def __init__(self, *args: Any, folder: Path, **kwargs: Any):
        super().__init__(*args, save_to_log_dir=False, **kwargs)
        self.folder = folder

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the file."""
        with naming(self.folder / CONFIG):
            self.parser.save(self.config, str(self.folder / CONFIG), skip_unset=False)
