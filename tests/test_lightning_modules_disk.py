"""A disk that is full, has become read-only or fails: a line names the file, and nothing that was there is lost."""

import csv
import errno
import io
import os
from dataclasses import replace

import pytest
from support.full_disk import full_after

from experiments import kept_rows
from experiments.compare.table import new_file as new_table
from experiments.records import COLUMNS, Record, append, read
from experiments.report.command import _write
from lightning_modules.cli.bench import plots
from lightning_modules.cli.csv_file import CsvFile
from lightning_modules.cli.errors import user_error
from lightning_modules.cli.evaluations import record_evaluation
from lightning_modules.csv_log import WholeCSVLogger
from lightning_modules.disk import ADVICE, append_whole, disk_error, naming, new_file
from ops import ArgumentError


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_all_of_a_text_is_added_or_nothing(tmp_path):
    path = tmp_path / "rows.csv"
    append_whole(path, "first row\n")
    with full_after(15), pytest.raises(OSError, match=r"rows\.csv") as error:
        append_whole(path, "second row\n")
    assert path.read_text() == "first row\n"
    assert disk_error(error.value) == f"File too large for '{path}'; {ADVICE[errno.EFBIG]}"
    append_whole(path, "second row\n")
    assert path.read_text() == "first row\nsecond row\n"


def test_a_log_whose_columns_change_keeps_its_rows(tmp_path):
    logger = WholeCSVLogger(tmp_path, "", "version_0")
    logger.log_metrics({"loss": 1.5}, 0)
    logger.save()
    path = tmp_path / "version_0" / "metrics.csv"
    before = path.read_text()
    logger.log_metrics({"loss": 1.25, "top1": 0.5}, 1)
    with full_after(len(before) + 2), pytest.raises(OSError, match=r"metrics\.csv"):
        logger.save()
    assert path.read_text() == before
    logger.save()  # some space was freed
    logger.log_metrics({"loss": 1.0, "top1": 0.75}, 2)
    with full_after(path.stat().st_size + 2), pytest.raises(OSError, match=r"metrics\.csv"):
        logger.save()
    logger.save()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["loss"], row["top1"]) for row in rows] == [
        ("0", "1.5", ""),
        ("1", "1.25", "0.5"),
        ("2", "1.0", "0.75"),
    ]
    assert [each.name for each in path.parent.iterdir()] == ["metrics.csv"]


RECORD = Record(**dict.fromkeys(COLUMNS, "") | {"paper": "p", "row": "t/r", "metric": "top1", "value": "0.5"})


def test_records_can_be_read_after_the_disk_was_full(tmp_path, raises):
    append([RECORD], tmp_path)
    path = tmp_path / "p.csv"
    with full_after(path.stat().st_size + 5), raises("results", "p.csv' (File too large)", "a file that can"):
        append([replace(RECORD, seed="1")], tmp_path)
    assert read(path) == [RECORD]


def test_records_say_what_to_do_where_the_disk_is_full(tmp_path, raises, monkeypatch):
    monkeypatch.setattr(kept_rows, "append_whole", full_disk)
    with raises("results", "No space left on device; free some space"):
        append([RECORD], tmp_path)


def test_an_evaluation_that_cannot_be_written_spoils_no_row(tmp_path):
    facts = {"split": "test", "checkpoint": "x.ckpt", "top1": 0.5}
    record_evaluation(tmp_path / "x.ckpt", facts)
    path = tmp_path / "evaluations.csv"
    before = path.read_text()
    with full_after(len(before) + 3):
        assert record_evaluation(tmp_path / "x.ckpt", facts) == f"not written to {path} (File too large)"
    assert path.read_text() == before


@pytest.mark.parametrize("mode", ["x", "xb"])
def test_a_new_file_that_cannot_be_finished_is_removed(tmp_path, raises, mode):
    path = tmp_path / "table.csv"
    with raises("--csv", f"No space left on device for '{path}'; free some space"), new_file("--csv", path, mode):
        full_disk()
    too_large = raises("--csv", f"'{path}' (File too large)", "a new file")
    with full_after(2), too_large, new_file("--csv", path, mode) as file:  # as it is closed
        file.write("text" if mode == "x" else b"text")
    assert not path.exists()
    path.write_text("mine")
    with raises("--csv", f"'{path}' (File exists)", "a new file"), new_file("--csv", path, mode):
        raise AssertionError
    assert path.read_text() == "mine"


def test_tables_and_pictures_are_such_files(tmp_path, raises, monkeypatch):
    assert new_table is new_file
    figure = plots.Figure()
    monkeypatch.setattr(figure, "savefig", full_disk)
    with raises("--plot", "No space left on device for"):
        plots.save_new(figure, tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_rows_that_were_measured_are_kept(tmp_path, raises):
    path = tmp_path / "rows.csv"
    with CsvFile(path, {"cpu": "x"}) as rows:
        rows.write([{"ms": 1.0}])
        before = path.read_text()
        with full_after(len(before) + 2), raises("--csv", f"File too large for '{path}'"):
            rows.write([{"ms": 2.0}])
        assert path.read_text() == before
        rows.write([{"ms": 2.0}])
    assert [row["ms"] for row in csv.DictReader(io.StringIO(path.read_text()))] == ["1", "2"]


def test_an_older_report_is_kept_until_the_newer_one_is_whole(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("older report")
    with full_after(20), pytest.raises(ArgumentError, match=r"--html: got .*File too large"):
        _write("--html", path, "newer report, which is longer")
    assert path.read_text() == "older report"
    _write("--html", path, "newer report")
    assert path.read_text() == "newer report"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("number", ADVICE)
def test_each_error_says_what_to_do(number):
    with pytest.raises(OSError, match=r"x\.csv") as error, naming("x.csv"):
        raise OSError(number, os.strerror(number))
    line = user_error(error.value)
    assert line == f"{os.strerror(number)} for 'x.csv'; {ADVICE[number]}"


def test_what_already_has_a_name_keeps_it():
    with pytest.raises(OSError, match=r"mask\.png"), naming("shares.csv"), naming("mask.png"):
        full_disk()
