"""What compact returns is an ordinary network: stored, scripted, exported and trained as others are."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

import dyc
from dyc.layers.gathered import SelectChannels


def images() -> torch.Tensor:
    return torch.randn(2, 4, 8, 8)


def assert_same(got: torch.Tensor, want: torch.Tensor) -> None:
    assert (got - want).abs().max() <= 1e-5 * want.abs().max()


@pytest.fixture
def small(draw_selective):
    """A compact network that selects channels and shifts some."""
    layers = draw_selective(4, 6, closed=[1]), draw_selective(6, 4, kernel=3, closed=[0, 5])
    for layer in layers:
        with torch.no_grad():
            layer.pointers[[2, 3]] = torch.tensor([0, 1])
            layer.shift.uniform_(-1.5, 1.5)
        layer.refresh()
    return dyc.compact(nn.Sequential(nn.ReLU(), *layers).eval(), input_size=(4, 8, 8))


class TestAnOrdinaryNetwork:
    def test_state_dict(self, small):
        other = copy.deepcopy(small)
        with torch.no_grad():
            for p in other.parameters():
                p.zero_()
        other.load_state_dict(small.state_dict())
        x = images()
        assert torch.equal(other(x), small(x))
        assert all(type(tensor) is torch.Tensor for tensor in small.state_dict().values())

    def test_pickle(self, small):
        x = images()
        assert torch.equal(pickle.loads(pickle.dumps(small))(x), small(x))

    @pytest.mark.filterwarnings("ignore:.torch.jit")
    def test_torchscript(self, small):
        file = io.BytesIO()
        torch.jit.save(torch.jit.script(small), file)
        file.seek(0)
        loaded = torch.jit.load(file)
        for x in (images(), images().contiguous(memory_format=torch.channels_last)):
            assert_same(loaded(x), small(x))

    def test_export(self, small):
        batch = {0: torch.export.Dim("batch", min=2, max=64)}
        exported = torch.export.export(small, (images(),), dynamic_shapes=(batch,)).module()
        x = torch.randn(5, 4, 8, 8)
        assert_same(exported(x), small(x))

    def test_it_can_be_trained(self, small):
        net = copy.deepcopy(small).train()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        x, losses = images(), []
        for _ in range(5):
            loss = (net(x) - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0]


class TestSelectChannels:
    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    def test_equals_index_select_in_the_same_memory_format(self, layout):
        x = torch.randn(2, 6, 4, 3, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
        module = SelectChannels(torch.tensor([5, 0, 0, 3]))
        y = module(x)
        assert torch.equal(y, x.index_select(1, module.index))
        assert y.is_contiguous(memory_format=layout)
        assert torch.autograd.gradcheck(module, x)

    def test_of_features_that_are_a_part_of_others(self):
        x = torch.randn(2, 6, 5, 4)[:, 1:5, ::2]
        module = SelectChannels(torch.tensor([2, 1]))
        assert torch.equal(module(x), x[:, [2, 1]])
