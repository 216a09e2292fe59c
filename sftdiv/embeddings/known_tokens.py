"""Whether an embedding model knows the tokens of its texts.

A model of one script replaces what it does not know by one unknown token, so that unrelated texts of another script
look alike: all-MiniLM-L6-v2 knows half the characters of Chinese text, and two unrelated sentences have a cosine
similarity of 0.6. The share is measured before anything is embedded.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)
BLOCK = 2_048  # texts tokenized at once
MULTILINGUAL = "embedder=minilm embedder.path=sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
WARN_ABOVE, REFUSE_ABOVE = 0.05, 0.2  # share of unknown tokens


def count_tokens(model: SentenceTransformer, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens of each text before truncation, special ones included, and the unknown ones; shape (texts,) each."""
    tokenizer: Any = model.tokenizer
    is_of_transformers = callable(tokenizer)  # else from tokenizers, as in static embeddings
    unknown = tokenizer.unk_token_id if is_of_transformers else _unknown_id(tokenizer)
    counts: list[int] = []
    unknown_counts: list[int] = []
    for start in range(0, len(texts), BLOCK):
        block = list(texts[start : start + BLOCK])
        if is_of_transformers:
            ids = tokenizer(block, truncation=False, verbose=False, return_attention_mask=False)["input_ids"]
        else:
            ids = [encoding.ids for encoding in tokenizer.encode_batch(block)]
        counts.extend(map(len, ids))
        unknown_counts.extend(0 if unknown is None else text_ids.count(unknown) for text_ids in ids)
    return np.array(counts, dtype=np.int64), np.array(unknown_counts, dtype=np.int64)


def check_known(share: float, path: str) -> None:
    """Refuse, or warn of, a model that does not know many tokens of its texts.

    Args:
        share: Share of unknown tokens.
        path: ``embedder.path``, for the message.

    Raises:
        SftdivError: More than a fifth of the tokens are unknown; names a multilingual model.
    """
    if share <= WARN_ABOVE:
        return
    fault = (
        f"embedder.path={path} does not know {share:.0%} of the tokens of these texts, so that unrelated texts look "
        f"alike: it was trained on another script. Use a multilingual model, such as {MULTILINGUAL}"
    )
    if share > REFUSE_ABOVE:
        raise SftdivError(f"{fault}; embedder=lsa needs no model, and embedder=none embeds nothing")
    log.warning("%s", fault)


def _unknown_id(tokenizer: Any) -> int | None:
    """Id of the unknown token of a tokenizer from tokenizers; None where there is none."""
    token = getattr(tokenizer.model, "unk_token", None)
    number: int | None = None if token is None else tokenizer.token_to_id(token)
    return number
