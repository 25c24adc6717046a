"""The papers' tables: nothing that is printed is lost, changed or added, and names lead somewhere."""

import csv
from collections import Counter
from pathlib import Path

import pytest
import yaml

from dyc.counting.conventions import CONVENTIONS
from dyc.counting.published import FIGURES, UNITS
from experiments.papers import Figure, Row, find, papers, table_of
from experiments.papers.metrics import CAMVID, METRICS, WAYS
from experiments.papers.units import scale
from lightning_modules.data.segmentation.catalog import KNOWN
from ops import ArgumentError

FOLDER = Path(__file__).parents[1] / "experiments"
with (FOLDER / "papers/published.csv").open(newline="") as file:
    PUBLISHED = [tuple(row.values())[:8] for row in csv.DictReader(file)]
ROWS = [row for paper in papers() for row in find(paper)]
TRAINED = [row for row in ROWS if row.measured_by("train")]


def printed(row: Row, figure: Figure) -> list[tuple[str, ...]]:
    """Return what ``published.csv`` should have of a figure: its row, and that of its spread."""
    paper = papers()[row.path.split("/")[0]]
    place = (paper.source, table_of(row).source, figure.model or row.model, figure.dataset or row.dataset)
    found = [(*place, figure.metric, figure.value, figure.unit, figure.status)]
    if figure.spread is not None:
        found.append((*place, f"{figure.metric}_pm", figure.spread, figure.unit, figure.status))
    return found


def test_every_printed_number_is_there_as_printed_and_none_is_added():
    figures = [(row, figure) for row in ROWS for figure in row.figures.values() if figure.status != "ours"]
    ours = [each for row, figure in figures for each in printed(row, figure)]
    assert len(PUBLISHED) == 461
    assert Counter(ours) - Counter(PUBLISHED) == Counter()
    assert Counter(PUBLISHED) - Counter(ours) == Counter()


def test_rows_of_our_own_stand_in_tables_of_their_own():
    tables = [table for paper in papers().values() for table in paper.tables.values()]
    assert [name for name, paper in papers().items() if paper.source is None] == [list(papers())[-1]] == ["own"]
    assert all(table.source is None for table in papers()["own"].tables.values())
    for table in tables:
        figures = [figure for row in table.rows.values() for figure in row.figures.values()]
        assert {figure.status == "ours" for figure in figures} == {table.source is None}
        assert all((figure.status == "ours") == (not figure.value) for figure in figures)


def test_names_are_lower_case_unique_and_without_special_characters():
    paths = [row.path for row in ROWS]
    assert len(paths) == len(set(paths)) > 250
    assert all(path == path.lower() and path.replace("/", "").replace("_", "").isalnum() for path in paths)
    assert all(path.count("/") == 3 for path in paths)  # PAPER/TABLE/DATA SET/NETWORK


@pytest.mark.parametrize(
    ("path", "count"),
    [("dyc", 28), ("dyc/table1", 6), ("dyc/table1/cifar100", 3), ("dyc/table1/cifar100/dyc", 1), ("eam/table1/", 72)],
)
def test_find(path, count):
    assert len(find(path)) == count


@pytest.mark.parametrize(
    ("path", "close"),
    [
        ("dynt", "did you mean 'dynet'"),
        ("dyc/tabel1", "did you mean 'table1'"),
        ("dyc/table1/cifar10/dycc", "did you mean 'cifar10/dyc'"),
        ("dyc/table1/cifar1", "'cifar10/dyc'"),  # not the rows whose names begin so
    ],
)
def test_unknown_names_are_answered_with_close_ones(path, close):
    with pytest.raises(ArgumentError, match=close):
        find(path)


def test_rows_that_share_runs_share_a_row_of_their_own():
    shared = [row for row in ROWS if row.same_as]
    assert len(shared) > 30
    for row in shared:
        (other,) = find(row.same_as)
        assert other.path == row.same_as
        assert other.same_as is None
        assert row.measured_as == other.measured_as == other.path
        same = ("network", "arguments", "recipe", "options", "image_size", "num_classes", "benchmark")
        assert all(getattr(row, name) == getattr(other, name) for name in same)


def test_rows_that_share_runs_print_the_same_accuracy():
    pairs = [
        (figure.value, find(row.same_as)[0].figures[figure.metric].value)
        for row in ROWS
        if row.same_as
        for figure in row.measured_by("train")
        if figure.status != "ours"
        if figure.metric in find(row.same_as)[0].figures
    ]
    assert len(pairs) > 30
    assert [pair for pair in pairs if pair[0] != pair[1]] == []


@pytest.mark.parametrize("row", TRAINED, ids=lambda row: row.path)
def test_what_is_trained_has_a_network_and_a_recipe(row):
    assert row.network is not None
    assert row.recipe
    assert all(file.is_file() for file in row.recipe)


def test_what_is_counted_or_timed_has_what_that_needs():
    for row in ROWS:
        for figure in row.measured_by("count"):
            assert row.network is not None
            assert scale(figure) > 0
            convention = figure.options.get("convention")
            assert (convention is None) == figure.metric.startswith("params")
            assert convention is None or convention in CONVENTIONS
        if row.measured_by("latency"):
            assert row.image_size is not None
            assert row.benchmark["batch_size"] == 1
            assert (row.network is None) == ("layer" in row.benchmark)
        for figure in row.measured_by("follows"):
            pair = figure.options.get("ratio") or figure.options["difference"]
            assert [find(path)[0].figures[figure.options["of"]].how != "none" for path in pair] == [True, True]


def test_what_is_not_measured_says_why():
    for row in ROWS:
        for figure in row.figures.values():
            assert figure.how in WAYS
            assert (figure.how == "none") == bool(figure.reason)
        assert row.network is not None or row.benchmark or all(f.reason for f in row.figures.values())


def test_every_metric_is_printed():
    assert {figure.metric for row in ROWS for figure in row.figures.values()} == set(METRICS)


def test_classes_of_our_own_rows_are_those_of_the_data():
    classes = [metric.removeprefix("IoU_") for metric in find("own")[0].figures if metric.startswith("IoU_")]
    assert classes == list(CAMVID) == list(KNOWN["camvid"].colours)


def test_every_recipe_belongs_to_a_row():
    used = {file for row in ROWS for file in row.recipe}
    others = {FOLDER, *map(FOLDER.joinpath, ("papers", "protocols", "protocols/segmentation"))}
    assert {path for path in FOLDER.rglob("*.yaml") if path.parent not in others} == used


def counted(network: str, arguments: dict) -> tuple[str, str]:
    """Return a network and its arguments as they decide about counts: groups of channels count like single ones."""
    rest = {name: value for name, value in arguments.items() if (name, value) != ("select", "cgr")}
    rest.pop("drop_rate", None)
    return network.removesuffix("_cgr_max").removesuffix("_cgr"), repr(rest)


def test_counts_are_those_of_the_list_of_published_figures():
    """``dyc/counting/published.py`` has the same numbers, conventions and units for ``dyc models --published``."""
    ours = {
        (
            *counted(row.network, row.arguments),
            round(float(figure.value) * scale(figure) * figure.options.get("operations_per_mac", 1)),
            figure.options.get("convention", ""),
            figure.options.get("classifier", True),
        )
        for row in ROWS
        for figure in row.measured_by("count")
        if figure.value
    }
    listed = {
        (
            *counted(each.model, each.arguments),
            round(float(each.value) * UNITS[each.unit]),
            each.convention,
            each.classifier,
        )
        for each in FIGURES
        if not each.model.startswith("select_")  # whose sizes the paper prints for the static networks
    }
    assert listed - ours == set()


CLAIMS = [claim for paper in papers().values() for claim in paper.claims]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_claims_are_what_the_papers_print(claim):
    """A claim compares two rows by a figure that both have, and the printed numbers agree with it."""
    (better,), (than,) = find(claim.better), find(claim.than)
    assert (better.path, than.path) == (claim.better, claim.than)
    values = [float(row.figures[claim.figure].value) for row in (better, than)]
    assert claim.holds(*values)
    assert claim.factor != 1 or not claim.holds(*values[::-1])
    assert claim.text.endswith(".")


def test_the_claims_of_dynet_s_segmentation_are_there():
    claims = {claim.name: claim for claim in papers()["dynet"].claims}
    assert claims["segmentation_operations"].factor == 0.3333
    assert claims["segmentation_miou"].figure == "mIoU"


def test_claims_have_names_of_their_own():
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS) >= 25


def test_numbers_are_quoted_in_the_files():
    """An unquoted number loses digits, and is refused."""
    from experiments.papers.reading import _Reader

    content = yaml.safe_load("{source: s, title: t, metrics: {top1: {unit: '%'}}, rows: {a/b: ROW}}")
    content["rows"]["a/b"] = {"model": "m", "dataset": "d", "published": {"top1": 93.50}}
    with pytest.raises(ValueError, match="must be quoted"):
        _Reader("paper", {}, {"t": content}).table("t")
