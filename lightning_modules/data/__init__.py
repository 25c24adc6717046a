"""Image data: CIFAR-sized sets in memory, everything else through timm's dataset factory.

The class is loaded when first used: how images are found, read and prepared needs neither PyTorch nor Lightning.
"""

__all__ = ["ImageData"]


def __getattr__(name: str):
    if name == "ImageData":
        from lightning_modules.data.image_data import ImageData

        return ImageData
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
