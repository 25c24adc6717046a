"""Where a classifier's network comes from: a timm name or the user's own module, and what is made of it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import nn

from lightning_modules.conversion_settings import GROUPS, check_same, convert, settings_of
from lightning_modules.create_network import build_network, check_model_name
from lightning_modules.own_network import check_own, known_channels, known_classes
from ops import ArgumentError


class NetworkSource:
    """What a network is built from, once the number of classes is known.

    Args:
        model: As for :class:`~lightning_modules.ImageClassifier`; so are the others.
        model_kwargs: Likewise.
        pretrained: Likewise.
        dynamic: Likewise.
        selective: Likewise.
        net: Likewise.
    """

    def __init__(
        self, model: Any, model_kwargs: dict[str, Any] | None, pretrained: bool, dynamic: Any, selective: Any, net: Any
    ):
        self.model_kwargs, self.pretrained, self.net = dict(model_kwargs or {}), pretrained, net
        self.own = net is not None
        self.name = check_own(net, model, self.model_kwargs, pretrained) if self.own else check_model_name(model)
        given = {"dynamic": dynamic, "selective": selective}
        self.conversions = {group: settings_of(group, given[group]) for group in GROUPS}

    def hparams(self) -> dict[str, Any]:
        """Return the arguments as a checkpoint keeps them; of the user's own network, only its class's name."""
        return {
            "model": self.name,
            "model_kwargs": self.model_kwargs,
            "pretrained": self.pretrained,
            **{group: settings and asdict(settings) for group, settings in self.conversions.items()},
            "net": type(self.net).__name__ if self.own else None,
        }

    @property
    def title(self) -> str:
        """The network's name, and what is made of it."""
        return title_of(self.hparams())

    @property
    def tags(self) -> list[str]:
        """W&B's tags for the network."""
        return [self.name, *(settings.tag for settings in self.conversions.values() if settings)]

    def num_classes(self, given: int | None) -> int | None:
        """Return the number of classes: the given one, or what the user's own network says, or None."""
        return known_classes(self.net) if given is None and self.own else given

    def in_chans(self, of_data: int | None = None) -> int:
        """Return the channels of the images: those of the arguments, the user's own network or the data, or 3."""
        usual = of_data or (known_channels(self.net) if self.own else 3)
        return self.model_kwargs.get("in_chans", usual)

    def build(self, num_classes: int, in_chans: int) -> nn.Module:
        """Return the network, with everything made of it."""
        net = self.net
        if not self.own:
            net = build_network(self.name, self.model_kwargs, num_classes, in_chans, self.pretrained)
        return convert(net, self.conversions)

    def check_trained(self, hparams: dict[str, Any]) -> None:
        """Raise ArgumentError unless the same is made of the network as of a checkpoint's."""
        for group, settings in self.conversions.items():
            check_same(group, settings, hparams.get(group))


def title_of(hparams: Mapping[str, Any]) -> str:
    """Return a network's name, and what is made of it, from the arguments that a checkpoint keeps."""
    conversions = [settings_of(group, hparams.get(group)) for group in GROUPS]
    return hparams["model"] + "".join(f" ({settings})" for settings in conversions if settings)


def classes_of(data: Any) -> int:
    """Return the number of classes of a data module.

    Raises:
        ArgumentError: It does not say.
    """
    classes = getattr(data, "num_classes", None)
    if classes is None:
        sentence = "the data does not say how many classes it has; give their number"
        raise ArgumentError("model.num_classes", sentence=sentence)
    return classes
