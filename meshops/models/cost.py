"""Multiply-accumulates of the transformers, as counted in the papers' tables. Multiply by two for operations."""

from __future__ import annotations

import math
from collections.abc import Sequence


def encoder_macs(tokens: int, channels: int, depth: int, ratio: float) -> float:
    """Self-attention blocks: projections and perceptron ``(4 + 2 ratio) c^2`` per token, attention ``2 c`` per pair."""
    return depth * ((4 + 2 * ratio) * channels**2 * tokens + 2 * channels * tokens**2)


def cross_decoder_macs(queries: int, tokens: int, channels: int, ratio: float) -> float:
    """One cross-attention block: IAP's decoder."""
    per_query = (2 + 2 * ratio) * channels**2
    return per_query * queries + 2 * channels**2 * tokens + 2 * channels * queries * tokens


def iap_macs(
    shape: Sequence[int], tokens: int, *, p_min: int = 2, channels: int = 384, depth: int = 7, ratio: float = 2.0
) -> tuple[float, float]:
    """Encoder and decoder of IAP for one sample on a grid; embeddings and the last linear map are left out."""
    queries = math.prod(math.ceil(n / p_min) for n in shape)
    return encoder_macs(tokens, channels, depth, ratio), cross_decoder_macs(queries, tokens, channels, ratio)


def vit_macs(tokens: int, *, channels: int = 384, depth: int = 8, ratio: float = 2.0) -> float:
    """Blocks of the baseline for one sample."""
    return encoder_macs(tokens, channels, depth, ratio)


def amr_transformer_macs(
    tokens: float, *, channels: int = 256, depth: int = 6, hidden: int = 1024, num_heads: int = 4
) -> float:
    """What table 2 of AMR-Transformer calls FLOPs: multiply-accumulates with softmax and linear maps in and out.

    ``6 (4 d^2 + 2 d h) N + 12 d N^2 + 24 N^2 + 22,000 N`` for six layers; the last two terms were found by fitting the
    table (softmax of 4 heads in 6 layers; embedding and head).
    """
    blocks = depth * (4 * channels**2 + 2 * channels * hidden) * tokens + 2 * depth * channels * tokens**2
    return blocks + depth * num_heads * tokens**2 + 22_000 * tokens
