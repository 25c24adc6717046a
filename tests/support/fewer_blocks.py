"""MobileNetV2 for small images with fewer blocks, for tests that take half a minute with all 17."""

from dyc.models import mobilenetv2_cifar


def leave_out_blocks(monkeypatch) -> None:
    """Leave one block in each stage, and two in the fourth, so that each kind of shortcut is there."""
    stages = [(*stage[:2], 2 if number == 3 else 1, stage[3]) for number, stage in enumerate(mobilenetv2_cifar.STAGES)]
    monkeypatch.setattr(mobilenetv2_cifar, "STAGES", stages)
