"""What the data modules of every task have in common: the splits that are served, and what they are called."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import IterableDataset

from lightning_modules.data.class_names import check_class_names
from lightning_modules.data.loaders import last_batch
from lightning_modules.data.serving import own_samples
from lightning_modules.data.splits import Splits


class SplitData(LightningDataModule):
    """A data module whose training, validation and test samples are :class:`Splits`; ``_loader`` serves one of them."""

    dataset: str
    root: str
    val_fraction: float
    batch_size: int
    drop_last: bool
    class_names: list[str] | None
    splits: Splits | None
    _opened: Splits | None  # before a share is held out

    def _loader(self, data: Any, training: bool) -> Any:
        raise NotImplementedError

    @property
    def dataset_name(self) -> str:
        """What the data is called in logs: the name of the data set, or of the folder that holds it."""
        return (self.dataset == "folder" and Path(self.root).resolve().name) or self.dataset

    @property
    def validates_on_test(self) -> bool:
        """Whether validation and test are the same samples, so that the best checkpoint was chosen on the test set."""
        return self.splits is not None and self.splits.val is self.splits.test

    def evaluated_split(self, stage: str) -> str:
        """Return which split ``validate`` or ``test`` reads, ``validation`` or ``test``: each may stand in for both."""
        return "test" if self._opened.used_in(stage, self.val_fraction) == {"test"} else "validation"

    @property
    def last_batch_size(self) -> int | None:
        """Images of an epoch's last training batch on this device; None before the data is set up."""
        if self.splits is None or isinstance(self.splits.train, IterableDataset):
            return None  # shards fill every batch
        world_size = 1 if self.trainer is None else self.trainer.world_size
        return last_batch(own_samples(self.splits.train, world_size), self.batch_size, self.drop_last)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Check that the classes are those of a checkpoint, and take their names from there where the data has none.

        Raises:
            ArgumentError: The same classes have other numbers.
        """
        names = state_dict.get("class_names")
        check_class_names(names, self.class_names)
        self.class_names = self.class_names or names

    def train_dataloader(self) -> Any:
        """Serve shuffled, augmented training batches."""
        return self._loader(self.splits.train, True)

    def val_dataloader(self) -> Any:
        """Serve the validation split in order."""
        return self._loader(self.splits.val, False)

    def test_dataloader(self) -> Any:
        """Serve the test split in order."""
        return self._loader(self.splits.test, False)
