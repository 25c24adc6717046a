"""What networks compute inside: their attention, their feature maps, their kernels.

Each file computes one thing and draws nothing; ``dyc analyze`` makes tables and pictures of it. ``import dyc`` loads
the statistics of the attention alone.
"""

from dyc.analysis.statistics import AttentionStatistics, attention_statistics

__all__ = ["AttentionStatistics", "attention_statistics"]
