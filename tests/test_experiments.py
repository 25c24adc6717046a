"""Every file that names its network is read by the command, and says what the DYC report's recipe says."""

from pathlib import Path

import pytest
import yaml
from lightning.pytorch.cli import LightningArgumentParser

import lightning_modules
from lightning_modules.cli import main
from lightning_modules.tasks import TASKS

ROOT = Path(__file__).parents[1]


def names_a_network(path: Path) -> bool:
    """Whether a file is a whole configuration, and not a recipe of several rows, a protocol or a paper's tables."""
    model = yaml.safe_load(path.read_text()).get("model")
    return isinstance(model, dict) and "model" in model


CONFIGS = sorted(p for p in (ROOT / "experiments").rglob("*.yaml") if names_a_network(p))
RECIPES = sorted((ROOT / "experiments/dyc_report").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_settings_parse_and_build(path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", f"--config={path}", "--print_config"])
    assert stop.value.code == 0
    config = yaml.safe_load(capsys.readouterr().out)
    parser, task = LightningArgumentParser(), TASKS[config["task"]]
    parser.add_lightning_class_args(getattr(lightning_modules, task.module), "model")
    parser.add_lightning_class_args(getattr(lightning_modules, task.data), "data")
    built = parser.instantiate_classes(parser.parse_object({k: config[k] for k in ("model", "data")}))
    assert built.model.model_name == config["model"]["model"]


def test_the_report_has_six_rows():
    assert {p.stem for p in RECIPES} == {f"cifar{n}_{kind}" for n in (10, 100) for kind in ("static", "dy", "dyc")}


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_rows_differ_in_network_and_data_alone(path):
    config = yaml.safe_load(path.read_text())
    first = yaml.safe_load(RECIPES[0].read_text())
    data, kind = path.stem.split("_")
    assert config["name"] == f"dyc_report/{path.stem}"
    assert config["model"]["model"] == ("" if kind == "static" else f"{kind}_") + "mobilenetv2_cifar"
    assert config["data"]["dataset"] == f"torch/{data}"
    for key in ("optimizer", "schedule"):
        assert config["model"][key] == first["model"][key]
    assert {**config["data"], "dataset": ""} == {**first["data"], "dataset": ""}
    assert config["trainer"] == {"max_epochs": 100}


def test_recipe_is_the_report_s():
    config = yaml.safe_load(RECIPES[0].read_text())
    optimizer, schedule, data = config["model"]["optimizer"], config["model"]["schedule"], config["data"]
    assert (optimizer["opt"], optimizer["lr"], optimizer["momentum"]) == ("momentum", 0.1, 0.9)
    assert (optimizer["weight_decay"], optimizer["filter_bias_and_bn"]) == (5e-4, False)
    assert (schedule["sched"], schedule["decay_milestones"], schedule["decay_rate"]) == ("multistep", [30, 60, 90], 0.1)
    assert (data["batch_size"], data["drop_last"], data["crop_padding"], data["hflip"]) == (256, False, 4, 0.5)
    assert data["mean"] == data["std"] == [0.5, 0.5, 0.5]
