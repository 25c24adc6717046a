"""Any network made dynamic or selective by settings: built, kept in checkpoints, and refused by name."""

import pytest
import timm
import torch
from lightning.pytorch import Trainer
from torch import nn

import dyc
from lightning_modules import DynamicSettings, ImageClassifier, ImageData, SelectiveSettings
from ops import ArgumentError

EFFICIENT = {"num_classes": 10, "model_kwargs": {"in_chans": 1}}
NOTHING = {"dynamic": None, "selective": None}


def trained(classifier, path):
    """Train for one step, and write a checkpoint."""
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        max_epochs=1, limit_train_batches=1, limit_val_batches=0, logger=False, accelerator="cpu", **quiet
    )
    trainer.fit(classifier, ImageData("digits", batch_size=8, image_size=32))
    trainer.save_checkpoint(path)
    return classifier.eval()


def same_outputs(first, second):
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(first(x), second.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"dynamic": "dy"}, DynamicSettings("dy")),
        ({"dynamic": {"attention": "dy", "num_kernels": 2}}, DynamicSettings("dy", num_kernels=2)),
        ({"dynamic": DynamicSettings("odconv", "blocks", attention_kwargs={"zero_init": True})}, None),
        ({"selective": True}, SelectiveSettings()),
        ({"dynamic": {"where": "layer2.*conv1"}, "selective": SelectiveSettings(reallocate=False)}, None),
    ],
)
def test_checkpoint_rebuilds_the_network(tmp_path, options, expected):
    name = "test_resnet" if "selective" in options else "test_efficientnet"
    classifier = trained(ImageClassifier(name, **EFFICIENT, **options), tmp_path / "x.ckpt")
    assert bool(list(dyc.iter_dynamic(classifier.net))) == ("dynamic" in options)
    assert bool(list(dyc.iter_selective(classifier.net))) == ("selective" in options)
    again = ImageClassifier.load_from_checkpoint(tmp_path / "x.ckpt", weights_only=True)
    assert again.source.conversions == classifier.source.conversions
    if expected is not None:
        assert expected in again.source.conversions.values()
    same_outputs(classifier, again)


def test_copies_keep_what_the_static_network_computes():
    torch.manual_seed(0)
    static = ImageClassifier("test_efficientnet", **EFFICIENT).eval()
    torch.manual_seed(0)
    same = ImageClassifier("test_efficientnet", **EFFICIENT, dynamic="dyc").eval()
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(same(x), static(x), rtol=1e-4, atol=1e-5)


def test_checkpoint_from_before_there_were_settings(tmp_path):
    classifier = trained(ImageClassifier("test_resnet", **EFFICIENT), tmp_path / "x.ckpt")
    checkpoint = torch.load(tmp_path / "x.ckpt", weights_only=True)
    for name in ("dynamic", "selective", "net"):
        del checkpoint["hyper_parameters"][name]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    same_outputs(classifier, ImageClassifier.load_from_checkpoint(tmp_path / "old.ckpt", weights_only=True))


def test_pretrained_weights_are_not_loaded_before_those_of_a_checkpoint(tmp_path, monkeypatch):
    trained(ImageClassifier("test_resnet", **EFFICIENT), tmp_path / "x.ckpt")
    checkpoint = torch.load(tmp_path / "x.ckpt", weights_only=True)
    checkpoint["hyper_parameters"]["pretrained"] = True
    torch.save(checkpoint, tmp_path / "x.ckpt")
    create, asked = timm.create_model, []
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: asked.append(k["pretrained"]) or create(*a, **k))
    ImageClassifier.load_from_checkpoint(tmp_path / "x.ckpt", weights_only=True)
    assert asked == [False]


def test_network_changed_by_hand_is_explained_and_can_be_loaded(tmp_path):
    classifier = ImageClassifier("test_efficientnet", **EFFICIENT)
    dyc.make_dynamic(classifier.net, "dyc")
    trained(classifier, tmp_path / "x.ckpt")
    message = r"layers of the checkpoint are dynamic that are static in 'test_efficientnet'.*dynamic=\.\.\."
    with pytest.raises(ArgumentError, match=message):
        ImageClassifier.load_from_checkpoint(tmp_path / "x.ckpt", weights_only=True)
    net = dyc.make_dynamic(timm.create_model("test_efficientnet", num_classes=10, in_chans=1), "dyc")
    same_outputs(classifier, ImageClassifier.load_from_checkpoint(tmp_path / "x.ckpt", net=net, weights_only=True))


def test_selective_by_hand_is_explained(tmp_path):
    classifier = ImageClassifier("test_resnet", **EFFICIENT)
    dyc.make_selective(classifier.net)
    trained(classifier, tmp_path / "x.ckpt")
    with pytest.raises(ArgumentError, match="layers of the checkpoint are selective that are static"):
        ImageClassifier.load_from_checkpoint(tmp_path / "x.ckpt", weights_only=True)


def test_names_for_logs():
    classifier = ImageClassifier("test_efficientnet", dynamic=DynamicSettings("dy", "blocks"), selective=True)
    assert classifier.source.tags == ["test_efficientnet", "dynamic-dy", "selective"]
    assert classifier.source.title == "test_efficientnet (dy, blocks) (selective)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dynamic": "dcy"}, r"model\.dynamic\.attention: got 'dcy' \(did you mean 'dy' or 'dyc'"),
        ({"dynamic": 3}, r"model\.dynamic: got 3; need the name of an attention"),
        ({"dynamic": {"wher": "blocks"}}, r"model\.dynamic: got 'wher' \(did you mean 'where'"),
        ({"dynamic": {"where": "depthwize"}}, r"model\.dynamic\.where: got 'depthwize' \(did you mean 'depthwise'"),
        ({"dynamic": {"where": "^nothing$"}}, r"model\.dynamic\.where: got '\^nothing\$', which matches none"),
        ({"dynamic": {"num_kernels": 0}}, r"model\.dynamic\.num_kernels: got 0"),
        ({"dynamic": {"temperature": 0}}, r"model\.dynamic\.temperature: got 0"),
        ({"dynamic": {"init": "copi"}}, r"model\.dynamic\.init: got 'copi' \(did you mean 'copy'"),
        ({"dynamic": "condconv"}, r"model\.dynamic\.init: got 'copy' for attention 'condconv'"),
        ({"dynamic": "odconv"}, r"on the command line --model\.dynamic\.attention_kwargs\.zero_init true$"),
        ({"dynamic": True}, r"model\.dynamic: got True; need .*, settings by name .*, or null \(None in Python\)"),
        ({"dynamic": {"backend": "eagr"}}, r"model\.dynamic\.backend: got 'eagr'"),
        ({"dynamic": {"attention_kwargs": {"red": 2}}}, r"model\.dynamic\.attention_kwargs: got"),
        ({"dynamic": {"where": lambda name, conv: True}}, r"model\.dynamic\.where: got <function"),
        ({"selective": "yes"}, r"model\.selective: got 'yes'; need True"),
        ({"selective": {"where": "^nothing$"}}, r"model\.selective\.where: got '\^nothing\$'"),
        ({"selective": {"drop_rate": 2}}, r"model\.selective\.drop_rate: got 2"),
        ({"selective": {"reallocate": 2}}, r"model\.selective\.reallocate: got 2"),
    ],
)
def test_wrong_settings_are_named(options, message):
    with pytest.raises(ArgumentError, match=message):
        ImageClassifier("test_efficientnet", **EFFICIENT, **options)


@pytest.mark.parametrize("off", [None, False])
def test_off_has_two_words(off):
    assert ImageClassifier("test_resnet", dynamic=off, selective=off).source.conversions == NOTHING


def test_warnings_name_the_group(recwarn):
    ImageClassifier("test_resnet", **EFFICIENT, selective=True)
    messages = [str(each.message) for each in recwarn if "left as they are" in str(each.message)]
    assert [message.partition(": ")[0] for message in messages] == ["model.selective.where"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({}, r"model\.dynamic: got None; need {.*, as in the checkpoint"),
        ({"dynamic": "dy"}, r"model\.dynamic\.attention: got dy; need dyc, as in the checkpoint"),
    ],
)
def test_resume_with_other_settings(tmp_path, other, message):
    trained(ImageClassifier("test_efficientnet", **EFFICIENT, dynamic="dyc"), tmp_path / "x.ckpt")
    resumed = ImageClassifier("test_efficientnet", **EFFICIENT, **other)
    with pytest.raises(ArgumentError, match=message):
        Trainer(max_epochs=2, logger=False, accelerator="cpu", enable_checkpointing=False).fit(
            resumed, ImageData("digits", batch_size=8, image_size=32), ckpt_path=tmp_path / "x.ckpt"
        )


def test_positional_module_is_told_where_it_belongs():
    with pytest.raises(ArgumentError, match=r"model\.model: got a Sequential; .*the argument net"):
        ImageClassifier(nn.Sequential())
