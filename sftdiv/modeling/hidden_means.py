"""One vector per conversation: the position-weighted mean of a model's last hidden states.

``v = sum over positions i of i h_i / sum over i of i`` for the hidden states h of the last layer, then scaled to unit
length: later tokens of a causal model have read more. Source: SGPT (Muennighoff 2022, arXiv 2202.08904), as used by
RDS+ (Ivison et al. 2025, arXiv 2503.01807). The text is the instruction, a newline and the response, without a
chat template. No logits are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial as bind
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sftdiv.modeling.length_shards import batches, in_shards
from sftdiv.modeling.response_losses import BATCH_TOKENS, reading_model, scored_texts
from sftdiv.records import ModelRef

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def hidden_means(
    base: ModelRef, instructions: Sequence[str], responses: Sequence[str], partial: Path, *, max_tokens: int
) -> NDArray[np.float32]:
    """Vectors of unit length, shape (examples, width of the model); zeros for an empty text.

    Args:
        base: A causal language model.
        instructions: Instruction of each example.
        responses: Response of each example.
        partial: Folder of complete shards: empty, or from an interrupted call with the same arguments.
        max_tokens: Tokens at which a text is cut; the model's own limit if that is lower.

    Raises:
        SftdivError: The model cannot be loaded.
    """
    model, tokenizer, limit = reading_model(base, max_tokens=max_tokens)
    texts = scored_texts(tokenizer, instructions, responses, alone=False, limit=limit)
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    compute = bind(_means_of, model, [text.ids for text in texts], int(tokenizer.pad_token_id))
    return in_shards(lengths, compute, partial, label="hidden states").astype(np.float32)


def _means_of(
    model: PreTrainedModel, texts: Sequence[NDArray[np.int64]], pad_id: int, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Vectors of some texts, longest first, shape (rows, width)."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    means = np.zeros((len(rows), model.config.get_text_config().hidden_size), dtype=np.float32)
    lengths = np.array([len(texts[row]) for row in rows], dtype=np.int64)
    for batch in batches(lengths[lengths > 0], tokens=BATCH_TOKENS[model.device.type]):
        input_ids = pad_sequence([torch.from_numpy(texts[row]) for row in rows[batch]], True, pad_id).to(model.device)
        with torch.inference_mode():
            hidden = model.base_model(input_ids=input_ids, use_cache=False).last_hidden_state.float()
        positions = torch.arange(1, input_ids.shape[1] + 1, device=model.device)
        is_text = positions <= torch.from_numpy(lengths[batch]).to(model.device)[:, None]
        vectors = torch.einsum("btd,bt->bd", hidden, (positions * is_text).float())
        means[batch] = torch.nn.functional.normalize(vectors, dim=1).cpu().numpy()
    return means
