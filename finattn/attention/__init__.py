"""Attention as pure functions, and layers around them; nothing here knows of finance."""

from finattn.attention.band import attend_band, band_weights
from finattn.attention.blocked import Packed, attend_packed
from finattn.attention.cache import TimeCache
from finattn.attention.functional import attend, attention_weights
from finattn.attention.grouped import in_groups, keep_freed_memory
from finattn.attention.layers import Context, MultiHeadAttention, TransformerBlock
from finattn.attention.linear import linear_attention, linear_weights
from finattn.attention.masks import allowed
from finattn.attention.normalisers import normalise
from finattn.attention.positions import LearnedPositions, linear_bias, rotate, sinusoidal, turns
from finattn.attention.reading import Summary, TopWeights, heaviest, summarise, top_weights
from finattn.attention.rollout import through_firms, through_time

__all__ = [
    "Context",
    "LearnedPositions",
    "MultiHeadAttention",
    "Packed",
    "Summary",
    "TimeCache",
    "TopWeights",
    "TransformerBlock",
    "allowed",
    "attend",
    "attend_band",
    "attend_packed",
    "attention_weights",
    "band_weights",
    "heaviest",
    "in_groups",
    "keep_freed_memory",
    "linear_attention",
    "linear_bias",
    "linear_weights",
    "normalise",
    "rotate",
    "sinusoidal",
    "summarise",
    "through_firms",
    "through_time",
    "top_weights",
    "turns",
]
