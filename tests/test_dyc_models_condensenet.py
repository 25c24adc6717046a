"""CondenseNet-182 without its closed channels, counted by hand: the paper's 3.24M parameters and 422M operations."""

import pytest
import timm

import dyc


def open_channels(share: float, channels: int) -> int:
    return channels - round(share * channels)


def by_hand(shares: tuple[float, float, float]) -> tuple[int, int]:
    """Return parameters and MACs when each 1x1 convolution of a stage has closed that share of its inputs."""
    channels = 24
    parameters, macs = 27 * channels, 32 * 32 * 27 * channels  # the stem
    for share, growth, side in zip(shares, (12, 24, 48), (32, 16, 8)):
        for _ in range(30):
            inputs, middle = open_channels(share, channels), 4 * growth
            weights = inputs * middle + 9 * (middle // 4) * growth  # 3x3 in four groups
            parameters += weights + 2 * inputs + 2 * middle
            macs += side * side * weights
            channels += growth
    return parameters + 2 * channels + 10 * channels + 10, macs + 10 * channels


def close(model, shares: tuple[float, float, float]) -> None:
    for name, layer in dyc.iter_selective(model):
        share = shares[int(name.split(".")[1])]
        layer.mask.fill_(False)
        layer.mask[: open_channels(share, layer.in_channels)] = True
        layer.refresh()


@pytest.fixture(scope="module")
def model():
    return timm.create_model("select_condensenet182")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.817])
def test_parameters_of_open_channels(model, share):
    close(model, (share,) * 3)
    assert dyc.selective_layers(model).effective_parameters == by_hand((share,) * 3)[0]


def test_the_papers_figures(model):
    shares = (0.712, 0.819, 0.819)  # the first stage has the large images, and so keeps more
    close(model, shares)
    profile = dyc.profile(dyc.compact(model), (3, 32, 32))
    counts = (profile.parameters, profile.macs)
    assert counts == by_hand(shares)
    assert [round(count / 1e6, digits) for count, digits in zip(counts, (2, 0))] == [3.24, 422]


def test_operations_depend_on_where_channels_close():
    assert by_hand((0.0,) * 3) == (13_792_906, 1_615_332_192)
    equally = by_hand((0.8166,) * 3)
    assert [round(count / 1e6, digits) for count, digits in zip(equally, (2, 0))] == [3.24, 394]
