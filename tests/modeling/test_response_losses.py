"""Losses of responses by the base model: the values by hand, whatever the batches, and after a kill."""

import numpy as np
import pytest
import torch
from tiny_models import ref, tiny_base

from sftdiv.modeling import length_shards, response_losses
from sftdiv.modeling.checkpoint import load_model, load_tokenizer
from sftdiv.modeling.length_shards import batches, in_shards

INSTRUCTIONS = ["the cat", "the cow says", "a", "the duck says quack " * 40, "the dog"]
RESPONSES = ["the cat says meow", "moo", "the dog says woof the dog says woof", "quack", ""]


def losses(folder, *, alone, max_tokens=1024, instructions=INSTRUCTIONS, responses=RESPONSES):
    base = ref(tiny_base())
    return response_losses.response_losses(base, instructions, responses, folder, alone=alone, max_tokens=max_tokens)


def loss_by_hand(text, start):
    """Mean negative log-likelihood of the tokens from ``start`` on, one text at a time."""
    model, tokenizer = load_model(tiny_base(), dtype=torch.float32), load_tokenizer(tiny_base(), template="")
    ids = torch.tensor(tokenizer(text)["input_ids"][:64])
    with torch.no_grad():
        log_likelihood = model(ids[None]).logits[0].log_softmax(-1)
    scored = range(max(start, 1), len(ids))
    return float(-torch.stack([log_likelihood[i - 1, ids[i]] for i in scored]).mean()) if scored else float("nan")


def test_a_loss_is_the_mean_over_the_responses_tokens_alone_or_after_the_instruction(tmp_path):
    tokenizer = load_tokenizer(tiny_base(), template="")
    prompts = [f"{instruction}\n" for instruction in INSTRUCTIONS]
    after = [
        loss_by_hand(prompt + response, len(tokenizer(prompt)["input_ids"]))
        for prompt, response in zip(prompts, RESPONSES, strict=True)
    ]
    (tmp_path / "alone").mkdir()
    assert losses(tmp_path, alone=False) == pytest.approx(after, rel=1e-5, nan_ok=True)
    alone = losses(tmp_path / "alone", alone=True)
    assert alone[:3] == pytest.approx([loss_by_hand(response, 0) for response in RESPONSES[:3]], rel=1e-5)
    assert (
        np.isnan(alone[3:]).all() and np.isnan(after[3:]).all()
    )  # the prompt fills 64 positions; there is no response


def test_the_response_alone_is_cut_to_the_tokens_that_are_scored_after_the_instruction():
    tokenizer = load_tokenizer(tiny_base(), template="")
    after, alone = (
        response_losses.scored_texts(tokenizer, ["the cat"], ["the dog says woof " * 9], alone=alone, limit=20)[0]
        for alone in (False, True)
    )
    assert len(after) == 20
    assert len(after) - after.start == len(alone) - 1  # its first token has no context


@pytest.mark.parametrize("alone", [False, True])
def test_losses_do_not_depend_on_batches_and_shards(tmp_path, monkeypatch, alone):
    rng = np.random.default_rng(0)
    words = ["the", "cat", "says", "meow", "dog", "woof", "cow", "moo", "duck", "quack"]
    responses = [" ".join(rng.choice(words, size=rng.integers(1, 20))) for _ in range(40)]
    arguments = {"alone": alone, "instructions": ["the dog says"] * 40, "responses": responses}
    (tmp_path / "single").mkdir()
    together = losses(tmp_path, **arguments)
    monkeypatch.setattr(response_losses, "BATCH_TOKENS", {"cpu": 1, "cuda": 1})
    monkeypatch.setattr(length_shards, "SHARD_TOKENS", 100)
    single = losses(tmp_path / "single", **arguments)
    assert len(list((tmp_path / "single").glob("*.npy"))) > 5
    assert together == pytest.approx(single, rel=1e-5)


def test_shards_of_an_interrupted_call_are_not_computed_again(tmp_path, monkeypatch):
    monkeypatch.setattr(length_shards, "SHARD_TOKENS", 10)
    lengths, computed = np.array([3, 8, 1, 9, 7, 5]), []

    def compute(rows):
        computed.append(rows.tolist())
        return lengths[rows] * 10.0

    def compute_two_shards(rows):
        if len(computed) == 2:
            raise KeyboardInterrupt
        return compute(rows)

    with pytest.raises(KeyboardInterrupt):
        in_shards(lengths, compute_two_shards, tmp_path, label="test")
    assert computed == [[3], [1]]  # the longest first
    (tmp_path / "test-000001.npy").write_bytes(b"damaged")
    assert in_shards(lengths, compute, tmp_path, label="test").tolist() == [30, 80, 10, 90, 70, 50]
    assert computed[2:] == [[1], [4, 5], [0, 2]]  # the damaged shard is computed again, the whole one is not


def test_batches_keep_within_the_padded_tokens():
    assert list(batches(np.array([9, 5, 5, 2, 1, 1]), tokens=10)) == [slice(0, 1), slice(1, 3), slice(3, 6)]
