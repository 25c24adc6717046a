"""make_selective: every reason why a convolution does not fit, and that the message names it."""

import pytest
from timm.layers import Conv2dSame, StdConv2d
from torch import nn
from torch.nn.utils import parametrizations

import dyc
import ops

SIZE = {"input_size": (4, 8, 8)}


class Wired(nn.Module):
    """norm, act and conv behind a convolution, put together by a function of the test's own."""

    def __init__(self, forward, norm=None, act=None, conv=None, **others: nn.Module):
        super().__init__()
        self.stem = nn.Conv2d(4, 8, 1)
        self.norm, self.act, self.conv = norm or nn.BatchNorm2d(8), act or nn.ReLU(), conv or nn.Conv2d(8, 8, 1)
        for name, module in others.items():
            setattr(self, name, module)
        self.wiring = forward

    def forward(self, x):
        return self.wiring(self, self.stem(x))


def plain(net, x):
    return net.conv(net.act(net.norm(x)))


def act_is_an_output(net, x):
    y = net.act(net.norm(x))
    return net.conv(y), y


def input_changes_in_place(net, x):
    y = net.act(net.norm(x))
    x.mul_(2)
    return net.conv(y) + x


def act_used_twice(net, x):
    return net.act(net.conv(net.act(net.norm(x))))


def functional(net, x):
    return net.conv(nn.functional.relu(net.norm(x)))


def functional_dropout(net, x):
    return net.conv(nn.functional.dropout(net.act(net.norm(x)), 0.5, net.training))


def without_conv(net, x):
    return net.act(net.norm(x))


def conv_used_twice(net, x):
    return net.conv(plain(net, x))


def hooked(module: nn.Module) -> nn.Module:
    module.register_forward_hook(lambda *_: None)
    return module


def sequence_with_hooks() -> nn.Module:
    return Wired(
        lambda net, x: net.last(net.both(x)),
        both=hooked(nn.Sequential(nn.BatchNorm2d(8), nn.ReLU())),
        last=nn.Conv2d(8, 8, 1),
    )


def shared_norm() -> nn.Module:
    net = Wired(lambda net, x: plain(net, x) + net.other(x), other=nn.BatchNorm2d(8))
    net.other.weight = net.norm.weight
    return net


REASONS = {
    "conv: the output of norm goes to other too": lambda: Wired(
        lambda net, x: net.conv(net.act(y := net.norm(x))) + net.other(y), other=nn.Conv2d(8, 8, 1)
    ),
    "conv: the output of norm goes to the model too": lambda: Wired(
        lambda net, x: net.conv(net.act(y := net.norm(x))) + y
    ),
    "conv: the output of act is an output of the model too": lambda: Wired(act_is_an_output),
    "conv: the input of norm is changed in place before": lambda: Wired(input_changes_in_place),
    "conv: its activation act runs 2 times": lambda: Wired(act_used_twice),
    "conv: its input comes from the function relu in the model, not from a ReLU module": lambda: Wired(functional),
    r"conv: its input comes from act \(GELU\), not from a ReLU": lambda: Wired(plain, act=nn.GELU()),
    r"conv: act activates norm \(GroupNorm\), not a BatchNorm": lambda: Wired(plain, norm=nn.GroupNorm(2, 8)),
    r"conv: act activates stem \(Conv2d\), not a BatchNorm": lambda: Wired(plain, norm=nn.Identity()),
    r"conv: its input comes from norm \(BatchNorm2d\)": lambda: Wired(plain, act=nn.Identity()),
    r"conv: its norm norm has no scale .*affine=False": lambda: Wired(plain, norm=nn.BatchNorm2d(8, affine=False)),
    r"conv: its norm norm has no running statistics": lambda: Wired(
        plain, norm=nn.BatchNorm2d(8, track_running_stats=False)
    ),
    "conv: its norm norm shares parameters with other": shared_norm,
    "conv: dropout in the model is between the output of act and conv": lambda: Wired(functional_dropout),
    "conv: act.1 is between": lambda: Wired(plain, act=nn.Sequential(nn.ReLU(), nn.AlphaDropout())),
    "conv: it has 2 groups": lambda: Wired(plain, conv=nn.Conv2d(8, 8, 1, groups=2)),
    "conv: it does not run": lambda: Wired(without_conv),
    "conv: it runs 2 times": lambda: Wired(conv_used_twice),
    "conv: it has hooks": lambda: Wired(plain, conv=hooked(nn.Conv2d(8, 8, 1))),
    "conv: hooks of norm see the output of norm or act": lambda: Wired(plain, norm=hooked(nn.BatchNorm2d(8))),
    "last: hooks of both see the output of both.0 or both.1": sequence_with_hooks,
    "conv: its class StdConv2d computes more": lambda: Wired(plain, conv=StdConv2d(8, 8, 1)),
    "conv: its class Conv2dSame pads": lambda: Wired(plain, conv=Conv2dSame(8, 8, 3)),
    "conv: weight is computed by torch.nn.utils.parametrize": lambda: Wired(
        plain, conv=parametrizations.weight_norm(nn.Conv2d(8, 8, 1))
    ),
}


@pytest.mark.parametrize("reason", REASONS)
def test_each_is_named(reason):
    model = REASONS[reason]()
    before = dict(model.named_modules())
    with pytest.raises(ops.ArgumentError, match=rf"^where: got 1 layer that cannot become selective \({reason}"):
        dyc.make_selective(model, where=reason.split(":")[0], **SIZE)
    with pytest.raises(ops.ArgumentError, match=f"^model: got .*{reason}"):
        dyc.make_selective(model, **SIZE)
    assert dict(model.named_modules()) == before


class Foldable(nn.Sequential):
    def fuse(self):
        raise AssertionError("its norm is gone")


def test_a_block_that_lost_its_norm_is_not_fused():
    model = nn.Sequential(Foldable(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6)), nn.ReLU(), nn.Conv2d(6, 4, 1))
    dyc.make_selective(model, **SIZE)
    with pytest.warns(UserWarning, match="Foldable is not fused: its norms and activations have moved"):
        assert model[0].fuse() is model[0]
