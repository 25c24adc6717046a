"""Names and tags that W&B takes: it would refuse longer ones at the upload, when the training is over."""

import hashlib
import re
from collections.abc import Iterable

from ops import ArgumentError

LONGEST_NAME, LONGEST_TAG = 128, 64


def experiment_of(name: str) -> str:
    """Return what the runs of an experiment share: a run's name without the folder of its seed, if it ends in one.

    Example:
        >>> experiment_of("cifar10/dyc/seed2"), experiment_of("cifar10/dyc"), experiment_of("seed0")
        ('cifar10/dyc', 'cifar10/dyc', 'seed0')
    """
    return re.sub(r"(?<=.)/seed\d+/?$", "", name)


def shortened(text: str, longest: int) -> str:
    """Return a text of at most ``longest`` characters; a longer one is cut, and a hash keeps it apart from others.

    Example:
        >>> shortened("seed0", 16), shortened("a folder of images", 16)
        ('seed0', 'a folde-4616df48')
    """
    if len(text) <= longest:
        return text
    return f"{text[: longest - 9]}-{hashlib.sha1(text.encode()).hexdigest()[:8]}"


def shortened_tags(tags: Iterable[str]) -> list[str]:
    """Return tags that W&B takes: none empty, none twice, none over 64 characters."""
    return list(dict.fromkeys(shortened(tag, LONGEST_TAG) for tag in tags if tag))


def check_project(project: str) -> str:
    """Return the name of a W&B project.

    Raises:
        ArgumentError: W&B would refuse it.
    """
    wrong = sorted({c for c in project if c in "/\\#?%:"})
    if not project or len(project) > LONGEST_NAME or wrong:
        need = f"a name of at most {LONGEST_NAME} characters, none of which is one of / \\ # ? % :"
        raise ArgumentError("wandb_project", repr(project), need)
    return project
