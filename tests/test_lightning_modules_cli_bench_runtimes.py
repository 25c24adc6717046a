"""``dyc bench runtimes``: exported networks beside PyTorch and beside the static network."""

import csv
import importlib.util

import pytest
from support.fewer_blocks import leave_out_blocks

from lightning_modules.cli import main

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

SMALL = ["bench", "runtimes", "mobilenetv2_cifar", "dyc_mobilenetv2_cifar", "--seconds=0.001", "--input-size=8"]


@pytest.mark.exhaustive
def test_every_contestant_is_a_row(tmp_path, capsys, monkeypatch):
    leave_out_blocks(monkeypatch)
    find = importlib.util.find_spec
    monkeypatch.setattr("dyc.benchmark.runtimes.find_spec", lambda name: None if name == "openvino" else find(name))
    file = tmp_path / "a.csv"
    assert main([*SMALL, "--forms=features", "--threads=1", "--batches", "1", "2", "--csv", str(file)]) == 0
    said = capsys.readouterr()
    assert "openvino is left out: it is not installed (pip install openvino)" in said.err
    with file.open() as opened:
        rows = list(csv.DictReader(opened))
    static, dynamic = "mobilenetv2_cifar", "dyc_mobilenetv2_cifar"
    files = [(static, "static"), (static, "static int8"), (dynamic, "features"), (dynamic, "features int8")]
    expected = [("pytorch", static, "eager"), ("pytorch", dynamic, "eager"), *(("onnxruntime", *f) for f in files)]
    for batch in ("1", "2"):
        own = [row for row in rows if row["batch"] == batch]
        assert [(row["runtime"], row["network"], row["form"]) for row in own] == expected
        ms = {(row["runtime"], row["form"]): float(row["median_ms"]) for row in own if row["network"] == static}
        for row in own:
            twin = {"eager": "eager"}.get(row["form"], "static int8" if "int8" in row["form"] else "static")
            ratio = float(row["median_ms"]) / ms[row["runtime"], twin]
            assert float(row["ratio"]) == pytest.approx(ratio, rel=0.01)
    assert {row["threads"] for row in rows} == {"1"}
    assert all(row["onnxruntime"] and row["torch"] and row["command"] for row in rows)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--runtimes", "onnxruntim"], "did you mean 'onnxruntime'"),
        (["--forms", "feature"], "did you mean 'features'"),
        (["--threads", "0"], "--threads: got '0'"),
    ],
)
def test_wrong_arguments(argv, message, capsys):
    assert main([*SMALL, *argv]) == 2
    assert message in capsys.readouterr().err


def test_without_a_usable_runtime_nothing_is_exported(monkeypatch, capsys):
    monkeypatch.setattr("lightning_modules.cli.bench.runtimes.usable_runtimes", lambda names: [])
    assert main(["bench", "runtimes", "--runtimes", "openvino"]) == 2
    assert "--runtimes: got openvino, not installed; need one that is" in capsys.readouterr().err
