"""What a training, a validation and a test are served."""

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from support.ranks import together
from torch import nn

import lightning_modules
from lightning_modules.data.image_tensors import ImageTensors
from lightning_modules.data.segmentation.masked_images import MaskedImages


class Net(LightningModule):
    """The smallest network that labels pixels."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def training_step(self, batch, batch_idx):
        images, masks = batch
        return nn.functional.cross_entropy(self.conv(images), masks, ignore_index=255)

    def validation_step(self, batch, batch_idx):
        pass

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Seen(Callback):
    """Keep the batches of a training, and the images of a validation and test."""

    def __init__(self):
        self.train, self.val, self.test = [], [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.train.append(batch)

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        self.val.append(batch)

    def on_test_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        self.test.append(batch)


def fit(data, epochs=2, **options):
    torch.manual_seed(0)
    seen = Seen()
    options |= dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = Trainer(accelerator="cpu", max_epochs=epochs, callbacks=[seen], num_sanity_val_steps=0, **options)
    trainer.fit(Net(), data)
    trainer.test(Net(), data, verbose=False)
    return seen


def tell_apart(folder):
    """Give each image a grey of its own."""
    for i, path in enumerate(sorted(folder.glob("*/images/*.png"))):
        Image.new("RGB", (16, 12), (20 * i,) * 3).save(path)


def shapes(batches):
    return [(tuple(images.shape), tuple(masks.shape)) for images, masks in batches]


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_training(masks_folder, segmentation_data, in_memory):
    data = segmentation_data(masks_folder, crop_size=(10, 14), colour_jitter=0.3, in_memory=in_memory)
    seen = fit(data)
    assert isinstance(data.splits.train, ImageTensors if in_memory else MaskedImages)
    assert shapes(seen.train) == [((2, 3, 10, 14), (2, 10, 14))] * 4
    assert shapes(seen.val) == [((2, 3, 12, 16), (2, 12, 16))] * 2
    assert shapes(seen.test) == [((2, 3, 12, 16), (2, 12, 16))]
    for images, masks in seen.train + seen.val + seen.test:
        assert (images.dtype, masks.dtype) == (torch.float32, torch.int64)
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert set(masks.unique().tolist()) <= {0, 1, 2, 255}
    assert len({tuple(masks.flatten().tolist()) for _, batch in seen.train for masks in batch}) > 4
    # Validation and test are as the files are: nothing is drawn at random.
    assert torch.equal(seen.val[0][0], seen.val[1][0])
    mean, std = (torch.tensor(v)[:, None, None] for v in (data.mean, data.std))
    greys = ((seen.test[0][0] * std + mean) * 255).round()[:, 0]
    assert torch.equal(greys, torch.where(seen.test[0][1] == 255, 5, seen.test[0][1]) * 10.0)


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_seed_decides_what_is_seen_however_many_workers_read(masks_folder, segmentation_data, in_memory):
    tell_apart(masks_folder)

    def train(workers, seed=3):
        data = segmentation_data(masks_folder, in_memory=in_memory, seed=seed, num_workers=workers)
        return [torch.cat([images.flatten(), masks.flatten()]) for images, masks in fit(data, 1).train]

    workers = (2, 2) if in_memory else (1, 2)
    first, second = (torch.stack(train(count)) for count in workers)
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.stack(train(workers[0], 4)))


def test_two_processes_see_what_one_does(masks_folder, segmentation_data):
    def train(ranks):
        options = {"scale": (1.0, 1.0), "hflip": 0.0, "eval_batch_size": 1, "batch_size": 2 // ranks}
        data = segmentation_data(masks_folder, **options)
        seen = fit(data, **({"devices": ranks, "strategy": "ddp"} if ranks > 1 else {}))
        return [[images.double().mean((1, 2, 3)).tolist() for images, _ in part] for part in (seen.train, seen.val)]

    tell_apart(masks_folder)
    (one, val), parts = train(1), together(lambda rank: train(2))
    assert [sorted(a + b) for a, b in zip(parts[0][0], parts[1][0])] == [sorted(batch) for batch in one]
    assert sorted(parts[0][1] + parts[1][1]) == sorted(val)


def test_sizes_that_differ(masks_folder, write_pair, segmentation_data, raises):
    write_pair(masks_folder / "val/images/1.png", masks_folder / "val/masks/1.png", (0, 1, 2), size=(20, 24))
    write_pair(masks_folder / "train/images/1.png", masks_folder / "train/masks/1.png", (0, 1, 2), size=(8, 6))
    with raises("data.crop_size", "images have several sizes in pixels, such as '"):
        segmentation_data(masks_folder).setup("fit")
    with raises("data.in_memory", "give data.image_size to resize all"):
        segmentation_data(masks_folder, in_memory=True, crop_size=4).setup("fit")
    data = segmentation_data(masks_folder, crop_size=10, eval_batch_size=2)
    seen = fit(data, 1)
    assert (data.image_size, data.crop_size, data.eval_batch_size) == (None, (10, 10), 1)
    assert shapes(seen.train) == [((2, 3, 10, 10), (2, 10, 10))] * 2
    assert shapes(seen.val) == [((1, 3, 12, 16), (1, 12, 16)), ((1, 3, 20, 24), (1, 20, 24))]
    write_pair(masks_folder / "test/images/1.png", masks_folder / "test/masks/1.png", (0, 1, 2), size=(20, 24))
    for in_memory in (False, True):
        data = segmentation_data(masks_folder, image_size=(10, 12), in_memory=in_memory)
        data.setup("predict")
        sizes = [Image.open(name).size[::-1] for name in data.predict_items()]
        assert data.predict_sizes() == sizes
        assert (20, 24) in sizes  # of the files, whatever size they are resized to
        seen = fit(data, 1)
        assert shapes(seen.train + seen.val) == [((2, 3, 10, 12), (2, 10, 12))] * 3
        assert data.names("val") == [str(masks_folder / f"val/images/{i}.png") for i in range(2)]


def test_what_is_written_down(masks_folder, segmentation_data):
    data = segmentation_data(masks_folder, crop_size=8)
    data.setup("fit")
    assert data.hparams.image_size == [12, 16]
    assert data.hparams.crop_size == [8, 8]
    assert data.hparams.num_classes == 3
    assert data.state_dict() == {"class_names": ["0", "1", "2"], "palette": data.palette}
    assert data.last_batch_size == 2
    assert data.predict_items() == data.names("test") == [str(masks_folder / f"test/images/{i}.png") for i in range(2)]
    again = segmentation_data(masks_folder, **{k: data.hparams[k] for k in ("image_size", "crop_size", "num_classes")})
    again.setup("fit")
    assert again.hparams.image_size == [12, 16]
    assert lightning_modules.SegmentationData is type(data)


def test_validation_stands_in_for_a_test(masks_folder, segmentation_data, raises):
    (masks_folder / "test").rename(masks_folder.parent / "test")
    data = segmentation_data(masks_folder)
    data.setup("fit")
    assert data.validates_on_test
    assert data.evaluated_split("test") == "validation"
    (masks_folder / "val").rename(masks_folder.parent / "val")
    with raises("data.val_fraction", "0", "neither a val nor a test folder"):
        segmentation_data(masks_folder).setup("fit")


def test_a_size_that_images_have_changes_nothing(masks_folder, segmentation_data):
    tell_apart(masks_folder)

    def read(**options):
        data = segmentation_data(masks_folder, in_memory=True, **options)
        data.setup("fit")
        return data, fit(data, 1)

    (_, first), (data, second) = read(), read(image_size=[12, 16])
    assert isinstance(data.splits.train, ImageTensors)
    for split in ("train", "val", "test"):
        for (a, b), (c, d) in zip(getattr(first, split), getattr(second, split), strict=True):
            assert torch.equal(a, c)
            assert torch.equal(b, d)


@pytest.mark.parametrize("in_memory", [False, True])
def test_masks_are_resized_to_the_nearest_label(masks_folder, write_pair, segmentation_data, in_memory):
    for path in masks_folder.glob("*/images/*.png"):
        write_pair(path, path.parents[1] / "masks" / path.name, (0, 1, 2, 255), size=(24, 32))
    data = segmentation_data(masks_folder, image_size=(12, 16), in_memory=in_memory)
    seen = fit(data, 1)
    for images, masks in seen.val + seen.test:
        assert images.shape[2:] == masks.shape[1:] == (12, 16)
        assert masks[0, 0].tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [255] * 4


@pytest.mark.parametrize("in_memory", [False, True])
def test_what_lies_beyond_an_image_has_the_mean_colour_whatever_the_jitter(masks_folder, segmentation_data, in_memory):
    for path in masks_folder.glob("*/images/*.png"):
        Image.new("RGB", (16, 12), (200, 40, 90)).save(path)
        Image.new("L", (16, 12), int(path.stem) % 2).save(path.parents[1] / "masks" / path.name)  # and no void inside
    options = {"num_classes": 2, "crop_size": (24, 32), "scale": (1.0, 1.0), "colour_jitter": 0.9}
    data = segmentation_data(masks_folder, in_memory=in_memory, **options)
    seen = fit(data, 1)
    inside = []
    for images, masks in seen.train:
        pixels = images.movedim(1, 3)
        assert float(pixels[masks == 255].abs().max()) < 1 / 255 / 0.22  # a step of 255
        inside += [pixels[i][masks[i] != 255].unique(dim=0) for i in range(len(masks))]
    assert all(len(each) == 1 for each in inside)
    assert len(torch.cat(inside).unique(dim=0)) == len(inside)  # each was changed on its own
