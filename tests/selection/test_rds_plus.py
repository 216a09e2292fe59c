"""RDS+: the vectors by hand, whatever the batches, and the turns of the targets as a naive loop takes them."""

import numpy as np
import pytest
import torch
from tiny_models import ref, tiny_base

from sftdiv.modeling import hidden_means as module
from sftdiv.modeling.checkpoint import load_model, load_tokenizer
from sftdiv.modeling.hidden_means import hidden_means
from sftdiv.selection.rivals.rds_plus import round_robin

INSTRUCTIONS, RESPONSES = ["the cat", "the dog says", "a"], ["the cat says meow", "woof", "quack " * 30]


def vector_by_hand(text):
    model, tokenizer = load_model(tiny_base(), dtype=torch.float32), load_tokenizer(tiny_base(), template="")
    ids = torch.tensor([tokenizer(text)["input_ids"][:64]])
    with torch.no_grad():
        hidden = model(ids, output_hidden_states=True).hidden_states[-1][0]
    mean = sum((position + 1) * state for position, state in enumerate(hidden))
    return (mean / mean.norm()).numpy()


@pytest.mark.parametrize("batch_tokens", [1, 4096])
def test_a_vector_is_the_position_weighted_mean_of_the_last_hidden_states(tmp_path, monkeypatch, batch_tokens):
    monkeypatch.setattr(module, "BATCH_TOKENS", {"cpu": batch_tokens, "cuda": batch_tokens})
    vectors = hidden_means(ref(tiny_base()), INSTRUCTIONS, RESPONSES, tmp_path, max_tokens=2048)
    pairs = zip(INSTRUCTIONS, RESPONSES, strict=True)
    expected = [vector_by_hand(f"{instruction}\n{response}") for instruction, response in pairs]
    assert vectors == pytest.approx(np.stack(expected), abs=1e-5)


def test_targets_take_turns_by_hand():
    # The first target takes example 0, the second, to which it is closest too, must take example 2, then again.
    vectors = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], dtype=np.float32)
    targets = np.array([[1, 0], [0.96, 0.28]], dtype=np.float32)
    assert round_robin(vectors, targets, np.ones(4), 3).tolist() == [0, 1, 2]
    assert round_robin(vectors, targets[:1], np.ones(4), 4).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("size", [7, 100])
def test_turns_are_those_of_a_naive_loop_although_all_targets_are_alike(size):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(100, 4)).astype(np.float32)
    targets = (np.ones((5, 4)) + 0.1 * rng.normal(size=(5, 4))).astype(np.float32)
    left, expected = list(range(100)), []
    for turn in range(size):
        expected.append(max(left, key=lambda row: vectors[row] @ targets[turn % 5]))
        left.remove(expected[-1])
    assert round_robin(vectors, targets, np.ones(100), size).tolist() == expected
