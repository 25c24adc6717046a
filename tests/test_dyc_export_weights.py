"""Folders of weights: what timm reads from them is the network that was saved."""

import json
import os
from pathlib import Path

import huggingface_hub.hf_api
import pytest
import timm
import torch
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, metadata_load
from safetensors.torch import load_file
from torch import nn

import dyc
from dyc.export import weights
from dyc.export.model_card import ModelCard as Card
from dyc.export.weights import save_weights
from dyc.weights_file import weights_file

RESNET = "test_resnet"  # timm's smallest
PREPARATION = {
    "input_size": [1, 48, 40],
    "mean": [0.3],
    "std": [0.4],
    "interpolation": "bilinear",
    "crop_pct": None,
    "crop_mode": "center",
    "class_names": ["a", "b", "c", "d"],
}


def again(folder, **kwargs) -> nn.Module:
    return timm.create_model(f"local-dir:{folder}", pretrained=True, **kwargs).eval()


def selective(name: str = "select_densenet40", **kwargs) -> nn.Module:
    """Return a network in which channels are closed and re-used."""
    model = timm.create_model(name, num_classes=10, **kwargs)
    if not name.startswith("select"):
        dyc.make_selective(model)
    return used(model)


@torch.no_grad()
def used(model: nn.Module) -> nn.Module:
    for _, layer in dyc.iter_selective(model):
        order = torch.randperm(layer.in_channels)
        layer.mask[order[: layer.in_channels // 2]] = False
        if layer.reallocates:
            slots = order[layer.in_channels // 2 :][: layer.in_channels // 4]
            layer.pointers[slots] = torch.randint(layer.in_channels, slots.shape)
            layer.shift.uniform_(-1.5, 1.5)
        layer.refresh()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    return model.eval()


def dynamic(attention: str = "dyc", where: object = "blocks", **kwargs) -> nn.Module:
    model = timm.create_model(RESNET, num_classes=4, in_chans=1)
    dyc.make_dynamic(model, attention, where=where, init="independent", temperature=3.0, **kwargs)
    return model.eval()


def assert_same_outputs(loaded: nn.Module, model: nn.Module, *size: int) -> None:
    x = torch.randn(2, *size)
    with torch.no_grad():
        assert torch.equal(loaded(x), model(x))


class TestReadAgain:
    def test_a_registered_network(self, family, images, tmp_path):
        model = timm.create_model(family, num_classes=4).eval()
        dyc.set_temperature(model, 2.5)
        size = tuple(images(family).shape[1:])
        assert save_weights(model, tmp_path / "saved", preparation={"input_size": size}) == 0
        loaded = again(tmp_path / "saved")
        assert loaded.default_cfg["architecture"] == family
        assert loaded(images(family)).shape == (2, 4)
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
        model = timm.create_model("dyc_mobilenetv2_cifar", num_classes=4).to(dtype, memory_format=torch.channels_last)
        save_weights(model.eval(), tmp_path / "saved")
        loaded = again(tmp_path / "saved", dtype=dtype)
        for name, value in loaded.state_dict().items():
            assert torch.equal(value, model.state_dict()[name])

    def test_shared_layers(self, tmp_path):
        model = timm.create_model(RESNET, num_classes=4)
        model.alias = model.fc
        with pytest.raises(ValueError, match="changed by hand"):
            save_weights(model, tmp_path / "saved")  # nothing makes the second name again


class TestCompact:
    @pytest.mark.parametrize("name", ["select_densenet40", "resnetv2_50", "densenet121"])
    def test_it_is_built_from_the_folder_alone(self, tmp_path, name):
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
        for file in ("config.json", "model.safetensors"):
            assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "saved" / file).read_bytes()

    def test_its_config_names_no_channel(self, tmp_path):
        model = selective(layers=(1, 1, 1))
        save_weights(dyc.compact(model), tmp_path / "saved")
        *_, step = json.loads((tmp_path / "saved/config.json").read_text())["model_args"]["conversions"]["steps"]
        assert step["kind"] == "compact"
        assert all(isinstance(size, int) for sizes in step["layers"].values() for size in sizes.values())

    def test_layers_that_were_dynamic_before(self, tmp_path):
        model = timm.create_model("resnetv2_50", num_classes=10, layers=(1, 1, 1))
        dyc.make_selective(model, where="stages.0")
        dyc.make_dynamic(model, "dy", where=r"stages\.2.*conv2", init="independent")
        compact = dyc.compact(used(model))
        save_weights(compact, tmp_path / "saved")
        assert_same_outputs(again(tmp_path / "saved"), compact, 3, 32, 32)

    def test_other_classes_and_features(self, tmp_path):
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


class TestAdapted:
    """What timm does with pretrained weights, it does with these."""

    @pytest.fixture
    def saved(self, tmp_path):
        model = dynamic(where="layer4")
        save_weights(model, tmp_path / "saved", preparation=PREPARATION)
        return model, tmp_path / "saved"

    def test_another_number_of_classes(self, saved):
        model, folder = saved
        loaded = again(folder, num_classes=7)
        x = torch.randn(2, 1, 64, 64)
        assert loaded(x).shape == (2, 7)
        assert torch.equal(loaded.forward_features(x), model.forward_features(x))

    def test_features(self, saved):
        model, folder = saved
        x = torch.randn(2, 1, 64, 64)
        loaded = again(folder, features_only=True, out_indices=(1, -1))
        want = model.forward_intermediates(x, indices=[1, 4], intermediates_only=True)
        assert all(torch.equal(*pair) for pair in zip(loaded(x), want, strict=True))
        assert loaded.feature_info.channels() == [level.shape[1] for level in want]

    def test_other_channels_of_the_images(self, saved):
        model, folder = saved
        loaded = again(folder, in_chans=3)
        grey = torch.randn(2, 1, 64, 64)  # the weights of each colour are a third of those of grey
        torch.testing.assert_close(loaded(grey.expand(-1, 3, -1, -1)), model(grey), rtol=1e-4, atol=1e-5)

    def test_other_channels_of_a_dynamic_stem(self, tmp_path, raises):
        model = timm.create_model("mobilenetv2_035", num_classes=4)
        dyc.make_dynamic(model, where="conv_stem")
        save_weights(model.eval(), tmp_path / "saved", preparation={"input_size": [3, 32, 32]})
        with raises("in_chans", "must be 3, as conv_stem is dynamic"):
            again(tmp_path / "saved", in_chans=1)

    def test_a_file_for_a_network_that_is_made_in_the_same_way(self, saved):
        model, folder = saved
        for path in (folder, weights_file(folder)):
            loaded = dyc.create_dynamic(RESNET, where="layer4", num_classes=4, in_chans=1, checkpoint_path=path)
            assert_same_outputs(loaded.eval(), model, 1, 64, 64)

    def test_a_file_for_a_registered_network(self, tmp_path):
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
            ({"format": None}, "need a description, as config.json has it"),
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

    @pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
    def test_a_folder_that_cannot_be_written(self, tmp_path, raises):
        tmp_path.chmod(0o500)
        with raises("folder", "Permission denied", "a folder that can be written"):
            save_weights(dynamic(), tmp_path / "saved")

    def test_a_full_disk_leaves_nothing(self, tmp_path, raises, monkeypatch):
        def fail(*args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(weights, "_card", fail)  # the last file
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


class TestTheHub:
    """Nothing is sent: what would be is looked at."""

    CARD = Card(
        title="digits by a tiny network",
        license="MIT",
        dataset="scikit-learn's digits",
        recipe={"optimizer": "sgd", "lr": 0.1, "epochs": 2},
        metrics={"test/top1": 0.75, "test/loss": 0.5},
        tags=("digits",),
    )

    @pytest.fixture
    def folder(self, tmp_path):
        save_weights(dynamic(), tmp_path / "saved", preparation=PREPARATION, card=self.CARD)
        return tmp_path / "saved"

    def test_the_front_matter(self, folder):
        data = metadata_load(folder / "README.md")
        assert (data["license"], data["library_name"]) == ("mit", "timm")
        assert data["pipeline_tag"] == "image-classification"
        assert {"timm", "dyc", "dynamic-convolution", "digits"} <= set(data["tags"])
        [result] = ModelCard.load(folder / "README.md").data.eval_results
        assert (result.metric_name, result.metric_value) == ("test/top1", 0.75)

    def test_the_text(self, folder):
        text = (folder / "README.md").read_text()
        count = sum(parameter.numel() for parameter in again(folder).parameters())
        assert f"| parameters | {count:,} |" in text
        assert f"| multiply-accumulates (MACs) | {dyc.profile(dynamic(), (1, 48, 40)).macs:,} |" in text
        assert "scikit-learn's digits" in text
        assert "| lr | 0.1 |" in text
        assert "import dyc  # registers" in text

    @pytest.mark.parametrize(
        ("words", "name"), [("Example Corp. research only", "example-corp.-research-only"), ("Ü", "other")]
    )
    def test_any_other_licence(self, tmp_path, words, name):
        save_weights(dynamic(), tmp_path / "saved", card=Card(license=words))
        data = metadata_load(tmp_path / "saved/README.md")
        assert (data["license"], data["license_name"]) == ("other", name)
        assert words in (tmp_path / "saved/README.md").read_text()

    def test_nothing_said(self, tmp_path):
        save_weights(timm.create_model(RESNET, num_classes=4), tmp_path / "saved")
        text = (tmp_path / "saved/README.md").read_text()
        assert "license" not in metadata_load(tmp_path / "saved/README.md")
        assert text.count("Not stated.") == 4
        assert "import dyc" not in text  # timm alone creates it

    def test_the_folder_is_ready_to_be_uploaded(self, folder, monkeypatch):
        sent, cards = {}, []
        monkeypatch.setattr(huggingface_hub.hf_api, "is_xet_available", lambda: False, raising=False)
        monkeypatch.setattr(HfApi, "_validate_yaml", lambda self, content, **options: cards.append(content))
        monkeypatch.setattr(HfApi, "create_commit", lambda self, **options: sent.update(options))
        HfApi().upload_folder(repo_id="owner/name", folder_path=folder)
        files = {operation.path_in_repo: operation for operation in sent["operations"]}
        assert files.keys() == {"README.md", "config.json", "model.safetensors"}
        assert all(isinstance(each, CommitOperationAdd) and each.upload_info.size > 0 for each in files.values())
        assert cards == [(folder / "README.md").read_text()]  # what the Hub is asked to check

    def test_timm_uploads_the_same_weights(self, folder, monkeypatch, tmp_path):
        def uploaded(self, *, folder_path, **options):
            return load_file(Path(folder_path) / "model.safetensors")

        class Made:
            repo_id = "owner/name"

        monkeypatch.setattr(HfApi, "create_repo", lambda self, *args, **options: Made)
        monkeypatch.setattr(HfApi, "file_exists", lambda self, **options: True)
        monkeypatch.setattr(HfApi, "upload_folder", uploaded)
        sent = timm.models.push_to_hf_hub(again(folder), "owner/name", safe_serialization=True)
        saved = load_file(folder / "model.safetensors")
        assert sent.keys() == saved.keys()
        assert all(torch.equal(sent[name], saved[name]) for name in saved)
