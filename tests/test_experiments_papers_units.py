"""Measured values in the units that papers print, for every unit of every figure that is measured."""

import pytest

from experiments.papers import Figure, find, papers
from experiments.papers.units import measured_value

CASES = [
    ("top1_accuracy", "fraction", {}, 0.9308, 0.9308),
    ("top1", "%", {}, 0.752, 75.2),
    ("top5", "%", {}, 0.9079, 90.79),
    ("top1_error", "%", {}, 0.7173, 28.27),
    ("error", "%", {}, 0.9338, 6.62),
    ("params", "M", {}, 2_296_922, 2.296922),
    ("params", "M", {"binary": True}, 11_689_512, 11.148),
    ("params_derived", "count", {}, 211_978, 211_978),
    ("macs", "G", {}, 91_154_944, 0.0912),
    ("madds", "M", {}, 300_774_272, 300.774),
    ("flops", "MFLOPs", {"binary": True}, 577_480_704, 550.728),
    ("flops", "GFLOPs", {"operations_per_mac": 2}, 1_858_302_272, 3.7166),
    ("flops_derived_conv_only", "2^20 MACs incl. fc", {"binary": True}, 577_480_704, 550.728),
    ("forward_time", "ms", {}, 7.609, 7.609),
]


@pytest.mark.parametrize(("metric", "unit", "options", "measured", "value"), CASES)
def test_measured_value(metric, unit, options, measured, value):
    assert measured_value(Figure(metric, "0", unit, options=options), measured) == pytest.approx(value, rel=1e-3)


def test_every_measured_figure_has_a_unit_that_is_known():
    for paper in papers():
        for row in find(paper):
            for figure in row.figures.values():
                if figure.how in ("train", "count", "latency"):
                    assert measured_value(figure, 0.5) >= 0


def test_what_is_not_measured_is_refused():
    with pytest.raises(ValueError, match="AP in AP is not measured"):
        measured_value(Figure("AP", "62.8", "AP"), 0.5)
