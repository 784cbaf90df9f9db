"""Attention as pure functions, and layers around them; nothing here knows of finance."""

from finattn.attention.cache import TimeCache
from finattn.attention.functional import attend, attend_band, attention_weights, band_weights
from finattn.attention.layers import MultiHeadAttention, TransformerBlock

__all__ = [
    "MultiHeadAttention",
    "TimeCache",
    "TransformerBlock",
    "attend",
    "attend_band",
    "attention_weights",
    "band_weights",
]
