"""What ``config.json`` says of a network that classifies every pixel, as timm reads it."""

import json
from collections.abc import Mapping
from typing import Any

from timm.data import resolve_model_data_config

from dyc.meta_device import usual_input_sizes
from dyc.segmentation.described import LAST, arguments_of, first_conv_of
from dyc.segmentation.network import ARCHITECTURE, SegmentationNetwork
from ops import ArgumentError

WHOLE = {"interpolation": "bilinear", "crop_pct": 1.0, "crop_mode": "squash"}
"""How images are prepared where nothing is said: all pixels are wanted."""

BESIDE = ("palette", "resize")
"""What is known of the preparation beside timm's description."""


def segmentation_config(network: SegmentationNetwork, preparation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of ``config.json``.

    Args:
        network: The network.
        preparation: As for :func:`dyc.export.weights.save_weights`; also ``palette`` and ``resize``.

    Raises:
        ArgumentError: It cannot be described.
    """
    known = network.pretrained_cfg
    given = {name: value for name, value in preparation.items() if value is not None}
    names = given.get("class_names", known.get("label_names"))
    if names is not None and len(names) != network.num_classes:
        need = f"{network.num_classes}, the classes of the network"
        raise ArgumentError("preparation", f"{len(names)} class_names", need)
    usual = resolve_model_data_config(network) | {"input_size": usual_input_sizes(network)[0]}
    said = {**WHOLE, **{name: known[name] for name in usual if known.get(name) is not None}, **given}
    beside = {name: given[name] for name in BESIDE if name in given} or network.preparation
    config = {
        "architecture": ARCHITECTURE,
        "num_classes": network.num_classes,
        **({"label_names": list(names)} if names else {}),
        "model_args": {**arguments_of(network), **({"preparation": beside} if beside else {})},
        "pretrained_cfg": {
            **{name: said.get(name, value) for name, value in usual.items()},
            "num_classes": network.num_classes,
            "first_conv": first_conv_of(network),
            "classifier": [name for name in LAST if network.aux_classifier is not None or name == LAST[0]],
            "fixed_input_size": False,
            "custom_load": False,
        },
    }
    try:
        return json.loads(json.dumps(config))
    except TypeError as error:  # of an argument that is a function, say
        raise ArgumentError("model", sentence=f"cannot be described ({error})") from error
