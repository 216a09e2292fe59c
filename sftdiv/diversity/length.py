"""Sequence length: not diversity, but the companion that is reported beside it (the paper's largest correlation is with it)."""

from __future__ import annotations

from sftdiv.records import TokenIds


def mean_length(token_ids: TokenIds) -> float:
    """Mean number of tokens a text; NaN for no text."""
    return float(token_ids.lengths().mean()) if len(token_ids.lengths()) else float("nan")
