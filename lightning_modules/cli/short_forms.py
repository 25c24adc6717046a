"""``--model.dynamic NAME`` and ``--model.selective true``: short forms, in full for the parser.

The parser takes both forms, but the later one replaces the earlier: ``--model.dynamic dy --model.dynamic.where blocks``
would lose the attention. Names and types are checked here, as the parser would say which of three types do not fit.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from lightning_modules.cli.yaml_value import yaml_value
from lightning_modules.conversion_settings import GROUPS, check_fields, check_types, settings_of
from ops import ArgumentError

OFF = ("null", "None", "false", "False")
ON = ("true", "True")


def expand(argv: Sequence[str], configs: Sequence[dict[str, Any]]) -> list[str]:
    """Return a command line in which the options of one group do not replace each other.

    Args:
        argv: The command line.
        configs: Contents of its configuration files, whose short forms options may add to.

    Raises:
        ArgumentError: An option or a key that is not a field of its group, or a value that the field does not take.
    """
    argv = list(argv)
    for group in GROUPS:
        written = [config["model"].get(group) for config in configs if isinstance(config.get("model"), dict)]
        for value in written:
            if isinstance(value, dict):
                _check(group, value)
            else:
                settings_of(group, value)
        argv = _expand(argv, group, written)
    return argv


def _check(group: str, values: dict[str, Any]) -> None:
    check_fields(group, values)
    check_types(group, values)


def _joined(argv: Sequence[str], option: str) -> Iterator[str]:
    """Yield the arguments, an option of the group and its value in one, as ``OPTION=VALUE``."""
    arguments = iter(argv)
    for argument in arguments:
        if "=" in argument or not f"{argument}.".startswith(f"{option}.") or argument == f"{option}.help":
            yield argument
            continue
        value = next(arguments, "--")
        if value.startswith("--"):
            raise ArgumentError(argument, sentence="needs a value")
        yield f"{argument}={value}"


def _expand(argv: Sequence[str], group: str, written: Sequence[Any]) -> list[str]:
    option, found, fields = f"--model.{group}", [], []
    before = _merged(written)
    for argument in _joined(argv, option):
        name, _, value = argument.partition("=")
        if name.startswith(f"{option}.") and name != f"{option}.help":
            field, *deeper = name.removeprefix(f"{option}.").removesuffix("+").split(".")
            _check(group, {field: {deeper[0]: value} if deeper else yaml_value(value)})
            fields.append(field)
        if name == option:
            argument = _full(group, value)
            another = argument.startswith(f"{option}.attention=") and value != before.get("attention", value)
            if another and before.get("attention_kwargs"):  # they are those of the file's attention
                found.append(f"{option}.attention_kwargs={{}}")
        found.append(argument)
    first = next((k for k, argument in enumerate(found) if argument.startswith(f"{option}.")), None)
    if fields and group == "selective":
        found = [argument for argument in found if argument not in {f"{option}={on}" for on in ON}]
    short = written[-1] if written else None
    if fields and isinstance(short, str) and not any(each.startswith(f"{option}.attention=") for each in found):
        found.insert(first, f"{option}.attention={short}")
    return found


def _merged(written: Sequence[Any]) -> dict[str, Any]:
    """Return the fields that configuration files give a group, one after the other."""
    fields: dict[str, Any] = {}
    for value in written:
        if isinstance(value, dict):
            fields |= value
        else:
            fields = {"attention": value} if isinstance(value, str) else {}
    return fields


def _full(group: str, value: str) -> str:
    """Return the option for a group's value on the command line."""
    if value in OFF:
        return f"--model.{group}=null"
    if value.startswith("{"):
        _check(group, settings if isinstance(settings := yaml_value(value), dict) else {})
    elif group == "dynamic":
        return f"--model.{group}.attention={value}"
    elif value not in ON:
        settings_of(group, value)  # says what is needed
    return f"--model.{group}={value}"
