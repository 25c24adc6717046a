"""``--model.dynamic NAME`` and ``--model.selective true``: short forms, in full for the parser.

The parser takes both forms, but the later one replaces the earlier: ``--model.dynamic dy --model.dynamic.where blocks``
would lose the attention.
"""

from collections.abc import Sequence
from typing import Any

from lightning_modules.conversion_settings import GROUPS, check_fields
from ops import ArgumentError

OFF = ("null", "None", "false", "False")


def expand(argv: Sequence[str], configs: Sequence[dict[str, Any]]) -> list[str]:
    """Return a command line in which the options of one group do not replace each other.

    Args:
        argv: The command line.
        configs: Contents of its configuration files, whose short forms options may add to.

    Raises:
        ArgumentError: An option or a key that is not a field of its group.
    """
    argv = list(argv)
    for group in GROUPS:
        written = [config["model"].get(group) for config in configs if isinstance(config.get("model"), dict)]
        for value in written:
            check_fields(group, value if isinstance(value, dict) else ())
        argv = _expand(argv, group, written)
    return argv


def _expand(argv: list[str], group: str, written: Sequence[Any]) -> list[str]:
    option, found = f"--model.{group}", []
    arguments = iter(argv)
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name == option and not equals:
            value = next(arguments, "--")
            if value.startswith("--"):
                raise ArgumentError(option, sentence="needs a value")
        if name.startswith(f"{option}."):
            check_fields(group, {name.removeprefix(f"{option}.").split(".")[0].removesuffix("+")} - {"help"})
        if name != option:
            found.append(argument)
        elif value in OFF:
            found.append(f"{option}=null")
        elif group == "dynamic" and not value.startswith("{"):
            found.append(f"{option}.attention={value}")
        else:
            found.append(f"{option}={value}")
    names = [argument.partition("=")[0] for argument in found]
    fields = [k for k, name in enumerate(names) if name.startswith(f"{option}.")]
    if fields and group == "selective":
        found = [argument for argument in found if argument not in (f"{option}=true", f"{option}=True")]
    short = written[-1] if written else None
    if fields and isinstance(short, str) and f"{option}.attention" not in names:
        found.insert(fields[0], f"{option}.attention={short}")
    return found
