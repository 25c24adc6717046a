"""What is counted and timed of the papers' rows: values, units, baselines, and what cannot be timed."""

import re
from pathlib import Path

import pytest
import torch

from dyc.benchmark.timing import Measurement
from experiments import RESULTS
from experiments.measure import latency, measure, time_rows
from experiments.measure.contestants import backend_of
from experiments.papers import catalog, find, papers
from experiments.papers.baselines import baseline_of
from experiments.papers.reading import read_paper
from experiments.records import read_all
from experiments.run.plan import rows_of, ways_of

PAPER = """
title: A tiny paper
source: Tiny
url: null
datasets:
  8 pixels: {image_size: 8, num_classes: 3, benchmark: {batch_size: 2}}
  16 pixels: {image_size: 16, num_classes: 3, benchmark: {batch_size: 2}}
tables:
  networks:
    source: networks
    title: Times of networks
    metrics: {inference_time: {unit: ms}, speedup: {unit: x}}
    rows:
      8/plain: {model: A, dataset: 8 pixels, network: test_resnet, published: {inference_time: '3'}}
      8/fast:
        model: B
        dataset: 8 pixels
        network: test_vit3
        arguments: {img_size: 8, patch_size: 4}
        published:
          inference_time: '2'
          speedup: {value: '1.5', ratio: [networks/8/plain, networks/8/fast], of: inference_time}
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    (tmp_path / "tiny.yaml").write_text(PAPER)
    known = {**papers(), "tiny": read_paper(tmp_path / "tiny.yaml")}
    monkeypatch.setattr(catalog, "papers", lambda: known)


@pytest.fixture
def turns(monkeypatch):
    """Replace the clock: the first contestant takes 2 ms, the second 3 ms, and so on; list who took turns."""
    took = []

    def take(calls, *, device, seconds):
        took.append(list(calls))
        return {name: Measurement(n, n, n, 0) for n, name in enumerate(calls, 2)}

    monkeypatch.setattr(latency, "measure", take)
    return took


def find_all():
    return [row for name in papers() for row in find(name)]


def values(folder):
    return {(each.path, each.metric): each.value for each in read_all(folder)}


def test_counts_of_the_report_are_those_that_it_prints(tmp_path, capsys):
    measure(find("dyc/table2"), "count", tmp_path)
    found = {(each.path, each.metric): each for each in read_all(tmp_path)}
    assert len(found) == 12
    for row in find("dyc/table2"):
        for metric, figure in row.figures.items():
            record = found[row.path, metric]
            digits = len(figure.value.partition(".")[2])
            assert float(f"{float(record.value):.{digits}f}") == float(figure.value)
            assert (record.protocol, record.seed, record.unit) == ("count", "", figure.unit)
    assert found["dyc/table2/cifar10/dyc", "params_derived"].value == "8008538"
    assert found["dyc/table2/cifar10/dyc", "macs"].value == "0.096670144"
    assert found["dyc/table2/cifar10/dyc", "macs"].command == "dyc run dyc/table2/cifar10/dyc"
    assert re.search(r"dyc +macs +G +0.096670144 +0.1 +-3.33%", capsys.readouterr().out)


def test_what_is_printed_nowhere_is_counted_at_the_size_of_its_images(tmp_path, capsys):
    measure(find("own/segmentation/camvid/static"), "count", tmp_path)
    assert [(each.metric, each.value) for each in read_all(tmp_path)] == [
        ("params", "0.278807"),
        ("macs", "0.20020548"),
    ]
    assert re.search(r"static +macs +G +0.20020548\s*$", capsys.readouterr().out, re.MULTILINE)


def test_a_row_is_counted_once_for_all_rows_that_share_it(tmp_path, capsys):
    (shared,) = find("eam/table1/imagenet100/eam_mobilenetv1_rcr")  # its counts stand in the paper's tables 2 and 5
    measure([shared], "count", tmp_path)
    records = list(read_all(tmp_path))
    assert [each.metric for each in records] == ["params", "flops", "params_derived", "flops_derived"]
    assert [each.value for each in records] == ["12.889188", "583.548332", "12889188", "583548332"]
    shown = capsys.readouterr().out
    assert re.search(r"eam/table2/\S+ +params +M +12.889188 +12.89 ", shown)
    assert re.search(r"eam/table5/\S+ +params +M +12.889188 +8.98 ", shown)


def test_rows_that_share_a_count_print_it_in_one_unit():
    found = {}
    for row in find_all():
        for figure in row.measured_by("count"):
            how = figure.unit, figure.options
            assert found.setdefault((row.measured_as, figure.metric), how) == how


def test_the_committed_records_have_every_count():
    """A count that has no note is the printed one, rounded to its digits."""
    folder = Path(__file__).parents[1] / RESULTS
    kept = {(each.path, each.metric): each for each in read_all(folder) if each.protocol == "count"}
    for row in find_all():
        for figure in row.measured_by("count"):
            record = kept[row.measured_as, figure.metric]
            assert record.unit == figure.unit
            last = 10.0 ** -len(figure.value.partition(".")[2])
            most = 1.5 if figure.metric == "flops_revised" else 0.5
            printed = float(figure.value or record.value)
            assert figure.note or abs(float(record.value) - printed) <= most * last + 1e-9, record


def test_rows_of_one_size_take_turns_with_their_static_baseline(tmp_path, turns):
    time_rows(find("dyc/table4/random256/dyc"), tmp_path, device="cpu")
    dyc, static = "dyc/table4/random256/dyc", "dyc/table4/random32/static at 256 pixels"
    assert turns == [[dyc, static]]
    assert values(tmp_path) == {(dyc, "forward_time"): "2", (dyc, "forward_time_ratio"): "0.66667"}


def test_a_row_is_timed_with_all_others_of_its_size(tmp_path, turns, capsys):
    time_rows(find("dyc/table4/random32/dy"), tmp_path, device="cpu")
    names = [f"dyc/table4/random32/{name}" for name in ("static", "dy", "dyc")]
    assert turns == [names]
    ratios = {key[0]: value for key, value in values(tmp_path).items() if key[1] == "forward_time_ratio"}
    assert ratios == {names[1]: "1.5", names[2]: "2"}
    assert re.search(r"dyc +auto +4 +0.317 +2.000 +11.321", capsys.readouterr().out)


def test_the_row_of_a_printed_speedup_is_the_baseline(tmp_path, turns, tiny):
    time_rows(find("tiny/networks"), tmp_path, device="cpu")
    plain, fast = "tiny/networks/8/plain", "tiny/networks/8/fast"
    times = {(plain, "inference_time"): "2", (fast, "inference_time"): "3", (fast, "inference_time_ratio"): "1.5"}
    assert values(tmp_path) == times


def test_networks_and_layers_are_timed(tmp_path, tiny):
    time_rows([*find("tiny/networks"), *find("dyc/table4/random32")], tmp_path, device="cpu", seconds=0.01)
    found = {(each.path, each.metric): each for each in read_all(tmp_path)}
    assert len(found) == 2 + 1 + 3 + 2
    assert all(float(each.value) > 0 for each in found.values())
    record = found["tiny/networks/8/plain", "inference_time"]
    assert (record.protocol, record.unit, record.seed) == ("latency", "ms", "")
    assert re.search(r"cores, load \d", record.hardware)


def test_a_row_whose_backend_cannot_run_is_named_and_not_timed(tmp_path, turns, capsys):
    time_rows(find("dyc/table3/random512/dyc_cuda"), tmp_path, device="cpu")
    assert turns == []
    assert list(read_all(tmp_path)) == []
    assert "dyc run: not timed: dyc/table3/random512/dyc_cuda: " in capsys.readouterr().err


@pytest.mark.parametrize(("load", "said"), [("0.40", False), ("1.93", True)])
def test_a_busy_machine_is_told_and_recorded(tmp_path, turns, monkeypatch, capsys, load, said):
    monkeypatch.setattr(latency, "machine", lambda: {"load": load})
    time_rows(find("dyc/table4/random32/static"), tmp_path, device="cpu")
    assert (f"busy (load average {load})" in capsys.readouterr().err) == said
    assert all(each.hardware.endswith(f", load {load}") for each in read_all(tmp_path))


def test_every_latency_of_the_papers_is_in_one_group():
    rows = [row for row in rows_of(list(papers())) if "latency" in ways_of(row)]
    groups = latency.groups_of(rows, "cpu")
    sizes = {(catalog.table_of(group[0]).path, group[0].image_size): len(group) for group in groups}
    report = {(f"dyc/table{n}", size): rows for n in (3, 4) for size, rows in ((32, 3), (256, 1), (512, 1))}
    assert sizes == {**report, ("dynet/table2", 224): 6}
    left = {row.path for row in rows} - {row.path for group in groups for row in group}
    assert left == {f"dyc/table{n}/random{size}/dyc_cuda" for n in (3, 4) for size in (32, 256, 512)}


def test_rows_beside_those_of_a_gpu_kernel_do_without_it():
    table = papers()["dyc"].tables["table3"]
    rows = [table.rows[f"random32/{name}"] for name in ("dyc", "dyc_cuda")]
    assert [backend_of(row, table, "cuda") for row in rows] == ["eager", "cupy"]
    assert [backend_of(row, table, "cpu") for row in rows] == ["auto", "cupy"]
    assert backend_of(find("dynet/table2")[1], papers()["dynet"].tables["table2"], "cuda") == "auto"


def test_a_static_row_has_no_baseline():
    table = papers()["dyc"].tables["table3"]
    assert baseline_of(table.rows["random32/static"], table) is None
    base = baseline_of(table.rows["random512/dyc"], table)
    assert (base.network, base.image_size) == ("mobilenetv2_cifar", 512)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_kernel_is_timed_on_a_gpu(tmp_path):
    time_rows(find("dyc/table4/random32"), tmp_path, seconds=0.01)
    assert ("dyc/table4/random32/dyc_cuda", "forward_time_ratio") in values(tmp_path)
