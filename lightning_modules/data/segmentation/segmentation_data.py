"""The data module of semantic segmentation: images with a mask each, with one set of options."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor
from torch.utils.data import Dataset

from lightning_modules.data.argument_checks import check_ranges
from lightning_modules.data.image_tensors import ImageTensors, normalize
from lightning_modules.data.segmentation.arguments import as_palette, as_size, as_void
from lightning_modules.data.segmentation.batch_transform import jitter_colours, random_windows
from lightning_modules.data.segmentation.catalog import KNOWN
from lightning_modules.data.segmentation.class_weights import weigh_classes
from lightning_modules.data.segmentation.classes import Classes, knows_classes, settle_classes
from lightning_modules.data.segmentation.in_memory import decode_pairs
from lightning_modules.data.segmentation.joint_transform import RandomWindow, evaluation_transform, training_transform
from lightning_modules.data.segmentation.layouts import fetch, open_splits
from lightning_modules.data.segmentation.mask_checks import check_masks, check_occurring
from lightning_modules.data.segmentation.masked_images import TransformedPairs, label_table
from lightning_modules.data.segmentation.survey import survey
from lightning_modules.data.segmentation.surveyed import Surveyed
from lightning_modules.data.segmentation.windows import Size
from lightning_modules.data.serving import build_loader
from lightning_modules.data.split_data import SplitData
from lightning_modules.data.splits import Splits, item_names
from ops import ArgumentError, unknown_name


class SegmentationData(SplitData):
    """Images with a class for each pixel, for training, validation and test.

    A batch is images ``(B, 3, H, W)``, float and normalised, and masks ``(B, H, W)``, int64: classes from 0, or
    ``ignore_index`` for pixels without one. Before a training, every image and mask is read once and checked; what was
    found is kept in the cache folder. ``camvid`` is kept in memory and augmented as whole batches on the training
    device; the others are read image by image by several processes, unless ``in_memory`` is set.

    Without a test split, the validation split is tested on, as papers do with ``cityscapes`` and ``voc``.

    Args:
        dataset: ``camvid``, ``cityscapes``, ``voc`` (2012) or ``folder``; lightning_modules/segmentation/README.md has
            their layouts.
        root: Folder of the files.
        download: Fetch what is missing (``voc``).
        batch_size: Images per training batch and device.
        eval_batch_size: Images per batch in evaluation; by default ``batch_size``. It is 1 where sizes differ.
        drop_last: Leave out the last training batch of an epoch where it is incomplete.
        image_size: Height and width in pixels, or one number for both, to which every image and mask is resized; by
            default they stay as they are.
        crop_size: Height and width of what is trained on, or one number for both; by default ``image_size``, or the
            images' own size where it is one.
        scale: The smallest and the largest factor by which images are rescaled in training, before they are cropped.
            What lies beyond an image has the colour ``mean``, and no class.
        hflip: Probability of a left-right flip in training.
        colour_jitter: How far brightness, contrast and saturation are changed in training: by factors from
            ``1 - colour_jitter`` to ``1 + colour_jitter``.
        val_fraction: Share of the training split that is held out for validation.
        mean: Channel means of pixels in 0..1; by default ImageNet's.
        std: Channel standard deviations; by default ImageNet's.
        ignore_index: The label of pixels without a class, in what is delivered.
        void: The values in mask files of pixels without a class; by default those of the data set, and 255 of a folder.
        num_classes: Number of classes of a folder, if nothing else says it.
        class_names: Names of the classes; by default those of the data set, or the lines of ``classes.txt`` in a
            folder.
        palette: Colours of the classes in pictures, as red, green and blue from 0 to 255; by default those of the data
            set, or of a folder's masks.
        num_workers: Processes that read images; by default one less than the CPU cores. Sets in memory
            need no processes.
        seed: Seed of the validation hold-out and of the order of samples; by default that of ``seed_everything``, or 0.
            A checkpoint keeps it, so that the same samples are held out whenever it is evaluated or trained on.
        in_memory: Decode all images and masks once and keep them, as for ``camvid``. Their sizes must be the same,
            unless ``image_size`` is given.

    Raises:
        ArgumentError: An argument cannot be used, or a file is missing, damaged, or not what is needed.
    """

    def __init__(
        self,
        dataset: str = "camvid",
        root: str = ".data",
        download: bool = False,
        batch_size: int = 8,
        eval_batch_size: int | None = None,
        drop_last: bool = True,
        image_size: int | tuple[int, int] | None = None,
        crop_size: int | tuple[int, int] | None = None,
        scale: tuple[float, float] = (0.5, 2.0),
        hflip: float = 0.5,
        colour_jitter: float = 0.0,
        val_fraction: float = 0.0,
        mean: list[float] | None = None,
        std: list[float] | None = None,
        ignore_index: int = 255,
        void: int | list[int] | None = None,
        num_classes: int | None = None,
        class_names: list[str] | None = None,
        palette: list[tuple[int, int, int]] | None = None,
        num_workers: int | None = None,
        seed: int | None = None,
        in_memory: bool = False,
    ):
        super().__init__()
        if dataset not in KNOWN:
            raise unknown_name("data.dataset", dataset, KNOWN)
        self.dataset, self.known = dataset, KNOWN[dataset]
        check_ranges(
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            scale=scale,
            hflip=hflip,
            colour_jitter=colour_jitter,
            val_fraction=val_fraction,
            std=std,
            num_classes=num_classes,
            num_workers=num_workers,
        )
        self.root, self.download = root, download
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size or batch_size
        self.drop_last, self.val_fraction = drop_last, val_fraction
        self.image_size, self.crop_size = as_size("image_size", image_size), as_size("crop_size", crop_size)
        self._given_sizes = {"image_size": self.image_size, "crop_size": self.crop_size}
        self.scale, self.hflip, self.colour_jitter = tuple(scale), hflip, colour_jitter
        self.in_chans = 3
        self.mean, self.std = tuple(mean or IMAGENET_DEFAULT_MEAN), tuple(std or IMAGENET_DEFAULT_STD)
        if len(self.mean) != self.in_chans or len(self.std) != self.in_chans:
            raise ArgumentError("data.mean / data.std", f"{self.mean} / {self.std}", f"{self.in_chans} numbers each")
        self.ignore_index, self._void = ignore_index, as_void(void)
        self._given = {"names": class_names, "number": num_classes, "palette": as_palette(palette)}
        self.num_classes, self.class_names, self.palette = num_classes, class_names, self._given["palette"]
        self.num_workers = max(0, (os.cpu_count() or 1) - 1) if num_workers is None else num_workers
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", 0)) if seed is None else seed
        self.in_memory = in_memory or self.known.in_memory
        self.splits: Splits | None = None
        self._opened: Splits | None = None
        self._classes: Classes | None = None
        self._surveyed = Surveyed()
        self._ready: set[str] = set()
        self.save_hyperparameters()
        self.hparams.update(mean=list(self.mean), std=list(self.std), scale=list(scale), seed=self.seed)
        self.hparams.update({name: _listed(getattr(self, name)) for name in ("image_size", "crop_size")})

    def prepare_data(self) -> None:
        """Download what is missing, and check every image and mask, on one process only: others read what is kept."""
        if self.download:
            fetch(self.dataset, Path(self.root))
        splits = open_splits(self.dataset, Path(self.root))
        if self.trainer is None:  # then there is one process, whose setup checks what its stage needs
            return
        for name in splits.used_in(self.trainer.state.fn.value, self.val_fraction):
            survey(getattr(splits, name), name)

    def setup(self, stage: str) -> None:
        """Open the splits, check those of the stage, and decode them where they are kept in memory.

        Training checks all of them: what is wrong with a test mask should not show when the training is over.
        """
        self._opened = self._opened or open_splits(self.dataset, Path(self.root))
        names = self._opened.used_in(stage, self.val_fraction)
        if self.splits is None or not names <= self._ready:
            self._check(names)
            self._settle_sizes()
            self._opened = self._opened.map(partial(self._kept, names - self._ready))
            self._ready |= names
            splits = replace(self._opened)
            splits.settle_validation(self.val_fraction, self.seed, self.dataset, self.root)
            self.splits = splits
            self.hparams.update(image_size=_listed(self.image_size), num_classes=self.num_classes)
        if stage == "fit":
            if self.crop_size is None:
                sentence = f"{self._surveyed.two_sizes()}; give the size to train on, or image_size to resize all"
                raise ArgumentError("data.crop_size", sentence=sentence)
            check_occurring(self._surveyed.by_mask(self.names("train")), self._classes)

    def _check(self, names: set[str]) -> None:
        """Survey some splits, decide what the classes are, and refuse masks that hold anything else."""
        self._surveyed.add(self._opened, names)
        if self._classes is None:
            root, facts = Path(self.root), self._surveyed.by_mask()
            if not knows_classes(self.known, root, **self._given):  # then the training masks alone say
                self._surveyed.add(self._opened, {"train"})
                facts = self._surveyed.by_mask(item_names(self._opened.train))
            classes = settle_classes(self.known, root, facts, void=self._void, **self._given)
            self.num_classes, self.class_names, self.palette = len(classes.names), classes.names, classes.palette
            if not self.num_classes <= self.ignore_index <= 255:
                need = f"a label that no class has, from {self.num_classes} to 255"
                raise ArgumentError("data.ignore_index", self.ignore_index, need)
            self._classes, table = classes, label_table(classes.values, classes.void, self.ignore_index)
            self._opened.map(lambda name, data: setattr(data, "table", table))
        check_masks(self._surveyed.by_mask(), self._classes)

    def _settle_sizes(self) -> None:
        self.image_size = self._given_sizes["image_size"] or self._surveyed.one_size()
        self.crop_size = self._given_sizes["crop_size"] or self.image_size
        if self.image_size is None:
            self.eval_batch_size = 1
            if self.in_memory:
                sentence = f"{self._surveyed.two_sizes()}; give data.image_size to resize all"
                raise ArgumentError("data.in_memory", sentence=sentence)

    def _kept(self, names: set[str], name: str, data: Dataset) -> Dataset:
        if not self.in_memory or name not in names:
            return data
        return decode_pairs(data, self.image_size, name, together=len(self._surveyed.facts))

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps in addition to the settings: names and colours of the classes."""
        return {"class_names": self.class_names, "palette": self.palette}

    def names(self, split: str) -> list[str]:
        """Return the files of the images of a split, ``train``, ``val`` or ``test``, in order."""
        return item_names(getattr(self.splits, split))

    def class_weights(self, method: str = "median_frequency") -> Tensor:
        """Return weights of the classes for the loss, ``(num_classes,)``, from the pixels of the training split.

        Args:
            method: ``median_frequency`` or ``enet``.

        Raises:
            ArgumentError: The method is unknown.
        """
        self._surveyed.add(self._opened, {"train"})
        return weigh_classes(self._surveyed.count_pixels(self.names("train"), self._classes), method)

    def predict_dataloader(self) -> Any:
        """Serve the test split in order."""
        return self._loader(self.splits.test, False)

    def predict_items(self) -> list[str]:
        """Name the images that :meth:`predict_dataloader` serves."""
        return self.names("test")

    def predict_sizes(self) -> list[Size]:
        """Return the height and width in pixels of these images' files, as they are shown."""
        return self._surveyed.sizes(self.predict_items())

    def _transform(self, training: bool) -> Any:
        if not training:
            return evaluation_transform(self.image_size)
        beyond = tuple(255 * value for value in self.mean)
        window = RandomWindow(self.crop_size, self.scale, beyond, self.ignore_index, self.colour_jitter)
        return training_transform(window, self.hflip)

    def _loader(self, data: Any, training: bool) -> Any:
        return build_loader(
            data,
            partial(self._transform, training),
            self.trainer,
            training=training,
            mode="RGB",
            batch_size=self.batch_size if training else self.eval_batch_size,
            drop_last=self.drop_last,
            num_workers=self.num_workers,
            seed=self.seed,
            transformed=TransformedPairs,
        )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> tuple[Tensor, Tensor]:
        """Augment and normalise whole uint8 batches on the device; those read image by image are only normalised."""
        images, masks = batch
        augmented = self.trainer is not None and self.trainer.training and isinstance(self.splits.train, ImageTensors)
        if augmented:
            images = jitter_colours(images, self.colour_jitter)
        mean, std = (torch.tensor(v, device=images.device) for v in (self.mean, self.std))
        images = normalize(images, mean, std)
        if augmented:
            images, masks = random_windows(
                images, masks, self.crop_size, scale=self.scale, hflip=self.hflip, ignore_index=self.ignore_index
            )
        return images, masks.long()


def _listed(size: Size | None) -> list[int] | None:
    """Return a size as settings that are written have it: a list."""
    return None if size is None else list(size)
