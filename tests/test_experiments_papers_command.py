"""Every row's command is read by ``dyc fit`` and says what the row says; every network of a row is built."""

import io
from contextlib import redirect_stdout
from decimal import ROUND_HALF_UP, Decimal

import pytest
import timm
import torch
import yaml

import dyc
from experiments.papers import Row, find, papers
from experiments.papers.command import command
from experiments.papers.units import measured_value
from experiments.run.settings import PROTOCOLS, arguments_of
from lightning_modules.cli import main
from ops import ArgumentError

ROWS = [row for paper in papers() for row in find(paper)]
QUICK_SEGMENTATION = yaml.safe_load((PROTOCOLS / "segmentation/quick.yaml").read_text())["trainer"]["max_epochs"]
TRAINED = [row for row in ROWS if row.measured_by("train") and row.same_as is None]


def distinct(rows, key):
    """Return the first row of each kind; all but the first of each paper are only in the exhaustive tests."""
    found, chosen = {}, []
    for row in rows:
        found.setdefault(key(row), row)
    papers_seen = set()
    for row in found.values():
        paper = row.path.split("/")[0]
        marks = pytest.mark.exhaustive if paper in papers_seen else ()
        papers_seen.add(paper)
        chosen.append(pytest.param(row, id=row.path, marks=marks))
    return chosen


def written(row: Row):
    """Return what decides about the words of a row's command, but for names."""
    return row.recipe, tuple(row.options), tuple((name, repr(value)) for name, value in row.arguments.items())


def at(config: dict, option: str):
    """Return the setting that a dotted option names; in a list of callbacks, that of the last one."""
    value = config
    for name in option.split("."):
        value = value[-1]["init_args"] if isinstance(value, list) else value
        value = value[name]
    return value


@pytest.mark.parametrize("row", distinct(TRAINED, written))
def test_command_says_what_the_row_says(row, tmp_path):
    protocol = tmp_path / "short.yaml"
    protocol.write_text("trainer: {max_epochs: 3}\nmodel: {model: resnet18}\n")
    output = io.StringIO()
    with redirect_stdout(output), pytest.raises(SystemExit) as stop:
        main([*command(row, 2, name="papers/a", protocol=[protocol], options=["--data.root=here"]), "--print_config"])
    assert stop.value.code == 0
    config = yaml.safe_load(output.getvalue())
    assert (config["name"], config["seed_everything"]) == ("papers/a", 2)
    assert (config["model"]["model"], config["trainer"]["max_epochs"]) == (row.network, 3)
    assert (config["model"]["model_kwargs"] or {}).items() >= row.arguments.items()
    assert config["data"]["root"] == "here"
    assert {option: at(config, option) for option in row.options} == row.options


def shortened(row: Row):
    """Return what decides about the words of a row's command in the quick protocol, but for names."""
    return row.path.split("/")[0], row.dataset, tuple(row.quick.options)


@pytest.mark.parametrize("row", distinct(TRAINED, shortened))
def test_quick_command_is_read(row, tmp_path):
    words = arguments_of(row, "quick", 1, ["data.root=here"])
    output = io.StringIO()
    with redirect_stdout(output), pytest.raises(SystemExit) as stop:
        main(["fit", *words, "--name=a", "--print_config"])
    assert stop.value.code == 0
    config = yaml.safe_load(output.getvalue())
    epochs = QUICK_SEGMENTATION if row.segmentation else 3
    assert (config["seed_everything"], config["trainer"]["max_epochs"], config["data"]["root"]) == (1, epochs, "here")
    schedule = config["model"]["schedule"]
    assert (schedule["sched"], schedule["warmup_epochs"]) == ("poly" if row.segmentation else "cosine", 1)
    assert (config["model"]["model_kwargs"] or {}).items() >= row.quick.arguments.items()
    kept = {
        name: value  # a callback's settings come back with its defaults
        for name, value in row.quick.options.items()
        if name != "data.root" and not isinstance(value, (list, tuple))
    }
    assert {option: at(config, option) for option in kept} == kept


def shape(row: Row):
    return row.network, tuple((name, repr(value)) for name, value in row.arguments.items()), row.num_classes


def counted(row: Row):
    return [figure for figure in row.measured_by("count") if figure.value and not figure.note]


def built(row: Row):
    """Return what decides about a row's network; the number of classes does where there is a figure to compare."""
    return shape(row) if counted(row) else shape(row)[:2]


@pytest.mark.parametrize("row", distinct([row for row in ROWS if row.network], built))
def test_networks_are_built_and_count_as_printed(row):
    """A count that has no note is the printed one, rounded to its digits."""
    classes = {} if row.num_classes is None else {"num_classes": row.num_classes}
    with torch.device("meta"):
        network = timm.create_model(row.network, **classes, **row.arguments)
    same = [other for other in ROWS if other.network and shape(other) == shape(row)]
    figures = [figure for other in same for figure in counted(other)]
    if not figures:
        return
    size = row.image_size or network.default_cfg["input_size"][-1]
    profile = dyc.profile(network, (3, size, size))
    for figure in figures:
        convention = figure.options.get("convention")
        classifier = figure.options.get("classifier", True)
        ours = profile.count(convention, classifier=classifier) if convention else profile.parameters
        printed = Decimal(figure.value)
        digit = Decimal(1).scaleb(printed.as_tuple().exponent)
        rounded = Decimal(measured_value(figure, ours)).quantize(digit, ROUND_HALF_UP)
        tolerance = 1 if figure.metric == "flops_revised" else 0
        assert abs(rounded - printed) <= tolerance * digit, figure


@pytest.mark.parametrize("path", ["dyc/table2/cifar10/dyc", "dy/keypoints/coco/head"])
def test_a_row_that_is_not_trained_is_refused(path):
    with pytest.raises(ArgumentError, match=f"{path} is not trained"):
        command(find(path)[0], 0, name="a")
