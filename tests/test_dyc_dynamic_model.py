"""What is set in every dynamic layer of a model at once: the temperature, and the backend where it fits."""

import pytest
import timm
import torch
from torch import nn

import dyc
import ops


def test_set_temperature_sets_every_branch_and_counts_them():
    model = timm.create_model("mobilenetv2_035")
    assert dyc.set_temperature(model, 2.0) == 0
    dyc.make_dynamic(model, "dyc", where="depthwise")
    assert dyc.set_temperature(model, 2.0) == 17
    assert {layer.attention.temperature.item() for _, layer in dyc.iter_dynamic(model)} == {2.0}
    with pytest.raises(ops.ArgumentError, match="temperature: got 0; need a positive number"):
        dyc.set_temperature(model, 0)


def without_code(name: str, *operators: str) -> ops.Backend:
    """Return a backend of a chip that this machine does not have."""
    implementations = dict.fromkeys(operators, ops.Implementation(lambda *_: None))
    return ops.Backend(name, implementations, missing=("got no such chip, need one",))


class TestSetBackend:
    @pytest.fixture(autouse=True)
    def _absent(self, backend_registry):
        ops.register_backend(without_code("absent", "depthwise_conv2d"))
        ops.register_backend(without_code("shifts", "rewire_channels"))

    def test_it_returns_what_it_set(self):
        model = dyc.make_dynamic(timm.create_model("mobilenetv2_035"), "dyc", where="depthwise")
        names = tuple(name for name, _ in dyc.iter_dynamic(model))
        setting = dyc.set_backend(model, "absent")
        assert (setting.backend, setting.layers, setting.left) == ("absent", names, {})
        assert len(names) == 17
        with pytest.raises(ops.BackendUnavailable, match="need one"):
            model(torch.randn(2, 3, 64, 64))
        assert dyc.set_backend(model, "eager").layers == names
        model(torch.randn(2, 3, 64, 64))

    def test_it_leaves_layers_whose_operator_the_backend_lacks_and_says_why(self):
        model = dyc.make_dynamic(timm.create_model("mobilenetv2_035"), "dy", where="blocks")
        dyc.set_backend(model, "eager")
        setting = dyc.set_backend(model, "absent")
        backends = {name: layer.backend for name, layer in dyc.iter_dynamic(model)}
        assert backends == {**dict.fromkeys(setting.layers, "absent"), **dict.fromkeys(setting.left, "eager")}
        assert all("conv_dw" in name for name in setting.layers)
        assert len(setting.layers) == 17
        reason = setting.left["blocks.1.0.conv_pw"]
        assert "'per_sample_conv2d'" in reason
        assert reason.endswith("need 'eager'")
        assert str(setting).splitlines()[0] == "backend 'absent' set for 17 layers"
        assert f"  left blocks.1.0.conv_pw: {reason}" in str(setting).splitlines()

    def test_layers_that_mix_features_need_a_backend_that_does(self):
        model = nn.Sequential(dyc.DynamicConv2d(8, 8, 3, groups=8), dyc.DynamicConv2d(8, 8, 3, groups=8))
        model[1].mixing = "features"
        assert list(dyc.set_backend(model, "absent").left) == ["1"]

    def test_it_reaches_selective_layers(self):
        model = nn.Sequential(dyc.SelectiveConv2d(8, 4, 1), dyc.SelectiveConv2d(4, 4, 1, reallocate=False))
        assert dyc.set_backend(model, "shifts").layers == ("0",)
        model[0].pointers[0] = 1
        model[0].refresh()
        with pytest.raises(ops.BackendUnavailable, match="need one"):
            model(torch.randn(2, 8, 4, 4))

    @pytest.mark.parametrize(("attention", "operator"), [("dyc", "attended_depthwise"), ("eam", "dynamic_depthwise")])
    def test_a_backend_that_has_the_whole_operator_alone_fits(self, attention, operator):
        ops.register_backend(without_code("whole", operator))
        layer = dyc.DynamicConv2d(8, 8, 3, groups=8, bias=False, attention=attention, backend="whole")
        assert dyc.set_backend(nn.Sequential(layer), "whole").layers == ("0",)
        with pytest.raises(ops.BackendUnavailable, match="got no 'per_sample_conv2d'"):
            dyc.DynamicConv2d(8, 4, 3, backend="whole")

    def test_set_mixing_names_layers_whose_backend_mixes_no_features(self):
        model = nn.Sequential(dyc.DynamicConv2d(8, 8, 3, groups=8), dyc.DynamicConv2d(8, 8, 3, groups=8))
        dyc.set_backend(model[0], "absent")
        with pytest.raises(ops.BackendUnavailable, match="mixing 'features' needs another backend first; 0: got no"):
            dyc.set_mixing(model, "features")
        assert [layer.mixing for layer in model] == ["auto", "auto"]

    def test_a_network_with_a_dynamic_head_takes_a_backend_that_fits_its_blocks(self):
        with pytest.warns(UserWarning, match="left conv_head: got no 'per_sample_conv2d'"):
            model = timm.create_model("dyc_mobilenetv2_cifar", dynamic_head=True, backend="absent")
        backends = {name: layer.backend for name, layer in dyc.iter_dynamic(model)}
        assert backends == {name: "auto" if name == "conv_head" else "absent" for name in backends}
        assert len(backends) == 12

    def test_a_compact_network_keeps_the_backend(self):
        layer = dyc.SelectiveConv2d(4, 4, 1)
        layer.pointers[0] = 1
        layer.mask[2] = False
        layer.refresh()
        model = nn.Sequential(nn.Conv2d(3, 4, 1), layer)
        dyc.set_backend(model, "eager")
        small = dyc.compact(model, input_size=(3, 4, 4))
        assert dyc.set_backend(small, "auto").layers  # there is a layer that shifts
        small = dyc.compact(model, input_size=(3, 4, 4))
        assert {m.backend for m in small.modules() if hasattr(m, "backend")} == {"eager"}

    def test_one_that_fits_nowhere_is_an_error_and_changes_nothing(self):
        model = dyc.make_dynamic(timm.create_model("mobilenetv2_035"), "dyc", where="depthwise")
        with pytest.raises(ops.BackendUnavailable, match=r"'shifts' fits none of 17 layers: got no 'attended_"):
            dyc.set_backend(model, "shifts")
        assert {layer.backend for _, layer in dyc.iter_dynamic(model)} == {"auto"}

    def test_a_static_model_and_a_misspelt_name_are_errors(self, raises):
        model = timm.create_model("mobilenetv2_035")
        with raises("model", "no dynamic or re-allocating layer"):
            dyc.set_backend(model, "eager")
        with pytest.raises(ops.ArgumentError, match="did you mean 'eager'"):
            dyc.set_backend(model, "eagr")

    def test_make_dynamic_warns_of_what_it_left(self):
        model = timm.create_model("mobilenetv2_035")
        with pytest.warns(UserWarning, match=r"(?s)set for 17 layers.*left blocks\.1\.0\.conv_pw: got no"):
            dyc.make_dynamic(model, "dy", where="blocks", backend="absent")
        backends = {name: layer.backend for name, layer in dyc.iter_dynamic(model)}
        assert {name for name, backend in backends.items() if backend == "absent"} == {
            n for n in backends if "_dw" in n
        }

    def test_make_dynamic_leaves_the_model_alone_where_the_backend_fits_nowhere(self):
        model = timm.create_model("mobilenetv2_035")
        with pytest.raises(ops.BackendUnavailable, match="'absent' fits none of"):
            dyc.make_dynamic(model, "dy", where=r"conv_pwl$", backend="absent")
        assert list(dyc.iter_dynamic(model)) == []

    def test_a_layer_refuses_a_backend_that_lacks_its_operator(self):
        assert dyc.DynamicConv2d(8, 8, 3, groups=8, backend="absent").backend == "absent"
        with pytest.raises(ops.BackendUnavailable, match="backend: got no 'per_sample_conv2d'"):
            dyc.DynamicConv2d(8, 8, 3, backend="absent")
