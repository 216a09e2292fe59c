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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.evaluation.sample_means import first_of_clusters, macro_mean, ratio_score
from sftdiv.evaluation.samples import METRIC, STRATUM, write_rows
from sftdiv.modeling.chat_labels import IGNORED, Labelled, label_conversations
from sftdiv.modeling.checkpoint import load_model, load_tokenizer
from sftdiv.records import Heldout, Score, SftdivError
from sftdiv.storage.hashing import content_hash
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
    samples: Path | None = None,
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
        samples: Folder for ``heldout.parquet``, the loss of each example that ``loss_macro`` and the scores of ``ood``
            are means of, by which two cells are paired; None writes none.

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
    if samples is not None:
        hashes = [content_hash([dict(message) for message in messages[row]]) for row in rows]
        sample_rows = _sample_rows(sums / counts, hashes, sources, clusters, is_heldout)
        write_rows(sample_rows, samples / "heldout.parquet")
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
    losses = sums / counts
    by_source = {name: losses[first_of_clusters(clusters, sources == name)] for name in names}
    scores = _loss_scores("heldout", sums, counts, clusters)
    scores["heldout.loss_macro"] = macro_mean(list(by_source.values()))
    for source in names if len(names) > 1 else []:
        mask = sources == source
        scores |= _loss_scores(f"heldout.{source}", sums[mask], counts[mask], clusters[mask])
        scores[f"heldout.{source}.loss_macro"] = macro_mean([by_source[source]])
    return scores


def _sample_rows(
    losses: NDArray[np.float64],
    hashes: Sequence[str],
    sources: NDArray[np.object_],
    clusters: NDArray[np.int64],
    is_heldout: NDArray[np.bool_],
) -> list[dict[str, Any]]:
    """Rows of ``heldout.parquet``: a metric for each score, with the examples that it is a mean of.

    Args:
        losses: Mean loss of each example's label tokens, shape (examples,).
        hashes: Content hash of each example.
        sources: Source of each example, shape (examples,).
        clusters: Group of each example, shape (examples,).
        is_heldout: Whether the example is of the held-out set, shape (examples,); the others are out of distribution.
    """
    names = sorted(set(sources[is_heldout]))
    firsts = {int(row) for name in names for row in first_of_clusters(clusters, is_heldout & (sources == name))}
    rows = []
    for row, (loss, source) in enumerate(zip(losses.tolist(), sources, strict=True)):
        metrics = ["loss_macro", f"{source}.loss_macro"][: min(len(names), 2)] if row in firsts else []
        if not is_heldout[row]:
            metrics = [f"ood.{source}"]
        if metrics:
            values = {f"{METRIC}{metric}": loss for metric in metrics}
            rows.append({"item": row, "item_hash": hashes[row], "filter": "none", STRATUM: source, **values})
    return rows


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
