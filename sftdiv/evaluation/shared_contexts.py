"""Log-likelihoods of several continuations of one context, which the model reads once.

The harness reads the context again for every choice of a multiple-choice item, unless each choice is a single token. On
a CPU the time is proportional to the tokens: with MMLU's four answers as continuations this takes a third of it. On a
GPU large batches are faster than fewer tokens, so it is for CPUs only. The result is that of the harness up to the last
bits (`tests/evaluation/test_shared_contexts.py`). Continuations are padded on the right, which a causal model's earlier
tokens do not see, and the context is read alone, so no attention mask is needed.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

Request: TypeAlias = tuple[Any, list[int], list[int]]  # (texts, context tokens, continuation tokens)
Answer: TypeAlias = tuple[float, bool]  # log-likelihood in nats, and whether it is the greedy continuation


def score_requests(
    model: torch.nn.Module,
    requests: Sequence[Request],
    *,
    batch_size: int,
    max_length: int,
    score_others: Callable[[list[Request]], list[Answer]],
) -> list[Answer]:
    """Score requests in the order given.

    Args:
        model: Causal language model on a CPU.
        requests: Tokenized contexts and continuations.
        batch_size: Number of continuations per forward pass.
        max_length: Maximum number of tokens; longer requests are left to ``score_others``, which truncates.
        score_others: Scores requests whose context is not worth sharing.
    """
    by_context: dict[tuple[int, ...], list[int]] = {}
    for position, (_, context, _) in enumerate(requests):
        by_context.setdefault(tuple(context), []).append(position)
    answers: dict[int, Answer] = {}
    for shared, positions in by_context.items():
        continuations = [requests[position][2] for position in positions]
        if _is_worth_sharing(shared, continuations, max_length):
            scored = continuation_log_likelihoods(model, shared, continuations, batch_size=batch_size)
            answers |= dict(zip(positions, scored, strict=True))
    others = [position for position in range(len(requests)) if position not in answers]
    if others:
        answers |= dict(zip(others, score_others([requests[position] for position in others]), strict=True))
    return [answers[position] for position in range(len(requests))]


def _is_worth_sharing(context: Sequence[int], continuations: Sequence[Sequence[int]], max_length: int) -> bool:
    """Whether the context is read several times otherwise, and is longer than what follows it."""
    longest = max(map(len, continuations))
    return len(continuations) > 1 and 0 < longest <= len(context) and len(context) + longest <= max_length


@torch.inference_mode()
def continuation_log_likelihoods(
    model: torch.nn.Module, context: Sequence[int], continuations: Sequence[Sequence[int]], *, batch_size: int
) -> list[Answer]:
    """Log-likelihood of each continuation of a context.

    Args:
        model: Causal language model.
        context: Tokens of the context.
        continuations: Tokens of each continuation, at least one.
        batch_size: Number of continuations per forward pass.
    """
    only_last = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    read = model(torch.tensor([list(context)]), use_cache=True, **only_last)
    first = torch.log_softmax(read.logits[0, -1:], dim=-1, dtype=torch.float32)  # shape (1, vocabulary)
    answers: list[Answer] = []
    for start in range(0, len(continuations), batch_size):
        batch = continuations[start : start + batch_size]
        width = max(map(len, batch)) - 1
        following = torch.empty(len(batch), 0, first.shape[-1])
        if width > 0:
            cache = copy.deepcopy(read.past_key_values)
            cache.batch_repeat_interleave(len(batch))
            inputs = torch.tensor([[*tokens[:-1], *[0] * (width + 1 - len(tokens))] for tokens in batch])
            logits = model(inputs, past_key_values=cache, use_cache=True).logits
            following = torch.log_softmax(logits, dim=-1, dtype=torch.float32)
        for tokens, rows in zip(batch, following, strict=True):
            log_probabilities = torch.cat([first, rows[: len(tokens) - 1]])  # shape (tokens, vocabulary)
            targets = torch.tensor(tokens)
            likelihood = log_probabilities.gather(1, targets[:, None]).sum()
            answers.append((float(likelihood), bool((log_probabilities.argmax(dim=-1) == targets).all())))
    return answers
