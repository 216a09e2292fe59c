"""The practical limit: a plain PyTorch loop over batches sorted by length, with nothing that training does not need.

All samples are sorted by length and cut into batches, and the batches are shuffled. That leaves less
padding than any method that keeps the order random. Padding is on the right, so causal attention needs no
mask. ``train`` computes all logits and lets the cross entropy ignore the prompt, as most loops do;
``train_at_labels`` computes them only at label positions, as sftdiv does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recipe import CLIP, Case, Clock, adamw, share

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

IGNORED = -100


def train(case: Case, clock: Clock, *, seed: int) -> PreTrainedModel:
    """With all logits."""
    return _loop(case, clock, seed=seed, at_labels=False)


def train_at_labels(case: Case, clock: Clock, *, seed: int) -> PreTrainedModel:
    """With the logits of label positions."""
    return _loop(case, clock, seed=seed, at_labels=True)


def _loop(case: Case, clock: Clock, *, seed: int, at_labels: bool) -> PreTrainedModel:
    import torch
    from torch.nn.utils.rnn import pad_sequence
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(case.base)
    model = AutoModelForCausalLM.from_pretrained(case.base, dtype=torch.float32).train()
    samples = [_sample(tokenizer, row["prompt"], row["response"]) for row in case.conversations("train")]
    size = case.settings["batch_size"]
    order = sorted(range(len(samples)), key=lambda i: len(samples[i][0]))
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    batches = [batches[i] for i in torch.randperm(len(batches)).tolist()]
    optimizer = adamw(model, case.settings["learning_rate"])
    for step, batch in enumerate(batches):
        ids = pad_sequence([samples[i][0] for i in batch], batch_first=True, padding_value=tokenizer.pad_token_id)
        labels = pad_sequence([samples[i][1] for i in batch], batch_first=True, padding_value=IGNORED)
        clock.begin()
        clock.seen.append((ids, labels, None))
        for group in optimizer.param_groups:
            group["lr"] = case.settings["learning_rate"] * share(step, len(batches))
        optimizer.zero_grad()
        _loss(model, ids, labels, at_labels=at_labels).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        clock.end()
    return model


def _sample(tokenizer: Any, prompt: str, response: str) -> tuple[Tensor, Tensor]:
    import torch

    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    first = tokenizer.apply_chat_template(turns[:1], tokenize=True, add_generation_prompt=True)["input_ids"]
    ids = torch.tensor(tokenizer.apply_chat_template(turns, tokenize=True)["input_ids"])
    labels = ids.clone()
    labels[: len(first)] = IGNORED
    return ids, labels


def _loss(model: PreTrainedModel, ids: Tensor, labels: Tensor, *, at_labels: bool) -> Tensor:
    from torch.nn.functional import cross_entropy

    targets = labels[:, 1:]
    if not at_labels:
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        return cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), ignore_index=IGNORED)
    learned = targets != IGNORED
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1][learned]
    return cross_entropy(model.get_output_embeddings()(hidden), targets[learned])
