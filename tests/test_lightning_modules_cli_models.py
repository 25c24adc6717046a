"""``dyc models``: exact counts, beside those that the papers print."""

import csv

from lightning_modules.cli import main


def test_models_lists_exact_counts(capsys):
    assert main(["models", "*cifar", "--csv"]) == 0
    rows = {row["model"]: row for row in csv.DictReader(capsys.readouterr().out.splitlines())}
    assert rows["dyc_mobilenetv2_cifar"]["parameters"] == "8008538"
    assert rows["dyc_mobilenetv2_cifar"]["macs"] == "96670144"
    assert rows["mobilenetv2_cifar"]["mixing_macs"] == "0"
    assert rows["dyc_mobilenetv2_cifar"]["parameters_published"] == "8.01M"
    assert {row["parameters_gap"] for row in rows.values()} == {"="}


def test_models_compares_with_the_papers(capsys):
    assert main(["models", "eam_mobilenetv1", "--published", "--csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    shown = {(row["arguments"], row["published"]): (row["counted"], row["gap"]) for row in rows}
    assert shown["", "583.55M"] == ("583548332", "=")
    assert shown["select=every", "13.48M"] == ("13483188", "=")
    assert shown["", "8.98M"] == ("12889188", "+43.5%")
    assert all(row["gap"] == "=" or "misprint" in row["note"] for row in rows)


def test_models_compares_at_the_papers_size_only(capsys):
    assert main(["models", "eam_mobilenetv1_cgr"]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split()[:2] == ["model", "parameters"]
    assert row.split()[1:4] == ["12,889,188", "12.89M", "="]
    assert main(["models", "eam_mobilenetv1_cgr", "--num-classes=10"]) == 0
    assert "12.89M" not in capsys.readouterr().out
