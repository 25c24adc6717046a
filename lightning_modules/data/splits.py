"""The splits of a data set: training, validation, test."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.data import Dataset, IterableDataset, Subset

from lightning_modules.data.image_tensors import ImageTensors
from ops import ArgumentError


@dataclass
class Splits:
    """The splits of a data set; ``val`` and ``test`` may be missing. Classes as a name-to-label map, if known."""

    train: Dataset
    val: Dataset | None
    test: Dataset | None
    class_to_idx: dict[str, int] | None

    def map(self, change: Callable[[str, Dataset], Dataset]) -> "Splits":
        """Return the splits with each of them changed; ``change`` is given its name and the data."""
        splits = {name: getattr(self, name) for name in ("train", "val", "test")}
        changed = {name: None if data is None else change(name, data) for name, data in splits.items()}
        return Splits(**changed, class_to_idx=self.class_to_idx)

    def used_in(self, stage: str, fraction: float) -> set[str]:
        """Return the names of the splits whose images a stage reads: for ``fit`` all, to test at its end.

        Args:
            stage: ``fit``, ``validate``, ``test`` or ``predict``.
            fraction: The share of the training split that is held out.
        """
        there = [name for name in ("train", "val", "test") if getattr(self, name) is not None]
        if stage == "fit":
            return set(there)
        # Validation and test stand in for each other; what is held out is part of the training split.
        validation = "train" if fraction > 0 else "val"
        order = (validation, "test") if stage == "validate" else ("test", validation)
        return {next((name for name in order if name in there), "train")}

    def count_classes(self, given: int | None, known: int | None, dataset: str, root: str) -> int:
        """Return the number of classes.

        Args:
            given: What the user says.
            known: What is known of the data set.
            dataset: Its name, for errors.
            root: Its folder, for errors.

        Raises:
            ArgumentError: The number is unknown, contradicts the data, or is 1.
        """
        known = known or len(self.class_to_idx or ()) or None
        if known == 1:
            only = f" ({next(iter(self.class_to_idx))})" if self.class_to_idx else ""
            raise ArgumentError("data.root", f"{root!r} with one class{only}", "at least two, to tell them apart")
        if given is not None and known is not None and given != known:
            raise ArgumentError("data.num_classes", given, f"{known}, the classes of {dataset!r}")
        if given is None and known is None:
            sentence = f"{dataset!r} does not say how many classes it has; give their number"
            raise ArgumentError("data.num_classes", sentence=sentence)
        return given or known

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classes in the order of their labels, if they have any."""
        if self.class_to_idx:
            return sorted(self.class_to_idx, key=self.class_to_idx.get)
        return list(getattr(self.train, "classes", ())) or None

    def settle_validation(self, fraction: float, seed: int, dataset: str, root: str) -> None:
        """Hold out a share of the training split, and let validation or test stand in for the other if it is missing.

        Args:
            fraction: The share that is held out.
            seed: Seed that picks the samples.
            dataset: Name of the data set, for errors.
            root: Its folder, for errors.

        Raises:
            ArgumentError: No samples are left for validation, or a share is held out beside a validation split.
        """
        if fraction > 0:
            self._hold_out(fraction, seed)
        self.val = self.test if self.val is None else self.val
        self.test = self.val if self.test is None else self.test
        if self.val is None and dataset == "folder":
            need = f"a share above 0, as {root!r} has neither a val nor a test folder"
            raise ArgumentError("data.val_fraction", 0, need)
        if self.val is None:
            raise ArgumentError("data.val_split", sentence="name a split here or as test_split; both are null")

    def _hold_out(self, fraction: float, seed: int) -> None:
        train = self.train
        if self.val is not None:
            raise ArgumentError("data.val_fraction", fraction, "0, as the data set has a validation split")
        if isinstance(train, IterableDataset):
            need = "0, and a val_split, as samples of an iterable data set cannot be picked"
            raise ArgumentError("data.val_fraction", fraction, need)
        count = len(train)
        held = int(count * fraction)
        if held == 0:
            raise ArgumentError("data.val_fraction", fraction, f"more than 1/{count}, which is one sample")
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
        pick = train.subset if isinstance(train, ImageTensors) else lambda i: Subset(train, i.tolist())
        self.train, self.val = pick(order[held:]), pick(order[:held])


def item_names(data: Dataset) -> list[str]:
    """Name the samples of a split, in order: paths where there are files, else numbers."""
    if isinstance(data, IterableDataset):
        return [str(i) for i in range(data.reader.num_samples)]
    if isinstance(data, ImageTensors):
        return list(data.names) or [str(i) for i in range(len(data))]
    if isinstance(data, Subset):
        return [data.dataset.name(i) for i in data.indices]
    return [data.name(i) for i in range(len(data))]
