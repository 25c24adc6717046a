"""The arguments that a network takes, with types and defaults, also those that its builder hands on as ``**kwargs``."""

import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial, wraps
from typing import Any

import timm
import torch
from timm.models import list_models
from torch import nn

PLAIN = (bool, int, float, str, tuple, dict)

PLACES = ("device", "dtype")
"""Arguments of layers that are no matter of the network: the whole model is moved instead."""

REFUSED = re.compile(r"(?:multiple values for(?: keyword)?|unexpected keyword) argument '(\w+)'")


@dataclass(frozen=True)
class Argument:
    """One argument: its name, its type as it is written in the code (empty if it is not), and its default."""

    name: str
    type: str
    default: Any

    def __str__(self) -> str:
        return f"{self.name}{f': {self.type}' if self.type else ''} = {self.default!r}"


def offers(
    own: Mapping[str, Argument], rest: Callable[..., nn.Module] | str | None, fixed: Collection[str] = ()
) -> Callable[[Callable], Callable]:
    """Return a decorator that notes what a builder takes, where its signature says only ``**kwargs``.

    On a class, ``fixed`` alone counts: what it gives to its parent itself.

    Args:
        own: Its own arguments.
        rest: What gets the others: a builder or class, or the name of one of timm's networks.
        fixed: Arguments of ``rest`` that the builder sets itself.
    """

    def note(build: Callable) -> Callable:
        build.offered = (own, rest, frozenset(fixed))
        return build

    return note


def parameters(function: Callable, **defaults: Any) -> dict[str, Argument]:
    """Return the arguments of a function or class with a default that can be written down, as text or number, say.

    Args:
        function: The function or class.
        defaults: Values that count instead of its own defaults.
    """
    found = {}
    for name, each in inspect.signature(function).parameters.items():
        default = defaults.get(name, each.default)
        if name not in PLACES and (default is None or isinstance(default, PLAIN)):
            written = "" if each.annotation is each.empty else inspect.formatannotation(each.annotation)
            found[name] = Argument(name, written, default)
    return found


def builder_arguments(build: Callable[..., nn.Module] | str) -> tuple[dict[str, Argument], str | None]:
    """Return what a builder takes, and the name of the timm network that takes further arguments, if there is one."""
    if isinstance(build, str):
        return {}, build
    if isinstance(build, partial):
        found, static = builder_arguments(build.func)
        given = parameters(build) if isinstance(build.func, type) else {}
        return found | {name: given[name] for name in build.keywords if name in given}, static
    if isinstance(build, type):
        found, fixed = {}, getattr(build, "offered", ({}, None, ()))[2]
        for cls in build.__mro__:
            if "__init__" in vars(cls):
                found = {**parameters(cls), **found}
                if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(cls).parameters.values()):
                    break
        return {name: each for name, each in found.items() if name not in fixed}, None
    own, rest, fixed = getattr(build, "offered", (parameters(build), None, ()))
    found, static = ({}, None) if rest is None else builder_arguments(rest)
    return {**own, **{name: each for name, each in found.items() if name not in fixed and name not in own}}, static


def network_arguments(name: str) -> dict[str, Argument]:
    """Return what ``timm.create_model(name, ...)`` takes beside ``pretrained``, by name.

    For a network of timm's, or one that is made from it, these are the arguments of its class that have plain values,
    as its builder gives them, without those that the builder does not let anyone change.

    Args:
        name: A network's name, with or without a tag.
    """
    base = name.partition(".")[0]
    build = getattr(timm.model_entrypoint(base), "builder", base)
    found, static = builder_arguments(build)
    return _with_classes(base, found if static is None else {**_class_arguments(static), **found})


def _with_classes(name: str, found: dict[str, Argument]) -> dict[str, Argument]:
    """Return arguments whose number of classes is that of the network's description, which timm takes."""
    classes = timm.get_pretrained_cfg(name).num_classes
    return {key: replace(each, default=classes) if key == "num_classes" else each for key, each in found.items()}


@cache
def _class_arguments(name: str) -> dict[str, Argument]:
    """Return the arguments of the class of one of timm's networks that its builder hands on."""
    with torch.device("meta"):
        cls = type(timm.create_model(name))
        with _received(cls) as given:
            timm.create_model(name)
        found = {
            key: replace(each, default=given.get(key, each.default))
            for key, each in {**parameters(cls, **given), **builder_arguments(cls)[0]}.items()
            if key not in given or given[key] is None or isinstance(given[key], PLAIN)
        }
        while True:  # a builder tells of one argument at a time that it sets itself, before it makes any layer
            try:
                timm.create_model(name, **{key: each.default for key, each in found.items()})
                return found
            except TypeError as error:
                refused = REFUSED.search(str(error))
                if refused is None or refused[1] not in found:
                    raise
                del found[refused[1]]


@contextmanager
def _received(cls: type) -> Iterator[dict[str, Any]]:
    """Yield a dictionary that fills with the arguments that the class is called with."""
    own, original, given = "__init__" in vars(cls), cls.__init__, {}

    @wraps(original)
    def noting(self, *args, **kwargs):
        given.update(inspect.signature(original).bind_partial(self, *args, **kwargs).arguments)
        given.update(kwargs)  # those of **kwargs by their own names
        original(self, *args, **kwargs)

    cls.__init__ = noting
    try:
        yield given
    finally:
        if own:
            cls.__init__ = original
        else:
            del cls.__init__


def _description(name: str, build: Callable[..., nn.Module]) -> str:
    """Return what a network takes, as the part of a docstring."""
    found, static = builder_arguments(build)
    lines = [f"    {each}" for each in _with_classes(name, found).values()]
    if static is not None:
        lines.append(f"    Others: as timm's ``{static}``.")
    return "Arguments:\n" + "\n".join(lines)


def document() -> None:
    """Add its arguments to the docstring of every network's entry point that :func:`register` made."""
    for name in list_models():
        entry = timm.model_entrypoint(name)
        build = getattr(entry, "builder", None)
        if build is not None and "Arguments:" not in entry.__doc__:
            entry.__doc__ += f"\n\n{_description(name, build)}"
