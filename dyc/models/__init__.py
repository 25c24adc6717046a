"""The networks, one family per file; importing this package registers them with timm."""

from dyc.models import (
    densenet,
    dynet_mobile,
    dynet_resnet,
    dynet_shuffle,
    eam,
    mobilenetv1,
    mobilenetv2,
    mobilenetv2_cifar,
    mobilenetv3,
    resnet,
)
from dyc.models.listing import model_names

__all__ = [
    "densenet",
    "dynet_mobile",
    "dynet_resnet",
    "dynet_shuffle",
    "eam",
    "mobilenetv1",
    "mobilenetv2",
    "mobilenetv2_cifar",
    "mobilenetv3",
    "model_names",
    "resnet",
]
