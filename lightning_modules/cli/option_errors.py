"""Errors of the parser of ``dyc fit`` and its like, in one line, with the options that were meant."""

import argparse
import difflib
import re
import sys
from collections.abc import Iterator
from typing import NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from lightning_modules.cli.arguments import no_such_option, unrecognized
from ops import ArgumentError

CLASS = re.compile(r"Problem with given class_path '([^']+)':\s*([^\n]+)")
REQUIRED = re.compile(r"the following arguments are required: (.*)")
KEY = re.compile(r'Parser key "([^"]+)":\s*')
TYPES = re.compile(r"Subtypes: \[(.*)\]")
VALUE = re.compile(r"Given value: (.*)")
EXPECTED = re.compile(r"^Expected an? (.*)\. Got value: (.*)$")
LITERAL = re.compile(r"(?:typing\.)?Literal\[(.*)\]")
CLASS_TYPE = re.compile(r"<class '([\w.]+)'>")
DOTTED = re.compile(r"\b(?:\w+\.)+(?=\w)")
PATH = re.compile(r"\b(?:\w+\.)+\w+")
STRANGE_KEY = re.compile(r"^Subcommand '\w+' does not accept option '([^']+)'$")


class OneLineParser(LightningArgumentParser):
    """A parser that raises one line instead of printing a usage and many lines."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise :class:`ops.ArgumentError`, the one that caused the trouble if there is one."""
        if not self.exit_on_error:  # a parser within the parser, whose caller adds what it knows
            super().error(message, ex)
        found: BaseException | None = ex
        while found is not None and not isinstance(found, ArgumentError):
            found = found.__cause__
        if found is not None:
            raise found
        parser = getattr(ex, "subcommand_parser", None) or self
        raise ArgumentError(one_line(message, parser)) from ex


def one_line(message: str, parser: argparse.ArgumentParser | None = None) -> str:
    """Return a message of jsonargparse in one line; for an option that does not exist, with those that were meant."""
    if line := unrecognized(message, parser):
        return line
    if strange := STRANGE_KEY.match(message):  # of a configuration file
        return no_such_option(f"--{strange[1]}", parser, strange[1])
    key = KEY.match(message)
    name, message = (f"{key[1]}: ", message[key.end() :]) if key else ("", message)
    types, value = TYPES.search(message), VALUE.search(message)
    if found := CLASS.search(message):
        if (needed := REQUIRED.match(found[2])) and key:
            options = " and ".join(f"--{key[1]}.{argument.strip()}" for argument in needed[1].split(","))
            return f"{name}{found[1].rpartition('.')[2]} needs more; give {options}"
        hint = _close_classes(found[1], types[1]) if types and " has no attribute " in found[2] else ""
        return f"{name}{found[1].rpartition('.')[2]}: {found[2]}{hint}"
    if expected := EXPECTED.match(message):
        return f"{name}got {expected[2]!r}; need {_types(expected[1])}"
    if types and value:
        return f"{name}got {value[1]!r}{_close_classes(value[1], types[1])}; need {_types(types[1])}"
    return name + " ".join(message.split())


def _types(text: str) -> str:
    """Return ``<class 'int'>, <class 'NoneType'>`` as ``int or null``, and ``Literal`` types as their values."""
    names, values = [], []
    for each in _split(text):
        literal = LITERAL.fullmatch(each)
        if literal:
            known = {value.strip("'\"") for value in values}  # 64 and '64' are the same on a command line
            values += [value for value in _split(literal[1]) if value.strip("'\"") not in known]
        else:
            names.append(DOTTED.sub("", CLASS_TYPE.sub(r"\1", each)).replace("NoneType", "null"))
    if not values:
        return " or ".join(names)
    return " or ".join([*(name for name in names if name != "null"), f"one of {', '.join(values)}"]) + (
        " or null" if "null" in names else ""
    )


def _split(text: str) -> list[str]:
    """Return what commas part, but for those within brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "[") - (character == "]")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _close_classes(value: str, types: str) -> str:
    """Return the classes that were probably meant by a name, among those derived from the types that are needed."""
    name = value.rpartition(".")[2]
    if not name.isidentifier():
        return ""
    known = {cls.__name__ for path in PATH.findall(types) for cls in _derived(path)}
    close = difflib.get_close_matches(name, sorted(known), n=2, cutoff=0.8)
    return f" (did you mean {' or '.join(map(repr, close))}?)" if close and name not in close else ""


def _derived(path: str) -> Iterator[type]:
    """Yield the classes that are loaded and derived from the one of that path, if it is a class."""
    module, _, name = path.rpartition(".")
    bases = [getattr(sys.modules.get(module), name, None)]
    while bases:
        cls = bases.pop()
        if isinstance(cls, type):
            found = cls.__subclasses__()
            bases += found
            yield from found
