"""Values of the command line are read as those of a configuration file."""

import pytest

from lightning_modules.cli.yaml_value import yaml_value


@pytest.mark.parametrize(
    ("text", "value"), [("1.0e-3", 0.001), ("[a, b]", ["a", "b"]), ("null", None), ("*conv", "*conv"), ("{a", "{a")]
)
def test_text_that_is_no_yaml_stays_as_it_is(text, value):
    assert yaml_value(text) == value
