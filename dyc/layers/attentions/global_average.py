"""The kinds ``"dy"`` and ``"dyc"``: Dynamic Convolution and Dynamic Channel-wise Convolution."""

from functools import partial

from dyc.layers.attention import GlobalAttention
from dyc.layers.kinds import register_attention

register_attention("dy", GlobalAttention)
register_attention("dyc", partial(GlobalAttention, per_channel=True))
