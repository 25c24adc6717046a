"""Errors of the parser of ``dyc fit`` and its like, in one line, with the options that were meant."""

import argparse
import difflib
import re
from collections.abc import Iterable
from typing import NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from ops import ArgumentError

CLASS = re.compile(r"Problem with given class_path '([^']+)':\s*([^\n]+)")
REQUIRED = re.compile(r"the following arguments are required: (.*)")
KEY = re.compile(r'Parser key "([^"]+)":\s*')
TYPES = re.compile(r"Subtypes: \[(.*)\]")
VALUE = re.compile(r"Given value: (.*)")
EXPECTED = re.compile(r"^Expected an? (.*)\. Got value: (.*)$")
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
    if message.startswith("unrecognized arguments: "):
        words = message.partition(": ")[2].split()
        option = next((word for word in words if word.startswith("-")), words[0]).partition("=")[0]
        return f"{option}: there is no such option{_hint(option, parser)}"
    if strange := STRANGE_KEY.match(message):  # of a configuration file
        return f"{strange[1]}: there is no such option{_hint('--' + strange[1], parser)}"
    key = KEY.match(message)
    name, message = (f"{key[1]}: ", message[key.end() :]) if key else ("", message)
    if found := CLASS.search(message):
        if (needed := REQUIRED.match(found[2])) and key:
            options = " and ".join(f"--{key[1]}.{argument.strip()}" for argument in needed[1].split(","))
            return f"{name}{found[1].rpartition('.')[2]} needs more; give {options}"
        return f"{name}{found[1].rpartition('.')[2]}: {found[2]}"
    if expected := EXPECTED.match(message):
        return f"{name}got {expected[2]!r}; need {_types(expected[1])}"
    types, value = TYPES.search(message), VALUE.search(message)
    if types and value:
        return f"{name}got {value[1]!r}; need {_types(types[1])}"
    return name + " ".join(message.split())


def close_options(option: str, known: Iterable[str]) -> list[str]:
    """Return the options that were probably meant: those of the same last word, then those that look alike.

    Example:
        >>> close_options("--model.lr", ["--model.model", "--model.optimizer.lr", "--trainer.max_epochs"])
        ['--model.optimizer.lr']
    """
    known, group, last = list(known), option.partition(".")[0], option.rpartition(".")[2]
    same = [name for name in known if name.startswith(group + ".") and name.endswith("." + last)]
    return same[:3] or difflib.get_close_matches(option, known, n=2, cutoff=0.8)


def _hint(option: str, parser: argparse.ArgumentParser | None) -> str:
    known = [name for name in (parser._option_string_actions if parser else ()) if name.startswith("--")]
    close = close_options(option, known)
    return f" (did you mean {' or '.join(map(repr, close))}?)" if close else "; see --help"


def _types(text: str) -> str:
    """Return ``<class 'int'>, <class 'NoneType'>`` as ``int or null``, and a ``Literal`` as its values."""
    names = re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", text).replace("NoneType", "null")
    values = re.fullmatch(r"(?:typing\.)?Literal\[(.*)\]", names)
    return f"one of {values[1]}" if values else " or ".join(names.split(", "))
