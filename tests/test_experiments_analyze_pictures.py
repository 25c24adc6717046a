"""The pictures of ``dyc analyze``: nothing is cut off, and what their letters and axes say is right."""

import math

import matplotlib
import pytest
import torch
from support.pictures import cut_off, smallest_letters
from support.run_folders import write_run

from dyc.analysis.attention_usage import LayerUsage
from dyc.analysis.correlation import EDGES, LayerCorrelation
from dyc.analysis.kernel_space import KernelPlane
from dyc.analysis.noise import AVERAGE, MIXED, Response
from dyc.benchmark.network_layers import LayerTime
from experiments.analyze.analyses import convergence, correlation, kernels, latency, noise, usage
from experiments.analyze.output import STYLE, legend_columns
from experiments.compare.folders import find, read_all
from experiments.compare.groups import group_by_settings

LONG = ("mobilenetv2_cifar", "dyc_mobilenetv2_cifar, annealed")
LAYER = "backbone.model.blocks.3.0.conv_dw"
FACTS = {"device": "cpu", "cpu": "AMD EPYC 7R13 Processor", "threads": "2 threads"}


@pytest.fixture(autouse=True)
def _style():
    with matplotlib.rc_context(STYLE):
        yield


def texts(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def layer_times(dynamic):
    return [LayerTime(f"blocks.{i}.conv", dynamic and i > 0, (8, 8), (8, 8), *[0.5 + i] * 3) for i in range(3)]


def test_the_legend_of_the_layers_times_is_whole():
    figure = latency.draw_layers({name: layer_times("dyc" in name) for name in LONG}, 32, 1, FACTS)
    assert cut_off(figure) == []
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*LONG, "hatched: dynamic, with attention"]
    static = latency.draw_layers({LONG[0]: layer_times(False)}, 32, 1, FACTS)
    assert [text.get_text() for text in static.legends[0].get_texts()] == [LONG[0]]


def sizes(*rows):
    return {size: dict(zip(LONG, [(ms, ms, ms) for ms in row])) for size, row in zip((32, 64, 128), rows)}


def test_the_headline_of_the_sizes_has_the_range_of_all_of_them():
    figure = latency.draw_sizes(sizes((1.0, 1.17), (2.0, 2.78), (4.0, 4.96)), LONG[0], 1, FACTS)
    said = figure.get_suptitle().replace("\n", " ")
    assert said.startswith(f"At 32 to 128 pixels, {LONG[1]} takes 1.17 to 1.39 times {LONG[0]} (")
    assert len(figure.axes) == 2
    assert cut_off(figure) == []


def test_one_network_alone_has_milliseconds_and_no_ratios():
    figure = latency.draw_sizes(sizes((1.234,), (2.0,), (5.678,)), LONG[0], 1, FACTS)
    assert (
        figure.get_suptitle()
        .replace("\n", " ")
        .startswith(f"A call of {LONG[0]} takes 1.23 ms at 32 and 5.68 ms at 128 pixels (")
    )
    (axes,) = figure.axes
    assert axes.get_xlabel()
    assert cut_off(figure) == []


def correlated(scale):
    pairs = (torch.randn(5000, generator=torch.Generator().manual_seed(0)) * scale).clamp(-1, 1).double()
    return LayerCorrelation(LAYER, pairs, torch.eye(2), (0, 1), (), 100, 6400, 1.0)


def test_ticks_of_a_histogram_are_not_rounded_to_each_other():
    figure = correlation.draw({name: correlated(0.4) for name in LONG}, EDGES)
    assert cut_off(figure) == []
    upper, lower = figure.axes
    shown = [text for text, y in zip(texts(upper), upper.get_yticks()) if y <= upper.get_ylim()[1]]
    assert "1.50%" in shown
    assert len(set(shown)) == len(shown)
    assert len(set(texts(lower))) == len(texts(lower))


def test_legends_have_the_columns_that_fit():
    assert legend_columns(["static", "DYC"]) == 3
    assert legend_columns(LONG) == 1


def plane(spread):
    corners = torch.tensor([[1.0, 0.0], [-1.0, 0.5], [0.0, -1.0], [0.2, 0.9]]).double()
    noise_of = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).double()
    return KernelPlane(LAYER, corners, spread * noise_of, (0.35, 0.33), spread, torch.zeros(200))


def test_mixtures_that_would_be_one_dot_are_shown_larger():
    figure = kernels.draw([plane(0.002), plane(0.001), plane(0.3)], LONG[1], 200)
    assert cut_off(figure) == []
    assert [axes.get_visible() for axes in figure.axes] == [True, True, True, False]
    panels = figure.axes[:3]
    insets = [axes.child_axes[0] for axes in panels if axes.child_axes]
    assert len(insets) == 2  # not of the third
    for axes, inset in zip(panels, insets):
        box, places = inset.get_window_extent(), inset.transData.transform(inset.lines[1].get_xydata())
        assert (places.min(0) > box.min).all()
        assert (places.max(0) < box.max).all()
        assert (places.max(0) - places.min(0)).max() > 0.2 * min(box.width, box.height)  # they fill it
        times = int("".join(filter(str.isdigit, inset.get_title(loc="left"))))
        wide = [math.dist(*each.transData.transform([(0, 0), (1e-3, 0)])) for each in (inset, axes)]
        assert wide[0] / wide[1] == pytest.approx(times, rel=0.02)
        assert axes.transData.transform((0, axes.lines[1].get_ydata().max()))[1] < box.y0  # no kernel is hidden
    assert panels[0].get_xlabel() == "direction 1, kernel weight\n(35 % of variance)"
    markers = [line.get_marker() for line in panels[0].lines]
    assert markers.index("+") < markers.index(".")  # below them


def usage_of(each):
    mean, more = torch.full((4,), 0.25), 0.0003 * torch.arange(4 * each, 0, -1).view(4, each) / (4 * each)
    classes = mean.expand(100, 4) + 0.001 * torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    return LayerUsage(0.99, 0.001, 0.5, mean, classes, torch.zeros(4, each), mean[:, None] + more, 96)


@pytest.mark.parametrize("each", [2, 5, 8])
@pytest.mark.parametrize("size", [(32, 32), (180, 240)])
def test_images_that_use_a_kernel_can_be_read(each, size):
    names = ["snow leopard", "sweet_pepper", "mushroom", "road", "sky"]
    count = 4 * each
    classes = [names[i % 5] for i in range(count)]
    figure = usage.draw_images(usage_of(each), LAYER, torch.rand(count, *size, 3), classes, LONG[1])
    assert cut_off(figure) == []
    assert smallest_letters(figure) >= 6
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == count
    assert shown[0].get_xlabel() == "+0.00030"
    assert shown[0].get_ylabel() == "kernel 1\n(mean 0.250)"
    boxes = [axes.xaxis.label.get_window_extent() for axes in shown] + [
        axes.title.get_window_extent() for axes in shown
    ]
    assert not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[:n])


def test_the_usage_of_layers_is_a_standard_deviation():
    figure = usage.draw_layers({f"blocks.{i}.0.conv_dw": usage_of(2) for i in range(7)}, LONG[1], 200)
    assert cut_off(figure) == []
    assert figure.axes[1].get_xlabel() == "standard\ndeviation\nof a weight"
    assert cut_off(usage.draw_classes(usage_of(2), LAYER, list(map(str, range(100))), 24, LONG[1])) == []


def responses(kernels, sigmas):
    maps = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0))
    return {name: [Response(name, s, 1 - s / 4, maps * (1 + s)) for s in sigmas] for name in kernels}


def test_maps_of_noise_have_a_colour_bar_and_a_unit():
    sigmas = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)
    found = responses(["kernel 1", "kernel 2", "kernel 3", "kernel 4", AVERAGE, MIXED], sigmas)
    figure = noise.draw_maps(found, 1, LAYER, LONG[1], [torch.rand(32, 32, 3)] * len(sigmas))
    assert cut_off(figure) == []
    assert [axes.get_title() for axes in figure.axes[:6]] == ["0 SD", "0.1 SD", "0.25 SD", "0.5 SD", "1 SD", "2 SD"]
    assert "in standard deviations (SD)" in figure.get_suptitle().replace("\n", " ")
    assert figure.axes[-1].get_xlabel() == "response, 1: the row's largest without noise"
    first = figure.axes[6].images[0].get_array()
    assert abs(first).max() == pytest.approx(1)
    assert figure.axes[6].images[0].get_clim() == (-1, 1)
    lines = noise.draw(found | {LONG[0]: found[MIXED]}, LAYER, LONG[1], 100)
    assert cut_off(lines) == []
    assert "noise of 0.5 standard deviations: correlation 0.875" in lines.get_suptitle().replace("\n", " ")


def test_curves_of_convergence_differ_in_line_and_marker(tmp_path):
    write_run(tmp_path, "static/seed0", val=(0.2, 0.4))
    write_run(tmp_path, "dyc/seed0", val=(0.3, 0.5), dynamic=True)
    runs, _ = read_all(find(["static", "dyc"], tmp_path))
    groups = group_by_settings(runs)
    finals = [convergence._final(group, "val/top1", groups) for group in groups]
    figure = convergence.draw(groups, "val/top1", finals)
    assert cut_off(figure) == []
    assert figure.get_suptitle().startswith("top-1 (validation) after 2 epochs: 40.00% for")
    first, second = figure.subfigs[0].axes[0].lines
    assert first.get_linestyle() != second.get_linestyle()
    assert first.get_marker() != second.get_marker() != "None"
    handles = figure.subfigs[1].legends[0].get_lines()
    assert [(each.get_color(), each.get_linestyle(), each.get_marker()) for each in handles] == [
        (each.get_color(), each.get_linestyle(), each.get_marker()) for each in (first, second)
    ]
    assert [axes.get_ylabel() for axes in figure.subfigs[0].axes] == [
        "top-1, % (validation)", "temperature", "entropy,\nshare of log K",
    ]  # fmt: skip
