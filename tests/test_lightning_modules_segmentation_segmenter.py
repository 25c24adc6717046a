"""SemanticSegmenter: trained and evaluated on tiny images, alone and through the command line."""

import csv
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from support.masked_folder import NAMES, write_masked_folder
from support.ranks import together

from dyc import iter_dynamic
from lightning_modules import ImageClassifier, OptimizerSettings, SegmentationData, SemanticSegmenter
from lightning_modules.callbacks import SegmentationPictures, segmentation_pictures
from lightning_modules.cli import main
from lightning_modules.runs import read_checkpoint
from lightning_modules.segmentation.loss import pixel_loss
from ops import ArgumentError

BLOCKS = {"attention": "dyc", "where": "blocks"}
FAST = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--data.num_workers=0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_masked_folder(tmp_path_factory.mktemp("masks"), {"train": 8, "val": 4, "test": 4})


@pytest.fixture
def data(folder):
    return SegmentationData("folder", str(folder), batch_size=4, scale=(1.0, 1.0), num_workers=0)


def fit(segmenter, data, epochs=1, **options):
    silent = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_epochs=epochs, accelerator="cpu", enable_model_summary=False, **{**silent, **options})
    trainer.fit(segmenter, data)
    return trainer


def test_training_learns_and_void_is_left_out(data):
    optimizer = OptimizerSettings("adamw", lr=0.01)
    segmenter = SemanticSegmenter("test_resnet", optimizer=optimizer, auxiliary=True, class_weights="median_frequency")
    trainer = fit(segmenter, data, epochs=25, check_val_every_n_epoch=25)
    assert float(trainer.callback_metrics["val/miou"]) > 0.5  # a guess of the ground alone has 0.2
    assert segmenter.hparams.num_classes == 4
    found = trainer.test(segmenter, data, verbose=False)[0]
    classes = {f"test/iou/{name}" for name in NAMES}
    assert classes | {"test/loss", "test/miou", "test/pixel_accuracy"} == set(found)
    assert found["test/miou"] == pytest.approx(sum(found[name] for name in classes) / 4)
    assert trainer.predict(segmenter, data)[0].shape == (4, 48, 64)


def test_loss_of_both_heads_and_the_weights_of_classes(data):
    segmenter = SemanticSegmenter("test_resnet", num_classes=4, auxiliary=True, class_weights=[1, 2, 3, 4])
    segmenter.log = lambda *args, **kwargs: None
    segmenter.on_fit_start()
    images, masks = torch.rand(2, 3, 24, 32), torch.randint(0, 4, (2, 24, 32))
    masks[:, 0] = 255
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0])
    for module in segmenter.net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    logits, auxiliary = segmenter.net(images.contiguous(memory_format=torch.channels_last))
    want = pixel_loss(logits, masks, 255, weight) + 0.4 * pixel_loss(auxiliary, masks, 255, weight)
    torch.testing.assert_close(segmenter.training_step((images, masks), 0), want)


def test_a_checkpoint_rebuilds_the_network(data, tmp_path):
    segmenter = SemanticSegmenter("test_resnet", dynamic=BLOCKS, output_stride=16, ema_decay=0.9)
    trainer = fit(segmenter, data, limit_train_batches=1, limit_val_batches=0)
    trainer.save_checkpoint(tmp_path / "net.ckpt")
    again = SemanticSegmenter.load_from_checkpoint(tmp_path / "net.ckpt").eval()
    assert len(list(iter_dynamic(again.net))) == len(list(iter_dynamic(segmenter.net))) > 0
    images = torch.rand(2, 3, 24, 32)
    with torch.no_grad():
        assert torch.equal(again(images), segmenter.eval()(images))
    with pytest.raises(ArgumentError, match="ckpt_path: got a checkpoint of segmentation; need one of classification"):
        ImageClassifier.load_from_checkpoint(tmp_path / "net.ckpt")
    with pytest.raises(ArgumentError, match=r"model\.output_stride: got 8; need 16, as in the checkpoint"):
        SemanticSegmenter("test_resnet", dynamic=BLOCKS).on_load_checkpoint(read_checkpoint(tmp_path / "net.ckpt"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": "fnc"}, r"model.head: got 'fnc' .*did you mean 'fcn'"),
        ({"output_stride": 0}, r"model.output_stride: got 0; need at least 1"),
        ({"output_stride": 64}, r"model.output_stride: got 64; need .*32"),
        ({"model": "test_vit"}, r"model.output_stride: 8 is not reached"),
        ({"auxiliary_weight": math.nan}, r"model.auxiliary_weight: got nan; need at least 0"),
        ({"auxiliary_weight": -1.0}, r"model.auxiliary_weight: got -1.0; need at least 0"),
        ({"model_kwargs": {"drop": 1}}, r"model.model_kwargs: got 'drop'"),
        (
            {"model_kwargs": {"output_stride": 16}},
            r"model_kwargs.output_stride: got 16; need the option model.output_s",
        ),
        ({"model_kwargs": {"head": "fcn"}}, r"model_kwargs.head: got 'fcn'; need the option model.head"),
        ({"model_kwargs": {"auxiliary": True}}, r"model_kwargs.auxiliary: got True; need the option model.auxiliary"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(settings, message):
    with pytest.raises(ArgumentError, match=message):
        SemanticSegmenter(**{"model": "test_resnet", "num_classes": 4, **settings})


def test_weights_that_are_not_one_per_class(data):
    with pytest.raises(ArgumentError, match=r"model.class_weights: got \[1.0\]; need 4 numbers"):
        fit(SemanticSegmenter("test_resnet", class_weights=[1.0]), data)
    with pytest.raises(ArgumentError, match=r"model.class_weights: got .*nan.*; need 4 numbers"):
        fit(SemanticSegmenter("test_resnet", class_weights=[1.0, math.nan, 1.0, 1.0]), data)
    with pytest.raises(ArgumentError, match=r"model.class_weights: got 'median'.*median_frequency"):
        fit(SemanticSegmenter("test_resnet", class_weights="median"), data)


def test_weights_without_data_that_computes_them():
    with pytest.raises(ArgumentError, match=r"model.class_weights: got 'enet'; need a number for each of 4 classes"):
        SemanticSegmenter("test_resnet", num_classes=4, class_weights="enet").on_fit_start()


def test_deeplabv3_normalises_no_single_value(data):
    data.batch_size = 1
    with pytest.raises(ArgumentError, match=r"data.batch_size: got 1; need at least 2 with model.head deeplabv3"):
        fit(SemanticSegmenter("test_resnet", head="deeplabv3", output_stride=32), data)
    segmenter = SemanticSegmenter("test_resnet", num_classes=4, head="deeplabv3", output_stride=32)
    segmenter._trainer = SimpleNamespace(datamodule=data, world_size=2)
    with pytest.raises(ArgumentError, match=r"data.batch_size: got 1"):
        segmenter.on_fit_start()
    segmenter.net = torch.nn.SyncBatchNorm.convert_sync_batchnorm(segmenter.net)
    segmenter.on_fit_start()  # two processes share what they normalise


def test_class_weights_keep_their_precision_in_float16():
    segmenter = SemanticSegmenter("test_resnet", num_classes=2, class_weights=[1e-9, 1.0]).half()
    segmenter.log = lambda *args, **kwargs: None
    segmenter.on_fit_start()
    segmenter.net = torch.nn.Identity()
    segmenter._format = lambda x: x.half()
    images = torch.tensor([1.0, -1.0])[None, :, None, None].expand(1, 2, 4, 4)
    loss = segmenter.training_step((images, torch.zeros(1, 4, 4, dtype=torch.long)), 0)
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-2)), rel=1e-3)


def test_a_class_that_is_not_finite_is_none():
    segmenter = SemanticSegmenter("test_resnet", num_classes=3).eval()
    segmenter.ignore_index = 9
    segmenter._logits = lambda x: x
    logits = torch.tensor([[0.0, 1, 2], [math.nan, 1, 0], [-math.inf, 0, 1], [math.inf, 0, 0]]).T[None, :, None]
    assert segmenter.predict_step(logits, 0).tolist() == [[[2, 9, 2, 9]]]


def test_two_processes_draw_the_images_of_the_first(data, tmp_path, monkeypatch):
    monkeypatch.setattr(segmentation_pictures, "draw_row", lambda *_: Image.new("RGB", (4, 4)))

    def work(rank):
        trainer = Trainer(
            accelerator="cpu",
            devices=2,
            strategy="ddp",
            callbacks=[SegmentationPictures(tmp_path, count=1, wandb=False)],
            **dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
        )
        return trainer.test(SemanticSegmenter("test_resnet", output_stride=32), data, verbose=False)[0]

    first, second = together(work)
    assert first.keys() == second.keys()
    assert all(first[name] == second[name] for name in ("test/miou", "test/pixel_accuracy", "test/loss"))
    assert {path.name for path in tmp_path.iterdir()} == {"best_1.png", "worst_1.png"}


def test_one_command_line_for_both_tasks(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "seg.yaml"
    config.write_text(
        f"task: segmentation\nname: seg\n"
        "model: {model: test_resnet, optimizer: {opt: adamw, lr: 0.01}, evaluation: {window: 40, overlap: 0.25}}\n"
        f"data: {{dataset: folder, root: {folder}, batch_size: 4, scale: [1.0, 1.0]}}\n"
    )
    assert main(["fit", f"--config={config}", "--trainer.max_epochs=2", "--wandb=disabled", *FAST]) == 0
    said = capsys.readouterr().out
    assert "val mIoU" in said
    assert "mIoU  pixel accuracy" in said
    assert {"ground", "red", "green", "loss"} <= {line.split()[0] for line in said.splitlines() if line.split()}
    run = tmp_path / "runs/seg/version_0"
    rows = list(csv.DictReader((run / "test.csv").open()))
    assert [row["network"] for row in rows] == ["last epoch", "best on validation"]
    assert all(math.isfinite(float(row[f"test/iou/{name}"])) for row in rows for name in NAMES)
    assert {path.name for path in (run / "pictures").iterdir()} == {
        f"{k}_{n}.png" for k in ("best", "worst") for n in (1, 2)
    }
    assert read_checkpoint(run / "checkpoints/best.ckpt")["hyper_parameters"]["task"] == "segmentation"
    # The checkpoint says by itself what it is for.
    assert main(["test", "--name=seg", "--ckpt_path=last", *FAST]) == 0
    assert "of epoch 2" in capsys.readouterr().out
    (row,) = csv.DictReader((run / "evaluations.csv").open())
    last = next(row for row in rows if row["network"] == "last epoch")
    assert float(row["miou"]) == pytest.approx(float(last["test/miou"]))
    evaluation = read_checkpoint(run / "checkpoints/last.ckpt")["hyper_parameters"]["evaluation"]
    assert (evaluation["window"], row["evaluation"]) == (40, "window 40 (overlap 0.25)")  # which nobody gave to `test`
    assert main(["predict", "--name=seg", "--ckpt_path=last", *FAST]) == 0
    masks = sorted((tmp_path / "runs/seg/version_1/predictions").iterdir())
    assert [path.name for path in masks] == [f"{n}.png" for n in range(4)]
    assert np.asarray(Image.open(masks[0])).shape == (48, 64)
    assert main(["compare", "seg", "--metric=test/miou"]) == 0
    checkpoint = str(run / "checkpoints/last.ckpt")
    for other in (
        ["test", "--ckpt_path", checkpoint, "--task=classification"],
        ["compact", "--ckpt_path", checkpoint],
    ):
        assert main(other) == 2
        assert "got a checkpoint of segmentation; need one of classification" in capsys.readouterr().err


@pytest.mark.exhaustive  # what resumes is the same for both tasks
def test_a_training_goes_on(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--task=segmentation", "--model.model=test_resnet", "--data.dataset=folder", f"--data.root={folder}"]
    options = ["fit", *options, "--data.batch_size=4", "--wandb=disabled", *FAST]
    assert main([*options, "--trainer.max_epochs=1"]) == 0
    assert main([*options, "--trainer.max_epochs=2", "--ckpt_path=last"]) == 0
    assert "resuming from runs/run/version_0/checkpoints/last.ckpt" in capsys.readouterr().out
    assert main([*options, "--trainer.max_epochs=3", "--ckpt_path=last", "--model.output_stride=16"]) == 2
    assert "model.output_stride: got 16; need 8, as in the checkpoint" in capsys.readouterr().err


def test_tasks_that_there_are_not(capsys):
    assert main(["fit", "--task=segmentatoin"]) == 2
    assert capsys.readouterr().err == (
        "dyc fit: error: task: got 'segmentatoin' (did you mean 'segmentation'?); need one of 'classification', "
        "'segmentation'\n"
    )
