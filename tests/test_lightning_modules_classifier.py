"""ImageClassifier: every training option runs and does what it says, on real digits."""

from types import SimpleNamespace

import pytest
import timm
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import nn

import dyc
from lightning_modules import (
    AttentionMonitor,
    ImageClassifier,
    ImageData,
    OptimizerSettings,
    RegularizationSettings,
    ScheduleSettings,
    Throughput,
)
from lightning_modules import classifier as classifier_module
from lightning_modules.callbacks import throughput
from ops import ArgumentError


def fit(classifier, *, epochs=1, batches=2, data=None, **kwargs):
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(
        max_epochs=epochs,
        limit_train_batches=batches,
        limit_val_batches=1,
        accelerator="cpu",
        enable_model_summary=False,
        **{**options, **kwargs},
    )
    trainer.fit(classifier, data or ImageData("digits", batch_size=32))
    return trainer


def test_network_takes_classes_and_channels_from_the_data():
    classifier = ImageClassifier("dyc_mobilenetv2_cifar")
    fit(classifier)
    assert classifier.net.conv_stem.in_channels == 1
    assert classifier.hparams.num_classes == classifier.net.num_classes == 10


def test_a_checkpoint_does_without_the_weights_that_the_training_began_with(tmp_path):
    first, last = tmp_path / "first.pth", tmp_path / "last.ckpt"
    torch.save(timm.create_model("test_resnet", num_classes=10, in_chans=1).state_dict(), first)
    classifier = ImageClassifier("test_resnet", model_kwargs={"checkpoint_path": str(first)})
    fit(classifier, data=ImageData("digits", image_size=32, batch_size=8)).save_checkpoint(last)
    first.unlink()
    again = ImageClassifier.load_from_checkpoint(last)
    assert all(
        torch.equal(value, again.state_dict()[name]) for name, value in classifier.net.state_dict(prefix="net.").items()
    )


def test_network_and_data_are_checked_again_only_when_they_change(monkeypatch):
    checked = []
    monkeypatch.setattr(classifier_module, "check_fits", lambda net, *others: checked.append(net))
    classifier = ImageClassifier("test_resnet", num_classes=10, model_kwargs={"in_chans": 1})
    for size, times in ((32, 1), (32, 1), (64, 2)):
        classifier.fit_to(SimpleNamespace(num_classes=10, in_chans=1, image_size=size))
        assert len(checked) == times
    classifier.net = nn.Sequential(classifier.net)
    classifier.fit_to(SimpleNamespace(num_classes=10, in_chans=1, image_size=64))
    assert checked[2:] == [classifier.net]


def test_logged_figures(tmp_path):
    classifier = ImageClassifier("dyc_mobilenetv2_cifar")
    trainer = fit(classifier, batches=3, callbacks=[Throughput(), AttentionMonitor()], logger=CSVLogger(tmp_path))
    logged = trainer.logged_metrics
    assert {"train/loss", "train/top1", "val/loss", "val/top1", "val/top5"} <= set(logged)
    assert logged["train/images_per_second"] > 0
    assert 0 <= logged["train/data_time_share"] < 1
    assert logged["attention/temperature"] == 30
    layers = [key for key in logged if key.startswith("attention/entropy/")]
    assert len(layers) == 11
    assert all(0 <= logged[key] <= 1.00001 for key in layers)


def test_any_timm_model_trains():
    classifier = ImageClassifier("test_resnet", num_classes=10, model_kwargs={"in_chans": 1})
    assert fit(classifier, data=ImageData("digits", batch_size=8, image_size=32)).global_step == 2


def test_training_learns():
    # 60 steps on digits: far above the 10 % of a guess, so that a broken gradient or label would show.
    settings = OptimizerSettings("sgd", lr=0.05)
    classifier = ImageClassifier("test_resnet", optimizer=settings)
    data = ImageData("digits", batch_size=64, image_size=32, crop_padding=0, hflip=0.0)
    torch.manual_seed(0)
    fit(classifier, epochs=3, batches=20, data=data, num_sanity_val_steps=0)
    data.setup("test")
    images, labels = data.splits.test.images, data.splits.test.labels
    x, _ = data.on_after_batch_transfer((images, labels), 0)
    assert (classifier.eval()(x).argmax(1) == labels).float().mean() > 0.5


def test_moving_average_is_evaluated_and_differs_from_the_weights():
    classifier = ImageClassifier("mobilenetv2_cifar", ema_decay=0.99)
    fit(classifier)
    assert classifier.evaluated is classifier.ema.module
    assert not torch.equal(classifier.ema.module.conv_stem.weight, classifier.net.conv_stem.weight)


def test_moving_average_follows_optimiser_steps_not_batches():
    classifier = ImageClassifier("test_resnet", ema_decay=0.99)
    steps = []
    data = ImageData("digits", batch_size=4, image_size=32)
    classifier.fit_to(data_with_classes(data))
    update = classifier.ema.update
    classifier.ema.update = lambda net, step: steps.append(step) or update(net, step=step)
    fit(classifier, batches=5, data=data, accumulate_grad_batches=2)
    assert steps == [1, 2, 3]  # Lightning also steps at the last batch of an epoch


def data_with_classes(data):
    data.setup("fit")
    return data


class Clock:
    """Time that passes only when a test says so, in seconds."""

    now = 0.0

    def perf_counter(self):
        return self.now


def test_validation_inside_an_epoch_is_not_data_time(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(throughput, "time", clock)

    class Slow(Callback):
        """A training step of 3 s after 1 s of waiting; a batch of validation takes 100 s."""

        def on_train_batch_start(self, *args):
            clock.now += 3

        def on_train_batch_end(self, *args):
            clock.now += 1

        def on_validation_batch_end(self, *args):
            clock.now += 100

    data = ImageData("digits", batch_size=4, image_size=32)
    classifier = ImageClassifier("test_resnet")
    trainer = fit(classifier, batches=4, data=data, callbacks=[Throughput(), Slow()], val_check_interval=1)
    assert trainer.callback_metrics["train/data_time_share"] == 0.25
    assert trainer.callback_metrics["train/images_per_second"] == 1


def test_mixup_cutmix_and_label_smoothing_run():
    mixing = RegularizationSettings(label_smoothing=0.1, mixup=0.2, cutmix=1.0)
    trainer = fit(ImageClassifier("mobilenetv2_cifar", regularization=mixing))
    assert torch.isfinite(trainer.callback_metrics["train/loss"])
    assert "train/top1" not in trainer.callback_metrics  # the labels of mixed images are not single classes


def test_gradients_are_clipped():
    moved = []
    for value in (None, 1e-6):
        torch.manual_seed(0)
        classifier = ImageClassifier("test_resnet", {"in_chans": 1}, 10, optimizer=OptimizerSettings(weight_decay=0.0))
        before = classifier.net.fc.weight.detach().clone()
        fit(classifier, data=ImageData("digits", batch_size=8, image_size=32), gradient_clip_val=value)
        moved.append((classifier.net.fc.weight - before).abs().max())
    assert 0 < moved[1] < 1e-6 < moved[0]


def test_weights_are_channels_last_and_so_are_the_features():
    classifier = ImageClassifier("dyc_mobilenetv2_cifar", num_classes=10)
    seen = []
    classifier.net.blocks.register_forward_hook(lambda _, __, y: seen.append(y))
    classifier(torch.randn(2, 3, 32, 32))
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert classifier.net.conv_head.weight.is_contiguous(memory_format=torch.channels_last)


def test_compiled_network_keeps_the_names_of_its_weights():
    def classifier(**options):  # one dynamic layer: Inductor takes seconds for each
        layer = dyc.DynamicConv2d(3, 3, 3, padding=1, groups=3)
        net = nn.Sequential(layer, nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
        return ImageClassifier(net=net, num_classes=10, **options)

    plain, compiled = classifier(), classifier(compile=True)
    assert list(plain.state_dict()) == list(compiled.state_dict())
    compiled.load_state_dict(plain.state_dict())
    x = torch.randn(4, 3, 32, 32)
    torch._dynamo.utils.counters.clear()
    with torch.no_grad():
        torch.testing.assert_close(compiled.eval()(x), plain.eval()(x), rtol=1e-4, atol=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_weight_decay_leaves_out_norms_biases_on_request():
    def decayed(filter_bias_and_bn):
        settings = OptimizerSettings(filter_bias_and_bn=filter_bias_and_bn)
        classifier = ImageClassifier("dyc_mobilenetv2_cifar", num_classes=10, optimizer=settings)
        classifier.trainer = Trainer(max_epochs=1, logger=False, accelerator="cpu", enable_checkpointing=False)
        groups = classifier.configure_optimizers()["optimizer"].param_groups
        return sum(p.numel() for g in groups for p in g["params"] if g["weight_decay"] > 0), classifier

    everything, classifier = decayed(False)
    assert everything == sum(p.numel() for p in classifier.net.parameters())
    matrices = sum(p.numel() for n, p in classifier.net.named_parameters() if p.ndim > 1 and not n.endswith(".bias"))
    assert decayed(True)[0] == matrices


def rates(schedule, epochs, batches=2):
    """Return the learning rate of every step."""
    found = []

    class Spy(Throughput):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            found.append(trainer.optimizers[0].param_groups[0]["lr"])
            super().on_train_batch_start(trainer, pl_module, batch, batch_idx)

    classifier = ImageClassifier("test_resnet", schedule=schedule, optimizer=OptimizerSettings(lr=0.1))
    data = ImageData("digits", batch_size=4, image_size=32)
    fit(classifier, epochs=epochs, batches=batches, data=data, callbacks=[Spy()])
    return found


def test_multistep_schedule_divides_by_ten_at_its_milestones():
    found = rates(ScheduleSettings("multistep", decay_milestones=[1, 3], decay_rate=0.1), epochs=4)
    assert found == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.001, 0.001])


def test_multistep_schedule_per_update_changes_at_the_first_step_of_its_milestones():
    found = rates(ScheduleSettings("multistep", per_update=True, decay_milestones=[1, 2]), epochs=3)
    assert found == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_cosine_per_update_moves_at_every_step():
    found = rates(ScheduleSettings("cosine", per_update=True), epochs=2)
    steps = torch.arange(4)
    assert found == pytest.approx((0.05 * (1 + torch.cos(torch.pi * steps / 4))).tolist())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ImageClassifier(), "model.model: got None"),
        (
            lambda: ImageClassifier("dyc_mobilenetv"),
            "model.model: got 'dyc_mobilenetv'.*did you mean 'dyc_mobilenetv2'",
        ),
        (lambda: ImageClassifier("mobilenetv2_cifar", {"wdth": 2}, num_classes=10), "model.model_kwargs.*wdth"),
        (lambda: ImageClassifier("mobilenetv2_cifar", ema_decay=1.5), "model.ema_decay: got 1.5; need"),
        (lambda: OptimizerSettings("sdg"), "model.optimizer.opt: got 'sdg'.*did you mean.*'sgd'"),
        (lambda: OptimizerSettings(lr=0), "model.optimizer.lr: got 0; need"),
        (lambda: ScheduleSettings("cosin"), "model.schedule.sched.*did you mean 'cosine'"),
        (lambda: RegularizationSettings(label_smoothing=2), "model.regularization.label_smoothing: got 2"),
        (lambda: RegularizationSettings(mixup=-1), "model.regularization.mixup: got -1"),
    ],
)
def test_wrong_settings_are_named(build, message):
    with pytest.raises(ArgumentError, match=message):
        build()


@pytest.mark.parametrize(
    ("kwargs", "data", "message"),
    [
        ({"num_classes": 7}, {}, "model.num_classes: got 7; need 10"),
        ({"num_classes": 10}, {}, "in_chans: got 3; need 1"),
        ({}, {"image_size": 4}, "data.image_size: got images of 4 x 4 pixels; need at least 8"),
        ({"regularization": RegularizationSettings(mixup=1.0)}, {"batch_size": 31}, "data.batch_size: got 31"),
        (
            {"regularization": RegularizationSettings(mixup=1.0)},
            {"drop_last": False},  # 1,437 digits
            "data.drop_last: got False with a last batch of 29 samples; need True",
        ),
        ({"model_kwargs": {"temperature": 0}}, {}, "temperature: got 0; need a positive number"),
        ({"model_kwargs": {"attention": "dcy"}}, {}, "attention: got 'dcy'.*did you mean"),
        ({"model_kwargs": {"backend": "eagr"}}, {}, "backend: got 'eagr'.*did you mean 'eager'"),
    ],
)
def test_network_that_does_not_fit_is_refused_before_the_first_step(kwargs, data, message):
    classifier = ImageClassifier("dyc_mobilenetv2_cifar", **kwargs)
    with pytest.raises(ArgumentError, match=message):
        fit(classifier, data=ImageData("digits", **{"batch_size": 32, **data}))
