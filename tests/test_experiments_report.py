"""``dyc report``: what it says of made-up records, and what it refuses."""

import re
import subprocess
import sys
from dataclasses import replace

import pytest
from support import made_records
from support.made_records import record, trained

from experiments.papers import find, papers
from experiments.records import append
from experiments.report.cells import table_grid
from experiments.report.claims import sentence, verdicts
from experiments.report.gaps import gap_of
from experiments.report.measured import measurements
from experiments.report.numbers import MINUS
from experiments.report.results import measured_of
from experiments.report.summary import overview
from lightning_modules.cli import main

TABLE = "dyc/table1"
DYC, DY = "dyc/table1/cifar10/dyc", "dyc/table1/cifar10/dy"
CLAIM = next(claim for claim in papers()["dyc"].claims if claim.name == "dyc_beats_dy_cifar10")


def plain(text):
    """Return a text with the minus sign of a keyboard."""
    return text.replace(MINUS, "-")


def lines(path, records):
    """Return the lines of a table as the texts of their cells by title; a quick number ends with its mark."""
    paper, table = path.split("/")
    grid = table_grid(papers()[paper].tables[table], measurements(records))
    return [{t: plain(cell.text) + " quick" * cell.quick for t, cell in zip(grid.titles, row)} for row in grid.rows]


def says(values, printed, unit="%", spread=None, metric="top1"):
    """Return gap and reading of seeds beside a printed figure."""
    figure = replace(find(DYC)[0].figures["top1_accuracy"], metric=metric, value=printed, unit=unit, spread=spread)
    [measured] = measurements(trained(DYC, metric, values, unit)).values()
    gap = gap_of(figure, measured[0])
    return plain(gap.text), gap.reading, gap.kind


@pytest.mark.parametrize(
    ("values", "printed", "unit", "spread", "metric", "expected"),
    [
        ([73.0, 75.0], "75.0", "%", None, "top1", ("-1.00 pp", "within the spread", "within")),
        ([73.0, 73.2], "75.0", "%", None, "top1", ("-1.90 pp", "worse, outside the spread", "outside")),
        ([73.0, 73.2], "75.0", "%", "1.80", "top1", ("-1.90 pp", "within the spread", "within")),
        ([76.0], "75.0", "%", None, "top1", ("+1.00 pp", "one seed, no spread", "unknown")),
        ([76.0], "75.0", "%", "0.5", "top1", ("+1.00 pp", "better, outside the spread", "better")),
        ([0.74, 0.742], "0.75", "fraction", None, "top1", ("-0.90 pp", "worse, outside the spread", "outside")),
        ([26.0, 26.1], "25.0", "%", None, "error", ("+1.05 pp", "worse, outside the spread", "outside")),
    ],
)  # fmt: skip
def test_a_gap_is_read_by_the_spread(values, printed, unit, spread, metric, expected):
    assert says(values, printed, unit, spread, metric) == expected


def test_counts_are_as_printed_after_rounding_or_differ():
    found = {
        (line["figure"], line["gap"], line["reading"])
        for line in lines("dyc/table2", [
            record("dyc/table2/cifar10/dyc", "params", 8.0149, "M", "count"),
            record("dyc/table2/cifar10/static", "params", 2.4, "M", "count"),
            record("dyc/table2/cifar10/dyc", "params_derived", 8008539, "count", "count"),
        ])
        if line["ours"] != "not measured"
    }  # fmt: skip
    assert found == {
        ("parameters", "+0.06 %", "as printed"),
        ("parameters", "+4.35 %", "differs"),
        ("parameters, to the last one", "+1", "differs"),
    }


def test_quick_and_full_stand_side_by_side_and_every_quick_number_says_so():
    records = trained(DYC, "top1_accuracy", [0.9, 0.92, 0.94], "fraction")
    records += trained(DYC, "top1_accuracy", [0.93], "fraction", "full", epochs="100")
    full, quick = (line for line in lines(TABLE, records) if line["ours"] != "not measured")
    assert (full["ours"], full["gap"], full["seeds"], full["protocol"]) == (
        "0.9300",
        "-0.08 pp",
        "1",
        "full, 100 epochs",
    )
    assert full["remarks"] == ""
    assert (quick["ours"], quick["gap"]) == ("0.9200 ± 0.0200 quick", "-1.08 pp quick")
    assert (quick["seeds"], quick["protocol"]) == ("3", "quick, 20 epochs")
    assert quick["remarks"] == f"quick: {find(DYC)[0].quick.note}"


def test_a_seed_that_is_measured_again_counts_once():
    records = [
        *trained(DYC, "top1_accuracy", [0.5, 0.9], "fraction"),
        *trained(DYC, "top1_accuracy", [0.8], "fraction"),
    ]
    [[measured]] = measurements(records).values()
    assert measured.values == [0.8, 0.9]


@pytest.mark.parametrize(
    ("others", "averaged"),
    [
        ({"hardware": "x86, 2 of 2 cores"}, True),
        ({"hardware": "x86, 1 of 2 cores + x86, 2 of 2 cores"}, True),
        ({"hardware": "1 x H100"}, False),
        ({"epochs": "30"}, False),
        ({"protocol": "full"}, False),
    ],
)
def test_other_machines_epochs_and_protocols_are_not_averaged(others, averaged):
    one, two = trained(DYC, "top1_accuracy", [0.8, 0.9], "fraction")
    [found] = measurements([one, replace(two, **others)]).values()
    assert len(found) == 2 - averaged


def test_a_row_shares_the_records_of_the_row_that_it_is_measured_as():
    row = next(row for row in find("eam/table2") if row.same_as and "top1" in row.figures)
    found = measurements(trained(row.same_as, "top1", [70.0, 71.0], "%"))
    assert [each.mean for each in measured_of(row, row.figures["top1"], found)] == [70.5]
    assert measured_of(row, row.figures["params"], found) == []


def test_a_figure_that_is_not_printed_has_no_gap(monkeypatch):
    table = papers()["dyc"].tables["table1"]
    row = table.rows["cifar10/dyc"]
    figure = replace(row.figures["top1_accuracy"], value="", status="ours")
    table = replace(table, rows={"cifar10/dyc": replace(row, figures={"top1_accuracy": figure})})
    grid = table_grid(table, measurements(trained(DYC, "top1_accuracy", [0.9, 0.91], "fraction")))
    [cells] = [dict(zip(grid.titles, (cell.text for cell in row))) for row in grid.rows]
    assert (cells["published"], cells["ours"]) == ("not printed", "0.9050 ± 0.0071")
    assert "gap" not in cells


def test_times_are_compared_by_their_ratio_to_the_static_network():
    path, load = "dyc/table3/random32/dyc", {"hardware": "x86, 2 of 2 cores, load 0.2"}
    records = [
        record(path, "forward_time", 9.2, "ms", "latency", **load),
        record(path, "forward_time_ratio", 1.5, "x", "latency", **load),
        record("dynet/table2/imagenet/resnet18", "inference_time", 60, "ms", "latency"),
        record("dynet/table2/imagenet/dynet_resnet18", "inference_time", 40, "ms", "latency"),
    ]  # fmt: skip
    line = next(line for line in lines("dyc/table3", records) if line["ours"] != "not measured")
    assert (line["ours"], line["published, x static"], line["ours, x static"]) == ("9.20", "1.38", "1.50")
    assert line["hardware"] == "x86, 2 of 2 cores"
    speedup = next(line for line in lines("dynet/table2", records) if line["ours"] == "1.50")
    assert speedup["figure"] == "speed-up"


def test_what_cannot_be_measured_says_why():
    line = lines("dy/keypoints", [])[0]
    assert line["ours"] == "not measured"
    assert line["remarks"]


@pytest.mark.parametrize(
    ("dyc", "dy", "expected"),
    [
        ([0.92, 0.93], [0.90, 0.91], "quick, 2 seeds: +2.00 ± 1.00 pp: holds (quick: the second"),
        ([0.90, 0.91], [0.92, 0.93], "quick, 2 seeds: -2.00 ± 1.00 pp: does not hold (quick: the second"),
        ([0.90, 0.92], [0.90, 0.91], "quick, 2 seeds: +0.50 ± 1.58 pp: not decided (within the spread; quick"),
        ([0.95], [0.90, 0.91], "quick, 1 seed: +4.50 pp: not decided (one seed has no spread; quick"),
        ([0.95], [], "+0.28 pp published: not measured."),
    ],
)
def test_a_claim_holds_beyond_the_spread(dyc, dy, expected):
    found = measurements(
        trained(DYC, "top1_accuracy", dyc, "fraction") + trained(DY, "top1_accuracy", dy, "fraction")
    )  # fmt: skip
    [verdict] = verdicts(CLAIM, found)
    text = plain(sentence(verdict))
    assert text.startswith("DYC is more accurate than DY on CIFAR-10: +0.28 pp published")
    assert expected in text


def test_a_claim_about_errors_counts_a_smaller_error_as_a_gain():
    claim = next(each for each in papers()["selectconv"].claims if each.name == "select_densenet40_cifar10")
    found = measurements(
        trained(claim.better, "error", [5.0, 5.2], "%") + trained(claim.than, "error", [6.0, 6.2], "%")
    )  # fmt: skip
    assert "+1.00 ± 0.20 pp: holds" in sentence(verdicts(claim, found)[0])


def test_quick_and_full_decide_a_claim_apart():
    records = [
        each
        for protocol, values in (("quick", [0.9, 0.91]), ("full", [0.95, 0.951]))
        for path, more in ((DYC, 0.0), (DY, 0.02))
        for each in trained(path, "top1_accuracy", [value - more for value in values], "fraction", protocol)
    ]
    assert [each.evidence for each in verdicts(CLAIM, measurements(records))] == ["full, 2 seeds", "quick, 2 seeds"]
    mixed = trained(DYC, "top1_accuracy", [0.9], "fraction") + trained(DY, "top1_accuracy", [0.8], "fraction", "full")
    assert [each.word for each in verdicts(CLAIM, measurements(mixed))] == ["not measured"]


@pytest.mark.parametrize(("ratio", "word"), [(1.0, "holds"), (1.09, "not decided"), (1.2, "does not hold")])
def test_a_claim_about_times_needs_a_difference_above_the_noise(ratio, word):
    claim = next(each for each in papers()["dyc"].claims if each.name == "dyc_takes_little_longer_than_dy")
    records = [record(claim.better, "forward_time", 10 * ratio, "ms", "latency")]
    records += [record(claim.than, "forward_time", 10, "ms", "latency")]
    assert [each.word for each in verdicts(claim, measurements(records))] == [word]


def test_the_overview_counts_what_is_measured(tmp_path):
    grid = overview([papers()["dyc"]], measurements(trained(DYC, "top1_accuracy", [0.9], "fraction")))
    assert [cell.text for cell in grid.rows[0]] == ["dyc/table1", papers()["dyc"].tables["table1"].title, *"61150"]


def test_the_kept_records_belong_to_rows(tmp_path, capsys):
    assert main(["report", "dyc", "--markdown"]) == 0
    shown, warned = capsys.readouterr()
    assert "that no table has" not in shown
    assert warned == ""
    assert "| 8.008538 |" not in shown  # rounded beside the printed 8.01
    assert "8,008,538" in shown


def test_markdown_has_the_claims_as_sentences(tmp_path, capsys):
    made_records.write(tmp_path)
    append([record("dyc/table9/gone", "top1", 1, "%", "quick")], tmp_path)
    assert main(["report", "dyc", "--results", str(tmp_path), "--markdown"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"\* DYC is more accurate than DY on CIFAR-10: .* quick, 3 seeds: \+0.50 ± 1.02 pp: not", shown)
    assert "0.9150 ± 0.0100 *quick*" in shown
    assert "which are left out: dyc/table9/gone." in shown
    assert "## EAM" not in shown


def test_comparisons_of_our_own_have_no_source_and_no_claims(tmp_path, capsys):
    made_records.write(tmp_path / "results")
    page = tmp_path / "page.html"
    assert main(["report", "own", "--results", str(tmp_path / "results"), "--markdown", "--html", str(page)]) == 0
    shown = capsys.readouterr().out
    own = shown[shown.index("## Comparisons of our own") :]
    assert "\n## " not in own
    assert "Claims" not in own
    assert re.search(r"Dilated FCN DYC-MobileNetV2.* mean IoU .*54.00 ± 1.00 \*quick\*", own)
    assert re.search(r"Dilated FCN DYC-MobileNetV2.* IoU of sky .*91.00 ± 1.00 \*quick\*", own)
    text = page.read_text()
    text = text[text.index('<section aria-labelledby="own">') :]
    assert "Claims" not in text
    assert "Mean IoU against parameters, CamVid, quick" in text
    assert "mIoU, % (validation)" in text
    assert "top1" not in text


def test_a_report_is_replaced_and_other_files_are_not(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    command = ["report", "selectconv", "--results", "empty"]
    for _ in range(2):
        assert main(command) == 0
        assert capsys.readouterr().out == "report: report.html\nreport: report.md\n"
    (tmp_path / "report.md").write_text("mine")
    assert main(command) == 2
    assert "--markdown: got 'report.md', which is no report; need a new file" in capsys.readouterr().err
    assert (tmp_path / "report.md").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dcy"], "PAPER: got 'dcy' (did you mean 'dy' or 'dyc'?)"),
        (["--results", "none"], "--results: got 'none'; need a folder of records"),
        (["--html", "page.txt"], "--html: got 'page.txt'; need a file name that ends with .html"),
        (["--html", "none/page.html"], "whose folder does not exist"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_damaged_file_is_named_with_its_line(tmp_path, capsys):
    append([record(DYC, "top1_accuracy", 0.9, "fraction", "quick")], tmp_path)
    with (tmp_path / "dyc.csv").open("a") as file:
        file.write("half a li")
    assert main(["report", "--results", str(tmp_path), "--markdown"]) == 2
    assert f"{tmp_path}/dyc.csv, line 3" in capsys.readouterr().err


def test_help_comes_without_pytorch():
    code = "import sys; from experiments.report.parser import report_parser; report_parser().format_help(); "
    loaded = "print(sorted({'torch', 'matplotlib', 'jinja2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code + loaded], capture_output=True, text=True).stdout == "[]\n"
