"""Semantic segmentation with any timm backbone, static or dynamic."""

from dyc.segmentation.backbone import create_backbone
from dyc.segmentation.network import HEADS, SegmentationNetwork, create_segmentation

__all__ = ["HEADS", "SegmentationNetwork", "create_backbone", "create_segmentation"]
