"""The networks, one family per file; importing this package registers them with timm."""

from dyc.models import (  # noqa: F401  (imported to register their networks)
    condensenet,
    densenet,
    dynet_mobile,
    dynet_resnet,
    dynet_shuffle,
    eam,
    mobilenetv1,
    mobilenetv2,
    mobilenetv2_cifar,
    mobilenetv3,
    preresnet,
    resnet,
    resnext,
)
from dyc.models.arguments import document
from dyc.models.registration import model_names

__all__ = ["model_names"]

document()
