"""What is left out of a selection, and why, in rows and as shares of the rows read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PREFIX = "left_out."
REASONS = {  # of rows that are not in the universe
    "rejected": "bad rows",
    "duplicates": "duplicates",
    "near_duplicates": "near duplicates",
    "semantic_duplicates": "semantic duplicates (corpus.dedup)",
    "contaminated": "that share text with scored items (corpus.decontaminate)",
    "heldout": "held out for evaluation (corpus.heldout)",
    "ood": "of sources that are never trained on (corpus.ood)",
    "read_by_base": "read by the base model (model.pretrain_share)",
    "source": "other sources (selection.sources)",
    "response_tokens": "other lengths (selection.response_tokens)",
    "universe_share": "not in the replicate's share (selection.universe_share)",
    "max_per_group": "further examples of one text (selection.max_per_group)",
    "no_unit": "without a unit of the strategy",
    "mix": "beyond the shares of their sources (corpus.mix)",
}
OF_CORPUS = (
    "rejected",
    "duplicates",
    "near_duplicates",
    "semantic_duplicates",
    "contaminated",
)  # counted where the corpus is built


def left_out_text(row: Mapping[str, Any]) -> str | None:
    """One sentence on the rows that could not be selected, by reason; None if all could.

    Args:
        row: Columns of a result row: ``universe``, ``left_out.REASON`` and ``corpus.count.REASON``.
    """
    counts = {reason: row.get(f"corpus.count.{reason}", 0) for reason in OF_CORPUS}
    counts |= {key.removeprefix(PREFIX): row[key] for key in row if key.startswith(PREFIX)}
    total = row["universe"] + sum(counts.values())
    reasons = [f"{_reason(name)} {_share(count, total)}" for name, count in counts.items() if count]
    if not reasons:
        return None
    return f"{_share(sum(counts.values()), total)} of {total:,} rows: {', '.join(reasons)}"


def _reason(name: str) -> str:
    of_universe = name.removeprefix("no_").removesuffix("_unit")
    known = REASONS.get(name)
    if known is None and name == f"no_{of_universe}_unit":
        return f"without a unit of {of_universe} (selection.universe)"
    return known or name.replace("_", " ")


def _share(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.1%})"
