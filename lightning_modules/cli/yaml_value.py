"""A value of the command line, as a configuration file would read it."""

from typing import Any

import yaml


def yaml_value(text: str) -> Any:
    """Return a value as YAML reads it; text that is no YAML, such as the expression ``*conv``, as it is.

    Example:
        >>> yaml_value("1.0e-3"), yaml_value("[a, b]"), yaml_value("*conv")
        (0.001, ['a', 'b'], '*conv')
    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
