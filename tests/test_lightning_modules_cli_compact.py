"""``dyc compact``: a checkpoint without its closed channels, compared and written."""

import re

import pytest
import timm
import torch
from support import selective_training

import dyc
from dyc.benchmark.selective import silence
from lightning_modules import ImageClassifier
from lightning_modules.cli import main

FIT = ["fit", "--data.batch_size=32", "--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--wandb=disabled"]
FIT += ["--trainer.limit_val_batches=1", "--trainer.limit_test_batches=1", "--trainer.enable_progress_bar=false"]
FIT += ["--data.image_size=32", "--trainer.accelerator=cpu"]
NETWORK = selective_training.tiny_selective.__name__


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The checkpoint of a selective network a third of whose channels are closed, and its folder."""
    folder = tmp_path_factory.mktemp("compact")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*FIT, f"--model.model={NETWORK}", "--name=narrow"]) == 0
        assert main([*FIT, "--model.model=test_resnet", "--name=plain"]) == 0
    path = folder / "runs/narrow/version_0/checkpoints/last.ckpt"
    classifier = ImageClassifier.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    silence(classifier.net, 0.34)
    dyc.rewire(classifier.net, gamma=0.0, num_sources=0)
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"] = classifier.state_dict()
    torch.save(checkpoint, path)
    return folder, classifier.net.eval()


def test_compact_network_is_compared_and_written(trained, monkeypatch, capsys):
    folder, network = trained
    monkeypatch.chdir(folder)
    argv = ["compact", "--name", "narrow", "--batch", "1", "--seconds", "0.01", "--output", "narrow.pt2"]
    assert main(argv) == 0
    out = capsys.readouterr().out
    rows = re.findall(rf"^(?:{NETWORK}|compact) +([\d,]+) ", out, re.M)
    sizes = [int(number.replace(",", "")) for number in rows]
    assert sizes[0] == sum(p.numel() for p in network.parameters())
    assert sizes[1] < 0.75 * sizes[0]
    closed = sum(int((~layer.mask).sum()) for _, layer in dyc.iter_selective(network))
    assert f"{closed:,} of" in out
    assert float(re.search(r"differ by (\S+) of", out)[1]) < 1e-5
    loaded = torch.export.load("narrow.pt2").module()
    x = torch.randn(5, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), network(x), rtol=1e-4, atol=1e-5)
    assert main(argv) == 2
    assert "--output: got 'narrow.pt2'; need a file that does not exist yet" in capsys.readouterr().err


def test_compact_network_as_a_folder_of_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shallow = {"layers": [1, 1, 1], "in_chans": 1}
    classifier = ImageClassifier("select_densenet40", model_kwargs=shallow, num_classes=10)
    silence(classifier.net, 0.34)
    dyc.rewire(classifier.net, gamma=0.0, num_sources=0)
    checkpoint = {
        "state_dict": classifier.state_dict(),
        "hyper_parameters": dict(classifier.hparams),
        "datamodule_hyper_parameters": {"dataset": "digits", "image_size": 32, "mean": [0.3054], "std": [0.376]},
        "pytorch-lightning_version": "2.6.0",
    }
    torch.save(checkpoint, "last.ckpt")
    argv = ["compact", "--ckpt_path", "last.ckpt", "--batch", "1", "--seconds", "0.01", "--output", "narrow"]
    assert main(argv) == 0
    assert 'timm.create_model("local-dir:narrow", pretrained=True)' in capsys.readouterr().out
    loaded = timm.create_model("local-dir:narrow", pretrained=True).eval()
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), classifier.net.eval()(x), rtol=1e-4, atol=1e-5)
    assert list(loaded.pretrained_cfg["mean"]) == [0.3054]
    assert "digits" in (tmp_path / "narrow/README.md").read_text()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--name", "plain"], "model: got a network without selective layers"),
        (["--name", "narrow", "--output", "x.onnx"], "need a file name that ends with .pt2, or a folder of weights"),
        (["--name", "narrow", "--keep_below", "2"], "need a share in [0, 1)"),
        (["--name", "nothing"], "ckpt_path: got 'last', but runs/nothing has none"),
    ],
)
def test_wrong_arguments(trained, monkeypatch, capsys, argv, message):
    monkeypatch.chdir(trained[0])
    assert main(["compact", *argv]) == 2
    assert message in capsys.readouterr().err
