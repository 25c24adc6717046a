"""ImageClassifier with dynamic layers at each of Lightning's precisions, with all that a run of the command does."""

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.precision import MixedPrecision
from support import dynamic_network  # noqa: F401  (registers tiny_dynamic)

from dyc.dynamic_model import iter_temperatures
from lightning_modules import (
    AttentionMonitor,
    ImageClassifier,
    ImageData,
    OptimizerSettings,
    PredictionTable,
    TemperatureAnnealing,
)
from lightning_modules.callbacks import EpochReport, EpochSeed, FiniteLoss, Throughput

PRECISIONS = {
    "32-true": torch.float32,
    "64-true": torch.float64,
    "bf16-true": torch.bfloat16,
    "16-true": torch.float16,
    "bf16-mixed": torch.float32,
    "16-mixed": torch.float32,
}


@pytest.mark.parametrize("kind", ["digits", "folder"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_dynamic_network_trains_and_is_tested(tmp_path, write_classes, image_data, precision, kind):
    if kind == "digits":
        data = ImageData("digits", batch_size=8)
    else:
        write_classes(tmp_path / "train", 8)
        write_classes(tmp_path / "val", 3)
        data = image_data("folder", tmp_path, batch_size=8, image_size=8)
    callbacks = [EpochSeed(0), FiniteLoss(), Throughput(), AttentionMonitor(), EpochReport()]
    callbacks += [TemperatureAnnealing(30, 1, epochs=2), PredictionTable(tmp_path / "out.csv")]
    # On the CPU, Lightning replaces 16-mixed by bf16-mixed; the plugin is what it makes for a GPU.
    options = {"precision": precision}
    if precision == "16-mixed":
        options = {"plugins": [MixedPrecision("16-mixed", "cpu")]}
    trainer = Trainer(
        max_epochs=2,
        limit_train_batches=2,
        limit_val_batches=1,
        limit_test_batches=1,
        limit_predict_batches=1,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        **options,
    )
    classifier = ImageClassifier("tiny_dynamic", ema_decay=0.9, optimizer=OptimizerSettings(lr=0.01))
    trainer.fit(classifier, data)
    assert trainer.callback_metrics["val/loss"].isfinite()
    assert 0 < trainer.callback_metrics["attention/entropy"] <= 1.01
    assert trainer.callback_metrics["attention/temperature"] == 1
    assert {t.item() for t in iter_temperatures(classifier)} == {1}
    assert {p.dtype for p in classifier.parameters()} == {PRECISIONS[precision]}
    means = [classifier.mean_loss, *classifier.losses.values()]
    assert {mean.mean_value.dtype for mean in means} == {torch.float32}  # also where the network was built later
    trainer.save_checkpoint(tmp_path / "x.ckpt", weights_only=True)
    assert trainer.test(classifier, data, verbose=False)[0]["test/loss"] > 0
    trainer.predict(classifier, data, return_predictions=False)
    assert len((tmp_path / "out.csv").read_text().splitlines()) > 1
    again = ImageClassifier.load_from_checkpoint(tmp_path / "x.ckpt", weights_only=True)
    assert again(torch.rand(2, classifier.in_chans, 8, 8)).isfinite().all()
