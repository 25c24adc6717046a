"""What timm does with pretrained weights, it does with saved ones."""

import pytest
import timm
import torch
from support.saved_weights import PREPARATION, RESNET, again, assert_same_outputs, dynamic
from torch import nn

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


@pytest.fixture
def of_4_classes(tmp_path):
    """Return a registered network and its file of weights."""
    model = timm.create_model("dyc_mobilenetv2_cifar", num_classes=4).eval()
    save_weights(model, tmp_path / "saved")
    return model, str(weights_file(tmp_path / "saved"))


def test_a_file_for_a_registered_network_with_other_classes(of_4_classes, recwarn):
    model, file = of_4_classes
    x = torch.randn(2, 3, 32, 32)
    with pytest.warns(UserWarning, match="weights are of 4 classes, the network has 3: its classifier 'classifier' is"):
        other = timm.create_model("dyc_mobilenetv2_cifar", num_classes=3, checkpoint_path=file).eval()
    assert other(x).shape == (2, 3)
    assert torch.equal(other.forward_features(x), model.forward_features(x))
    recwarn.clear()
    none = timm.create_model("dyc_mobilenetv2_cifar", num_classes=0, checkpoint_path=file).eval()
    assert torch.equal(none(x), model.forward_head(model.forward_features(x), pre_logits=True))
    features = timm.create_model("dyc_mobilenetv2_cifar", num_classes=3, features_only=True, checkpoint_path=file)
    want = model.forward_intermediates(x, intermediates_only=True)
    assert all(torch.equal(*pair) for pair in zip(features.eval()(x), want, strict=True))
    assert not recwarn.list


def test_only_the_number_of_classes_may_differ(of_4_classes):
    model, _ = of_4_classes
    other = timm.create_model("dyc_mobilenetv2_cifar", num_classes=3)
    state = model.state_dict()
    changes = {
        "size mismatch for classifier.weight": {"classifier.weight": torch.zeros(4, 7)},
        "size mismatch for conv_stem.weight": {"conv_stem.weight": torch.zeros(1)},
        "Unexpected key": {"classifier.more": torch.zeros(4)},
    }
    for message, change in changes.items():
        with pytest.raises(RuntimeError, match=message):
            other.load_state_dict(state | change)
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict({name: value for name, value in state.items() if name != "classifier.bias"})
    larger = nn.ModuleDict({"net": other})  # such as a training, which would go on with an untrained classifier
    with pytest.raises(RuntimeError, match=r"size mismatch for net\.classifier\.weight"):
        larger.load_state_dict(nn.ModuleDict({"net": model}).state_dict())


@pytest.mark.parametrize("create", [dyc.create_dynamic, dyc.create_selective])
def test_a_file_for_a_converted_network_with_other_classes(tmp_path, create):
    options = {"where": "blocks"} if create is dyc.create_dynamic else {}
    model = create(RESNET, num_classes=4, **options).eval()
    save_weights(model, tmp_path / "saved")
    x = torch.randn(2, 3, 64, 64)
    with pytest.warns(UserWarning, match="weights are of 4 classes, the network has 3"):
        other = create(RESNET, num_classes=3, checkpoint_path=tmp_path / "saved", **options).eval()
    assert torch.equal(other.forward_features(x), model.forward_features(x))
    with pytest.raises(RuntimeError, match=r"size mismatch for fc\.weight"):  # as PyTorch does, once it is created
        other.load_state_dict(model.state_dict())
