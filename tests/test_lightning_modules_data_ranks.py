"""What two processes train on and are evaluated on is together what one is."""

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from support.ranks import together
from torch import nn

from lightning_modules import ImageClassifier, ImageData, OptimizerSettings
from lightning_modules.data.loaders import EpochSampler, OwnSampler


class Seen(Callback):
    """Keep what tells images apart, by batch, and the figures of the last epoch."""

    def __init__(self):
        self.train, self.val, self.figures = [], [], {}

    @staticmethod
    def marks(batch):
        images, labels = batch
        return [round(mark, 5) for mark in (images.double().mean((1, 2, 3)) + 10 * labels).tolist()]

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.train.append(self.marks(batch))

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        self.val += self.marks(batch)

    def on_train_epoch_end(self, trainer, pl_module):
        self.figures = {key: value.item() for key, value in trainer.callback_metrics.items() if "step" not in key}


def digits(train, val, **options):
    data = ImageData("digits", crop_padding=0, hflip=0.0, image_size=8, **options)
    data.setup("fit")
    for name, count in (("train", train), ("val", val)):
        setattr(data.splits, name, getattr(data.splits, name).subset(torch.arange(count)))
    return data


def fit(data, ranks):
    torch.manual_seed(0)
    chans, classes = data.in_chans, data.num_classes or 3
    net = nn.Sequential(nn.Conv2d(chans, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
    classifier = ImageClassifier(net=net, num_classes=classes, optimizer=OptimizerSettings(lr=0.02))
    seen, several = Seen(), {"strategy": "ddp"} if ranks > 1 else {}
    trainer = Trainer(
        max_epochs=2,
        num_sanity_val_steps=0,
        accelerator="cpu",
        devices=ranks,
        callbacks=[seen],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **several,
    )
    trainer.fit(classifier, data)
    (again,) = trainer.validate(classifier, data, verbose=False)
    assert again == {key: value for key, value in seen.figures.items() if key.startswith("val/")}
    return seen.train, seen.val, seen.figures, {k: v.tolist() for k, v in net.state_dict().items()}


SIZES = {"uneven_last_batches": (18, 9), "fewer_images_than_processes": (18, 1), "one_left_out": (19, 10)}


@pytest.mark.parametrize("kind", ["digits", "folder"])
def test_two_processes_see_what_one_does(tmp_path, write_classes, image_data, kind):
    write_classes(tmp_path / "train", 6)
    write_classes(tmp_path / "val", 3)

    def made(ranks):
        options = {"batch_size": 10 // ranks, "eval_batch_size": 4, "drop_last": False}
        if kind == "folder":  # of 18 and 9 images
            data = image_data("folder", tmp_path, **options)
            data.augmentation |= {"color_jitter": None}  # each process draws its own
            return {"uneven_last_batches": data}
        return {name: digits(*sizes, **options) for name, sizes in SIZES.items()}

    def work(rank):
        return {name: fit(data, 2) for name, data in made(2).items()}

    first, second = together(work)
    for name, data in made(1).items():
        train, val, figures, weights = fit(data, 1)
        own, other = first[name], second[name]
        found = [sorted(a + b) for a, b in zip(own[0], other[0], strict=True)]
        assert sorted(own[1] + other[1]) == sorted(val)
        assert own[2] == pytest.approx(other[2], abs=1e-6)
        if name == "one_left_out":
            assert [len(batch) for batch in found] == [10, 8] * 2
            assert [len(batch) for batch in train] == [10, 9] * 2
            assert found[0] == sorted(train[0])
            continue
        assert found == [sorted(batch) for batch in train]
        assert own[2] == pytest.approx(figures, abs=1e-6)
        assert own[3] == other[3]
        for key, values in weights.items():
            torch.testing.assert_close(torch.tensor(own[3][key]), torch.tensor(values), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("count", [1, 6, 7, 8])
def test_samplers_partition_the_samples(world_size, count):
    ranks = [OwnSampler(count, rank, world_size) for rank in range(world_size)]
    assert sorted(i for sampler in ranks for i in sampler) == list(range(count))
    assert [len(sampler) for sampler in ranks] == [max(1, len(list(sampler))) for sampler in ranks]
    order = list(EpochSampler(count, 3, lambda: 5))
    samplers = [EpochSampler(count, 3, lambda: 5, rank, world_size) for rank in range(world_size)]
    for sampler in samplers:
        sampler.set_epoch(0)  # as trainers do
        assert len(sampler) == len(list(sampler)) == count // world_size
    taken = [i for turn in zip(*samplers) for i in turn]
    assert taken == order[: len(taken)]
