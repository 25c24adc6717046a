"""Selective allocation of channels (SelectConv): which channels a network can do without, and what to do with them."""

from dyc.selective.compact import compact
from dyc.selective.convert import make_selective, unfit
from dyc.selective.importance import activity_level, channel_damage, channel_scores
from dyc.selective.layer_table import SelectiveRow, SelectiveTable, selective_layers
from dyc.selective.rewire_network import (
    Rewiring,
    apply_rewiring,
    iter_selective,
    layer_scores,
    layer_shares,
    plan_rewiring,
    rewire,
)
from dyc.selective.rules import Reallocation, dealloc, realloc

__all__ = [
    "Reallocation",
    "Rewiring",
    "SelectiveRow",
    "SelectiveTable",
    "activity_level",
    "apply_rewiring",
    "channel_damage",
    "channel_scores",
    "compact",
    "dealloc",
    "iter_selective",
    "layer_scores",
    "layer_shares",
    "make_selective",
    "plan_rewiring",
    "realloc",
    "rewire",
    "selective_layers",
    "unfit",
]
