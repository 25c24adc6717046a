"""What papers observe inside networks, and the analysis and the rule by which it is looked for here.

A paper's YAML file declares both:

.. code-block:: yaml

    analyses:                            # by name, which is that of a folder in experiments/results/analyses
      attention_dy:
        title: Accuracy of DY with other attention than its own
        command: attention papers/dyc/table1/cifar100/dy/quick/seed0 --images 3000    # what follows `dyc analyze`
        picture: attention.png           # what the report shows of it
    observations:
      average_kernel:
        text: The average kernel is far less accurate than those mixed for each image.
        place: section 5.2
        published: [attention/imagenet/average, attention/imagenet/intact]    # rows; or a text, if no row has it
        found_in: {attention_dy: [DY]}       # networks by analysis; a column `network` says which row is whose
        file: accuracy.csv                   # of the analysis
        where: {attention: average kernel}   # columns that choose the row
        value: top1                          # the column to look at
        error: standard_error                # that of its standard error, where there is one
        unit: '%'                            # how it is shown: '%' and points are of shares; nothing by default
        holds:                               # all of these
          - below: {attention: as trained}   # or above: a number, or the columns in which another row differs
            times: 0.75                      # that is multiplied by this; 1 unless said otherwise
            by: 0.01                         # at least so far; 0 unless said otherwise
        note: what is meant by far

A list in ``below`` or ``above``, as in ``{kernel: [kernel 1, kernel 2]}``, chooses several rows: all of them count. A
command may be a list of texts, so that analyses can share a part of it.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FOLDER = "experiments/results/analyses"
"""Where analyses are kept."""


@dataclass(frozen=True)
class Analysis:
    """A run of ``dyc analyze`` that is kept.

    Args:
        name: That of its folder.
        title: What it shows.
        words: The words after ``dyc analyze``, without ``--output``.
        picture: Which of its pictures the report shows.
    """

    name: str
    title: str
    words: tuple[str, ...]
    picture: str

    @property
    def command(self) -> str:
        """The command that makes it again."""
        return shlex.join(["dyc", "analyze", *self.words, "--output", f"{FOLDER}/{self.name}"])

    @property
    def quick(self) -> bool:
        """Whether it looks at networks that were trained by the quick protocol."""
        return any("/quick/" in f"{word}/" for word in self.words)


@dataclass(frozen=True)
class Condition:
    """What a value must be, beside a number or another value of the same table.

    Args:
        above: Whether it must be larger, rather than smaller.
        than: The number, or the columns in which the other rows differ.
        times: What that is multiplied by.
        by: How far apart the two must be.
    """

    above: bool
    than: float | Mapping[str, Any]
    times: float = 1.0
    by: float = 0.0


@dataclass(frozen=True)
class Observation:
    """A sentence of a paper about what happens inside networks.

    Args:
        path: ``PAPER/NAME``.
        text: The sentence, in our words.
        place: Where the paper has it.
        published: What it prints: paths of rows, or a text.
        found_in: Labels of the networks, by the analysis that looks at them.
        file: The table of the analysis.
        where: The columns that choose the row.
        value: The column that is looked at.
        holds: What is true of the value if the sentence is.
        error: The column of the value's standard error; empty where there is none.
        unit: ``%`` and ``points`` of shares; empty for other numbers.
        note: What is special about it.
    """

    path: str
    text: str
    place: str
    published: str | tuple[str, ...]
    found_in: Mapping[Analysis, tuple[str, ...]]
    file: str
    where: Mapping[str, Any]
    value: str
    holds: tuple[Condition, ...]
    error: str = ""
    unit: str = ""
    note: str = ""


def read_analyses(content: Mapping[str, Any]) -> dict[str, Analysis]:
    """Return the analyses of a paper's file by name."""
    return {
        name: Analysis(name, each["title"], _words(each["command"]), each["picture"])
        for name, each in content.get("analyses", {}).items()
    }


def read_observations(paper: str, content: Mapping[str, Any], analyses: Mapping[str, Analysis]) -> list[Observation]:
    """Return the observations of a paper's file."""
    return [
        Observation(
            f"{paper}/{name}",
            **{
                **each,
                "published": _published(paper, each["published"]),
                "found_in": {analyses[key]: tuple(networks) for key, networks in each["found_in"].items()},
                "holds": tuple(_condition(f"{paper}/{name}", condition) for condition in each["holds"]),
            },
        )
        for name, each in content.get("observations", {}).items()
    ]


def _words(command: str | list[str]) -> tuple[str, ...]:
    return tuple(shlex.split(command if isinstance(command, str) else " ".join(command)))


def _published(paper: str, given: str | list[str]) -> str | tuple[str, ...]:
    return given if isinstance(given, str) else tuple(f"{paper}/{row}" for row in given)


def _condition(path: str, given: Mapping[str, Any]) -> Condition:
    rest = dict(given)
    senses = [key for key in ("above", "below") if key in rest]
    if len(senses) != 1:
        raise ValueError(f"{path}: a condition of holds is either above or below something, not {given}")
    than = rest.pop(senses[0])
    return Condition(senses[0] == "above", than, **rest)
