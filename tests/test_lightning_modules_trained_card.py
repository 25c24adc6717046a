"""The model card of a checkpoint: what its run knows."""

import torch
from huggingface_hub import metadata_load

from dyc.export.weights import save_weights
from lightning_modules import ImageClassifier
from lightning_modules.trained_card import card_of

DATA = {"dataset": "torch/cifar10", "batch_size": 128, "image_size": 32, "hflip": 0.5, "auto_augment": None}


def trained(folder, **data):
    """Write a checkpoint and the results of its run; return its path and what is in it."""
    classifier = ImageClassifier("test_efficientnet", num_classes=10, dynamic="dyc", ema_decay=0.9)
    with torch.no_grad():
        classifier.ema.module.classifier.bias.fill_(3.0)
    path = folder / "version_0/checkpoints/last.ckpt"
    path.parent.mkdir(parents=True)
    checkpoint = {
        "state_dict": classifier.state_dict(),
        "hyper_parameters": dict(classifier.hparams),
        "datamodule_hyper_parameters": {**DATA, **data},
        "pytorch-lightning_version": "2.6.0",
    }
    torch.save(checkpoint, path)
    rows = "network,test/loss,test/top1\nlast epoch,0.5,0.75\nbest on validation,0.4,0.8\n"
    (path.parents[1] / "test.csv").write_text(rows)
    return path, checkpoint


def test_data_recipe_and_results(tmp_path):
    card = card_of(*trained(tmp_path), license="mit", description=None)
    assert card.title == "test_efficientnet (dyc, depthwise) on cifar10"
    assert (card.dataset, card.license, card.metrics) == ("cifar10", "mit", {"test/loss": 0.5, "test/top1": 0.75})
    assert (card.recipe["ema_decay"], card.recipe["batch_size"]) == (0.9, 128)
    assert "auto_augment" not in card.recipe
    assert any(name.startswith("optimizer.") for name in card.recipe)


def test_a_folder_of_images_is_named_without_its_path(tmp_path):
    path, checkpoint = trained(tmp_path, dataset="folder", root=str(tmp_path / "private/flowers"))
    card = card_of(path.with_name("best.ckpt"), checkpoint)
    assert (card.dataset, card.metrics["test/top1"]) == ("flowers", 0.8)
    assert "private" not in str(card)
    assert card_of(tmp_path / "elsewhere.ckpt", checkpoint).metrics == {}


def test_data_of_the_hub(tmp_path):
    path, checkpoint = trained(tmp_path, dataset="hfds/uoft-cs/cifar10")
    network = ImageClassifier.load_from_checkpoint(path).evaluated
    save_weights(network, tmp_path / "saved", card=card_of(path, checkpoint))
    assert metadata_load(tmp_path / "saved/README.md")["datasets"] == ["uoft-cs/cifar10"]


def test_the_moving_average_is_what_is_saved(tmp_path):
    path, _ = trained(tmp_path)
    save_weights(ImageClassifier.load_from_checkpoint(path).evaluated, tmp_path / "saved")
    again = ImageClassifier(f"local-dir:{tmp_path / 'saved'}", num_classes=10, pretrained=True).net
    assert again.classifier.bias.eq(3.0).all()
