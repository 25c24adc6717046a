"""``dyc bench`` from the command line: tables, pictures and files that are written once; wrong input ends at once."""

import csv
import os

import pytest
import torch

from lightning_modules.cli import main
from lightning_modules.cli.bench import plots
from lightning_modules.cli.csv_file import CsvFile
from lightning_modules.cli.tables import Table

QUICK = ["--shapes", "mobilenetv2_32", "--batches", "1", "--layouts", "channels_last", "--directions", "forward"]
QUICK += ["--seconds", "0.001"]


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def is_picture(path):
    return path.read_bytes().startswith(b"\x89PNG" if path.suffix == ".png" else b"<?xml")


@pytest.mark.parametrize(("what", "rival"), [("ops", "to_grouped"), ("layers", "to_peer")])
def test_shapes_give_tables_a_picture_and_every_timing(what, rival, tmp_path, capsys):
    timings, picture = tmp_path / "timings.csv", tmp_path / "picture.png"
    argv = ["bench", what, *QUICK, "--backends", "eager", "--csv", str(timings), "--plot", str(picture)]
    assert main(argv) == 0
    out, err = capsys.readouterr()
    assert "geometric means" in out
    assert "mobilenetv2_32, 3x3 kernels, batch 1, channels_last, forward" in out
    assert "[1/10] 1x32x32x32/1 channels_last forward" in err
    rows = table(timings)
    expected = {"median_ms", "p20_ms", "p80_ms", "peak_mib", "to_static", "memory_to_static", rival}
    assert expected | {"cpu", "torch", "commit", "command"} <= set(rows[0])
    assert rows[0]["command"].startswith(f"dyc bench {what} --shapes mobilenetv2_32")
    assert len({(row["channels"], row["size"], row["stride"]) for row in rows}) == 10
    assert is_picture(picture)
    before = timings.read_bytes(), picture.read_bytes()
    assert main(argv) == 2
    assert capsys.readouterr().err.startswith("dyc bench: error: --csv: got")
    assert (timings.read_bytes(), picture.read_bytes()) == before


@pytest.mark.parametrize("what", ["ops", "layers"])
def test_kernels_of_other_sizes(what, tmp_path, capsys):
    timings = tmp_path / "timings.csv"
    window = ["--kernel", "5", "--dilation", "2"]
    assert main(["bench", what, *QUICK, *window, "--backends", "eager", "--csv", str(timings)]) == 0
    out, err = capsys.readouterr()
    assert "mobilenetv2_32, 5x5 dilation 2 kernels, batch 1" in out
    assert "[1/10] 1x32x32x32/1 5x5 dilation 2 channels_last forward" in err
    assert {(row["kernel"], row["dilation"]) for row in table(timings)} == {("5", "2")}


def test_networks_give_a_table_a_picture_and_every_timing(tmp_path, capsys):
    timings, picture = tmp_path / "timings.csv", tmp_path / "picture.svg"
    argv = [
        "bench",
        "models",
        "mobilenetv2_cifar",
        "dyc_mobilenetv2_cifar",
        "--train-batches",
        "2",
        "--seconds",
        "0.001",
    ]
    assert main([*argv, "--csv", str(timings), "--plot", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "inference, batch 1, 32 x 32, channels_last" in out
    assert "training, batch 2, 32 x 32, channels_last" in out
    rows = table(timings)
    names = ["mobilenetv2_cifar", "dyc_mobilenetv2_cifar [auto]"]
    assert [(r["mode"], r["contestant"]) for r in rows] == [(m, n) for m in ("inference", "training") for n in names]
    assert float(rows[1]["floor_to_baseline"]) > 1
    assert rows[0]["floor_to_baseline"] == rows[3]["floor_to_baseline"] == ""
    assert float(rows[3]["memory_to_baseline"]) > 1
    assert is_picture(picture)


@pytest.mark.parametrize("what", ["layers", "models"])
def test_markdown_is_all_that_is_printed(what, capsys):
    argv = ["bench", what, "--markdown", "--seconds", "0.001"]
    argv += ["--mode", "inference", "--input-size", "16", "32"] if what == "models" else QUICK[:-2]
    assert main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"`dyc bench {what} --markdown --seconds 0.001")
    assert f"torch {torch.__version__}" in lines[2]
    assert "commit" in lines[2]
    rows = lines[4:]
    assert len({row.count("|") for row in rows}) == 1
    assert set(rows[1]) == set("| -:")
    assert len(rows) == 2 + (2 * 3 if what == "models" else 4)


WRONG = [
    (["ops", "--backends", "egaer"], "--backends: got 'egaer' (did you mean 'eager'?); need one of"),
    (["ops", "--batches", "0"], "--batches: got '0'; need an int, at least 1"),
    (["ops", "--batches", "two"], "--batches: got 'two'; need an int, at least 1"),
    (["ops", "--kernel", "4"], "--kernel: got '4'; need an odd int, at least 1"),
    (["ops", "--dilation", "0"], "--dilation: got '0'; need an int, at least 1"),
    (["ops", "--seconds", "-1"], "--seconds: got '-1'; need a positive number"),
    (["ops", "--seconds", "nan"], "--seconds: got 'nan'; need a positive number"),
    (["ops", "--shapes", "mobilenetv2_33"], "--shapes: got 'mobilenetv2_33' (did you mean"),
    (["ops", "--csv", "missing/ops.csv"], "--csv: got 'missing/ops.csv', whose folder does not exist; need"),
    (["ops", "--plot", "ops.gif"], "--plot: got 'ops.gif'; need a file name that ends with .png or .svg"),
    (["ops", "--csv", "x.svg", "--plot", "x.svg"], "--plot: got 'x.svg'; need a file other than that of --csv"),
    (["ops", "--plot", "."], "--plot: got '.'; need a file that does not exist yet"),
    (["ops", "--sec", "1"], "--sec: there is no such option (did you mean '--seconds'?)"),
    (["layers", "--attentions", "dyd"], "--attentions: got 'dyd' (did you mean"),
    (["models", "dyc_mobilenetv2_cifr"], "MODEL: got 'dyc_mobilenetv2_cifr' (did you mean 'dyc_mobilenetv2_cifar'"),
    (["models", "--mode", "train"], "--mode: got 'train' (did you mean 'training'?); need one of"),
    (["models", "--cuda-graph"], "--cuda-graph: got --device cpu; need --device cuda"),
    (["models", "vit_tiny_patch16_224", "--input-size", "32"], "--input-size: got 32; need a size that vit_tiny"),
    (["model"], "what: got 'model' (did you mean 'models'?); need one of 'layers', 'models', 'ops'"),
]


@pytest.mark.parametrize(
    ("argv", "message"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_wrong_input_is_one_line_before_anything_is_timed(argv, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"dyc bench: error: {message}")
    assert err.count("\n") == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("what", ["ops", "layers", "models"])
def test_no_gpu(what, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["bench", what, "--device", "cuda"]) == 2
    assert "--device: got 'cuda', but PyTorch finds no GPU; need" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["bench", "--help"], ["bench", "ops", "-h"], ["bench", "models", "-h"]])
def test_help(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 0
    assert "usage: dyc bench" in capsys.readouterr().out


def test_rows_are_kept_when_a_run_is_cut_off_and_an_empty_file_is_not(tmp_path):
    path = tmp_path / "rows.csv"
    with pytest.raises(KeyboardInterrupt), CsvFile(path, {"cpu": "x"}):
        raise KeyboardInterrupt
    assert not path.exists()
    with pytest.raises(KeyboardInterrupt), CsvFile(path, {"cpu": "x"}) as rows:  # noqa: PT012
        rows.write([{"ms": 1.23456, "name": "a,b"}])
        raise KeyboardInterrupt
    assert table(path) == [{"ms": "1.235", "name": "a,b", "cpu": "x"}]


def test_a_file_that_appears_meanwhile_is_kept(tmp_path):
    path = tmp_path / "plot.png"
    path.write_text("mine")
    with pytest.raises(ValueError, match="--plot: got"):
        plots._save(plots.Figure(), path, {"command": "dyc"})
    assert path.read_text() == "mine"


@pytest.mark.parametrize(("low", "high"), [(0.9, 1.12), (0.8, 2.2), (0.3, 9.0), (0.05, 400.0)])
def test_axes_of_ratios_have_a_few_round_ticks_and_one_at_1(low, high):
    found = plots.ticks(low, high)
    assert 1.0 in found
    assert found == sorted(found)
    assert 4 <= len(found) <= 14


def test_markdown_escapes_what_would_end_a_cell():
    lines = Table(["a", "b"], 1, [["x|y", "1"], None, ["z", "2"]]).markdown().splitlines()
    assert lines == ["| a | b |", "| --- | ---: |", "| x\\|y | 1 |", "| z | 2 |"]


def test_labels_that_a_group_shares_are_printed_once():
    rows = [["inference", "1", "static", "2.0"], ["inference", "1", "dyc", "10.5"], None, ["training", "1", "dyc", "3"]]
    assert str(Table(["mode", "batch", "network", "ms"], 3, rows, title="times")).splitlines() == [
        "times",
        "mode       batch  network    ms",
        "inference  1      static    2.0",
        "                  dyc      10.5",
        "",
        "training   1      dyc         3",
    ]
