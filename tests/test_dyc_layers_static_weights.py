"""Weights of static networks, loaded into dynamic ones by every way that timm and torch have."""

import copy

import pytest
import timm
import torch
from timm.models import load_checkpoint
from torch import nn

import dyc
import ops
from dyc.selective.checkpoints import checkpoint_filter_fn

STATIC = {  # a dynamic network and its static form
    "dyc_mobilenetv2_035": "mobilenetv2_035",
    "dy_mobilenetv2_cifar": "mobilenetv2_cifar",
    "dyc_mobilenetv3_small": "mobilenetv3_small_100",
    "dyc_resnet10": "resnet18",
    "dyc_fix_mobile_100": "fix_mobile_100",
    "eam_mobilenetv3_small": "mobilenetv3_small_100",
}
OPTIONS = {"dyc_resnet10": {"layers": (1, 1, 1, 1)}}  # of the static form
SCALED = [{"attention": kind, "attention_kwargs": {"zero_init": True}} for kind in ("condconv", "odconv")]


def lively(model: nn.Module) -> nn.Module:
    """Give the norms of a fresh network statistics, so that every weight counts."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return model.eval()


@pytest.fixture
def saved(tmp_path):
    def save(model: nn.Module) -> str:
        torch.save(model.state_dict(), tmp_path / "weights.pth")
        return str(tmp_path / "weights.pth")

    return save


def check_equal(model: nn.Module, static: nn.Module, x: torch.Tensor) -> None:
    with torch.no_grad():
        want = static(x)
        assert (model.eval()(x) - want).abs().max() <= 1e-5 * want.abs().max()
        for _, layer in dyc.iter_dynamic(model):  # the layers are in use
            layer.weight.zero_()
        assert (model(x) - want).abs().max() > 1e-3 * want.abs().max()


@pytest.mark.parametrize("name", STATIC)
def test_outputs_are_those_of_the_static_network(name, images, saved):
    static = lively(timm.create_model(STATIC[name], **OPTIONS.get(name, {})))
    # The first has 100 classes of its own, and timm reads what the file has from the description.
    of = {"num_classes": static.num_classes}
    overlay = {"file": saved(static), **of}
    model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **of)
    check_equal(model, static, images(name))


@pytest.fixture(scope="module")
def small():
    return lively(timm.create_model("mobilenetv2_035"))


WAYS = {
    "checkpoint_path": lambda path, name: timm.create_model(name, checkpoint_path=path),
    "load_checkpoint": lambda path, name: loaded(load_checkpoint, path, name),
    "filter_fn": lambda path, name: loaded(load_checkpoint, path, name, filter_fn=checkpoint_filter_fn),
    "load_state_dict": lambda path, name: loaded(lambda model, p: model.load_state_dict(torch.load(p)), path, name),
    "assign": lambda path, name: loaded(lambda model, p: model.load_state_dict(torch.load(p), assign=True), path, name),
}


def loaded(load, path: str, name: str, **kwargs) -> nn.Module:
    model = timm.create_model(name)
    load(model, path, **kwargs)
    return model


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_loading(way, small, saved, images):
    check_equal(WAYS[way](saved(small), "dyc_mobilenetv2_035"), small, images("mobilenetv2_035"))


@pytest.mark.parametrize("options", SCALED, ids=lambda options: options["attention"])
def test_weights_that_do_not_sum_to_one_scale_the_copies(options, small, saved, images):
    model = timm.create_model("dy_mobilenetv2_035", checkpoint_path=saved(small), **options)
    check_equal(model, small, images("mobilenetv2_035"))


def test_biases_are_copied_and_scaled():
    conv = nn.Conv2d(6, 8, 3)
    layer = dyc.DynamicConv2d(6, 8, 3, attention="odconv", attention_kwargs={"zero_init": True})
    layer.load_state_dict(conv.state_dict())
    x = torch.randn(2, 6, 5, 5)
    torch.testing.assert_close(layer(x), conv(x))


@pytest.mark.parametrize(
    ("options", "need"),
    [
        ({"attention": "condconv"}, r"an attention that has one, or attention_kwargs=\{'zero_init': True\}"),
        ({"attention": "eam", "attention_kwargs": {"normalizer": "sigmoid"}}, "an attention that has one$"),
    ],
    ids=["condconv", "eam"],
)
def test_an_attention_without_a_scale_is_refused(options, need, small, saved):
    message = f"weights: got those of a static network for attention '{options['attention']}', whose weights do not sum"
    with pytest.raises(ops.ArgumentError, match=f"{message} to one and which has no copy_scale; need {need}"):
        timm.create_model("dy_mobilenetv2_035", checkpoint_path=saved(small), **options)


def test_a_layer_whose_attention_comes_with_each_call_is_refused(saved):
    path = saved(timm.create_model("fix_mobile_100"))
    with pytest.raises(ops.ArgumentError, match=r"weights: 'blocks\.0\.0\.chain\.convs\.0' cannot take the kernels"):
        timm.create_model("dynet_mobile_100", checkpoint_path=path)


def test_the_attention_keeps_what_it_has(small):
    model = timm.create_model("dyc_mobilenetv2_035", temperature=7.0)
    before = copy.deepcopy(dict(model.named_parameters()))
    model.load_state_dict(small.state_dict())
    own = [name for name in before if ".attention." in name]
    assert own
    assert all(torch.equal(before[name], value) for name, value in model.named_parameters() if name in own)
    assert {layer.attention.temperature.item() for _, layer in dyc.iter_dynamic(model)} == {7.0}


def test_dynamic_weights_are_taken_as_they_are(saved):
    one = timm.create_model("dyc_mobilenetv2_035")
    other = timm.create_model("dyc_mobilenetv2_035", checkpoint_path=saved(one))
    assert all(torch.equal(value, one.state_dict()[key]) for key, value in other.state_dict().items())


def test_layers_that_were_static_become_copies_and_others_stay(saved):
    """A dynamic network whose head was static, loaded into one whose head is dynamic."""
    one = timm.create_model("dyc_mobilenetv2_035")
    other = timm.create_model("dyc_mobilenetv2_035", checkpoint_path=saved(one), dynamic_head=True)
    assert all(torch.equal(kernel, one.conv_head.weight) for kernel in other.conv_head.weight)
    assert torch.equal(other.blocks[6][0].conv_dw.weight, one.blocks[6][0].conv_dw.weight)


def test_another_width_is_an_error_of_torch(small):
    with pytest.raises(RuntimeError, match=r"size mismatch for blocks\.6\.0\.conv_dw\.weight"):
        timm.create_model("dyc_mobilenetv2_050").load_state_dict(small.state_dict())


class TestTimmsArguments:
    def create(self, path: str, **kwargs) -> nn.Module:
        overlay = {"file": path}
        return timm.create_model("dyc_mobilenetv2_035", pretrained=True, pretrained_cfg_overlay=overlay, **kwargs)

    def test_another_number_of_classes(self, small, saved):
        model = self.create(saved(small), num_classes=7).eval()
        assert model.classifier.out_features == 7
        x = torch.randn(2, 3, 64, 64)
        torch.testing.assert_close(model.forward_features(x), small.forward_features(x), rtol=0, atol=1e-4)

    def test_another_number_of_channels(self, small, saved):
        model = self.create(saved(small), in_chans=1).eval()
        x = torch.randn(2, 1, 64, 64)
        torch.testing.assert_close(model(x), small(x.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)

    def test_a_dynamic_stem_and_another_number_of_channels(self, small, saved):
        model = self.create(saved(small), in_chans=1, where="^conv_stem$").eval()
        x = torch.randn(2, 1, 64, 64)
        torch.testing.assert_close(model(x), small(x.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)

    def test_features_only(self, small, saved):
        x = torch.randn(2, 3, 64, 64)
        want = small.forward_intermediates(x, intermediates_only=True)
        found = self.create(saved(small), features_only=True).eval()(x)
        assert len(found) == len(want) == 5
        for one, other in zip(found, want):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
