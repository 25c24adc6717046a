"""A training that goes on in the middle of an epoch ends with the weights of one that never stopped, bit for bit."""

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from support import dynamic_network  # noqa: F401  (registers tiny_dynamic)

from dyc.dynamic_model import iter_temperatures
from lightning_modules import (
    AttentionMonitor,
    ImageClassifier,
    ImageData,
    OptimizerSettings,
    RegularizationSettings,
    ScheduleSettings,
    TemperatureAnnealing,
)
from lightning_modules.callbacks import EpochReport, EpochSeed, FiniteLoss, Throughput
from lightning_modules.resume import epochs_behind


class Recorder(Callback):
    """Keep the images of each step, and the temperature and learning rate that they are trained at."""

    def __init__(self):
        self.steps = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        temperature = next((t.item() for t in iter_temperatures(pl_module.net)), None)
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.steps[trainer.global_step] = (trainer.current_epoch, batch_idx, temperature, rate, batch[0].clone())


def fit(data, folder=None, ckpt_path=None, epochs=3, callbacks=(), **kwargs):
    classifier = ImageClassifier(
        "tiny_dynamic",  # whose dropout draws from PyTorch's generator
        optimizer=OptimizerSettings(lr=0.01),
        schedule=ScheduleSettings("cosine", per_update=True),
        regularization=RegularizationSettings(mixup=0.2),  # draws from NumPy's
        ema_decay=0.9,
    )
    recorder = Recorder()
    callbacks = [EpochSeed(0), FiniteLoss(), TemperatureAnnealing(30, 1, epochs=2), *callbacks, recorder]
    if folder is not None:
        callbacks.append(ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1))
        callbacks.append(ModelCheckpoint(folder, "{epoch}", save_on_train_epoch_end=True, save_top_k=-1))
    trainer = Trainer(
        max_epochs=epochs,
        limit_train_batches=4,
        limit_val_batches=1,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=folder is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        **kwargs,
    )
    trainer.fit(classifier, data, ckpt_path=ckpt_path, weights_only=True)
    return classifier, recorder.steps, trainer


def same(steps, others):
    return all(a[:4] == b[:4] and torch.equal(a[4], b[4]) for a, b in zip(steps, others, strict=True))


def digits():
    return ImageData("digits", batch_size=16, crop_padding=1, seed=0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, *fit(digits(), folder)[:2]


@pytest.mark.parametrize("done", [6, 8])  # in the middle of an epoch, and after its last batch but before it has ended
def test_weights_average_and_steps_are_those_of_an_uninterrupted_run(whole, done):
    folder, expected, steps = whole
    path = folder / f"step={done}.ckpt"
    assert epochs_behind(torch.load(path, weights_only=True)) == (done - 1) // 4
    callbacks = [Throughput(), AttentionMonitor(), EpochReport()]  # which Lightning tells of no start of this epoch
    found, rest, trainer = fit(digits(), None, path, callbacks=callbacks)
    assert list(rest) == list(range(done, 12))
    assert same(rest.values(), [steps[step] for step in rest])
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, found.state_dict()[name]), name
    assert trainer.callback_metrics["train/images_per_second"] > 0


def test_temperature_is_that_of_the_position(whole):
    _, _, steps = whole
    # 30 to 1 in eight steps: 15.5 after four, and so on.
    assert [steps[step][2] for step in range(12)] == pytest.approx([30 - 29 * min(s, 8) / 8 for s in range(12)])


@pytest.mark.parametrize(("kind", "num_workers"), [("folder", 0), ("folder", 2), ("wds", 0), ("wds", 2)])
def test_images_read_one_by_one(tmp_path, write_classes, write_shards, image_data, kind, num_workers):
    if kind == "folder":
        write_classes(tmp_path / "train", 8)
        write_classes(tmp_path / "val", 2)
    else:
        write_shards(tmp_path, {"train": [8, 8], "validation": [2]})

    def data(workers):
        options = {"num_classes": 3, "num_workers": workers, "batch_size": 2, "auto_augment": "rand-m9-mstd0.5"}
        return image_data("folder" if kind == "folder" else "wds/set", tmp_path, seed=0, **options)

    folder = tmp_path / "checkpoints"
    expected, steps, _ = fit(data(num_workers), folder, epochs=2)
    # Single images do not depend on how many workers read them; the order of shards does.
    workers = 1 if kind == "folder" and num_workers else num_workers
    for checkpoint, done in (("step=6", 6), ("epoch=0", 4)):
        found, rest, _ = fit(data(workers), None, folder / f"{checkpoint}.ckpt", epochs=2)
        assert list(rest) == list(range(done, 8))
        assert same(rest.values(), [steps[step] for step in rest])
        for name, tensor in expected.state_dict().items():
            assert torch.equal(tensor, found.state_dict()[name]), name


def test_validation_inside_an_epoch_leaves_the_random_numbers_alone(tmp_path):
    _, steps, _ = fit(digits(), tmp_path, epochs=1, val_check_interval=2)
    _, rest, _ = fit(digits(), None, tmp_path / "step=2.ckpt", epochs=1)
    assert same(rest.values(), [steps[step] for step in rest])
