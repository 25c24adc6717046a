"""The classes of image files, by an ONNX file: what is written, what is said, how it ends."""

import csv
import errno
import io
import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.full_disk import full_after
from support.onnx_file import PREPARATION, write_onnx
from support.processes import run

from lightning_modules.cli import main
from lightning_modules.disk import ADVICE
from lightning_modules.prediction.onnx_network import OnnxNetwork

ROOT = Path(__file__).parents[1]
GREYS = {"b.png": 0, "a.png": 255, "c/d.png": 128, "c/e.png": 200}


@pytest.fixture
def folder(tmp_path, write_image, monkeypatch):
    """A folder that the test is in, with a network and a folder ``images``."""
    write_onnx(tmp_path / "net.onnx")
    for name, grey in GREYS.items():
        write_image(tmp_path / "images" / name, grey)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def predict(capsys):
    def call(*argv: str) -> tuple[int, list[dict[str, str]], str]:
        """Return the exit status, the rows that were printed, and stderr."""
        status = main(["predict", *map(str, argv)])
        shown = capsys.readouterr()
        return status, list(csv.DictReader(io.StringIO(shown.out))), shown.err

    return call


def softmax(grey: int) -> np.ndarray:
    mean = (grey / 255 - 0.5) / 0.25
    shares = np.exp(np.array([-mean, 0, mean]))
    return shares / shares.sum()


def test_a_folder_in_csv(folder, predict):
    status, rows, said = predict("net.onnx", "images")
    assert status == 0
    assert [row["image"] for row in rows] == ["images/a.png", "images/b.png", "images/c/d.png", "images/c/e.png"]
    assert list(rows[0]) == ["image", *(f"{what}{k}" for k in (1, 2, 3) for what in ("class", "probability")), "error"]
    for row, grey in zip(rows, (255, 0, 128, 200)):
        expected = softmax(grey)
        order = np.argsort(-expected)
        assert [row[f"class{k}"] for k in (1, 2, 3)] == [PREPARATION["class_names"][k] for k in order]
        found = [float(row[f"probability{k}"]) for k in (1, 2, 3)]
        np.testing.assert_allclose(found, expected[order], atol=2e-6)
        assert row["error"] == ""
    assert said.startswith("4 images in ")
    assert said.endswith(" images/s\n")


def test_json_lines(folder, predict):
    (folder / "bad.png").write_bytes(b"no image")
    status, _, said = predict("net.onnx", "images/c", "bad.png", "--output", "out.jsonl", "--top", 1)
    assert status == 3
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    d, e = (round(float(softmax(grey).max()), 6) for grey in (128, 200))
    assert lines == [
        {"image": "images/c/d.png", "predictions": [{"rank": 1, "class": "light", "probability": pytest.approx(d)}]},
        {"image": "images/c/e.png", "predictions": [{"rank": 1, "class": "light", "probability": pytest.approx(e)}]},
        {"image": "bad.png", "error": "is not an image, or is damaged"},
    ]
    assert said.endswith("; 1 of them could not be read; predictions: out.jsonl\n")
    assert main(["predict", "net.onnx", "images", "--format=jsonl"]) == 0


LISTED = ["images/b.png", "images/none.png", "images/c", "images/b.png"]
FOUND = ["images/b.png", "images/none.png", "images/c/d.png", "images/c/e.png", "images/b.png"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\0"])
@pytest.mark.parametrize("place", ["list.txt", "-"])
def test_a_list_keeps_its_order(folder, predict, monkeypatch, place, end):
    content = end.join([*LISTED, ""]).encode()
    Path("list.txt").write_bytes(content)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    status, rows, said = predict("--ckpt_path", "net.onnx", place, "--batch_size", 2)
    assert status == 3
    assert [row["image"] for row in rows] == FOUND
    assert [row["error"] for row in rows] == ["", "No such file or directory", "", "", ""]
    assert [row["class1"] for row in rows] == ["dark", "", "light", "light", "dark"]
    assert said.startswith("not read: images/none.png: No such file or directory\n")


def test_many_images_keep_their_order_in_batches(folder, predict, write_image):
    for k in range(100):
        write_image(folder / "many" / f"{k:03}.png", 2 * k)
    (folder / "many" / "050a.png").touch()
    for options in (["--batch_size", 7, "--workers", 3], ["--batch_size", 1], ["--workers", 1, "--threads", 1]):
        status, rows, _ = predict("net.onnx", "many", "--top", 3, *options)
        assert status == 3
        assert rows.pop(51)["class1"] == ""
        expected = [softmax(2 * k).max() for k in range(100)]
        np.testing.assert_allclose([float(row["probability1"]) for row in rows], expected, atol=2e-6)


def test_a_fixed_batch_is_filled_up(folder, predict):
    write_onnx(folder / "three.onnx", size=(3, 3, 8, 8))
    options = ["images", "--top", 3]
    assert predict("three.onnx", *options)[:2] == predict("net.onnx", *options)[:2]
    status, _, said = predict("three.onnx", *options, "--batch_size", 2)
    assert (status, said) == (
        2,
        "dyc predict: error: --batch_size: got 2; need 3, for which 'three.onnx' was made\n",
    )


def test_a_file_without_the_property_takes_options(folder, predict):
    write_onnx(folder / "plain.onnx", None, ("batch", 3, "height", "width"))
    given = ["--input_size=3,8,8", "--mean=0.5,0.5,0.5", "--std", "0.25,0.25,0.25"]
    Path("names.txt").write_text("dark\nmiddle\nlight\n")
    expected = predict("net.onnx", "images")[1]
    assert predict("plain.onnx", "images", *given, "--class_names=names.txt")[1] == expected
    numbered = predict("plain.onnx", "images", *given)[1]
    assert [row["class1"] for row in numbered] == ["2", "0", "2", "2"]
    status, _, said = predict("plain.onnx", "images", *given[1:])
    assert status == 2
    assert "preparation: 'plain.onnx' does not say how its images were prepared; give --input_size\n" in said
    write_onnx(folder / "sized.onnx", None)
    assert "; give --mean, --std\n" in predict("sized.onnx", "images")[2]


def test_options_replace_what_the_file_says(folder, predict):
    rows = predict("net.onnx", "images/b.png", "--mean=0,0,0", "--crop_pct=0.5", "--interpolation=bicubic")[1]
    assert rows[0]["probability1"] == "0.333333"


MISTAKES = [
    (["net.onnx"], "images: got none; need MODEL and IMAGES: folders, image files, lists"),
    (["last.ckpt"], "images: got none; need MODEL and IMAGES: folders, image files, lists"),
    (["net.onnx", "empty"], "images: got 'empty' without images (1 left out, not images by their extension: 1 .md)"),
    (["net.onnx", "none.txt"], "images: got the list 'none.txt' (No such file or directory); need a text file"),
    (["net.onnx", "empty.txt"], "images: got an empty list ('empty.txt'); need a path in each line"),
    (["none.onnx", "images"], "model: got 'none.onnx', which does not exist; need an ONNX file"),
    (["bad.onnx", "images"], "model: got 'bad.onnx' ("),
    (["property.onnx", "images"], "model: got 'property.onnx' whose property dyc.preparation cannot be read ("),
    (["value.onnx", "images"], "preparation: 'value.onnx': std: got [1, 1, -1]; need 3 positive numbers"),
    (["names.onnx", "images"], "class_names: got 2 names; need 3, the outputs of 'names.onnx'"),
    (
        ["pixels.onnx", "images"],
        "--output: got 'new.csv'; need a folder for the masks, with shares.csv or, by --format",
    ),
    (["pixels.onnx", "images", "--top=3"], "--top: has no meaning for a network that classifies every pixel"),
    (
        ["pixels.onnx", "images", "--crop_pct=0.9"],
        "--crop_pct: has no meaning for a network that classifies every pixel",
    ),
    (["pixels.onnx", "images", "--output=no/masks"], "--output: got 'no/masks', whose folder does not exist; need a"),
    (
        ["maps.onnx", "images", "--output=masks"],
        "model: got outputs of shape (4, 1, 8, 8) for 4 images; need logits of",
    ),
    (["flat.onnx", "images"], "model: got 'flat.onnx' with the inputs images tensor(float)"),
    (["net.onnx", "images", "--input_size=3,9,9"], "--input_size: got [3, 9, 9]; need [3, 8, 8], the size that"),
    (["net.onnx", "images", "--input_size=3x9"], "--input_size: got '3x9'; need whole numbers with commas"),
    (["net.onnx", "images", "--tpo=3"], "--tpo: there is no such option (did you mean '--top'?)"),
    (["net.onnx", "images", "--output=x.tsv"], "--output: got 'x.tsv'; need a name that ends with .csv or .jsonl"),
    (["net.onnx", "images", "--output=net.onnx"], "--output: got 'net.onnx'; need a file that does not exist yet"),
    (["net.onnx", "images", "--device=cuda"], "--device: got cuda, but onnxruntime has only "),
    (["net.onnx", "images", "--data.batch_size=3"], "--data.batch_size: there is no such option"),
]


@pytest.mark.parametrize(("argv", "message"), MISTAKES, ids=[" ".join(argv) for argv, _ in MISTAKES])
def test_mistakes_are_one_line(folder, predict, argv, message):
    (folder / "empty").mkdir()
    (folder / "empty" / "x.md").touch()
    (folder / "empty.txt").write_text("\n\n")
    (folder / "bad.onnx").write_bytes(b"no network")
    write_onnx(folder / "property.onnx", "{")
    write_onnx(folder / "value.onnx", {**PREPARATION, "std": [1, 1, -1]})
    write_onnx(folder / "names.onnx", {**PREPARATION, "class_names": ["a", "b"]})
    write_onnx(folder / "pixels.onnx", pooled=False)
    write_onnx(folder / "maps.onnx", pooled=False, outputs=1)
    write_onnx(folder / "flat.onnx", size=("batch", 3, 8))
    before = sorted(folder.iterdir())
    status, rows, said = predict(*argv, *([] if "--output" in str(argv) else ["--output=new.csv"]))
    assert (status, rows) == (2, [])
    assert said.startswith(f"dyc predict: error: {message}")
    assert said.count("\n") == 1
    assert sorted(folder.iterdir()) == before


def test_onnxruntime_is_named_where_it_is_missing(folder, predict, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    said = predict("net.onnx", "images")[2]
    assert "onnxruntime, which runs ONNX files, is not installed: pip install onnxruntime" in said


def test_what_is_not_finite_has_no_class(folder, predict):
    write_onnx(folder / "nan.onnx", scale=float("nan"))
    status, rows, said = predict("nan.onnx", "images/a.png", "images/b.png")
    assert status == 3
    assert [(row["class1"], row["error"]) for row in rows] == [("", "probabilities are not finite")] * 2
    assert "; 2 of them have no class, as probabilities are not finite\n" in said


@pytest.mark.parametrize(
    ("number", "ends"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)], ids=["SIGTERM", "SIGINT"]
)
def test_a_signal_keeps_what_was_written(folder, monkeypatch, capsys, number, ends):
    original, done, handler = OnnxNetwork.__call__, [], signal.getsignal(signal.SIGTERM)

    def signalled(network, images):
        done.append(len(images))
        if len(done) == 2:
            signal.raise_signal(number)
        return original(network, images)

    monkeypatch.setattr(OnnxNetwork, "__call__", signalled)
    with pytest.raises(ends) as stop:
        main(["predict", "net.onnx", "images", "images", "images", "--batch_size=3", "--output=out.csv"])
    assert number != signal.SIGTERM or stop.value.code == 143
    assert done == [3, 3]
    assert len(Path("out.csv").read_text().splitlines()) == 1 + 3
    assert capsys.readouterr().err == "stopped; 3 of 12 images are written\n"
    assert signal.getsignal(signal.SIGTERM) == handler


@pytest.mark.parametrize("size", [0, 250])
def test_a_full_disk_is_one_line_that_names_the_file(folder, predict, size):
    with full_after(size):
        status, _, said = predict("net.onnx", "images", "--batch_size=2", "--output=out.csv")
    assert status == 2
    done = "stopped; 2 of 4 images are written\n" if size else ""
    assert said == f"{done}dyc predict: error: File too large for 'out.csv'; {ADVICE[errno.EFBIG]}\n"
    assert Path("out.csv").exists() == bool(size)  # without a row it is in the way of no second try


def test_names_of_files_that_are_not_utf8(folder, predict, write_image):
    name = os.fsdecode(b"images/\xff.png")
    os.rename("images/a.png", name)
    assert predict("net.onnx", "images", "--output", "out.csv")[0] == 0
    assert b"\nimages/\xff.png,light," in Path("out.csv").read_bytes()
    assert predict("net.onnx", "images", "--output", "out.jsonl")[0] == 0
    assert name in [json.loads(line)["image"] for line in Path("out.jsonl").read_text("utf-8").splitlines()]


ALONE = """
import sys
from lightning_modules.command import main
ALLOWED = {"numpy", "PIL", "onnxruntime", "lightning_modules", "ops", "dyc", "google"}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if path is None and top not in ALLOWED and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
status = main()
print(sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "timm", "lightning", "yaml", "rich"}))
sys.exit(status)
"""


def test_an_onnx_file_needs_numpy_pillow_and_onnxruntime_alone(folder):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = run([sys.executable, "-c", ALONE, "predict", "net.onnx", "images", "--top=1"], env=env)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "[]"), done.stderr
    assert "images/a.png,light,0.866" in done.stdout
    write_onnx(folder / "pixels.onnx", {**PREPARATION, "palette": [[0, 0, 0]] * 3}, pooled=False)
    done = run([sys.executable, "-c", ALONE, "predict", "pixels.onnx", "images"], env=env)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "[]"), done.stderr
    assert "images/a.png,a.png,0.000000,0.000000,1.000000," in Path("masks/shares.csv").read_text()
    done = run([sys.executable, "-c", ALONE, "predict", "last.ckpt", "images"], env=env)
    assert done.returncode == 2
    assert done.stderr.startswith("dyc predict: error: torch is not installed")
    assert done.stderr.count("\n") == 1
