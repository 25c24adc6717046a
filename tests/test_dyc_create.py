"""timm.create_model for converted networks: any name, static weights, timm's arguments."""

import pytest
import timm
import torch

import dyc
import ops

RESNET = "test_resnet"  # timm's smallest


@pytest.fixture
def weights(tmp_path):
    static = timm.create_model(RESNET).eval()
    torch.save(static.state_dict(), tmp_path / "weights.pth")
    return static, str(tmp_path / "weights.pth")


def test_pretrained_weights_are_kept(weights):
    static, path = weights
    model = dyc.create_dynamic(RESNET, where="blocks", pretrained=True, pretrained_cfg_overlay={"file": path}).eval()
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model(x), static(x), rtol=0, atol=1e-5)
    assert len(list(dyc.iter_dynamic(model))) > 4


@pytest.mark.parametrize("init", ["copy", "independent"])
def test_a_file_of_static_weights_is_loaded_last(weights, init):
    static, path = weights
    model = dyc.create_dynamic(RESNET, "dy", where="blocks", init=init, checkpoint_path=path).eval()
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model(x), static(x), rtol=0, atol=1e-5)


def test_a_file_of_dynamic_weights(tmp_path):
    model = dyc.create_dynamic(RESNET, where="blocks", init="independent").eval()
    torch.save(model.state_dict(), tmp_path / "dynamic.pth")
    again = dyc.create_dynamic(RESNET, where="blocks", checkpoint_path=tmp_path / "dynamic.pth").eval()
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(again(x), model(x))


def test_every_argument_arrives():
    model = dyc.create_dynamic(
        RESNET,
        "condconv",
        where=r"layer4\..*conv2$",
        num_kernels=3,
        temperature=5.0,
        attention_kwargs={"zero_init": True},
        backend="eager",
        num_classes=7,
        in_chans=1,
    )
    assert model(torch.randn(2, 1, 64, 64)).shape == (2, 7)
    [(name, layer)] = dyc.iter_dynamic(model)
    assert (name, layer.num_kernels, layer.attention_kind, layer.backend) == ("layer4.0.conv2", 3, "condconv", "eager")
    warm = dyc.create_dynamic(RESNET, where=r"layer4\..*conv2$", temperature=5.0)
    assert next(dyc.iter_dynamic(warm))[1].attention.temperature == 5


@pytest.mark.parametrize("where", ["blocks", "all_but_stem"])
def test_features_only(where):
    model = dyc.create_dynamic(RESNET, where=where, features_only=True)
    static = timm.create_model(RESNET, features_only=True)
    x = torch.randn(1, 3, 64, 64)
    assert [level.shape for level in model(x)] == [level.shape for level in static(x)]
    assert len(list(dyc.iter_dynamic(model))) > 4


def test_a_name_with_a_tag(weights):
    static, path = weights
    tag = timm.get_pretrained_cfg(RESNET).tag
    overlay = {"file": path}
    model = dyc.create_dynamic(f"{RESNET}.{tag}", where="blocks", pretrained=True, pretrained_cfg_overlay=overlay)
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model.eval()(x), static(x), rtol=0, atol=1e-5)


def test_selective(tmp_path):
    shallow = {"block_config": (1, 1, 1, 1), "num_classes": 10}
    static = timm.create_model("densenet121", **shallow).eval()
    torch.save(static.state_dict(), tmp_path / "weights.pth")
    x = torch.randn(2, 3, 64, 64)
    for way in ({"checkpoint_path": tmp_path / "weights.pth"}, {"pretrained": True}):
        if "pretrained" in way:
            way["pretrained_cfg_overlay"] = {"file": str(tmp_path / "weights.pth"), "num_classes": 10}
        model = dyc.create_selective("densenet121", reallocate=False, **shallow, **way).eval()
        assert torch.equal(model(x), static(x))
        layers = [layer for _, layer in dyc.iter_selective(model)]
        assert layers
        assert not any(layer.reallocates for layer in layers)


@pytest.mark.parametrize("create", [dyc.create_dynamic, dyc.create_selective])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mobilenet_v2", r"name: got 'mobilenet_v2' \(did you mean '.*'\?\); need the name of a timm model"),
        ("", "name: got ''; need the name of a timm model; dyc.make_dynamic"),
        (torch.nn.Identity(), "name: got Identity; need the name of a timm model"),
    ],
    ids=["misspelt", "empty", "model"],
)
def test_names_that_timm_does_not_have(create, name, message):
    with pytest.raises(ops.ArgumentError, match=message):
        create(name)
