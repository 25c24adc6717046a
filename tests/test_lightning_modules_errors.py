"""What errors of other packages say, in one line."""

import pytest

from lightning_modules.errors import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError("no space\nleft"), "no space"),
        (ValueError("\n  first\nsecond"), "first"),
        (KeyError(), "KeyError"),
        (RuntimeError(" \n"), "RuntimeError"),
    ],
)
def test_the_first_line_of_an_error_or_its_type(error, line):
    assert first_line(error) == line
