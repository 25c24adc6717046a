"""What timm does with pretrained weights, it does with saved ones."""

import pytest
import timm
import torch
from support.saved_weights import PREPARATION, RESNET, again, assert_same_outputs, dynamic

import dyc
from dyc.export.weights import save_weights
from dyc.weights_file import weights_file


@pytest.fixture
def saved(tmp_path):
    model = dynamic(where="layer4")
    save_weights(model, tmp_path / "saved", preparation=PREPARATION)
    return model, tmp_path / "saved"


def test_another_number_of_classes(saved):
    model, folder = saved
    loaded = again(folder, num_classes=7)
    x = torch.randn(2, 1, 64, 64)
    assert loaded(x).shape == (2, 7)
    assert torch.equal(loaded.forward_features(x), model.forward_features(x))


def test_features(saved):
    model, folder = saved
    x = torch.randn(2, 1, 64, 64)
    loaded = again(folder, features_only=True, out_indices=(1, -1))
    want = model.forward_intermediates(x, indices=[1, 4], intermediates_only=True)
    assert all(torch.equal(*pair) for pair in zip(loaded(x), want, strict=True))
    assert loaded.feature_info.channels() == [level.shape[1] for level in want]


def test_other_channels_of_the_images(saved):
    model, folder = saved
    loaded = again(folder, in_chans=3)
    grey = torch.randn(2, 1, 64, 64)  # the weights of each colour are a third of those of grey
    torch.testing.assert_close(loaded(grey.expand(-1, 3, -1, -1)), model(grey), rtol=1e-4, atol=1e-5)


def test_other_channels_of_a_dynamic_stem(tmp_path, raises):
    model = timm.create_model("mobilenetv2_035", num_classes=4)
    dyc.make_dynamic(model, where="conv_stem")
    save_weights(model.eval(), tmp_path / "saved", preparation={"input_size": [3, 32, 32]})
    with raises("in_chans", "must be 3, as conv_stem is dynamic"):
        again(tmp_path / "saved", in_chans=1)


def test_a_file_for_a_network_that_is_made_in_the_same_way(saved):
    model, folder = saved
    for path in (folder, weights_file(folder)):
        loaded = dyc.create_dynamic(RESNET, where="layer4", num_classes=4, in_chans=1, checkpoint_path=path)
        assert_same_outputs(loaded.eval(), model, 1, 64, 64)


def test_a_file_for_a_registered_network(tmp_path):
    model = timm.create_model("dyc_mobilenetv2_cifar", num_classes=4).eval()
    save_weights(model, tmp_path / "saved")
    file = str(tmp_path / "saved/model.safetensors")
    loaded = timm.create_model("dyc_mobilenetv2_cifar", num_classes=4, checkpoint_path=file).eval()
    assert_same_outputs(loaded, model, 3, 32, 32)
    x = torch.randn(2, 3, 32, 32)
    features = timm.create_model("dyc_mobilenetv2_cifar", features_only=True, checkpoint_path=file).eval()
    want = model.forward_intermediates(x, intermediates_only=True)
    assert all(torch.equal(*pair) for pair in zip(features(x), want, strict=True))
    overlay = {"file": file, "num_classes": 4}
    other = timm.create_model(
        "dyc_mobilenetv2_cifar", pretrained=True, pretrained_cfg_overlay=overlay, num_classes=3
    ).eval()
    assert torch.equal(other.forward_features(x), model.forward_features(x))
    with pytest.raises(RuntimeError, match=r"size mismatch for classifier\.weight"):  # as any of timm's networks
        timm.create_model("dyc_mobilenetv2_cifar", num_classes=3, checkpoint_path=file)
