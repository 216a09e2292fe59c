"""Loss of a checkpoint on responses that neither selection nor training has seen.

A checkpoint folder and held-out conversations with their sources and groups come in; the mean loss
per token and per example goes out, in nats, overall and by source. Examples that share an
instruction are not independent, so standard errors are clustered by group (Miller, "Adding Error
Bars to Evals", arXiv 2411.00640).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sftdiv.modeling.chat_labels import IGNORED, Labelled, Messages, label_conversations
from sftdiv.modeling.checkpoint import load_model, load_tokenizer
from sftdiv.records import Score, SftdivError


def response_loss(
    model_folder: Path,
    messages: Sequence[Messages],
    sources: Sequence[str],
    groups: Sequence[str],
    *,
    batch_size: int,
    max_length: int,
    loss_turns: str = "all",
    device: str,
) -> dict[str, Score]:
    """Mean loss of held-out responses.

    Args:
        model_folder: Checkpoint written by ``fine_tune``.
        messages: Held-out conversations.
        sources: Source of each conversation.
        groups: Cluster of each conversation: those of one instruction are not independent.
        batch_size: Number of conversations per batch.
        max_length: Maximum length of a conversation, in tokens.
        loss_turns: Responses that count: ``all`` or the ``last``.
        device: Torch device name.

    Returns:
        ``heldout.loss_token``, ``heldout.loss_sample``, and both for every source as
        ``heldout.SOURCE.loss_token``.

    Raises:
        SftdivError: If no held-out conversation has a response.
    """
    tokenizer = load_tokenizer(model_folder)
    examples = label_conversations(tokenizer, messages, max_length=max_length, loss_turns=loss_turns)
    rows = [row for row, example in enumerate(examples) if example.label_tokens]
    if not rows:
        raise SftdivError(
            f"none of {len(messages)} held-out conversations has a response; is corpus.heldout 0? eval=none needs none"
        )
    labelled = [examples[row] for row in rows]
    sums = _loss_sums(model_folder, labelled, pad_id=int(tokenizer.pad_token_id), batch_size=batch_size, device=device)
    counts = np.array([example.label_tokens for example in labelled])
    row_sources = np.array([sources[row] for row in rows], dtype=object)
    clusters = np.unique([str(groups[row]) for row in rows], return_inverse=True)[1]
    scores = _loss_scores("heldout", sums, counts, clusters)
    names = sorted(set(row_sources))
    for source in names if len(names) > 1 else []:
        mask = row_sources == source
        scores |= _loss_scores(f"heldout.{source or 'unnamed'}", sums[mask], counts[mask], clusters[mask])
    return scores


def ratio_score(
    numerators: NDArray[np.float64], denominators: NDArray[np.float64], clusters: NDArray[np.int64]
) -> Score:
    """Ratio of two sums over examples, with a standard error that allows for dependence within clusters.

    The linearised ratio (Cochran, Sampling Techniques, chapter 6): the residual of a cluster is the
    sum over its examples of numerator - ratio * denominator.

    Args:
        numerators: Shape (examples,).
        denominators: Shape (examples,).
        clusters: Cluster of each example, shape (examples,); a single cluster gives a NaN error.
    """
    total = denominators.sum()
    ratio = float(numerators.sum() / total)
    _, members = np.unique(clusters, return_inverse=True)
    residuals = np.bincount(members, weights=numerators - ratio * denominators)
    count = len(residuals)
    if count < 2:
        return Score(ratio, float("nan"))
    return Score(ratio, float(np.sqrt(count / (count - 1) * np.square(residuals).sum()) / total))


def _loss_scores(
    name: str, sums: NDArray[np.float64], counts: NDArray[np.int64], clusters: NDArray[np.int64]
) -> dict[str, Score]:
    """Loss per token and per example from the summed losses and label counts of examples."""
    return {
        f"{name}.loss_token": ratio_score(sums, counts.astype(np.float64), clusters),
        f"{name}.loss_sample": ratio_score(sums / counts, np.ones(len(sums)), clusters),
    }


def _loss_sums(
    model_folder: Path, examples: Sequence[Labelled], *, pad_id: int, batch_size: int, device: str
) -> NDArray[np.float64]:
    """Summed loss of each example's label tokens, shape (examples,); batches hold examples of similar length."""
    import torch

    from sftdiv.modeling.loss import pad_batch, token_losses

    model = load_model(model_folder, dtype="auto", device=device)
    order = np.argsort([len(example) for example in examples], kind="stable")
    sums = np.empty(len(examples))
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        input_ids, labels = pad_batch([examples[row] for row in batch], pad_id)
        with torch.inference_mode():
            losses = token_losses(model, input_ids.to(device), labels.to(device)).cpu().double().numpy()
        batch_rows = np.nonzero(labels[:, 1:].numpy() != IGNORED)[0]
        sums[batch] = np.bincount(batch_rows, weights=losses, minlength=len(batch))
    return sums
