"""The kinds "condconv" and "odconv": their formulas, what they train, how they are converted and saved."""

import io

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

import dyc
import ops

SHAPES = {
    "depthwise": {"in_channels": 8, "out_channels": 8, "kernel_size": 3, "padding": 1, "groups": 8},
    "pointwise": {"in_channels": 8, "out_channels": 12, "kernel_size": 1},
    "dense": {"in_channels": 8, "out_channels": 6, "kernel_size": (3, 5), "padding": (1, 2), "stride": 2},
    "grouped": {"in_channels": 8, "out_channels": 12, "kernel_size": 3, "groups": 4},
}
shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
both = pytest.mark.parametrize("kind", ["condconv", "odconv"])


def build(shape: dict, kind: str, dtype=torch.float64, **kwargs) -> dyc.DynamicConv2d:
    """Build a layer whose attention follows its input clearly, with biases that count."""
    layer = dyc.DynamicConv2d(**shape, attention=kind, temperature=1.5, **kwargs).to(dtype)
    for name, parameter in layer.named_parameters():
        if "bias" in name:
            nn.init.normal_(parameter)
    return layer


def features(batch: int = 2, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(batch, 8, 9, 8, dtype=dtype)


def conv(layer: dyc.DynamicConv2d, x, weight, bias=None) -> torch.Tensor:
    return F.conv2d(x[None], weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)[0]


def condconv(layer: dyc.DynamicConv2d, x: torch.Tensor) -> torch.Tensor:
    """Write the formula of CondConv's section 3 for one sample."""
    pooled = x.flatten(1).sum(1) / (x.shape[1] * x.shape[2])
    routing = 1 / (1 + torch.exp(-(layer.attention.fc.weight @ pooled + layer.attention.fc.bias)))
    return sum(conv(layer, x, layer.weight[k], layer.bias[k]) * routing[k] for k in range(layer.num_kernels))


def odconv(layer: dyc.DynamicConv2d, x: torch.Tensor) -> torch.Tensor:
    """Write Eq. 2 of the paper for one sample: every kernel scaled along its four dimensions, then their sum."""
    attention, t = layer.attention, 1.5
    z = torch.relu(attention.fc1.weight @ x.flatten(1).mean(1) + attention.fc1.bias)
    logits = attention.fc2.weight @ z + attention.fc2.bias

    def take(count: int) -> torch.Tensor:
        nonlocal logits
        taken, logits = logits[:count], logits[count:]
        return taken

    def sigmoid(v: torch.Tensor) -> torch.Tensor:
        return 1 / (1 + torch.exp(-v / t))

    outputs, per_group, *kernel = layer.weight.shape[1:]
    depthwise = layer.groups == layer.in_channels == outputs
    inputs = sigmoid(take(layer.in_channels))
    filters = torch.ones(outputs, dtype=x.dtype) if depthwise else sigmoid(take(outputs))
    taps = torch.ones(kernel, dtype=x.dtype) if kernel == [1, 1] else sigmoid(take(kernel[0] * kernel[1]).view(kernel))
    e = torch.exp(logits / t)
    kernels = e / e.sum()
    # The input channel that each (output, position in its group) reads.
    channel = torch.arange(outputs)[:, None] // (outputs // layer.groups) * per_group + torch.arange(per_group)
    scale = filters[:, None, None, None] * inputs[channel][:, :, None, None] * taps
    weight = sum(kernels[k] * scale * layer.weight[k] for k in range(layer.num_kernels))
    return conv(layer, x, weight, sum(kernels[k] * filters * layer.bias[k] for k in range(layer.num_kernels)))


@pytest.mark.parametrize("formula", [condconv, odconv], ids=["condconv", "odconv"])
@shapes
def test_it_computes_the_formula_of_its_paper(shape, formula):
    layer, x = build(shape, formula.__name__), features()
    torch.testing.assert_close(layer(x), torch.stack([formula(layer, sample) for sample in x]))


@both
@shapes
def test_one_sample_trains_every_parameter_in_channels_last(shape, kind):
    layer = build(shape, kind, torch.float32).train().to(memory_format=torch.channels_last)
    y = layer(features(1, torch.float32).contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    y.square().sum().backward()
    assert {name for name, p in layer.named_parameters() if p.grad is None or p.grad.abs().max() == 0} == set()


@both
@shapes
def test_a_state_dict_restores_the_layer(shape, kind):
    layer, fresh, x = build(shape, kind), dyc.DynamicConv2d(**shape, attention=kind).double(), features()
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(fresh(x), layer(x))


@both
def test_the_smaller_precisions(kind):
    layer, x = build(SHAPES["grouped"], kind, torch.float32), features(dtype=torch.float32)
    want = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = layer(x)
    for got in (under_autocast, layer.bfloat16()(x.bfloat16())):
        assert got.dtype == torch.bfloat16
        assert (got - want).abs().max() < 0.05 * want.abs().max()


class TestODConv:
    def branch(self, **kwargs) -> nn.Module:
        return dyc.DynamicConv2d(**{**SHAPES["grouped"], **kwargs}, attention="odconv").attention

    def test_what_has_nothing_to_choose_is_absent(self):
        def widths(**kwargs):
            return {name for name, width in self.branch(**kwargs).widths.items() if width}

        assert widths() == {"inputs", "filters", "taps", "kernels"}
        assert widths(kernel_size=1, num_kernels=1) == {"inputs", "filters"}
        assert widths(out_channels=8, groups=8) == {"inputs", "taps", "kernels"}

    def test_the_squeezed_vector_is_a_sixteenth_but_16_at_least(self):
        assert self.branch().fc1.out_features == 16
        assert self.branch(in_channels=1024).fc1.out_features == 64

    @pytest.mark.parametrize(
        ("name", "num_kernels", "published"),
        [("mobilenetv2_050", 1, 2.43), ("mobilenetv2_050", 4, 4.44), ("resnet18", 1, 11.94)],
    )
    def test_networks_have_the_published_parameters(self, name, num_kernels, published):
        """In millions, from the table of the authors' README; the shortcuts of ResNet stay static there."""
        model = timm.create_model(name)
        chosen = {"init": "independent", "num_kernels": num_kernels, "attention_kwargs": {"norm": True}}
        dyc.make_dynamic(model, "odconv", where=r"^(?!conv1$|conv_stem$)(?!.*downsample)", **chosen)
        assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == published

    def test_temperature(self):
        model, x = nn.Sequential(build(SHAPES["dense"], "odconv")), features()
        assert dyc.set_temperature(model, 1e9) == 1
        kernels, inputs, taps = model[0].attention(x)
        for weights, even in ((kernels, 1 / 8), (inputs, 1 / 2), (taps, 1 / 2)):
            torch.testing.assert_close(weights, torch.full_like(weights, even))
        dyc.set_temperature(model, 1e-6)
        assert model[0].attention(x).inputs.sub(0.5).abs().min() > 0.49

    def test_batch_norm_on_request(self):
        layer = build(SHAPES["dense"], "odconv", attention_kwargs={"norm": True})
        norm = layer.attention.norm
        layer(features(2)).sum().backward()
        assert norm.weight.grad.abs().max() > 0
        # One sample has no variance of its own: it trains as it is evaluated, and the statistics stay.
        before, x = norm.running_var.clone(), features(1)
        alone = layer(x)
        alone.sum().backward()
        assert torch.equal(norm.running_var, before)
        torch.testing.assert_close(layer.eval()(x), alone)


class TestConversion:
    def model(self) -> nn.Module:
        model = timm.create_model("mobilenetv3_small_050").eval()  # squeeze-and-excitation has biases
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.normal_(module.bias)
        return model

    @both
    def test_a_copy_is_refused_where_it_would_change_the_output(self, kind):
        model = self.model()
        before = dict(model.named_modules())
        need = r"need 'independent', or attention_kwargs=\{'zero_init': True\}"
        with pytest.raises(ops.ArgumentError, match=f"init: got 'copy' for attention '{kind}', whose.*{need}"):
            dyc.make_dynamic(model, kind)
        assert dict(model.named_modules()) == before

    @both
    def test_a_copy_that_starts_constant_keeps_the_output(self, kind):
        model, x = self.model(), torch.randn(2, 3, 64, 64)
        with torch.no_grad():
            want = model(x)
            dyc.make_dynamic(model, kind, where="all_but_stem", attention_kwargs={"zero_init": True})
            assert (model(x) - want).abs().max() <= 1e-5 * want.abs().max()
        assert len(list(dyc.iter_dynamic(model))) == 52
        model(x).sum().backward()
        late = {name for name, p in model.named_parameters() if p.grad is None}
        assert late == set()

    @both
    def test_a_model_from_scratch_trains_every_parameter(self, kind):
        model, x = self.model().train(), torch.randn(2, 3, 64, 64)
        dyc.make_dynamic(model, kind, where="all_but_stem", init="independent")
        model(x).square().sum().backward()
        assert {name for name, p in model.named_parameters() if p.grad is None} == set()
        assert dyc.attention_statistics(model, x)["conv_head"].entropy > 0
        assert dyc.profile(model, (3, 64, 64)).parameters == sum(p.numel() for p in model.parameters())
