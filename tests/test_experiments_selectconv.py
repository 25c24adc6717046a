"""The rows of SelectConv's tables: every command is read and says what the recipe says, every network is built."""

import csv
import functools
import io
import shlex
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import timm
import torch
import yaml

import dyc
from lightning_modules import ChannelRewiring, ImageData, OptimizerSettings
from lightning_modules.cli import main
from lightning_modules.create_network import check_fits
from lightning_modules.optimizers import build_optimizer

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "experiments/selectconv"
with (FOLDER / "rows.csv").open() as file:
    TABLE = list(csv.DictReader(file))
ROWS = [row for row in TABLE if row["command"]]

# Errors in per cent, baseline and selective, and their spreads.
NETWORKS = ("densenet40", "densenet100", "preresnet164", "resnext29_8x64d")
PUBLISHED = {
    "cifar10": ("6.62±0.15 6.09±0.10", "4.51±0.04 4.29±0.08", "4.23±0.15 3.92±0.14", "3.62±0.12 3.39±0.14"),
    "cifar100": ("29.9±0.1 28.8±0.1", "22.8±0.3 22.2±0.1", "21.3±0.2 20.9±0.2", "18.1±0.1 17.6±0.1"),
    "fashion_mnist": ("5.03±0.07 4.73±0.06", "4.70±0.06 4.58±0.05", "4.53±0.04 4.37±0.03", "4.40±0.07 4.27±0.06"),
    "tiny_imagenet": ("45.8±0.2 44.4±0.2", "41.0±0.1 39.9±0.3", "37.7±0.4 37.5±0.2", "31.7±0.3 31.4±0.3"),
}
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


def arguments(row) -> tuple[str, str, tuple[str, ...]]:
    """Return a row's network, the name of its run under ``selectconv``, and the other words of its command."""
    words = shlex.split(row["command"])
    assert words[:2] == ["dyc", "fit"]
    options = {words[i]: words[i + 1] for i in range(2, len(words), 2)}
    taken = {"--model.model", "--name"}
    rest = [word for i in range(2, len(words), 2) if words[i] not in taken for word in words[i : i + 2]]
    return options["--model.model"], options["--name"].removeprefix("selectconv/"), tuple(rest)


@functools.cache
def settings(words: tuple[str, ...]) -> dict:
    """Return what a command sets, its network aside: rows that share the rest are read once."""
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output):
        patch.chdir(ROOT)
        with pytest.raises(SystemExit) as stop:
            main(["fit", *words, "--model.model=densenet40", "--print_config"])
    assert stop.value.code == 0
    return yaml.safe_load(output.getvalue())


def test_every_row_of_the_tables_is_there():
    names = [arguments(row)[1] for row in ROWS]
    small = [f"{data}/{form}{net}" for data in PUBLISHED for net in NETWORKS for form in ("", "select_")]
    large = [f"imagenet/{form}{net}" for net in ("densenet121", "preresnet50") for form in ("", "select_")]
    assert names == [*small, *large, "cifar10/select_condensenet182"]
    assert [row["network"] for row in TABLE if not row["command"]] == [
        "ResNet-1001",
        "WideResNet-28-10",
        "ResNeXt-29 (16x64d)",
        "VGGNet-Slim",
        "ResNet-164-Slim",
        "CondenseNet-LGC-182",
    ]


def test_published_values():
    found = {arguments(row)[1]: row for row in ROWS}
    for data, errors in PUBLISHED.items():
        for net, both in zip(NETWORKS, errors):
            for form, value in zip(("", "select_"), both.split()):
                row = found.pop(f"{data}/{form}{net}")
                assert f"{row['error_percent']}±{row['spread_percent']}" == value
                assert row["form"] == ("SelectConv" if form else "Baseline")
    rest = {name: float(row["error_percent"]) for name, row in found.items()}
    assert rest == {
        "imagenet/densenet121": 24.7,
        "imagenet/select_densenet121": 24.4,
        "imagenet/preresnet50": 23.9,
        "imagenet/select_preresnet50": 23.4,
        "cifar10/select_condensenet182": 3.5,
    }
    compressed = found["cifar10/select_condensenet182"]
    assert (compressed["parameters_millions"], compressed["flops_millions"]) == ("3.24", "422")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: arguments(row)[1])
def test_recipe(row):
    model, name, words = arguments(row)
    config, data, selective = settings(words), name.split("/")[0], model.startswith("select_")
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
BUILT = [row for row in ROWS if row["dataset"][:5] != "CIFAR" or row["table"] == "table3_condensenet"]


LONG = ("preresnet164", "densenet100", "resnext29_8x64d")  # built like others that take less time
EACH = [
    pytest.param(row, id=arguments(row)[1], marks=pytest.mark.exhaustive if arguments(row)[0].endswith(LONG) else ())
    for row in BUILT
]


@pytest.mark.parametrize("row", EACH)
def test_networks_are_built_and_their_shifts_decay_less(row):
    model, name, words = arguments(row)
    config, data = settings(words), name.split("/")[0]
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
