"""``dyc predict`` with a program of ``torch.export``: prepared as the file says, with the network's probabilities."""

import json
import os
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dyc.export.programs import save_pt2
from lightning_modules.cli import main
from lightning_modules.data.preparation import Preparation
from lightning_modules.prediction.pipeline import softmax

FIELDS = {"input_size": [3, 8, 8], "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], "class_names": ["ant", "bee"]}


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Write a program with and one without a preparation, and images; return the network."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    save_pt2(made, "a.pt2", image=(3, 8, 8), preparation=FIELDS)
    save_pt2(made, "plain.pt2", image=(3, 8, 8))
    (tmp_path / "images").mkdir()
    random = np.random.default_rng(0)
    for k in range(3):
        Image.fromarray(random.integers(0, 256, (12, 9, 3), dtype=np.uint8)).save(f"images/{k}.png")
    return made


@pytest.mark.parametrize("model", [["a.pt2", "images"], ["--ckpt_path=a.pt2", "images"]])
def test_images_are_predicted(program, capsys, model):
    assert main(["predict", *model, "--format=jsonl", "--batch_size=2"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["image"] for row in rows] == [f"images/{k}.png" for k in range(3)]
    prepare = Preparation(**FIELDS)
    for row in rows:
        with torch.no_grad():
            logits = program(torch.from_numpy(prepare(Image.open(row["image"])))[None]).numpy()
        want = dict(zip(("ant", "bee"), softmax(logits)[0]))
        found = {each["class"]: each["probability"] for each in row["predictions"]}
        assert found == pytest.approx(want, abs=1e-4)


def test_a_compiled_program(program, monkeypatch, capsys):
    class Compiled:
        def get_metadata(self):
            return {"dyc.preparation": json.dumps(FIELDS)}

        def __call__(self, images):
            assert os.environ["AOTI_RUNTIME_CHECK_INPUTS"] == "1"
            return program(images)

    monkeypatch.setenv("AOTI_RUNTIME_CHECK_INPUTS", "0")  # so that it is as before afterwards
    monkeypatch.setattr(torch._inductor, "aoti_load_package", lambda path: Compiled())
    with zipfile.ZipFile("b.pt2", "w") as archive:
        archive.writestr("b/data/aotinductor/model/network.so", b"")
    said = []
    for name in ("a.pt2", "b.pt2"):
        assert main(["predict", name, "images", "--format=jsonl"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] != ""


def test_mistakes_are_one_line(program, capsys):
    assert main(["predict", "plain.pt2", "images"]) == 2
    assert "give --input_size, --mean, --std" in capsys.readouterr().err
    options = ["--input_size=3,8,8", "--mean=0,0,0", "--std=1,1,1"]
    assert main(["predict", "plain.pt2", "images", *options]) == 0
    capsys.readouterr()
    for argv, message in (
        (["predict", "no.pt2", "images"], "model: got 'no.pt2', which does not exist"),
        (["predict", "a.pt2", "images", "--device=cuda"], "--device: got cuda; need cpu"),
        (["predict", "a.pt2", "images", "--input_size=1,8,8", "--mean=0", "--std=1"], "which failed for a batch"),
    ):
        assert main(argv) == 2
        assert message in capsys.readouterr().err
    with open("bad.pt2", "w") as file:
        file.write("no program")
    assert main(["predict", "bad.pt2", "images"]) == 2
    assert "need a file of `dyc export --format pt2`" in capsys.readouterr().err
