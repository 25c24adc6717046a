"""An argument that a network does not take: say so by name, with those that were probably meant."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import timm

from dyc.models.arguments import network_arguments
from ops import unknown_name

UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")


@contextmanager
def misspelt_arguments(model: str) -> Iterator[None]:
    """Turn Python's error for an argument that a network does not take into one that names the closest that it takes.

    Args:
        model: The network's name.

    Raises:
        ArgumentError: Of the argument that it does not take.
    """
    try:
        yield
    except TypeError as error:
        found = UNEXPECTED.search(str(error))
        if found is None or not timm.is_model(model):
            raise
        known = network_arguments(model)
        if found[1] in known:  # it is taken, but by something else that this network has not
            raise
        listing = f"an argument that {model} takes: `dyc models {model} --arguments`"
        raise unknown_name("model.model_kwargs", found[1], known, listing=listing) from error
