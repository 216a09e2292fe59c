"""The loss of a checkpoint on responses that neither selection nor training has seen.

In: a checkpoint folder and held-out conversations with their sources and groups. Out: the mean loss
a token and a sample, in nats, overall and by source. Samples that share an instruction are not
independent, so standard errors are clustered by group (Miller, "Adding Error Bars to Evals", arXiv
2411.00640).
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
        model_folder: From `fine_tune`.
        messages: Held-out conversations.
        sources: Where each is from.
        groups: What each shares with others that are not independent of it: its instruction.
        batch_size: Conversations at once.
        max_length: Tokens of a conversation that count.
        loss_turns: Which responses of a conversation count: ``all`` or the ``last``.
        device: torch's name of where it runs.

    Returns:
        ``heldout.loss_token``, ``heldout.loss_sample``, and both for every source as
        ``heldout.SOURCE.loss_token``.

    Raises:
        SftdivError: Nothing is held out, or none of it has a response.
    """
    tokenizer = load_tokenizer(model_folder)
    examples = label_conversations(tokenizer, messages, max_length=max_length, loss_turns=loss_turns)
    kept = np.array([position for position, example in enumerate(examples) if example.label_tokens], dtype=np.int64)
    if not len(kept):
        raise SftdivError(
            f"none of {len(messages)} held-out conversations has a response; is corpus.heldout 0? eval=none needs none"
        )
    sums = _loss_sums(
        model_folder,
        [examples[row] for row in kept],
        pad_id=int(tokenizer.pad_token_id),
        batch_size=batch_size,
        device=device,
    )
    counts = np.array([examples[row].label_tokens for row in kept])
    names, clusters = (
        np.array(sources, dtype=object)[kept],
        np.unique(np.array(groups, dtype=object)[kept].astype(str), return_inverse=True)[1],
    )
    scores = _both("heldout", sums, counts, clusters)
    for source in sorted(set(names)) if len(set(names)) > 1 else []:
        rows = names == source
        scores |= _both(f"heldout.{source or 'unnamed'}", sums[rows], counts[rows], clusters[rows])
    return scores


def ratio_score(
    numerators: NDArray[np.float64], denominators: NDArray[np.float64], clusters: NDArray[np.int64]
) -> Score:
    """The ratio of two sums over samples, and its standard error where samples of one cluster depend on one another.

    The linearised ratio (Cochran, Sampling Techniques, chapter 6): each cluster's residual is the
    sum over its samples of numerator - ratio * denominator. All inputs are (samples,); one cluster
    alone gives NaN.
    """
    total = denominators.sum()
    ratio = float(numerators.sum() / total)
    _, members = np.unique(clusters, return_inverse=True)
    residuals = np.bincount(members, weights=numerators - ratio * denominators)
    count = len(residuals)
    if count < 2:
        return Score(ratio, float("nan"))
    return Score(ratio, float(np.sqrt(count / (count - 1) * np.square(residuals).sum()) / total))


def _both(
    name: str, sums: NDArray[np.float64], counts: NDArray[np.int64], clusters: NDArray[np.int64]
) -> dict[str, Score]:
    return {
        f"{name}.loss_token": ratio_score(sums, counts.astype(np.float64), clusters),
        f"{name}.loss_sample": ratio_score(sums / counts, np.ones(len(sums)), clusters),
    }


def _loss_sums(
    model_folder: Path, examples: Sequence[Labelled], *, pad_id: int, batch_size: int, device: str
) -> NDArray[np.float64]:
    """The summed loss of each example's label tokens, shape (examples,); batches hold examples of like length."""
    import torch

    from sftdiv.modeling.loss import pad_batch, token_losses

    model = load_model(model_folder, dtype="auto", device=device)
    order = np.argsort([len(example) for example in examples], kind="stable")
    sums = np.empty(len(examples))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        input_ids, labels = pad_batch([examples[row] for row in chosen], pad_id)
        with torch.inference_mode():
            losses = token_losses(model, input_ids.to(device), labels.to(device)).cpu().double().numpy()
        owners = np.nonzero(labels[:, 1:].numpy() != IGNORED)[0]
        sums[chosen] = np.bincount(owners, weights=losses, minlength=len(chosen))
    return sums
