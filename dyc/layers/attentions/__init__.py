"""Kinds of attention, one per file; each registers itself by name."""

from dyc.layers.attentions import efficient

__all__ = ["efficient"]
