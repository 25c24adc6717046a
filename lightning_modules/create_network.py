"""Build a timm network by name and check that it fits the data, before any time is spent on training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
from torch import nn

import dyc  # also registers this package's networks with timm
from dyc.weights_file import weights_file
from lightning_modules.errors import first_line
from lightning_modules.image_shape import image_shape, shown
from lightning_modules.model_arguments import misspelt_arguments
from lightning_modules.own_network import check_output
from lightning_modules.refused_networks import refused
from ops import ArgumentError, unknown_name


def check_model_name(name: Any) -> str:
    """Return a model name that timm can create; raise with the closest names if it cannot."""
    if isinstance(name, nn.Module):
        got = f"a {type(name).__name__}"
        raise ArgumentError("model.model", got, "the name of a timm model; a finished network is the argument net")
    if not name:
        raise ArgumentError("model.model", name, "the name of a timm model (`dyc models` lists this package's)")
    remote = name.split(":", 1)[0] in ("hf-hub", "hf_hub", "local-dir") and ":" in name
    if not remote and not timm.is_model(name):
        raise unknown_name("model.model", name, timm.list_models(), listing="the name of a timm model")
    return name


def build_network(
    name: str,
    model_kwargs: dict[str, Any],
    num_classes: int,
    in_chans: int,
    pretrained: bool,
    create: Callable[..., nn.Module] | None = None,
) -> nn.Module:
    """Create the network; what the model refuses is reported as an error of ``model.model_kwargs``."""
    kwargs = {"in_chans": in_chans, **model_kwargs}
    if path := kwargs.get("checkpoint_path"):
        path = kwargs["checkpoint_path"] = str(weights_file(path))
        if not Path(path).is_file():  # timm would print a line of its own
            got = f"{path!r}, which does not exist"
            raise ArgumentError("model.model_kwargs.checkpoint_path", got, "a file of weights")
    try:
        with misspelt_arguments(name):
            return (create or timm.create_model)(name, pretrained=pretrained, num_classes=num_classes, **kwargs)
    except ArgumentError as error:
        own = create is not None and error.argument in ("model", "output_stride")
        where = f"model.model_kwargs.{error}" if error.argument in model_kwargs else str(error)
        where = f"model.{error}" if own else where
        raise ArgumentError(where) from error
    except TypeError as error:
        raise ArgumentError("model.model_kwargs", model_kwargs, f"arguments that {name} takes ({error})") from error
    except Exception as error:  # of the network connection and of timm: no common type
        explained = refused(name, model_kwargs, pretrained, error)
        if explained is error:
            raise
        raise explained from error


def max_stride(net: nn.Module) -> int:
    """Return the largest stride of the network in pixels, as its ``feature_info`` says (1 if it says nothing)."""
    levels = getattr(net, "feature_info", None) or []
    return max((int(level["reduction"]) for level in levels), default=1)


def check_fits(net: nn.Module, name: str, num_classes: int, in_chans: int, data: Any, own: bool = False) -> None:
    """Raise unless a network of ``num_classes`` and ``in_chans`` fits a data module's classes, channels and size.

    Args:
        net: The network.
        name: Its name, for the message.
        num_classes: Outputs of its classifier.
        in_chans: Channels that it takes.
        data: Anything with ``num_classes``, ``in_chans`` and ``image_size`` (pixels); parts that are missing are
            not checked.
        own: Whether the user built the network, which is then run on an image rather than asked what it takes.
    """
    classes = getattr(data, "num_classes", None)
    if classes is not None and num_classes != classes:
        raise ArgumentError("model.num_classes", num_classes, f"{classes}, the number of classes of the data")
    channels = getattr(data, "in_chans", None)
    if channels is not None and in_chans != channels:
        raise ArgumentError("model.model_kwargs.in_chans", in_chans, f"{channels}, the channels of the data")
    size = image_shape(data)
    if own:
        if size is not None:
            check_output(net, name, num_classes, (in_chans, *size))
        return
    stride = max_stride(net)
    if size is not None and min(size) < stride:
        raise ArgumentError(
            "data.image_size", f"images of {shown(size)} pixels", f"at least {stride}, the stride of {name}"
        )
    if size is not None:
        try:
            dyc.profile(net, (in_chans, *size))  # a network of fixed size refuses others here, not in training
        except NotImplementedError:
            return  # some operators cannot be run without data; training will tell
        except (AssertionError, RuntimeError) as error:
            raise ArgumentError(
                "data.image_size", f"images of {shown(size)} pixels", f"a size that {name} takes ({first_line(error)})"
            ) from error
