"""Loss of a checkpoint on responses that neither selection nor training has seen.

A checkpoint folder and held-out conversations with their sources and groups come in; mean losses go out, in nats,
overall and by source. Over all responses, long ones of few instructions rule the mean: on pool-117k 90 % of the
held-out label tokens answer 20 AlpacaEval instructions. So ``loss_macro``, the primary score, gives every source and
within it every group the same weight. The other standard errors are clustered by group, since examples that
share an instruction are not independent (Miller, "Adding Error Bars to Evals", arXiv 2411.00640).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sftdiv.modeling.chat_labels import IGNORED, Labelled, label_conversations
from sftdiv.modeling.checkpoint import load_model, load_tokenizer
from sftdiv.records import Heldout, Score, SftdivError
from sftdiv.storage.progress_bar import tracked


def response_loss(
    model_folder: Path,
    heldout: Heldout,
    *,
    ood: Heldout | None = None,
    batch_size: int,
    max_length: int,
    loss_turns: str = "all",
    device: str,
) -> dict[str, Score]:
    """Mean loss of held-out responses.

    Args:
        model_folder: Checkpoint written by ``fine_tune``.
        heldout: Held-out conversations; those of one group are not independent.
        ood: Conversations of sources that are never trained on.
        batch_size: Number of conversations per batch.
        max_length: Maximum length of a conversation, in tokens.
        loss_turns: Responses that count: ``all`` or the ``last``.
        device: Torch device name.

    Returns:
        ``heldout.loss_macro``, the mean over sources of the mean loss per example, with one response (the first in the
        order of the corpus) per group; ``heldout.loss_token`` and ``heldout.loss_sample`` over all responses, by
        token and by example; all three for every source as ``heldout.SOURCE.loss_macro``; ``heldout.ood.SOURCE``,
        the mean loss per example.

    Raises:
        SftdivError: If no held-out conversation has a response.
    """
    sets = [heldout] if ood is None else [heldout, ood]
    messages = [talk for each in sets for talk in each.messages]
    tokenizer = load_tokenizer(model_folder)
    examples = label_conversations(tokenizer, messages, max_length=max_length, loss_turns=loss_turns)
    rows = [row for row, example in enumerate(examples) if example.label_tokens]
    if not rows or rows[0] >= len(heldout.messages):
        raise SftdivError(
            f"none of {len(heldout.messages)} held-out conversations has a response; is corpus.heldout 0? "
            "eval=none needs none"
        )
    labelled = [examples[row] for row in rows]
    sums = _loss_sums(model_folder, labelled, pad_id=int(tokenizer.pad_token_id), batch_size=batch_size, device=device)
    counts = np.array([example.label_tokens for example in labelled])
    sources = np.array([source or "unnamed" for each in sets for source in each.sources], dtype=object)[rows]
    groups = [str(group) for each in sets for group in each.groups]
    clusters = np.unique([groups[row] for row in rows], return_inverse=True)[1]
    is_heldout = np.array(rows) < len(heldout.messages)
    scores = heldout_scores(sums[is_heldout], counts[is_heldout], sources[is_heldout], clusters[is_heldout])
    for source in sorted(set(sources[~is_heldout])):
        mask = ~is_heldout & (sources == source)
        scores[f"heldout.ood.{source}"] = ratio_score(sums[mask] / counts[mask], np.ones(mask.sum()), clusters[mask])
    return scores


def heldout_scores(
    sums: NDArray[np.float64], counts: NDArray[np.int64], sources: NDArray[np.object_], clusters: NDArray[np.int64]
) -> dict[str, Score]:
    """Scores of held-out examples, overall and, with several sources, by source; see `response_loss`.

    Args:
        sums: Summed loss of each example's label tokens, shape (examples,).
        counts: Label tokens of each example, shape (examples,).
        sources: Source of each example, shape (examples,).
        clusters: Group of each example, shape (examples,).
    """
    names = sorted(set(sources))
    by_source = {name: one_per_cluster(sums / counts, clusters, sources == name) for name in names}
    scores = _loss_scores("heldout", sums, counts, clusters)
    scores["heldout.loss_macro"] = macro_mean(list(by_source.values()))
    for source in names if len(names) > 1 else []:
        mask = sources == source
        scores |= _loss_scores(f"heldout.{source}", sums[mask], counts[mask], clusters[mask])
        scores[f"heldout.{source}.loss_macro"] = macro_mean([by_source[source]])
    return scores


def one_per_cluster(
    values: NDArray[np.float64], clusters: NDArray[np.int64], mask: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The first value of each cluster among the masked examples, shape (clusters,)."""
    rows = np.flatnonzero(mask)
    return values[rows[np.unique(clusters[rows], return_index=True)[1]]]


def macro_mean(samples: Sequence[NDArray[np.float64]]) -> Score:
    """Unweighted mean of the means of independent samples.

    Its standard error is sqrt(sum of s_k^2 / n_k) / K (stratified sampling with equal weights; Cochran, Sampling
    Techniques, chapter 5). A sample of one value is given the pooled variance of the others; NaN if all are.

    Args:
        samples: Values of each of the K samples, none empty.
    """
    sizes = np.array([len(values) for values in samples])
    squares = np.array([np.square(values - values.mean()).sum() for values in samples])
    mean = float(np.mean([values.mean() for values in samples]))
    freedom = int((sizes - 1).sum())
    if not freedom:
        return Score(mean, float("nan"))
    variances = np.where(sizes > 1, squares / np.maximum(sizes - 1, 1), squares.sum() / freedom)
    return Score(mean, float(np.sqrt((variances / sizes).sum()) / len(samples)))


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
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    for batch in tracked(batches, "held-out loss", unit="batches"):
        input_ids, labels = pad_batch([examples[row] for row in batch], pad_id)
        with torch.inference_mode():
            losses = token_losses(model, input_ids.to(device), labels.to(device)).cpu().double().numpy()
        batch_rows = np.nonzero(labels[:, 1:].numpy() != IGNORED)[0]
        sums[batch] = np.bincount(batch_rows, weights=losses, minlength=len(batch))
    return sums
