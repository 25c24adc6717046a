"""``dyc analyze``: what is listed, read, refused and written; the analyses themselves are tested with dyc.analysis."""

import csv
from xml.etree import ElementTree

import pytest
import support.dynamic_network  # noqa: F401  (registers tiny_dynamic)
import torch
from lightning.pytorch import Trainer
from PIL import Image
from support.pictures import cut_off
from support.run_folders import write_run

from experiments.analyze.found import analyses
from experiments.analyze.images import spread
from experiments.analyze.output import Output
from experiments.analyze.parser import without_data_options
from lightning_modules import ImageClassifier
from lightning_modules.cli import main
from lightning_modules.cli.kept_help import SLOW
from lightning_modules.data import ImageData

DIGITS = ["--data.dataset=digits", "--images=40", "--data.batch_size", "16"]


@pytest.fixture(autouse=True)
def _folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def analyze(*argv):
    return main(["analyze", *argv])


def shown(capsys, *argv):
    with pytest.raises(SystemExit) as stop:
        main(list(argv))
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_the_help_has_one_line_for_each_analysis(capsys):
    text = shown(capsys, "analyze", "--help")
    assert {"attention", "convergence", "correlation", "kernels", "latency", "noise", "usage"} <= set(analyses())
    for name, found in analyses().items():
        assert len([line for line in text.splitlines() if line.startswith(f"  {name} ")]) == 1
        assert found.summary in text
        assert ("analyze", name) in SLOW  # its own help is kept
    assert max(map(len, text.splitlines())) <= 120


def test_a_new_analysis_is_a_new_file(tmp_path):
    (tmp_path / "waves.py").write_text(
        '"""Waves of a layer.\n\nMore.\n"""\n\nimport no_such_module\n\nDYNAMIC = "kernels"\n'
    )
    (tmp_path / "_shared.py").write_text("")
    found = analyses(tmp_path)["waves"]
    assert (found.summary, found.dynamic, found.module) == (
        "Waves of a layer",
        "kernels",
        "experiments.analyze.analyses.waves",
    )
    assert list(analyses(tmp_path)) == ["waves"]


@pytest.mark.parametrize("name", analyses())
def test_each_has_a_help_that_says_where_it_writes(name, capsys):
    text = " ".join(shown(capsys, "analyze", name, "--help").split())
    assert f"analyses/{name}/version_N" in text
    assert ("was not at hand" in text) == (name == "noise")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["corelation", "x"], "ANALYSIS: got 'corelation' (did you mean 'correlation'?)"),
        (["correlation"], "the following arguments are required: CHECKPOINT_OR_MODEL"),
        (["correlation", "tiny_dynamic"], "--data: got none, and tiny_dynamic is no checkpoint"),
        (["correlation", "tiny_dynami", *DIGITS], "did you mean 'tiny_dynamic'"),
        (["correlation", "a.ckpt"], "'a.ckpt', which does not exist"),
        (["correlation", "tiny_dynamic", *DIGITS], "name it, as the network does not say what its stages are"),
        (["correlation", "tiny_dynamic", *DIGITS, "--layer=sten"], "did you mean 'stem'"),
        (["correlation", "tiny_dynamic", *DIGITS, "--layer=nope"], "--layer: got 'nope'; need a layer of tiny_dynamic"),
        (["correlation", "tiny_dynamic", *DIGITS, "--layer=head"], "--layer: got 'head', whose output is (16, 10)"),
        (
            ["correlation", "tiny_dynamic", *DIGITS, "--edges", "0.5", "0.2", "0.1"],
            "--edges: got [0.5, 0.2, 0.1]; need",
        ),
        (["usage", "tiny_dynamic", *DIGITS, "--layer=dynamc"], "'dynamc' (did you mean 'dynamic'?); need a dynamic"),
        (
            ["noise", "tiny_dynamic", *DIGITS, "--layer=stem"],
            "--layer: got 'stem', which is not dynamic; need a dynamic",
        ),
        (
            ["kernels", "tiny_dynamic", *DIGITS, "--layers", "dynamic", "norm"],
            "--layers: got 'norm', which is not dyna",
        ),
        (["kernels", "tiny_dynamic", *DIGITS, "--channel=9"], "--channel: got 9; need a number from 0 to 7"),
        (["attention", "tiny_dynamic", *DIGITS, "--at", "3"], "resolutions of dynamic layers: 8 pixels"),
        (["attention", "tiny_dynamic", "test_resnet", *DIGITS], "got 2 networks; need one"),
        (["attention", "tiny_dynamic", *DIGITS, "--data.bath_size=2"], "there is no such option"),
        (["attention", "tiny_dynamic", *DIGITS, "--labels", "a", "b"], "need 1 different labels"),
        (["latency", "tiny_dynamic", "tiny_dynamic"], "the same network twice"),
        (["latency", "test_resnet", "--sizes", "0"], "at least 1"),
        (["convergence", "no_run"], "RUN: got 'no_run'"),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(argv, message, capsys, tmp_path):
    assert analyze(*argv) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("dyc analyze: error: ")
    assert message in said
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", [name for name, found in analyses().items() if found.dynamic])
def test_a_static_network_is_told_what_there_is_for_it(name, capsys):
    assert analyze(name, "test_resnet", *DIGITS, "--data.image_size=32") == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    about = {"kernels": "kernels", "noise": "mixtures"}.get(name, "attention")
    assert f"test_resnet has no dynamic layers, and {name} is about their {about}; for static" in said
    assert "for static networks there are convergence, correlation, latency" in said


@pytest.mark.parametrize(
    "argv",
    [
        ["usage", "test_resnet"],
        ["usage", "tiny_dynamic", "--layer=nope"],
        ["correlation", "tiny_dynamic", "--layer=nope"],
        ["correlation", "tiny_dynamic"],
        ["correlation", "tiny_dynamic", "--layer", "stem", "norm"],
        ["noise", "tiny_dynamic", "--layer=nope"],
        ["noise", "test_resnet"],
        ["kernels", "tiny_dynamic", "--layers=stem"],
        ["kernels", "tiny_dynamic", "--channel=9"],
        ["attention", "tiny_dynamic", "--data.image_size=12", "--at=3"],
        ["attention", "tiny_dynamic", "--labels", "a", "b"],
    ],
    ids=" ".join,
)
def test_what_is_wrong_is_found_before_images_are_read(argv, monkeypatch):
    read_data = []
    monkeypatch.setattr(ImageData, "setup", lambda *_: read_data.append(1))
    assert analyze(*argv, *DIGITS) == 2
    assert not read_data


CALLS = {
    "correlation": ["tiny_dynamic", "--layer", "norm", "--edges", "0.1", "0.2", "0.3"],
    "attention": ["tiny_dynamic", "--at", "8"],
    "usage": ["tiny_dynamic", "--classes=4", "--each=2"],
    "noise": ["tiny_dynamic", "--sigmas", "0.5"],
    "kernels": ["tiny_dynamic", "--channel=3"],
}


@pytest.mark.parametrize("name", CALLS)
def test_tables_and_pictures_are_written_into_a_new_folder(name, capsys, tmp_path, monkeypatch):
    figures, picture = [], Output.picture
    monkeypatch.setattr(Output, "picture", lambda self, *args: (figures.append(args[1]), picture(self, *args)))
    assert analyze(name, *CALLS[name], *DIGITS) == 0
    folder = tmp_path / "analyses" / name / "version_0"
    assert f"written to analyses/{name}/version_0: " in capsys.readouterr().out
    pictures = sorted(folder.glob("*.png"))
    assert len(pictures) == len(figures) > 0
    assert [cut_off(figure) for figure in figures] == [[]] * len(figures)
    for path in pictures:
        assert Image.open(path).width == pytest.approx(3.35 * 300, abs=2)  # a column of a paper
        assert ElementTree.parse(path.with_suffix(".svg")).getroot().tag.endswith("svg")
    tables = sorted(folder.glob("*.csv"))
    assert tables
    assert all(read(path) for path in tables)
    about = {row["fact"]: row["value"] for row in read(folder / "about.csv")}
    assert about["command"] == f"dyc analyze {name} {' '.join([*CALLS[name], *DIGITS])}"
    assert {"date", "cpu", "threads", "torch", "commit"} <= about.keys()


def test_no_folder_is_overwritten(capsys, tmp_path):
    argv = ["correlation", "tiny_dynamic", "--layer=norm", *DIGITS]
    (tmp_path / "analyses/correlation/version_0").mkdir(parents=True)
    assert analyze(*argv) == 0
    assert sorted(path.name for path in (tmp_path / "analyses/correlation").iterdir()) == ["version_0", "version_1"]
    assert analyze(*argv, "--output", "analyses/correlation/version_1") == 2
    assert "which has files in it; need a folder that does not exist yet" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert analyze(*argv, "--output", "empty") == 0
    assert {path.suffix for path in (tmp_path / "empty").iterdir()} == {".csv", ".svg", ".png"}


def test_a_checkpoint_brings_its_data(capsys, tmp_path):
    """Its images are prepared as for its training, but where the command line says otherwise."""
    classifier = ImageClassifier("tiny_dynamic", num_classes=10, model_kwargs={"in_chans": 1})
    trainer = Trainer(logger=False, accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False)
    trainer.strategy.connect(classifier)
    data = ImageData("digits", batch_size=16, image_size=12)
    data.setup("test")
    path = tmp_path / "runs/small/version_0/checkpoints/last.ckpt"
    path.parent.mkdir(parents=True)
    trainer.save_checkpoint(path)
    torch.save({**torch.load(path, weights_only=True), "datamodule_hyper_parameters": dict(data.hparams)}, path)
    for place in ("small", "runs/small", "runs/small/version_0", str(path)):
        assert analyze("attention", place, "--images=20", "--output", f"{place.replace('/', '_')}") == 0
    assert analyze("attention", "runs", "--images=20") == 0  # which holds one run
    write_run(tmp_path / "runs", "another")
    (tmp_path / "runs/another/version_0/checkpoints").mkdir()
    (tmp_path / "runs/another/version_0/checkpoints/last.ckpt").touch()
    assert analyze("attention", "runs", "--images=20") == 2
    assert "'runs', which holds 2 runs; need the folder of one run" in capsys.readouterr().err
    assert analyze("attention", "analyses", "--images=20") == 2
    assert "'analyses', which has no checkpoint" in capsys.readouterr().err
    rows = read(tmp_path / "small/layers.csv")
    assert [(row["layer"], row["resolution"]) for row in rows] == [("dynamic", "12")]
    accuracies = read(tmp_path / "small/accuracy.csv")
    assert {row["images"] for row in accuracies} == {"20"}
    assert accuracies[0]["attention"] == "as trained"
    assert analyze("attention", "small", "--images=20", "--data.image_size=16", "--output=other") == 0
    assert read(tmp_path / "other/layers.csv")[0]["resolution"] == "16"


def test_latency_needs_no_images(tmp_path, monkeypatch):
    threads = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1] if threads else 5)
    argv = ["tiny_dynamic", "test_resnet", "--labels", "dynamic", "static", "--sizes", "32", "40", "--seconds=0.01"]
    assert analyze("latency", *argv, "--threads=3", "--output=out") == 0
    about = {row["fact"]: row["value"] for row in read(tmp_path / "out/about.csv")}
    assert about["threads"].startswith("3 of ")
    sizes = read(tmp_path / "out/sizes.csv")
    assert [(row["network"], row["pixels"]) for row in sizes] == [
        ("dynamic", "32"),
        ("static", "32"),
        ("dynamic", "40"),
        ("static", "40"),
    ]
    assert [row["to_first"] for row in sizes[::2]] == ["1", "1"]
    layers = read(tmp_path / "out/layers.csv")
    assert [(row["layer"], row["dynamic"]) for row in layers if row["network"] == "dynamic"] == [
        ("stem", "False"),
        ("dynamic", "True"),
    ]


def test_convergence_reads_folders_of_runs(capsys, tmp_path):
    runs = tmp_path / "runs"
    for name, first, last, val in (("hot", 30.0, 30.0, (0.2, 0.4)), ("cooled", 30.0, 1.0, (0.4, 0.6))):
        for seed in (0, 1):
            shifted = tuple(value + 0.1 * seed for value in val)
            callbacks = {"TemperatureAnnealing": {"end": last}} if first != last else {}
            settings = {"temperature": first, "temperature_end": last, "trainer": {"callbacks": callbacks}}
            write_run(runs, f"{name}/seed{seed}", seed, val=shifted, dynamic=True, **settings)
    write_run(runs, "static/seed0", val=(0.1, 0.3))
    assert analyze("convergence", "hot", "cooled", "static", "--output=out") == 0
    summary = {row["training"]: row for row in read(tmp_path / "out/summary.csv")}
    assert list(summary) == ["static", "τ=30 to 1", "τ=30"]
    assert summary["τ=30"]["last"] == "0.45"
    assert summary["τ=30"]["standard_error"] == "0.05"
    assert summary["τ=30 to 1"]["reached_after"] == "1"  # the 0.3 at which the static one ends
    curves = [row for row in read(tmp_path / "out/curves.csv") if row["training"] == "τ=30"]
    assert [(row["epoch"], row["val/top1"], row["seeds"]) for row in curves] == [("1", "0.25", "2"), ("2", "0.45", "2")]
    assert analyze("convergence", "hot", "--metric=val/none") == 2
    assert "one that these runs logged" in capsys.readouterr().err


def test_images_are_spread_over_a_set_that_is_sorted_by_class():
    numbers = spread(100, 10, seed=1)
    assert sorted(numbers.tolist()) == list(range(0, 100, 10))
    assert numbers.tolist() != sorted(numbers.tolist())
    assert torch.equal(numbers, spread(100, 10, seed=1))
    assert sorted(spread(3, 3, 0).tolist()) == [0, 1, 2]


def test_options_of_the_data_are_told_apart():
    rest, data = without_data_options(["a", "--data", "x.yaml", "--images=3", "--data.root", "y", "b", "--data.seed=1"])
    assert rest == ["a", "--images=3", "b"]
    assert data == ["--data", "x.yaml", "--data.root", "y", "--data.seed=1"]
