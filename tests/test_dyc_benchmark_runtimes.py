"""Networks in several runtimes: who runs where, and what the ratios are to."""

import pytest
from torch import nn

from dyc.benchmark.runtimes import EAGER, Contestant, RuntimeCase, time_runtimes, usable_runtimes
from dyc.export import export_onnx

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


def test_ratios_are_to_the_first_network_in_the_same_runtime(tmp_path):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    network.default_cfg = {"input_size": (3, 8, 8)}
    export_onnx(network, tmp_path / "a.onnx", input_size=(3, 8, 8))
    networks = [Contestant(name, EAGER, network) for name in ("static", "dynamic")]
    for name, form in (("static", "static"), ("static", "static int8"), ("dynamic", "features")):
        networks.append(Contestant(name, form, tmp_path / "a.onnx"))
    case = RuntimeCase(batch=2, size=8, threads=1, seconds=0.001)
    found = time_runtimes(case, networks, ["pytorch", "onnxruntime"])
    assert [(t.runtime, t.network, t.form) for t in found] == [
        ("pytorch", "static", "eager"),
        ("pytorch", "dynamic", "eager"),
        ("onnxruntime", "static", "static"),
        ("onnxruntime", "static", "static int8"),
        ("onnxruntime", "dynamic", "features"),
    ]
    assert [t.ratio for t in found if t.network == "static"] == [1, 1, 1]
    assert found[1].ratio == found[1].median_ms / found[0].median_ms
    assert found[4].ratio == found[4].median_ms / found[2].median_ms


def test_a_missing_runtime_is_named(monkeypatch, raises):
    monkeypatch.setattr("dyc.benchmark.runtimes.find_spec", lambda name: None)
    assert usable_runtimes(["pytorch", "openvino"]) == ["pytorch"]
    with raises("runtimes", "openvino is not installed; run: pip install openvino"):
        time_runtimes(RuntimeCase(1, 8, 1), [], ["openvino"])
    with raises("runtimes", "tensorrt", "pytorch"):
        usable_runtimes(["tensorrt"])
