"""A compact network is built from its folder alone."""

import json

import pytest
import timm
import torch
from support.saved_weights import again, assert_same_outputs, selective, used

import dyc
from dyc.export.weights import save_weights


@pytest.mark.parametrize("name", ["select_densenet40", "resnetv2_50", "densenet121"])
def test_it_is_built_from_the_folder_alone(tmp_path, name):
    small = {"select_densenet40": {"layers": (3, 2, 2)}, "resnetv2_50": {"layers": (2, 1, 1)}}
    model = selective(name, **small.get(name, {"block_config": (1, 2, 1, 1)}))
    compact = dyc.compact(model)
    assert save_weights(compact, tmp_path / "saved") == 0
    loaded = again(tmp_path / "saved")
    assert_same_outputs(loaded, compact, 3, 32, 32)
    count = sum(parameter.numel() for parameter in loaded.parameters())
    assert count == sum(parameter.numel() for parameter in compact.parameters())
    assert count < sum(parameter.numel() for parameter in model.parameters())
    assert "ShiftChannels" in str(loaded)
    save_weights(loaded, tmp_path / "again")
    texts = [(tmp_path / folder / "config.json").read_text() for folder in ("saved", "again")]
    assert json.loads(texts[0]) == json.loads(texts[1])
    files = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("saved", "again")]
    assert files[0] == files[1]


def test_its_config_names_no_channel(tmp_path):
    model = selective(layers=(1, 1, 1))
    save_weights(dyc.compact(model), tmp_path / "saved")
    *_, step = json.loads((tmp_path / "saved/config.json").read_text())["model_args"]["conversions"]["steps"]
    assert step["kind"] == "compact"
    assert all(isinstance(size, int) for sizes in step["layers"].values() for size in sizes.values())


def test_layers_that_were_dynamic_before(tmp_path):
    model = timm.create_model("resnetv2_50", num_classes=10, layers=(1, 1, 1))
    dyc.make_selective(model, where="stages.0")
    dyc.make_dynamic(model, "dy", where=r"stages\.2.*conv2", init="independent")
    compact = dyc.compact(used(model))
    save_weights(compact, tmp_path / "saved")
    assert_same_outputs(again(tmp_path / "saved"), compact, 3, 32, 32)


def test_other_classes_and_features(tmp_path):
    compact = dyc.compact(selective(layers=(1, 1, 1)))
    save_weights(compact, tmp_path / "saved")
    other = again(tmp_path / "saved", num_classes=3)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert other(x).shape == (2, 3)
        assert torch.equal(other.forward_features(x), compact.forward_features(x))
        levels = again(tmp_path / "saved", features_only=True)(x)
        wanted = compact.forward_intermediates(x, intermediates_only=True)
    assert len(levels) == len(compact.feature_info)
    assert all(torch.equal(*pair) for pair in zip(levels, wanted))
