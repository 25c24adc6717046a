"""Options of the commands that take few: none is taken by its beginning, and those that were meant are named."""

import pytest

from lightning_modules.cli import main


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["models", "--arg"], "--arg: there is no such option (did you mean '--arguments'?)"),
        (["models", "--num_classes", "3"], "--num_classes: there is no such option (did you mean '--num-classes'?)"),
        (["models", "--num-classes", "x"], "--num-classes: got 'x'; need an int, at least 0"),
        (["models", "a", "b"], "unrecognized arguments: b"),
        (["compact", "--keep", "0.1"], "--keep: there is no such option (did you mean '--keep_below'?)"),
        (["compact", "--out=x.pt2"], "--out: there is no such option (did you mean '--output'?)"),
        (["build", "--nothing"], "--nothing: there is no such option; see --help"),
        (["bench", "ops", "--thread", "1"], "--thread: there is no such option (did you mean '--threads'?)"),
    ],
    ids=" ".join,
)
def test_the_error_is_one_line(capsys, argv, line):
    assert main(argv) == 2
    assert capsys.readouterr().err == f"dyc {argv[0]}: error: {line}\n"
