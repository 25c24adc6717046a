"""A network that the user built: it trains, and its checkpoint takes it again."""

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

import dyc
from lightning_modules import ImageClassifier, ImageData
from ops import ArgumentError


class Plain(nn.Module):
    """A network without anything of timm's."""

    def __init__(self, classes=10):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.head = nn.Linear(4, classes)

    def forward(self, x):
        if x.mean().item() > 1e9:  # not to be run without data
            return None
        return self.head(self.second(self.first(x).relu()).mean((2, 3)))


def fit(classifier, **options):
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        max_epochs=1, limit_train_batches=1, limit_val_batches=1, logger=False, accelerator="cpu", **quiet
    )
    trainer.fit(classifier, ImageData("digits", batch_size=8, image_size=8, **options))
    return trainer


@pytest.mark.parametrize("options", [{}, {"num_classes": 10}, {"ema_decay": 0.9}, {"dynamic": "dyc"}])
def test_any_module_trains_and_is_loaded_again(tmp_path, options):
    net = Plain()
    classifier = ImageClassifier(net=net, **options)
    fit(classifier).save_checkpoint(tmp_path / "x.ckpt")
    assert (classifier.net, classifier.num_classes, classifier.in_chans) == (net, 10, 1)
    assert classifier.model_name == "Plain"
    assert len(list(dyc.iter_dynamic(net))) == ("dynamic" in options)
    again = ImageClassifier.load_from_checkpoint(tmp_path / "x.ckpt", net=Plain(), weights_only=True)
    x = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(x), classifier.eval()(x), rtol=0, atol=0)
    with pytest.raises(ArgumentError, match=r"net: the checkpoint has only the weights of a Plain; .*net=\.\.\."):
        ImageClassifier.load_from_checkpoint(tmp_path / "x.ckpt", weights_only=True)


def test_classes_that_the_network_says_it_has():
    net = Plain(7)
    net.num_classes = 7
    classifier = ImageClassifier(net=net)
    assert classifier.num_classes == 7
    with pytest.raises(ArgumentError, match=r"model\.num_classes: got 7; need 10"):
        fit(classifier)


def test_modes_of_its_parts_are_kept():
    net = Plain().train()
    net.second.eval()
    ImageClassifier(net=net).fit_to(type("Data", (), {"num_classes": 10, "in_chans": 1, "image_size": 8}))
    assert [module.training for module in net.modules()] == [True, True, False, True]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ImageClassifier(net=Plain(7)), r"net: got a Plain that returns outputs of shape \(2, 7\)"),
        (lambda: ImageClassifier(net=nn.Conv2d(3, 10, 1)), "net: got a Conv2d that fails .*; need one that takes"),
        (lambda: ImageClassifier(net=nn.LSTM(8, 8), num_classes=10), "net: got a LSTM that fails"),
        (lambda: ImageClassifier(net=Plain), "net: got <class .*Plain'>; need a torch.nn.Module"),
        (lambda: ImageClassifier(net=Plain(), pretrained=True), "pretrained: got True"),
        (lambda: ImageClassifier(net=Plain(), model_kwargs={"drop_rate": 0.1}), "model_kwargs: got"),
    ],
)
def test_network_that_cannot_be_used(build, message):
    with pytest.raises(ArgumentError, match=message):
        fit(build())


def test_classes_are_asked_for():
    with pytest.raises(ArgumentError, match=r"model\.num_classes: the data does not say"):
        ImageClassifier(net=Plain()).fit_to(None)
