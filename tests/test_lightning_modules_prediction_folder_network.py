"""``dyc predict`` with a folder of weights: prepared as its configuration says, with the network's probabilities."""

import json

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import dyc
from dyc.export.weights import save_weights
from lightning_modules.cli import main
from lightning_modules.data.preparation import Preparation
from lightning_modules.prediction.pipeline import softmax

FIELDS = {"input_size": [3, 32, 32], "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], "crop_pct": 1.0}


@pytest.mark.parametrize("prefix", ["", "local-dir:"])
def test_images_are_predicted(tmp_path, monkeypatch, capsys, prefix):
    monkeypatch.chdir(tmp_path)
    network = dyc.make_dynamic(timm.create_model("test_resnet", num_classes=2), "dyc", where="blocks").eval()
    save_weights(network, "saved", preparation={**FIELDS, "interpolation": "bilinear", "class_names": ["ant", "bee"]})
    (tmp_path / "images").mkdir()
    random = np.random.default_rng(0)
    for k in range(3):
        Image.fromarray(random.integers(0, 256, (40, 36, 3), dtype=np.uint8)).save(f"images/{k}.png")
    assert main(["predict", f"{prefix}saved", "images", "--format=jsonl", "--batch_size=2", "--device=cpu"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    prepare = Preparation(**FIELDS)
    assert len(rows) == 3
    for row in rows:
        with torch.no_grad():
            logits = network(torch.from_numpy(prepare(Image.open(row["image"])))[None]).numpy()
        want = dict(zip(("ant", "bee"), softmax(logits)[0]))
        found = {each["class"]: each["probability"] for each in row["predictions"]}
        assert found == pytest.approx(want, abs=1e-4)


def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    Image.new("RGB", (9, 9)).save("images/a.png")
    assert main(["predict", "images", "images"]) == 2
    assert "model: got 'images', which has no model.safetensors; need a folder of weights" in capsys.readouterr().err
    (tmp_path / "images/model.safetensors").write_bytes(b"nothing")
    (tmp_path / "images/config.json").write_text('{"architecture": "test_resnet"}')
    assert main(["predict", "images", "images"]) == 2
    assert "need a folder of weights with config.json" in capsys.readouterr().err
