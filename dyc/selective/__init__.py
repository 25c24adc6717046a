"""Selective allocation of channels (SelectConv): which channels a network can do without, and what to do with them."""

from dyc.selective.convert import make_selective
from dyc.selective.importance import activity_level, channel_damage, channel_scores
from dyc.selective.network import Rewiring, apply_rewiring, iter_selective, plan_rewiring, rewire
from dyc.selective.rewiring import Reallocation, dealloc, realloc

__all__ = [
    "Reallocation",
    "Rewiring",
    "activity_level",
    "apply_rewiring",
    "channel_damage",
    "channel_scores",
    "dealloc",
    "iter_selective",
    "make_selective",
    "plan_rewiring",
    "realloc",
    "rewire",
]
