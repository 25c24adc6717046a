"""The pictures of ``dyc compare``: which panels there are, and what is drawn."""

import pytest
from matplotlib.figure import Figure
from support.run_folders import write_run

from experiments.compare.folders import find, read_all
from experiments.compare.groups import group_by_settings, summarise
from experiments.compare.plots import draw_curves, draw_sizes, look, metric_label


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        write_run(root, f"static/seed{seed}", seed, val=(0.2, 0.4 + 0.2 * seed), test=0.6)
        write_run(root, f"dyc/seed{seed}", seed, test=0.7 + 0.1 * seed, dynamic=True)
    runs, problems = read_all(find(["static", "dyc"], root))
    assert problems == []
    return group_by_settings(runs)


def test_attention_stands_below_the_learning_curves_over_the_same_epochs(groups):
    figure = Figure()
    draw_curves(figure, groups, "test/top1")
    curves, temperature, entropy = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "top-1, % (validation)",
        "temperature",
        "entropy,\nshare of log K",
    ]
    static, dynamic = curves.lines
    assert list(static.get_xdata()) == [1, 2]
    assert list(static.get_ydata()) == pytest.approx([0.2, 0.5])
    assert static.get_color() != dynamic.get_color() == temperature.lines[0].get_color()
    assert static.get_linestyle() != dynamic.get_linestyle() == temperature.lines[0].get_linestyle()
    assert static.get_marker() != dynamic.get_marker() == temperature.lines[0].get_marker() != "None"
    band = [y for x, y in curves.collections[0].get_paths()[0].vertices if x == 2]
    assert (min(band), max(band)) == pytest.approx((0.5 - 0.1 * 2**0.5, 0.5 + 0.1 * 2**0.5))
    assert list(temperature.lines[0].get_ydata()) == [30, 20]
    assert temperature.get_ylim() == pytest.approx((0, 33))
    assert len(entropy.lines) == 1
    assert curves.get_shared_x_axes().joined(curves, entropy)


def test_static_networks_have_no_panel_of_attention(groups):
    figure = Figure()
    draw_curves(figure, [group for group in groups if group.name == "static"], "test/top1")
    assert len(figure.axes) == 1


def test_accuracy_stands_against_macs_and_parameters(groups):
    figure = Figure()
    draw_sizes(figure, [summarise(group, "test/top1") for group in groups], "test/top1")
    macs, parameters = figure.axes
    assert (macs.get_xscale(), parameters.get_xscale()) == ("log", "log")
    for axes, sizes in ((macs, [25_000, 30_000]), (parameters, [1000, 2000])):
        points = [container.lines[0].get_xydata()[0] for container in axes.containers]
        assert points == [pytest.approx(point) for point in zip(sizes, (0.6, 0.75))]


def test_runs_without_a_result_leave_the_panels_empty(groups):
    figure = Figure()
    draw_sizes(figure, [summarise(group, "no/metric") for group in groups], "no/metric")
    assert [axes.containers for axes in figure.axes] == [[], []]
    figure.savefig("/dev/null", format="png")


def test_sixty_groups_look_different_and_the_first_twenty_also_without_colour():
    assert len({tuple(look(index).values()) for index in range(60)}) == 60
    assert len({(look(index)["ls"], look(index)["marker"]) for index in range(20)}) == 20


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        ("val/top1", "top-1, % (validation)"),
        ("test/miou", "mIoU, % (test)"),
        ("val/iou/road", "IoU road, % (validation)"),
        ("train/loss", "loss (training)"),
        ("speed", "speed"),
    ],
)
def test_axes_name_metrics_with_their_unit(metric, label):
    assert metric_label(metric) == label
