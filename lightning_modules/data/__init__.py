"""Data of image classification and semantic segmentation: small sets in memory, the others read image by image.

The classes are loaded when first used: how images are found, read and prepared needs neither PyTorch nor Lightning.
"""

from importlib import import_module

_HOMES = {
    "ImageData": "lightning_modules.data.image_data",
    "SegmentationData": "lightning_modules.data.segmentation.segmentation_data",
}

__all__ = list(_HOMES)


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
