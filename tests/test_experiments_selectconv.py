"""The trained rows of SelectConv's tables: every command says what the recipe says, every network is built."""

import functools
import io
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import timm
import torch
import yaml

import dyc
from experiments.papers import Row, find
from experiments.papers.command import command
from lightning_modules import ChannelRewiring, ImageData, OptimizerSettings
from lightning_modules.cli import main
from lightning_modules.create_network import check_fits
from lightning_modules.optimizers import build_optimizer

FOLDER = Path(__file__).parents[1] / "experiments/selectconv"
ROWS = [row for row in find("selectconv") if row.measured_by("train")]

LIMITED = {  # whose channels are re-used at most 32 times
    "cifar10/select_densenet100",
    "cifar10/select_resnext29_8x64d",
    "cifar100/select_resnext29_8x64d",
    "tiny_imagenet/select_resnext29_8x64d",
    "tiny_imagenet/select_densenet100",
}
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
SETS = {  # data set, its classes, batch, epochs, padding, means, standard deviations, arguments of the network
    "cifar10": ("torch/cifar10", 10, 64, 300, 4, [0.4914, 0.4824, 0.4467], [0.2471, 0.2435, 0.2616], None),
    "cifar100": ("torch/cifar100", 100, 64, 300, 4, [0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761], None),
    "fashion_mnist": ("torch/fashion_mnist", 10, 128, 300, 4, [0.1307], [0.3081], None),
    "tiny_imagenet": ("tiny_imagenet", 200, 128, 200, 8, *IMAGENET, {"stem_stride": 2}),
    "imagenet": ("folder", 1000, 256, 90, 4, *IMAGENET, None),
}
SIZES = {"fashion_mnist": 28, "tiny_imagenet": 64, "imagenet": 224}


def words_of(row: Row) -> tuple[str, ...]:
    """Return a row's command but for its network, which many rows share the rest with."""
    return tuple(word for word in command(row, 0, name="run") if not word.startswith("--model.model="))


@functools.cache
def settings(words: tuple[str, ...]) -> dict:
    """Return what a command sets, its network aside: rows that share the rest are read once."""
    output = io.StringIO()
    with redirect_stdout(output), pytest.raises(SystemExit) as stop:
        main([*words, "--model.model=densenet40", "--print_config"])
    assert stop.value.code == 0
    return yaml.safe_load(output.getvalue())


def test_rows():
    """Four networks on four small data sets and two on ImageNet, static and selective, and CondenseNet."""
    assert len(ROWS) == 16 * 2 + 2 * 2 + 1
    assert all(("SelectConv" in row.model or "SConv" in row.model) == row.network.startswith("select_") for row in ROWS)
    assert all(row.name.endswith(f"/{row.network}") for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_recipe(row):
    model, name = row.network, row.name
    config, data, selective = settings(words_of(row)), name.split("/")[0], model.startswith("select_")
    dataset, _, batch, epochs, padding, mean, std, kwargs = SETS[data]
    compressed = model == "select_condensenet182"

    optimizer, schedule = config["model"]["optimizer"], config["model"]["schedule"]
    assert (optimizer["opt"], optimizer["lr"], optimizer["momentum"]) == ("sgd", 0.1, 0.9)
    assert (optimizer["weight_decay"], optimizer["filter_bias_and_bn"]) == (1e-4, False)
    assert optimizer["groups"] == ({r"\.shift$": {"weight_decay": 1e-5}} if selective and not compressed else {})
    assert (schedule["sched"], schedule["per_update"], schedule["min_lr"]) == ("cosine", True, 0)
    assert schedule["warmup_epochs"] == 0
    assert config["model"]["model_kwargs"] == kwargs
    assert config["trainer"]["max_epochs"] == (600 if compressed else epochs)

    images = config["data"]
    assert (images["dataset"], images["batch_size"], images["crop_padding"]) == (dataset, batch, padding)
    assert images["drop_last"] is False
    assert (images["mean"], images["std"], images["hflip"]) == (mean, std, 0.5)
    assert (images["val_fraction"], images["erase_prob"], images["auto_augment"]) == (0, 0, None)
    assert images["download"] is (dataset != "folder")  # a first user has no images yet
    assert ImageData(**images).in_chans == len(mean)

    callbacks = config["trainer"]["callbacks"]
    if not selective:
        assert callbacks is None
        return
    assert [callback["class_path"] for callback in callbacks] == ["lightning_modules.ChannelRewiring"]
    rewiring = ChannelRewiring(**callbacks[0]["init_args"])
    assert (rewiring.mode, rewiring.num_sources) == (("compression", 0) if compressed else ("accuracy", 3))
    assert (rewiring.gamma, rewiring.until, rewiring.every) == (0.001, 0.5, 1)
    assert rewiring.max_uses == (32 if name in LIMITED else None)
    assert rewiring.soft_limit is not compressed  # as the authors' code counts


# CIFAR's networks differ from those of Fashion-MNIST in the numbers of channels and classes alone.
BUILT = [row for row in ROWS if row.dataset[:5] != "CIFAR" or row.network == "select_condensenet182"]


LONG = ("preresnet164", "densenet100", "resnext29_8x64d")  # built like others that take less time
EACH = [pytest.param(row, id=row.name, marks=pytest.mark.grid if row.network.endswith(LONG) else ()) for row in BUILT]


@pytest.mark.parametrize("row", EACH)
def test_networks_are_built_and_their_shifts_decay_less(row):
    model = row.network
    config, data = settings(words_of(row)), row.name.split("/")[0]
    classes, channels = SETS[data][1], len(SETS[data][5])
    with torch.device("meta"):
        net = timm.create_model(
            model, num_classes=classes, in_chans=channels, **(config["model"]["model_kwargs"] or {})
        )
    images = ImageData(**config["data"])
    images.num_classes, images.image_size = classes, SIZES.get(data, 32)
    check_fits(net, model, classes, channels, images)

    layers = [layer for _, layer in dyc.iter_selective(net)]
    assert bool(layers) == model.startswith("select_")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of an expression that matches nothing
        optimizer = build_optimizer(net, OptimizerSettings(**config["model"]["optimizer"]))
    shifts = {id(layer.shift) for layer in layers if layer.shift is not None}
    assert bool(shifts) == (model.startswith("select_") and model != "select_condensenet182")
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert group["weight_decay"] == (1e-5 if id(parameter) in shifts else 1e-4)


def test_files_work_together(tmp_path, monkeypatch):
    """Two epochs of a selective network through the command, as a row has it but for size and data."""
    monkeypatch.chdir(tmp_path)
    short = [
        "--trainer.callbacks.gamma=0.3",  # a network that has learned nothing has no channel to spare
        "--data.dataset=digits",
        "--data.batch_size=8",
        "--data.crop_padding=1",
        "--trainer.max_epochs=2",
        "--trainer.limit_train_batches=1",
        "--trainer.limit_val_batches=1",
        "--trainer.limit_test_batches=1",
        "--trainer.enable_progress_bar=false",
        "--trainer.accelerator=cpu",
        "--wandb=disabled",
        "--name=short",
    ]
    files = [f"--config={FOLDER / name}.yaml" for name in ("fashion_mnist", "selective")]
    assert main(["fit", *files, "--model.model=select_densenet40", *short]) == 0
    checkpoint = torch.load(tmp_path / "runs/short/version_0/checkpoints/last.ckpt", weights_only=True)
    assert [g["weight_decay"] for g in checkpoint["optimizer_states"][0]["param_groups"]] == [1e-4, 1e-5]
    assert any((v >= 0).any() for k, v in checkpoint["state_dict"].items() if k.endswith(".pointers"))
