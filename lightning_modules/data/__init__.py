"""Image data: CIFAR-sized sets in memory, everything else through timm's dataset factory."""

from lightning_modules.data.image_data import ImageData

__all__ = ["ImageData"]
