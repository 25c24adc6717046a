"""Groups of settings that make a network dynamic or selective, and what a checkpoint says about them."""

import warnings
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from torch import nn

import dyc
from dyc.layers.kinds import check_attention
from ops import ArgumentError, unknown_name


@dataclass(frozen=True)
class DynamicSettings:
    """What :func:`dyc.make_dynamic` makes of the network once timm has built it, pretrained weights included.

    A checkpoint keeps these settings, so attention and layers are given by name or expression. For a function, make
    the network yourself and pass it as ``ImageClassifier(net=...)``.

    Args:
        attention: Kind of attention, such as dy, dyc or odconv.
        where: Layers to convert: depthwise, blocks, all_but_stem, or a regular expression searched in their names.
        num_kernels: Kernels per layer.
        temperature: Softmax temperature to start with.
        init: copy keeps what the network computes; independent draws every kernel anew.
        attention_kwargs: Further arguments of the attention, such as zero_init.
        backend: auto, or the name of a backend.
        unsupported: What to do with chosen layers that cannot become dynamic: raise an error, or warn and leave them.

    Raises:
        ArgumentError: An unknown attention, or layers that are not given by a preset or expression.

    Example:
        >>> from lightning_modules import ImageClassifier
        >>> classifier = ImageClassifier("test_efficientnet", num_classes=10, dynamic=DynamicSettings("dy", "blocks"))
        >>> dyc.dynamic_layers(classifier.net)[0].attention
        'dy'
    """

    attention: str = "dyc"
    where: str = "depthwise"
    num_kernels: int = 4
    temperature: float = 30.0
    init: str = "copy"
    attention_kwargs: dict[str, Any] = field(default_factory=dict)
    backend: str = "auto"
    unsupported: str = "raise"

    def __post_init__(self) -> None:
        check_types("dynamic", vars(self))
        _check_text("model.dynamic.attention", self.attention, "the name of a kind of attention")
        _check_text("model.dynamic.where", self.where, "a preset or a regular expression, which a checkpoint can keep")
        try:
            check_attention(self.attention)
        except ArgumentError as error:
            raise ArgumentError(f"model.dynamic.{error}") from error

    def apply(self, net: nn.Module) -> None:
        """Make ``net`` dynamic, in place."""
        dyc.make_dynamic(net, **asdict(self))

    def __str__(self) -> str:
        return f"{self.attention}, {self.where}"

    @property
    def tag(self) -> str:
        """W&B's tag."""
        return f"dynamic-{self.attention}"


@dataclass(frozen=True)
class SelectiveSettings:
    """What :func:`dyc.make_selective` makes of the network once timm has built it, pretrained weights included.

    Args:
        where: Layers to convert: null for all that fit, or a regular expression searched in their names.
        reallocate: Layers that can re-use closed channels: pointwise, true, false, or a regular expression.
        drop_rate: Dropout inside the selective layers; 0 keeps that of the network.
        unsupported: What to do with chosen layers that do not fit: warn and leave them, or raise an error.

    Raises:
        ArgumentError: Layers that are not given by a name or expression.
    """

    where: str | None = None
    reallocate: bool | str = "pointwise"
    drop_rate: float = 0.0
    unsupported: str = "warn"

    def __post_init__(self) -> None:
        check_types("selective", vars(self))
        need = "a regular expression, which a checkpoint can keep"
        if self.where is not None:
            _check_text("model.selective.where", self.where, f"None or {need}")
        if not isinstance(self.reallocate, bool):
            _check_text("model.selective.reallocate", self.reallocate, f"True, False, 'pointwise' or {need}")

    def apply(self, net: nn.Module) -> None:
        """Make ``net`` selective, in place."""
        dyc.make_selective(net, **asdict(self))

    def __str__(self) -> str:
        return self.tag if self.where is None else f"{self.tag}, {self.where}"

    @property
    def tag(self) -> str:
        """W&B's tag."""
        return "selective"


GROUPS: dict[str, type] = {"dynamic": DynamicSettings, "selective": SelectiveSettings}
"""The groups by their argument's name, in the order in which they are applied."""


def _check_text(argument: str, value: Any, need: str) -> None:
    if not isinstance(value, str) or not value:
        raise ArgumentError(argument, repr(value), need)


_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "num_kernels": ((int,), "an int"),
    "temperature": ((int, float), "a number"),
    "drop_rate": ((int, float), "a number"),
    "attention_kwargs": ((dict,), "arguments by name, such as {'zero_init': True}"),
}


def check_types(group: str, values: dict[str, Any]) -> None:
    """Raise ArgumentError for a value of a type that its field does not take."""
    for name, value in values.items():
        types, need = _TYPES.get(name, ((object,), ""))
        if not isinstance(value, types) or (need and isinstance(value, bool)):
            raise ArgumentError(f"model.{group}.{name}", repr(value), need)


def settings_of(group: str, value: Any) -> Any:
    """Return a group's settings, or None for a network that stays as it is.

    Args:
        group: ``"dynamic"`` or ``"selective"``.
        value: The settings, their fields by name, None or False, or the short form: an attention's name, or True.
    """
    cls = GROUPS[group]
    if isinstance(value, cls):
        return value
    if value is None or value is False:
        return None
    if group == "dynamic" and isinstance(value, str):
        return cls(attention=value)
    if group == "selective" and value is True:
        return cls()
    if not isinstance(value, dict):
        short = "the name of an attention" if group == "dynamic" else "True"
        settings = f"settings by name ({cls.__name__} in Python)"
        raise ArgumentError(f"model.{group}", repr(value), f"{short}, {settings}, or null (None in Python)")
    check_fields(group, value)
    return cls(**value)


def check_fields(group: str, names: Any) -> None:
    """Raise ArgumentError, with a suggestion, for a name that is not a field of the group."""
    known = [each.name for each in fields(GROUPS[group])]
    for name in names:
        if name not in known:
            raise unknown_name(f"model.{group}", name, known)


def convert(net: nn.Module, groups: dict[str, Any]) -> nn.Module:
    """Make ``net`` what the groups say, in place; errors name the group's argument.

    Args:
        net: The network.
        groups: Settings or None, by the name of the group.
    """
    for group, settings in groups.items():
        if settings is None:
            continue
        try:
            with warnings.catch_warnings(record=True) as found:
                warnings.simplefilter("always")
                settings.apply(net)
        except ArgumentError as error:
            raise ArgumentError(_named(group, settings, error.argument, str(error))) from error
        for each in found:  # they name an argument of the group, too
            text = str(each.message)
            if (argument := text.partition(":")[0]) in vars(settings):
                text = _named(group, settings, argument, text)
            warnings.warn_explicit(text, each.category, each.filename, each.lineno)
    return net


def _named(group: str, settings: Any, argument: str, text: str) -> str:
    prefix = f"model.{group}"
    if "attention_kwargs={'zero_init': True}" in text:  # as Python writes it
        text += f"; on the command line --{prefix}.attention_kwargs.zero_init true"
    if argument in getattr(settings, "attention_kwargs", {}):
        return f"{prefix}.attention_kwargs.{text}"
    if argument in vars(settings):
        return f"{prefix}.{text}"
    return f"{prefix}: {text.removeprefix('model: ')}"


def check_same(group: str, given: Any, trained: dict[str, Any] | None) -> None:
    """Raise ArgumentError unless a network was converted as that of a checkpoint was; the backend may differ.

    Args:
        group: ``"dynamic"`` or ``"selective"``.
        given: The settings, or None.
        trained: The fields that the checkpoint keeps, or None; checkpoints from before they were kept have None.
    """
    own = None if given is None else asdict(given)
    if own is None or trained is None:
        if own is not trained:
            raise ArgumentError(f"model.{group}", own, f"{trained}, as in the checkpoint")
        return
    for name, value in own.items():
        want = trained.get(name, value)
        if name != "backend" and value != want:
            raise ArgumentError(f"model.{group}.{name}", value, f"{want}, as in the checkpoint")
