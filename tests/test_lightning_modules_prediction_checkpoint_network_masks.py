"""A checkpoint, or a folder of its weights, segments image files as it segments a data set's."""

import json
from pathlib import Path

import numpy as np
import timm
import torch
from huggingface_hub import metadata_load
from PIL import Image
from support.masked_folder import NAMES, PALETTE

from lightning_modules import SemanticSegmenter
from lightning_modules.cli import main
from lightning_modules.runs import read_checkpoint


def masks(folder: Path) -> dict[str, Image.Image]:
    return {path.name: Image.open(path) for path in sorted(folder.glob("*.png"))}


def assert_same(found: dict[str, Image.Image], want: dict[str, Image.Image]) -> None:
    assert found.keys() == want.keys() == {"0.png", "1.png"}
    for name, mask in want.items():
        assert (np.asarray(found[name]) == np.asarray(mask)).mean() > 0.999  # in another memory format, logits differ
        assert found[name].getpalette() == mask.getpalette()


def test_files_are_segmented_as_those_of_the_data(segmentation_checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    assert main(["predict", f"--ckpt_path={segmentation_checkpoint}", *options]) == 0
    want = masks(Path("runs/run/version_0/predictions"))
    images = segmentation_checkpoint.parent / "test/images"
    assert main(["predict", str(segmentation_checkpoint), str(images), "--device=cpu"]) == 0
    assert_same(masks(Path("masks")), want)
    assert len({int(k) for mask in want.values() for k in np.unique(np.asarray(mask))}) > 1
    head = Path("masks/shares.csv").read_text().splitlines()[0]
    assert head == ",".join(["image", "mask", *(f"share/{name}" for name in NAMES), "error"])


def test_a_folder_of_weights(segmentation_checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(segmentation_checkpoint), "--format=weights", "--output=saved", "--license=mit"]) == 0
    assert "outputs differ by 0.0e+00 of the largest" in capsys.readouterr().out
    assert sorted(path.name for path in Path("saved").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    config = json.loads(Path("saved/config.json").read_text())
    assert config["architecture"] == "dyc_segmentation"
    assert (config["num_classes"], config["label_names"]) == (4, NAMES)
    built = {name: config["model_args"][name] for name in ("backbone", "head", "output_stride", "auxiliary")}
    assert built == {"backbone": "test_resnet", "head": "fcn", "output_stride": 16, "auxiliary": True}
    assert config["model_args"]["preparation"] == {"palette": PALETTE}
    assert config["pretrained_cfg"]["input_size"] == [3, 48, 64]
    assert (config["pretrained_cfg"]["crop_pct"], config["pretrained_cfg"]["crop_mode"]) == (1.0, "squash")
    card = metadata_load("saved/README.md")
    assert (card["pipeline_tag"], card["license"]) == ("image-segmentation", "mit")
    loaded = timm.create_model("local-dir:saved", pretrained=True).eval()
    segmenter = SemanticSegmenter.load_from_checkpoint(segmentation_checkpoint, map_location="cpu").eval()
    x = torch.randn(2, 3, 40, 56)
    weights = segmenter.evaluated.state_dict()  # of the moving average
    assert loaded.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in loaded.state_dict().items())
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), segmenter(x))  # whose images are in channels_last
    images = str(segmentation_checkpoint.parent / "test/images")
    for model, output in ((str(segmentation_checkpoint), "one"), ("local-dir:saved", "other")):
        assert main(["predict", model, images, f"--output={output}", "--device=cpu"]) == 0
    assert_same(masks(Path("other")), masks(Path("one")))
    names = [Path(f"{output}/shares.csv").read_text().splitlines()[0] for output in ("one", "other")]
    assert names[0] == names[1]
    assert main(["export", "local-dir:saved", "--format=weights", "--output=again"]) == 0
    assert json.loads(Path("again/config.json").read_text()) == config


def test_images_of_several_sizes_are_taken_as_they_are(segmentation_checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint = read_checkpoint(segmentation_checkpoint)
    checkpoint["datamodule_hyper_parameters"] |= {"image_size": None, "crop_size": [32, 32]}
    torch.save(checkpoint, "x.ckpt")
    image = Image.open(segmentation_checkpoint.parent / "test/images/0.png").resize((50, 34))
    image.save("x.png")
    assert main(["predict", "x.ckpt", "x.png", "--device=cpu"]) == 0
    assert main(["export", "x.ckpt", "--format=weights", "--output=saved"]) == 0
    assert json.loads(Path("saved/config.json").read_text())["model_args"]["preparation"]["resize"] is False
    assert main(["predict", "saved", "x.png", "--device=cpu", "--output=other"]) == 0
    segmenter = SemanticSegmenter.load_from_checkpoint(segmentation_checkpoint, map_location="cpu").eval()
    mean, std = (np.array(checkpoint["datamodule_hyper_parameters"][name], np.float32) for name in ("mean", "std"))
    pixels = (np.asarray(image, np.float32) / 255 - mean) / std
    with torch.no_grad():
        want = segmenter(torch.from_numpy(pixels.transpose(2, 0, 1))[None]).argmax(1)[0].numpy()
    for folder in ("masks", "other"):
        found = np.asarray(Image.open(f"{folder}/x.png"))
        assert found.shape == (34, 50)
        assert (found == want).mean() > 0.999
