"""Records: nothing is lost where several write, and a damaged file is named and left alone."""

import multiprocessing
from dataclasses import replace

import pytest

from experiments.records import COLUMNS, Record, append, read, read_all

RECORD = Record(**dict.fromkeys(COLUMNS, "") | {"paper": "p", "row": "t/r", "metric": "top1", "value": "0.5"})


def write(folder, writer):
    for number in range(50):
        append([replace(RECORD, seed=f"{writer}.{number}", hardware='x86, "4" cores\n' * (number % 2))], folder)


def test_several_writers_and_a_reader_lose_nothing(tmp_path):
    append([RECORD], tmp_path)
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write, args=(tmp_path, number)) for number in range(2)]
    for each in writers:
        each.start()
    while any(each.is_alive() for each in writers):
        list(read_all(tmp_path))  # never finds half a line
    assert [each.exitcode for each in writers] == [0, 0]
    seeds = [record.seed for record in read_all(tmp_path)]
    assert sorted(seeds) == sorted(["", *(f"{writer}.{number}" for writer in range(2) for number in range(50))])


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda text: text + "p,t/r,top1\n", "line 3"),
        (lambda text: text.replace("0.5", "much"), "line 2"),
        (lambda text: text.replace("metric", "figure"), "line 1"),
        (lambda text: text + text.splitlines()[1], "line 3"),
        (lambda text: text.replace("0.5", '"0.5'), "line 2"),
        (lambda text: text.replace("0.5", "nan"), "line 2"),
        (lambda text: text.replace("p,t/r", "q,t/r"), "line 2"),
        (lambda text: text.replace("t/r", "t/r\0"), "line 2"),
        (lambda text: text + "\n", "line 3"),
        (lambda text: text + "\udcff\n", "line 3: is not UTF-8"),
    ],
)
def test_a_damaged_file_is_named_with_its_line_and_left_alone(tmp_path, raises, damage, line):
    append([RECORD], tmp_path)
    path = tmp_path / "p.csv"
    path.write_text(damage(path.read_text()), errors="surrogateescape")
    before = path.read_bytes()
    with raises("results", f"{path}, {line}"):
        read(path)
    with raises("results", f"{path}, {line}"):
        append([RECORD], tmp_path)
    assert path.read_bytes() == before


def test_a_file_that_a_spreadsheet_saved_is_read(tmp_path):
    append([RECORD], tmp_path)
    path = tmp_path / "p.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    append([RECORD], tmp_path)
    assert read(path) == [RECORD, RECORD]


def test_a_folder_that_cannot_be_written_is_named(tmp_path, raises):
    (tmp_path / "file").touch()
    with raises("results", str(tmp_path / "file"), "can be written"):
        append([RECORD], tmp_path / "file")
