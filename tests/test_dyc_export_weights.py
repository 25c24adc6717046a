"""Folders of weights: what timm reads from them is the network that was saved."""

import json
import os

import pytest
import timm
import torch
from safetensors import SafetensorError
from support.saved_weights import PREPARATION, RESNET, again, assert_same_outputs, dynamic, selective
from torch import nn

import dyc
from dyc.export.weights import save_weights


class TestReadAgain:
    def test_a_registered_network(self, network, images, tmp_path):
        model = timm.create_model(network, num_classes=4).eval()
        dyc.set_temperature(model, 2.5)
        size = tuple(images(network).shape[1:])
        assert save_weights(model, tmp_path / "saved", preparation={"input_size": size}) == 0
        loaded = again(tmp_path / "saved")
        assert loaded.default_cfg["architecture"] == network
        assert loaded(images(network)).shape == (2, 4)
        for name, value in loaded.state_dict().items():
            assert torch.equal(model.state_dict()[name], value)

    @pytest.mark.parametrize(
        ("attention", "kwargs"),
        [
            ("dy", {}),
            ("dyc", {"num_kernels": 3}),
            ("eam", {"attention_kwargs": {"select": "every"}}),
            ("condconv", {}),
            ("odconv", {"attention_kwargs": {"zero_init": True}}),
        ],
    )
    def test_a_network_made_dynamic(self, tmp_path, attention, kwargs):
        model = dynamic(attention, **kwargs)
        assert save_weights(model, tmp_path / "saved") == 0
        loaded = again(tmp_path / "saved")
        assert_same_outputs(loaded, model, 1, 64, 64)
        assert dict(dyc.iter_dynamic(loaded)).keys() == dict(dyc.iter_dynamic(model)).keys()
        assert loaded.default_cfg["architecture"] == "dyc_converted"

    def test_layers_chosen_by_a_function(self, tmp_path):
        model = dynamic(where=lambda name, conv: "layer3" in name)
        save_weights(model, tmp_path / "saved")
        assert_same_outputs(again(tmp_path / "saved"), model, 1, 64, 64)

    def test_converted_twice_and_read_in_between(self, tmp_path):
        model = dynamic(where="layer1")
        save_weights(model, tmp_path / "once")
        further = dyc.make_dynamic(again(tmp_path / "once"), "dy", where="layer2", init="independent").eval()
        save_weights(further, tmp_path / "twice")
        loaded = again(tmp_path / "twice")
        assert_same_outputs(loaded, further, 1, 64, 64)
        kinds = {layer.attention_kind for _, layer in dyc.iter_dynamic(loaded)}
        assert kinds == {"dy", "dyc"}
        save_weights(loaded, tmp_path / "thrice")
        assert (tmp_path / "thrice/config.json").read_text() == (tmp_path / "twice/config.json").read_text()

    def test_a_registered_network_made_dynamic(self, tmp_path):
        model = timm.create_model("select_densenet40", num_classes=10, layers=(1, 1, 1))
        dyc.make_dynamic(model, "dy", where=lambda name, conv: name.endswith("conv_stem") or "transition" in name)
        save_weights(model.eval(), tmp_path / "saved")
        assert_same_outputs(again(tmp_path / "saved"), model, 3, 32, 32)

    @pytest.mark.parametrize("name", ["select_densenet40", "resnet26"])
    def test_a_selective_network(self, tmp_path, name):
        model = selective(name, layers=(1, 1, 1) if name.startswith("select") else (1, 1, 1, 1))
        save_weights(model, tmp_path / "saved")
        loaded = again(tmp_path / "saved")
        assert_same_outputs(loaded, model, 3, 32, 32)
        assert [layer.slots.tolist() for _, layer in dyc.iter_selective(loaded)] == [
            layer.slots.tolist() for _, layer in dyc.iter_selective(model)
        ]

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
    def test_weights_in_another_layout_and_type(self, tmp_path, dtype):
        model = dynamic().to(dtype, memory_format=torch.channels_last)
        save_weights(model, tmp_path / "saved")
        loaded = again(tmp_path / "saved").to(dtype)
        for name, value in loaded.state_dict().items():
            assert torch.equal(value, model.state_dict()[name])

    def test_shared_layers(self, tmp_path):
        model = timm.create_model(RESNET, num_classes=4)
        model.alias = model.fc
        with pytest.raises(ValueError, match="changed by hand"):
            save_weights(model, tmp_path / "saved")  # nothing makes the second name again


class TestConfig:
    def test_preparation_is_what_timm_reads(self, tmp_path):
        save_weights(dynamic(), tmp_path / "saved", preparation=PREPARATION)
        loaded = again(tmp_path / "saved")
        data = timm.data.resolve_model_data_config(loaded)
        assert data["input_size"] == (1, 48, 40) or list(data["input_size"]) == [1, 48, 40]
        assert (list(data["mean"]), list(data["std"])) == ([0.3], [0.4])
        assert (data["interpolation"], data["crop_pct"], data["crop_mode"]) == ("bilinear", 0.875, "center")
        assert list(loaded.pretrained_cfg["label_names"]) == ["a", "b", "c", "d"]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"class_names": ["a"]}, "got 1 class_names; need 4, the classes of the network"),
            ({"input_size": [3, 32, 32]}, "Requested 3 input channels, but the model accepts 1"),
        ],
    )
    def test_preparation_that_does_not_fit(self, tmp_path, change, message):
        with pytest.raises(ValueError, match=message):
            save_weights(dynamic(), tmp_path / "saved", preparation={**PREPARATION, **change})
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"format": 2}, r"got a description of format 2; need 1 or lower, .* install a newer one"),
            ({"steps": [{"kind": "pruned"}]}, r"got 'pruned'; need one of 'compact', 'dynamic', 'selective'"),
            ({"format": None}, "got .*; need a description, as config.json has it"),
        ],
    )
    def test_description_that_is_not_known(self, tmp_path, change, message):
        save_weights(dynamic(), tmp_path / "saved")
        path = tmp_path / "saved/config.json"
        config = json.loads(path.read_text())
        config["model_args"]["conversions"].update(change)
        path.write_text(json.dumps(config))
        with pytest.raises(ValueError, match=f"conversions: {message}"):
            again(tmp_path / "saved")

    def test_a_network_without_a_description(self, raises):
        with raises("base", "None", "create this one by timm.create_model('local-dir:FOLDER')"):
            timm.create_model("dyc_converted")


class TestRefusals:
    def test_a_folder_that_is_not_empty(self, tmp_path, raises):
        (tmp_path / "file").touch()
        with raises("folder", "which is not empty", "a folder that does not exist yet"):
            save_weights(dynamic(), tmp_path)
        with raises("folder", "which is a file", "a folder that does not exist yet"):
            save_weights(dynamic(), tmp_path / "file")
        (tmp_path / "empty").mkdir()
        save_weights(dynamic(), tmp_path / "empty")
        assert len({path.stat().st_mode for path in (tmp_path / "empty").iterdir()}) == 1  # others may read all or none

    @pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
    def test_a_folder_that_cannot_be_written(self, tmp_path, raises):
        tmp_path.chmod(0o500)
        with raises("folder", "Permission denied", "a folder that can be written"):
            save_weights(dynamic(), tmp_path / "saved")

    @pytest.mark.parametrize(
        ("place", "error"),
        [
            ("dyc.export.weights._card", OSError(28, "No space left on device")),  # of the last file
            # As safetensors words it: it has no OSError.
            ("safetensors.torch.save_file", SafetensorError("I/O error: No space left on device (os error 28)")),
        ],
    )
    def test_a_full_disk_leaves_nothing(self, tmp_path, raises, monkeypatch, place, error):
        def fail(*args, **kwargs):
            raise error

        monkeypatch.setattr(place, fail)
        with raises("folder", "No space left on device", "with enough space"):
            save_weights(dynamic(), tmp_path / "saved")
        assert list(tmp_path.iterdir()) == []

    def test_a_network_without_a_name(self, tmp_path, raises):
        for model in (nn.Sequential(nn.Conv2d(3, 4, 1)), timm.create_model(RESNET, features_only=True)):
            with raises("model", "that no name stands for", "timm.create_model made"):
                save_weights(model, tmp_path / "saved")

    def test_a_network_that_was_changed_by_hand(self, tmp_path, raises):
        model = timm.create_model(RESNET, num_classes=4)
        model.fc = nn.Sequential(nn.Linear(model.num_features, 8), nn.Linear(8, 4))
        with raises("model", "that was changed by hand", "its name and arguments build again"):
            save_weights(model, tmp_path / "saved")
        assert list(tmp_path.iterdir()) == []

    def test_an_attention_that_has_no_name(self, tmp_path, raises):
        model = dynamic(dyc.GlobalAttention)
        with raises("model", "was made dynamic with a function as attention, which no file holds"):
            save_weights(model, tmp_path / "saved")

    def test_a_truncated_file(self, tmp_path, raises):
        save_weights(dynamic(), tmp_path / "saved")
        file = tmp_path / "saved/model.safetensors"
        file.write_bytes(file.read_bytes()[:-100])
        with raises("checkpoint_path", "truncated or damaged", "a whole file of weights"):
            dyc.create_dynamic(RESNET, where="blocks", num_classes=4, in_chans=1, checkpoint_path=file)
        with pytest.raises(Exception, match="incomplete metadata, file not fully covered"):
            again(tmp_path / "saved")

    def test_weights_of_another_network(self, tmp_path, raises):
        save_weights(dynamic(), tmp_path / "saved")
        with raises("checkpoint_path", "Missing key(s)", "weights of test_resnet, made in the same way"):
            dyc.create_dynamic(RESNET, "eam", where="blocks", checkpoint_path=tmp_path / "saved")
        with raises("checkpoint_path", "which does not exist", "a file of weights"):
            dyc.create_dynamic(RESNET, where="blocks", checkpoint_path=tmp_path / "none")
