"""What papers observe inside networks: verdicts on made-up numbers, and the kept analyses beside the papers' files."""

import csv
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import kept_analyses
from experiments.papers import find, papers
from experiments.papers.observations import FOLDER, Analysis, Condition, Observation
from experiments.report.observations import analysis_parts, observation_parts
from experiments.report.observed import in_short, observed, together
from lightning_modules.cli import main
from ops import ArgumentError

LOOK = Analysis("look", "A look", ("attention", "runs/dy", "--labels", "DY"), "look.png")
OBSERVATIONS = [each for paper in papers().values() for each in paper.observations]
ANALYSES = [each for paper in papers().values() for each in paper.analyses.values()]
KEPT = Path(__file__).parents[1] / FOLDER


def observation(*holds, **others):
    given = {"where": {"case": "average"}, "value": "top1", "error": "error", "unit": "%"} | others
    return Observation("dy/seen", "It is so.", "Table 1", "", {LOOK: ("DY",)}, "table.csv", holds=holds, **given)


def write(folder, rows, columns="network case top1 error"):
    (folder / "look").mkdir(exist_ok=True)
    with (folder / "look/table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns.split(), *rows])
    return folder


BELOW = Condition(False, {"case": "whole"})
FAR = Condition(False, {"case": "whole"}, times=0.75)
ABOVE = Condition(True, {"case": "whole"})


@pytest.mark.parametrize(
    ("average", "whole", "condition", "word"),
    [
        ((0.50, 0.01), (0.60, 0.01), BELOW, "holds"),
        ((0.60, 0.01), (0.50, 0.01), BELOW, "does not hold"),
        ((0.50, 0.01), (0.60, 0.01), ABOVE, "does not hold"),
        ((0.60, 0.01), (0.50, 0.01), ABOVE, "holds"),
        ((0.50, 0.01), (0.528, 0.01), BELOW, "not decided"),  # 2.8 points, and two standard errors are 2.83
        ((0.50, 0.01), (0.529, 0.01), BELOW, "holds"),
        ((0.50, 0.01), (0.60, 0.01), FAR, "does not hold"),
        ((0.40, 0.01), (0.60, 0.01), FAR, "holds"),
        ((0.426, 0.01), (0.60, 0.01), FAR, "not decided"),  # 2.4 points, and two standard errors are 2.5
        ((0.50, ""), (0.60, 0.01), BELOW, "not decided"),
        ((0.50, 0.01), (0.60, ""), BELOW, "not decided"),
    ],
)
def test_a_value_beside_another_is_decided_beyond_two_standard_errors(average, whole, condition, word, tmp_path):
    write(tmp_path, [["DY", "average", *average], ["DY", "whole", *whole], ["static", "whole", 0.1, 0]])
    [found] = observed(observation(condition), tmp_path)
    assert found.word == word
    assert bool(found.reason) == (word == "not decided")


@pytest.mark.parametrize(
    ("value", "condition", "word"),
    [
        (0.6, Condition(True, 0.5), "holds"),
        (0.4, Condition(True, 0.5), "does not hold"),
        (0.5, Condition(True, 0.5), "does not hold"),
        (0.6, Condition(False, 0.5), "does not hold"),
        (0.51, Condition(True, 0.5, by=0.02), "not decided"),
        (0.49, Condition(True, 0.5, by=0.02), "not decided"),
        (0.53, Condition(True, 0.5, by=0.02), "holds"),
        (0.6, Condition(True, {"case": ["one", "two"]}), "does not hold"),  # above 0.55 but not above 0.65
        (0.7, Condition(True, {"case": ["one", "two"]}), "holds"),
        (0.6, Condition(False, {"case": ["one", "two"]}), "does not hold"),
        (0.5, Condition(False, {"case": ["two", "one"]}), "holds"),
        (0.6, Condition(True, {"network": "static", "case": "one"}), "holds"),
    ],
)
def test_without_standard_errors_the_rule_alone_decides(value, condition, word, tmp_path):
    rows = [["DY", "average", value], ["DY", "one", 0.55], ["DY", "two", 0.65], ["static", "one", 0.1]]
    write(tmp_path, rows, "network case top1")
    assert [each.word for each in observed(observation(condition, error=""), tmp_path)] == [word]


def test_all_conditions_must_be_met(tmp_path):
    write(tmp_path, [["DY", "average", 0.5, 0.01]])
    low, near, high = (Condition(True, limit) for limit in (0.3, 0.49, 0.7))
    words = [
        observed(observation(*each), tmp_path)[0].word for each in ((low, low), (low, near), (near, high), (high, low))
    ]
    assert words == ["holds", "not decided", "does not hold", "does not hold"]


def test_what_is_shown_are_the_numbers_of_the_table(tmp_path):
    write(tmp_path, [["DY", "average", 0.2333, 0.0113], ["DY", "whole", 0.2527, 0.0112]])
    [found] = observed(observation(FAR), tmp_path)
    assert (found.found, found.value) == ("23.3 ± 1.1 %", 0.2333)
    assert found.condition == "below 0.75 of 25.3 ± 1.1 % (whole)"


def test_a_number_in_where_is_compared_as_a_number(tmp_path):
    write(tmp_path, [["DY", "0.50", 0.7, 0], ["DY", "1", 0.1, 0]])
    assert observed(observation(Condition(True, 0.5), where={"case": 0.5}), tmp_path)[0].value == 0.7


@pytest.mark.parametrize(
    ("others", "rows", "said"),
    [
        ({"value": "top5"}, [["DY", "average", 1, 0]], "dy/seen needs the column top5, and there are network, case"),
        ({"error": "se"}, [["DY", "average", 1, 0]], "dy/seen needs the column se, and"),
        ({"where": {"kase": 1}}, [["DY", "average", 1, 0]], "dy/seen needs the column kase, and"),
        ({}, [["DY", "average", "", 0]], "dy/seen needs a number in the column top1, and the cell is empty"),
        ({}, [["DY", "average", "x", 0]], "dy/seen needs a number in the column top1, not 'x'"),
        ({}, [["DYC", "average", 1, 0]], "dy/seen needs one row with network 'DY', case 'average', and there are none"),
        ({}, [["DY", "average", 1, 0]] * 2, "and there are 2"),
        ({}, [["DY", "average", 1, 0]], "needs one row with network 'DY', case 'whole', and there are none"),
        ({}, [], "which has no whole rows; need a table that dyc analyze wrote"),
        ({}, [["DY", "average"]], "which has no whole rows"),
        ({"file": "gone.csv"}, [["DY", "average", 1, 0]], "gone.csv' (No such file or directory); need a table"),
    ],
)
def test_a_rule_about_what_is_not_there_names_file_and_key(others, rows, said, tmp_path):
    write(tmp_path, rows)
    seen = replace(observation(BELOW), **others)
    with pytest.raises(ArgumentError) as error:
        observed(seen, tmp_path)
    assert said in str(error.value)
    assert str(tmp_path / "look" / seen.file) in str(error.value)


def test_an_analysis_that_is_not_kept_is_not_measured(tmp_path):
    [found] = observed(observation(BELOW), tmp_path)
    assert (found.word, found.found, found.network) == ("not measured", "", "DY")


def test_networks_are_counted_together(tmp_path):
    words = {"A": 0.1, "B": 0.2, "C": 0.5, "D": 0.9}
    write(tmp_path, [[name, "average", value, 0.001] for name, value in words.items()])

    def verdict(names, limit):
        return together(observed(replace(observation(Condition(False, limit)), found_in={LOOK: names}), tmp_path))

    assert verdict("AB", 0.4) == ("holds", "within")
    assert verdict("D", 0.4) == ("does not hold", "outside")
    assert verdict("ABCD", 0.5)[0] == "holds in 2, does not hold in 1 and not decided in 1 of 4 cases"
    said = in_short(["holds", "holds in 2 and not decided in 1 of 3 cases", "not measured"])
    assert said == (
        "Of what they observe inside networks, 1 hold, 0 do not hold, 1 differ between networks, 0 are not decided, "
        "and 1 are not measured."
    )


def test_the_papers_observations_and_the_kept_analyses_belong_to_each_other():
    """Every folder is declared with the command that made it, and every network and table of it is looked at."""
    names = [each.name for each in ANALYSES]
    assert len(names) == len(set(names))
    assert {path.name for path in KEPT.iterdir()} == set(names)
    for analysis in ANALYSES:
        assert kept_analyses.about(KEPT / analysis.name)["command"] == analysis.command
        assert (KEPT / analysis.name / analysis.picture).is_file()
        networks = [
            row["network"]
            for name in kept_analyses.files(KEPT / analysis.name)
            for row in kept_analyses.read(KEPT / analysis.name / name)
            if "network" in row
        ]
        asked = {label for each in OBSERVATIONS for label in each.found_in.get(analysis, ())}
        if asked:
            assert asked >= set(networks) - {"static"}
    assert len(OBSERVATIONS) == 9
    paths = [each.path for each in OBSERVATIONS]
    assert len(paths) == len(set(paths))


@pytest.mark.parametrize("each", OBSERVATIONS, ids=lambda each: each.path)
def test_each_observation_has_a_verdict_in_each_network(each):
    found = observed(each, KEPT)
    assert len(found) == sum(map(len, each.found_in.values()))
    assert {one.word for one in found} <= {"holds", "does not hold", "not decided"}
    assert all(math.isfinite(one.value) and one.condition for one in found)
    if not isinstance(each.published, str):
        assert all(figure.value for path in each.published for row in find(path) for figure in row.figures.values())


def test_the_pictures_leave_room_in_the_page():
    """The page shall stay below 1.5 MB."""
    parts = analysis_parts(list(papers().values()), KEPT, draw=True)
    assert all(part.picture.startswith("data:image/webp;base64,UklGR") for part in parts)
    assert sum(len(part.picture) for part in parts) < 500_000


def test_the_report_has_them_or_says_how_to_measure_them(tmp_path, capsys):
    (tmp_path / "papers").mkdir()
    assert main(["report", "dy", "--results", str(tmp_path / "papers"), "--markdown"]) == 0
    said = capsys.readouterr().out
    assert "Of what they observe inside networks, 0 hold" in said
    assert "Here: **not measured**" in said
    assert "36.0 % (kernel average instead of attention)" in said
    run = "papers/dyc/table1/cifar100/dy/quick/seed0"
    command = f"dyc analyze attention {run} --labels 'DY τ=30' --images 3000 --output {FOLDER}/attention_dy"
    assert f"`{command}` (not measured)" in said
    shutil.copytree(KEPT, tmp_path / "analyses")
    assert main(["report", "dy", "--results", str(tmp_path / "papers"), "--markdown"]) == 0
    said = capsys.readouterr().out
    assert "not measured in" not in said
    part = next(part for part in observation_parts([papers()["dy"]], KEPT) if part.anchor.endswith("average_kernel"))
    assert f"Here: **{part.verdict}**" in said
    for row in part.grid.rows:
        assert f"| {row[0].text} | {row[1].text} *quick* |" in said
    (tmp_path / "analyses/attention_dy/accuracy.csv").unlink()
    assert main(["report", "dy", "--results", str(tmp_path / "papers"), "--markdown"]) == 2
    assert "attention_dy/accuracy.csv' (No such file" in capsys.readouterr().err


def test_other_papers_have_no_such_section(tmp_path, capsys):
    assert main(["report", "eam", "--results", str(tmp_path), "--markdown"]) == 0
    said = capsys.readouterr().out
    assert "inside networks" not in said
    assert "standard errors" not in said
