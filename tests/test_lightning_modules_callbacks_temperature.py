"""Temperature annealing: the published schedules, stored with the weights, and never lagging in a moving average."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from dyc import DynamicConv2d, dynamic_layers
from dyc.dynamic_model import iter_temperatures
from lightning_modules import ImageClassifier, ImageData, TemperatureAnnealing
from lightning_modules.callbacks import AttentionMonitor
from ops import ArgumentError


def digits(**kwargs):
    return ImageData("digits", batch_size=8, image_size=32, crop_padding=1, hflip=0.0, **kwargs)


def train(callback, tmp_path, epochs=3, dynamic="dyc", **kwargs):
    classifier = ImageClassifier("test_efficientnet", dynamic=dynamic, **kwargs)
    trainer = Trainer(
        max_epochs=epochs,
        limit_train_batches=2,
        limit_val_batches=1,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(classifier, digits())
    return classifier, trainer


def test_steps_follow_the_line_from_30_to_1_over_ten_epochs():
    annealing = TemperatureAnnealing()
    found = [annealing.temperature(e) for e in (0, 0.5, 5, 9.5, 10, 300)]
    assert found == pytest.approx([30, 28.55, 15.5, 2.45, 1, 1])


def test_epochs_fall_by_three_and_end_at_one():
    annealing = TemperatureAnnealing(per="epoch_to_zero")
    found = [annealing.temperature(e) for e in range(12)]
    assert found == pytest.approx([30, 27, 24, 21, 18, 15, 12, 9, 6, 3, 1, 1])
    assert TemperatureAnnealing(5, 4, epochs=2, per="epoch_to_zero").temperature(1) == 4


@pytest.mark.parametrize(("per", "expected"), [("epoch", [30, 1, 1]), ("epoch_to_zero", [30, 15, 1])])
def test_an_epoch_sets_its_temperature(per, expected):
    layer, annealing = DynamicConv2d(4, 4, 1), TemperatureAnnealing(30, 1, epochs=2, per=per)
    for epoch, temperature in enumerate(expected):
        annealing.on_train_epoch_start(SimpleNamespace(current_epoch=epoch), layer)
        assert layer.attention.temperature == temperature


def test_epochs_fall_in_equal_steps():
    annealing = TemperatureAnnealing(per="epoch")
    found = [annealing.temperature(e) for e in range(12)]
    assert found[1] == pytest.approx(26.78, abs=5e-3)
    expected = [30 - 29 * (e - 1) / 9 for e in range(1, 11)] + [1, 1]
    assert found == pytest.approx(expected)


def test_one_epoch_of_annealing_goes_straight_to_the_end():
    assert TemperatureAnnealing(epochs=1, per="epoch").temperature(0) == 1


@pytest.mark.parametrize("per", ["step", "epoch"])
def test_training_ends_at_the_final_temperature_in_every_layer(tmp_path, per):
    classifier, _ = train(TemperatureAnnealing(30, 1, epochs=2, per=per), tmp_path)
    temperatures = [t.item() for t in iter_temperatures(classifier.net)]
    assert temperatures == [1.0] * len(dynamic_layers(classifier.net))
    assert len(temperatures) > 1


def test_validation_after_half_the_annealing_sees_half_the_way(tmp_path):
    seen = []

    class Spy(TemperatureAnnealing):
        def on_validation_start(self, trainer, pl_module):
            if not trainer.sanity_checking:
                seen.append(next(iter_temperatures(pl_module.net)).item())

    train(Spy(30, 10, epochs=2), tmp_path, epochs=2)
    assert seen == pytest.approx([20, 10])


def test_moving_average_is_evaluated_at_the_current_temperature(tmp_path):
    classifier, _ = train(TemperatureAnnealing(30, 1, epochs=2), tmp_path, ema_decay=0.999)
    assert classifier.evaluated is not classifier.net
    assert {t.item() for t in iter_temperatures(classifier.evaluated)} == {1.0}


def test_static_network_is_left_alone(tmp_path):
    classifier, trainer = train(TemperatureAnnealing(), tmp_path, epochs=1, dynamic=None)
    assert list(iter_temperatures(classifier.net)) == []
    assert trainer.global_step == 2


def test_training_shorter_than_the_annealing_is_warned_of(tmp_path):
    with pytest.warns(UserWarning, match="temperature of 15.5 instead of 1"):
        train(TemperatureAnnealing(30, 1, epochs=2), tmp_path, epochs=1)


def test_temperature_of_a_checkpoint_is_the_one_it_was_trained_to(tmp_path):
    classifier, trainer = train(TemperatureAnnealing(30, 7, epochs=1), tmp_path, epochs=1)
    trainer.save_checkpoint(tmp_path / "x.ckpt", weights_only=False)
    again = ImageClassifier.load_from_checkpoint(tmp_path / "x.ckpt", weights_only=True)
    assert {t.item() for t in iter_temperatures(again.net)} == {7.0}
    x = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(again.eval()(x), classifier.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("kwargs", "argument"),
    [
        ({"start": 1, "end": 3, "per": "epoch_to_zero"}, "per"),
        ({"start": 0}, "start"),
        ({"end": -1}, "end"),
        ({"epochs": 0}, "epochs"),
        ({"per": "batch"}, "per"),
    ],
)
def test_wrong_arguments_are_named(kwargs, argument):
    with pytest.raises(ArgumentError, match=f"TemperatureAnnealing.{argument}: got .*; need"):
        TemperatureAnnealing(**kwargs)


@pytest.mark.parametrize(
    ("temperature", "callbacks", "warned"),
    [(30.0, [], True), (1.0, [], False), (30.0, [TemperatureAnnealing()], False), (None, [], False)],
)
def test_a_temperature_that_nothing_lowers_is_warned_of(recwarn, temperature, callbacks, warned):
    net = nn.Conv2d(4, 4, 1) if temperature is None else DynamicConv2d(4, 4, 1, temperature=temperature)
    AttentionMonitor().on_train_start(SimpleNamespace(callbacks=callbacks), net)
    found = [str(each.message) for each in recwarn if "softmax temperature starts at 30" in str(each.message)]
    assert len(found) == warned
    assert all("--trainer.callbacks+=lightning_modules.TemperatureAnnealing" in text for text in found)
