"""What is done to attention, on a network whose attention is known."""

import pytest
import torch
from torch import nn

import dyc
from dyc.analysis.attention_changes import CHANGES, accuracy, changed_attention, resolutions, shuffled_images
from dyc.models.dynet_blocks import Conv, ConvChain
from ops import ArgumentError


class Pick(nn.Module):
    """Attention that picks the kernel of the brightest channel."""

    def forward(self, x):
        return torch.nn.functional.one_hot(x.mean((2, 3)).argmax(1), x.shape[1]).to(x.dtype)


class Classifier(nn.Module):
    """Kernel k says class k, whatever the features: right by its attention alone."""

    def __init__(self, classes=3):
        super().__init__()
        self.conv = dyc.DynamicConv2d(classes, classes, 1, bias=False, num_kernels=classes, attention=Pick())
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(classes)[:, :, None, None, None].expand_as(self.conv.weight))

    def forward(self, x):
        return self.conv(x).mean((2, 3))


LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def batches():
    x = torch.nn.functional.one_hot(LABELS, 3).float()[:, :, None, None].expand(-1, -1, 4, 4)
    return list(zip(x.split(3), LABELS.split(3)))


def seen(model, change, layers=None):
    with changed_attention(model, change, layers):
        return accuracy(model, batches())


def test_accuracy_falls_to_what_is_left():
    model = Classifier()
    whole, classes = accuracy(model, batches())
    assert (whole.top1, whole.images, classes.tolist()) == (1, 6, LABELS.tolist())
    assert seen(model, "kernel of the largest weight")[0].top1 == 1
    average, classes = seen(model, "average kernel")
    assert average.top1 == pytest.approx(1 / 3)  # all logits are alike
    assert len(set(classes.tolist())) == 1
    assert average.loss == pytest.approx(torch.tensor(3.0).log().item())
    assert seen(model, "shuffled between images")[0].top1 == 0  # each image has a class of its own in its batch
    assert seen(model, "average kernel", layers=[])[0].top1 == 1
    assert accuracy(model, batches())[0].top1 == 1  # nothing is left behind


def test_agreement_is_with_the_reference():
    found = accuracy(Classifier(), batches(), torch.tensor([0, 1, 2, 1, 2, 0]))[0]
    assert found.agreement == found.change == 0.5  # three of six were right, now all are
    assert found.change_error == pytest.approx(0.5 / 6**0.5)
    assert found.error == 0


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3)], ids=["per_kernel", "per_channel"])
@pytest.mark.parametrize("change", CHANGES)
def test_the_sum_over_the_kernels_stays(change, shape):
    weights = torch.rand(shape)
    found = CHANGES[change](weights, torch.Generator().manual_seed(1))
    assert found.shape == weights.shape
    sums = weights.sum(1)
    if "images" in change:  # each image has the sum of another
        found, sums = found.sum(1).flatten().sort().values, sums.flatten().sort().values
        assert torch.allclose(found, sums)
    else:
        assert torch.allclose(found.sum(1), sums)


def test_shuffled_kernels_are_the_same_weights_in_another_order_for_each_image():
    weights = torch.arange(40.0).view(10, 4)
    found = CHANGES["shuffled between kernels"](weights, torch.Generator().manual_seed(0))
    assert torch.equal(found.sort(1).values, weights)
    assert len({tuple(row) for row in (found - weights[:, :1]).tolist()}) > 3


@pytest.mark.parametrize("images", [2, 3, 8])
def test_no_image_keeps_its_own_and_all_layers_take_those_of_the_same_image(images):
    generator = torch.Generator().manual_seed(3)
    weights = torch.arange(images)[:, None].expand(-1, 4)
    first, second = (shuffled_images(weights, generator)[:, 0] for _ in range(2))
    assert not (first == torch.arange(images)).any()
    assert sorted(first.tolist()) == list(range(images))
    assert torch.equal(first, second)


def test_one_image_keeps_its_own():
    assert shuffled_images(torch.ones(1, 4), torch.Generator()).tolist() == [[1, 1, 1, 1]]


def test_layers_that_get_their_coefficients_from_outside_are_changed_too():
    model = ConvChain(4, [Conv(6, 1), Conv(6, 3)], num_kernels=3).eval()
    x = torch.randn(2, 4, 5, 5)
    with torch.no_grad():
        before = model(x)
        with changed_attention(model, "average kernel", ["convs.1"]):
            changed = model(x)
        half = [each.mean(1, keepdim=True).expand_as(each) for each in model.coefficients(x)]
        expected = model.norms[1](model.convs[1](model.norms[0](model.convs[0](x, model.coefficients(x)[0])), half[1]))
    assert torch.allclose(changed, expected)
    assert not torch.allclose(changed, before)


def test_weights_of_taps_and_inputs_stay():
    layer = dyc.DynamicConv2d(4, 4, 3, padding=1, attention="odconv").eval()
    x = torch.randn(2, 4, 5, 5)
    with torch.no_grad():
        weights = layer.attention(x)
        kernels = weights.kernels.mean(1, keepdim=True).expand_as(weights.kernels)
        with changed_attention(layer, "average kernel"):
            assert torch.equal(layer.attention(x).inputs, weights.inputs)
            assert torch.equal(layer.attention(x).kernels, kernels)


def test_wrong_calls_are_one_line():
    with (
        pytest.raises(ArgumentError, match="it has no dynamic layers"),
        changed_attention(nn.Conv2d(1, 1, 1), next(iter(CHANGES))),
    ):
        pass
    with (
        pytest.raises(ArgumentError, match="did you mean 'average kernel'"),
        changed_attention(Classifier(), "average"),
    ):
        pass
    with pytest.raises(ArgumentError, match="a classifier of the data's classes"):
        accuracy(Classifier(), [(torch.ones(1, 3, 2, 2), torch.tensor([7]))])


def test_resolutions_are_those_of_the_outputs():
    model = nn.Sequential(dyc.DynamicConv2d(3, 4, 3, stride=2, padding=1), dyc.DynamicConv2d(4, 4, 3, padding=1))
    assert resolutions(model, torch.randn(1, 3, 8, 8)) == {"0": 4, "1": 4}
