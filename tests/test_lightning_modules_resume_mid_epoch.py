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
from lightning_modules.callbacks import EpochReport, EpochSeed, FiniteLoss, LastCheckpoint, Throughput
from lightning_modules.resume import epochs_behind

FIGURES = ("train/loss", "val/loss", "val/top1")


class Recorder(Callback):
    """Keep the images of each step, the temperature and rate that they are trained at, and the figures of epochs."""

    def __init__(self):
        self.steps, self.epochs = {}, {}

    def on_train_epoch_end(self, trainer, pl_module):
        figures = {key: trainer.callback_metrics[key].item() for key in FIGURES}
        self.epochs[trainer.current_epoch] = figures, trainer.fit_loop.epoch_loop._batches_that_stepped

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
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        **{"enable_checkpointing": folder is not None, **kwargs},
    )
    trainer.fit(classifier, data, ckpt_path=ckpt_path, weights_only=True)
    trainer.recorded = recorder.epochs
    return classifier, recorder.steps, trainer


def same(steps, others):
    return all(a[:4] == b[:4] and torch.equal(a[4], b[4]) for a, b in zip(steps, others, strict=True))


def digits():
    return ImageData("digits", batch_size=16, crop_padding=1, seed=0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, *fit(digits(), folder)


@pytest.mark.parametrize("done", [6, 8])  # in the middle of an epoch, and after its last batch but before it has ended
def test_weights_average_and_steps_are_those_of_an_uninterrupted_run(whole, done):
    folder, expected, steps, before = whole
    path = folder / f"step={done}.ckpt"
    assert epochs_behind(torch.load(path, weights_only=True)) == (done - 1) // 4
    callbacks = [Throughput(), AttentionMonitor(), EpochReport()]  # which Lightning tells of no start of this epoch
    found, rest, trainer = fit(digits(), None, path, callbacks=callbacks)
    assert list(rest) == list(range(done, 12))
    assert same(rest.values(), [steps[step] for step in rest])
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, found.state_dict()[name]), name
    assert trainer.callback_metrics["train/images_per_second"] > 0
    assert trainer.recorded == {epoch: before.recorded[epoch] for epoch in (1, 2)}


def test_temperature_is_that_of_the_position(whole):
    steps = whole[2]
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
    _, steps, before = fit(digits(), tmp_path, epochs=1, val_check_interval=2)
    for done in (1, 2, 3):
        _, rest, after = fit(digits(), None, tmp_path / f"step={done}.ckpt", epochs=1, val_check_interval=2)
        assert list(rest) == list(range(done, 4))
        assert same(rest.values(), [steps[step] for step in rest])
        assert after.recorded == before.recorded


class Save(Callback):
    """Save a checkpoint after one batch, whether its gradients are applied or not."""

    def __init__(self, path, batch):
        self.path, self.batch = path, batch

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == (0, self.batch):
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_that_are_not_yet_applied_are_kept(tmp_path, batch):
    path, options = tmp_path / "x.ckpt", {"epochs": 1, "accumulate_grad_batches": 3}
    expected, _, before = fit(digits(), tmp_path, callbacks=[Save(path, batch)], **options)
    assert bool(torch.load(path, weights_only=True)["running_epoch"]["gradients"]) is (batch == 1)
    found, _, after = fit(digits(), None, path, **options)
    assert after.recorded == before.recorded
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, found.state_dict()[name]), name


def test_a_checkpoint_every_few_steps_is_one_file(tmp_path):
    class Stop(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            steps.append(torch.load(path, weights_only=True)["global_step"] if path.exists() else 0)
            if trainer.global_step == 7:
                raise ZeroDivisionError

    steps, path = [], tmp_path / "last.ckpt"
    with pytest.raises(ZeroDivisionError):
        fit(digits(), callbacks=[LastCheckpoint(tmp_path, every=3), Stop()], enable_checkpointing=True)
    assert steps == [0, 0, 0, 3, 4, 4, 6, 6]  # and after the epoch of four steps
    assert list(tmp_path.iterdir()) == [path]
