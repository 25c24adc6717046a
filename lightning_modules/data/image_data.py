"""The data module of the command line: any image classification set, with one set of options."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timm.data import create_transform
from torch import Tensor
from torch.utils.data import Dataset

from lightning_modules.data import image_tensors
from lightning_modules.data.argument_checks import check_memory, check_policy, check_ranges
from lightning_modules.data.catalog import IMAGENET, IN_MEMORY, check_dataset_name, open_in_memory
from lightning_modules.data.decode_all import decode_all
from lightning_modules.data.folders import open_folder, open_timm
from lightning_modules.data.image_files import Decoded, open_unlabelled
from lightning_modules.data.serving import build_loader
from lightning_modules.data.skip_damaged import without_damaged
from lightning_modules.data.split_data import SplitData
from lightning_modules.data.splits import Splits, item_names
from ops import ArgumentError


class ImageData(SplitData):
    """Images with one label each, for training, validation, test and prediction.

    ``digits`` (scikit-learn's handwritten digits) and ``torch/cifar10``, ``torch/cifar100``, ``torch/mnist``,
    ``torch/fashion_mnist``, ``torch/kmnist``, ``tiny_imagenet`` are kept in memory and augmented as whole batches on
    the training device (random crop, flip). ``folder``, ``wds/NAME`` and ``hfds/NAME`` are read image by image with
    timm's ImageNet augmentation (random resized crop, flip, AutoAugment, erasing), unless ``in_memory`` is set.

    Without a validation split and with ``val_fraction=0``, the test split is validated on, as the papers do.

    Args:
        dataset: Name of the data set.
        root: Folder of the files, or address of the shards (``wds/``).
        download: Let torchvision download what is missing.
        batch_size: Images per training batch and device.
        eval_batch_size: Images per batch in evaluation; by default ``batch_size``.
        drop_last: Leave out the last training batch of an epoch where it is incomplete. With False, only a batch of a
            single image is left out, which BatchNorm cannot be trained on. Shards (``wds/``) always fill the last
            batch with images of the next epoch. Among several processes, each of which is served the same number of
            images, those that are left, fewer than there are processes, are left out too.
        image_size: Height and width in pixels; by default the set's own, or 224 for sets read image by image.
        val_fraction: Share of the training split that is held out for validation.
        crop_padding: Pixels of zero padding before the random crop (sets in memory).
        hflip: Probability of a left-right flip in training.
        crop_scale: Smallest and largest share of the image in a random resized crop (sets read image by image).
        auto_augment: timm's AutoAugment policy, such as ``rand-m9-mstd0.5`` (sets read image by image).
        erase_prob: Probability of random erasing (sets read image by image).
        mean: Channel means of pixels in 0..1; by default the set's.
        std: Channel standard deviations; by default the set's.
        num_classes: Number of classes, where the data set does not say (``wds/``).
        num_workers: Processes that read images; by default one less than the CPU cores. Data sets in memory use none.
        train_split: Name of the training split (``wds/``, ``hfds/``).
        val_split: Name of the validation split (``wds/``, ``hfds/``); null for none.
        test_split: Name of the test split (``wds/``, ``hfds/``); null for none.
        predict_folder: Images for ``predict``: a folder, with or without classes, a file, or a list of both; by
            default the test split.
        reader_kwargs: Further arguments of timm's reader, such as ``input_key`` (``wds/``, ``hfds/``).
        seed: Seed of the validation hold-out and of the order of samples; by default that of ``seed_everything``, or 0.
            A checkpoint keeps it, so that the same samples are held out whenever it is evaluated or trained on.
        in_memory: Decode all images once and keep them, as the sets that are known (``folder``, ``hfds/``). Without
            ``image_size``, they must be squares of one size; with it, they are resized and cropped to their middle.
        skip_damaged: Decode every image once before it is used, and leave out those that are damaged or of a kind
            that is not read (``folder``, ``hfds/``, ``predict_folder``). Shards always leave out what is damaged.

    Raises:
        ArgumentError: An argument cannot be used, or the data is missing, empty or damaged.
    """

    def __init__(
        self,
        dataset: str = "digits",
        root: str = ".data",
        download: bool = False,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        drop_last: bool = True,
        image_size: int | None = None,
        val_fraction: float = 0.0,
        crop_padding: int = 4,
        hflip: float = 0.5,
        crop_scale: tuple[float, float] = (0.08, 1.0),
        auto_augment: str | None = None,
        erase_prob: float = 0.0,
        mean: list[float] | None = None,
        std: list[float] | None = None,
        num_classes: int | None = None,
        num_workers: int | None = None,
        train_split: str = "train",
        val_split: str | None = "validation",
        test_split: str | None = None,
        predict_folder: str | list[str] | None = None,
        reader_kwargs: dict[str, Any] | None = None,
        seed: int | None = None,
        in_memory: bool = False,
        skip_damaged: bool = False,
    ):
        super().__init__()
        self.dataset = check_dataset_name(dataset)
        self.known = IN_MEMORY.get(dataset)
        self.in_memory, self.skip_damaged = in_memory or self.known is not None, skip_damaged
        check_ranges(
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            image_size=image_size,
            val_fraction=val_fraction,
            crop_padding=crop_padding,
            hflip=hflip,
            crop_scale=crop_scale,
            erase_prob=erase_prob,
            std=std,
            num_classes=num_classes,
            num_workers=num_workers,
        )
        check_memory(dataset, self.in_memory, auto_augment, erase_prob)
        check_policy(auto_augment)
        self.root, self.download = root, download
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size or batch_size
        self.drop_last = drop_last
        self.image_size, self.val_fraction = image_size, val_fraction
        self.crop_padding, self.hflip = crop_padding, hflip
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", 0)) if seed is None else seed
        self.augmentation = {"scale": crop_scale, "auto_augment": auto_augment, "re_prob": erase_prob}
        known = self.known or IMAGENET
        self.mean, self.std = tuple(mean or known.mean), tuple(std or known.std)
        self.num_classes = num_classes
        self.num_workers = max(0, (os.cpu_count() or 1) - 1) if num_workers is None else num_workers
        self.split_names = {"train": train_split, "val": val_split, "test": test_split}
        self.predict_folder = [predict_folder] if isinstance(predict_folder, str) else predict_folder
        self._pictures: Dataset | None = None
        self.reader_kwargs = reader_kwargs or {}
        self.in_chans = len(known.mean)
        if len(self.mean) != self.in_chans or len(self.std) != self.in_chans:
            raise ArgumentError("data.mean / data.std", f"{self.mean} / {self.std}", f"{self.in_chans} numbers each")
        self.splits: Splits | None = None
        self._opened: Splits | None = None  # before a share is held out
        self._ready: set[str] = set()
        self._resizes = image_size is not None
        self.class_names: list[str] | None = None
        # A checkpoint holds how the images were prepared, so that its network is evaluated on the same kind.
        self.save_hyperparameters()
        self.hparams.update(mean=list(self.mean), std=list(self.std), crop_scale=list(crop_scale), seed=self.seed)

    def prepare_data(self) -> None:
        """Download what is missing, and decode what is kept decoded, on one process only."""
        if self.known is not None and (self.download or self.dataset == "tiny_imagenet"):
            open_in_memory(self.dataset, Path(self.root), self.download)

    def setup(self, stage: str) -> None:
        """Open the splits, decode those of the stage where that is asked for, and hold out the validation share.

        Training decodes all of them: what is wrong with a test image should not show when the training is over.
        """
        predicts_files = stage == "predict" and self.predict_folder is not None
        # A folder to predict needs no training data if a checkpoint says what it was like.
        if predicts_files and self.num_classes is not None and self.image_size is not None:
            return
        if self._opened is None:
            self._opened = self._open()
            known = None if self.known is None else self.known.num_classes
            self.num_classes = self._opened.count_classes(self.num_classes, known, self.dataset, self.root)
            self.class_names = self._opened.class_names or self.class_names
        names = set() if predicts_files else self._opened.used_in(stage, self.val_fraction)
        if self.splits is not None and names <= self._ready:
            return
        self._opened = self._read_whole(self._opened, names - self._ready)
        self._ready |= names
        splits = replace(self._opened)
        splits.settle_validation(self.val_fraction, self.seed, self.dataset, self.root)
        self.image_size = self.image_size or 224
        self.splits = splits
        self.hparams.image_size, self.hparams.num_classes = self.image_size, self.num_classes

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps in addition to the settings: the names of the classes."""
        return {"class_names": self.class_names}

    def _open(self) -> Splits:
        if self.known is not None:
            return self._open_tensors()
        if self.dataset == "folder":
            return open_folder(Path(self.root))
        return open_timm(self.dataset, self.root, self.split_names, self.batch_size, self.seed, self.reader_kwargs)

    def _open_tensors(self) -> Splits:
        train, test = open_in_memory(self.dataset, Path(self.root), download=False)
        self.image_size = self.image_size or train.images.shape[-1]
        return Splits(train.resize(self.image_size), None, test.resize(self.image_size), None)

    def _read_whole(self, splits: Splits, names: set[str]) -> Splits:
        """Decode the images of some splits, where damaged ones are left out or all are kept in memory."""

        def usable(name: str, data: Dataset) -> Dataset:
            chosen = name in names and isinstance(data, Decoded) and self.skip_damaged
            return without_damaged(data) if chosen else data

        def kept(name: str, data: Dataset) -> Dataset:
            if not (name in names and isinstance(data, Decoded) and self.in_memory):
                return data
            data = decode_all(data, self.image_size, name, together=together, resize=self._resizes)
            self.image_size = data.images.shape[-1]
            return data

        splits = splits.map(usable)
        in_memory = names | self._ready
        together = sum(len(getattr(splits, name)) for name in in_memory if self.in_memory)
        return splits.map(kept)

    def predict_dataloader(self) -> Any:
        """Serve the images of ``predict_folder`` if there are any, else the test split."""
        return self._loader(self._predicted(), False, ordered=True)

    def _predicted(self) -> Any:
        if self.predict_folder is None:
            return self.splits.test
        if self._pictures is None:
            found = open_unlabelled([Path(p) for p in self.predict_folder], self._mode)
            self._pictures = without_damaged(found) if self.skip_damaged else found
        return self._pictures

    def predict_items(self) -> list[str]:
        """Name the images that :meth:`predict_dataloader` serves: paths where there are files, else numbers."""
        return item_names(self._predicted())

    @property
    def _mode(self) -> str:
        return "L" if self.in_chans == 1 else "RGB"

    def _transform(self, training: bool) -> Any:
        size = (self.in_chans, self.image_size, self.image_size)
        # Small images are shown whole; larger ones are cropped to their middle, as timm evaluates by default.
        augmentation = {**self.augmentation, "hflip": self.hflip} if training else {}
        augmentation["crop_pct"] = 1.0 if self.in_memory else None
        return create_transform(size, is_training=training, mean=self.mean, std=self.std, **augmentation)

    def _loader(self, data: Any, training: bool, ordered: bool = False) -> Any:
        return build_loader(
            data,
            partial(self._transform, training),
            self.trainer,
            training=training,
            ordered=ordered,
            mode=self._mode,
            batch_size=self.batch_size if training else self.eval_batch_size,
            drop_last=self.drop_last,
            num_workers=self.num_workers,
            seed=self.seed,
        )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augment and normalise whole uint8 batches on the device; batches read image by image are ready."""
        images, *rest = batch
        if not isinstance(images, Tensor) or images.dtype != torch.uint8:
            return batch
        if self.trainer is not None and self.trainer.training:
            images = image_tensors.random_flip(image_tensors.random_crop(images, self.crop_padding), self.hflip)
        mean, std = (torch.tensor(v, device=images.device) for v in (self.mean, self.std))
        return (image_tensors.normalize(images, mean, std), *rest)
