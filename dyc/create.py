"""``timm.create_model`` for networks that are converted after they are made."""

from pathlib import Path
from typing import Literal

import timm
from timm.models import load_checkpoint
from torch import nn

from dyc.conversion.convert import make_dynamic
from dyc.conversion.where import Where
from dyc.layers.kinds import AttentionFactory
from dyc.models.own_classifier import keep_own_classifier
from dyc.selective.checkpoints import checkpoint_filter_fn
from dyc.selective.convert import make_selective
from dyc.weights_file import weights_file
from ops import ArgumentError, unknown_name


def create_dynamic(
    name: str,
    attention: str | AttentionFactory = "dyc",
    *,
    where: Where = "depthwise",
    num_kernels: int = 4,
    temperature: float = 30.0,
    init: Literal["copy", "independent"] = "copy",
    attention_kwargs: dict | None = None,
    backend: str = "auto",
    unsupported: Literal["raise", "warn"] = "raise",
    pretrained: bool = False,
    checkpoint_path: str | Path | None = None,
    **kwargs,
) -> nn.Module:
    """Create any of timm's networks and make it dynamic: ``timm.create_model`` and :func:`make_dynamic` in one.

    Args:
        name: Name of the network as ``timm.create_model`` takes it, with or without a tag.
        attention: As :func:`make_dynamic`, like ``where``, ``num_kernels``, ``temperature``, ``init``,
            ``attention_kwargs``, ``backend`` and ``unsupported``.
        pretrained: Begin with timm's weights of the static network; with ``init="copy"`` the outputs are then its own.
        checkpoint_path: File of weights, or folder as :func:`dyc.export.weights.save_weights` writes it, of the static
            network or of the dynamic one; loaded last, so that static weights are copied whatever ``init`` is. Where it
            is of another number of classes, the classifier is not loaded, and a warning says so.
        kwargs: What else ``timm.create_model`` takes, such as ``num_classes``, ``in_chans`` or ``features_only``.

    Returns:
        The network.

    Raises:
        ArgumentError: timm has no network of this name, or as :func:`make_dynamic`.

    Example:
        >>> import dyc
        >>> model = create_dynamic("mobilenetv2_035", "dyc", where="depthwise", num_classes=10)
        >>> len(list(dyc.iter_dynamic(model)))
        17
    """
    model = make_dynamic(
        _static(name, pretrained, kwargs),
        attention,
        where=where,
        num_kernels=num_kernels,
        temperature=temperature,
        init=init,
        attention_kwargs=attention_kwargs,
        backend=backend,
        unsupported=unsupported,
    )
    return _loaded(model, checkpoint_path)


def create_selective(
    name: str,
    *,
    where: Where | None = None,
    reallocate: bool | Where = "pointwise",
    unsupported: Literal["raise", "warn"] = "warn",
    pretrained: bool = False,
    checkpoint_path: str | Path | None = None,
    **kwargs,
) -> nn.Module:
    """Create any of timm's networks and make it selective: ``timm.create_model`` and :func:`make_selective` in one.

    Args:
        name: Name of the network as ``timm.create_model`` takes it, with or without a tag.
        where: As :func:`make_selective`, like ``reallocate`` and ``unsupported``.
        pretrained: Begin with timm's weights of the static network; the outputs are then its own.
        checkpoint_path: File or folder of weights, of the static network or of the selective one; where it is of
            another number of classes, the classifier is not loaded, and a warning says so.
        kwargs: What else ``timm.create_model`` takes, such as ``num_classes``; ``drop_rate`` is that of the classifier.

    Returns:
        The network.

    Raises:
        ArgumentError: timm has no network of this name, or as :func:`make_selective`.

    Example:
        >>> import dyc
        >>> len(list(dyc.iter_selective(create_selective("densenet121", num_classes=10))))
        119
    """
    model = make_selective(
        _static(name, pretrained, kwargs), where=where, reallocate=reallocate, unsupported=unsupported
    )
    return _loaded(model, checkpoint_path)


def _static(name: str, pretrained: bool, kwargs: dict) -> nn.Module:
    if not isinstance(name, str) or not name:
        need = "the name of a timm model; dyc.make_dynamic and dyc.make_selective take finished models"
        raise ArgumentError("name", repr(name) if isinstance(name, str) else type(name).__name__, need)
    if ":" not in name and not timm.is_model(name):  # with a colon it is a place: hf-hub:... or local-dir:...
        raise unknown_name("name", name, timm.list_models(), listing="the name of a timm model")
    return timm.create_model(name, pretrained=pretrained, **kwargs)


def _loaded(model: nn.Module, checkpoint_path: str | Path | None) -> nn.Module:
    if not checkpoint_path:
        return model
    path = weights_file(checkpoint_path)
    if not path.is_file():  # timm would say nothing
        raise ArgumentError("checkpoint_path", f"{str(path)!r}, which does not exist", "a file of weights")
    other_classes = keep_own_classifier(model)
    try:
        load_checkpoint(model, str(path), filter_fn=checkpoint_filter_fn)
    except ArgumentError:
        raise
    except RuntimeError as error:
        if "loading state_dict" not in str(error):
            raise _unreadable(path, error) from error
        first = next((line.strip() for line in str(error).splitlines()[1:] if line.strip()), "")
        name = model.pretrained_cfg["architecture"]
        need = f"weights of {name}, made in the same way"
        raise ArgumentError("checkpoint_path", f"{str(path)!r} ({first})", need) from error
    except Exception as error:  # zip, pickle and safetensors errors have no common type
        raise _unreadable(path, error) from error
    finally:
        other_classes.remove()
    return model


def _unreadable(path: Path, error: Exception) -> ArgumentError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    got = f"{str(path)!r}, truncated or damaged, or no file of weights alone ({reason})"
    return ArgumentError("checkpoint_path", got, "a whole file of weights")
