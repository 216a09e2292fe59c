"""Choices that share one pass over their prompt have the log-likelihoods that the harness gives them one by one."""

import inspect

import numpy as np
import pytest
from tiny_models import FACTS, SHAPE

from sftdiv.evaluation.lm_eval_model import language_model
from sftdiv.modeling.checkpoint import load_tokenizer
from sftdiv.training.pretrain import make_model
from sftdiv.training.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    train_tokenizer(FACTS, folder, vocab_size=300)
    make_model(SHAPE, load_tokenizer(folder), seed=0).save_pretrained(folder)
    return language_model(folder, backend="hf", batch_size=2, chat_template=False, device="cpu", seed=0)


def test_shared_contexts_give_the_harness_answers(model, monkeypatch):
    """Continuations of one and of several tokens, more than a batch, single ones, and one that must be cut."""
    from lm_eval.models.huggingface import HFLM

    rng = np.random.default_rng(0)

    def tokens(count):
        return rng.integers(5, 250, count).tolist()

    requests = []
    for context_length, lengths in ((9, [1, 4, 2, 3, 4]), (12, [1, 1, 1]), (7, [3]), (2, [4, 5]), (70, [2, 2])):
        context = tokens(context_length)
        requests += [(("", ""), context, tokens(length)) for length in lengths]
    requests = [requests[at] for at in rng.permutation(len(requests))]
    alone = HFLM._loglikelihood_tokens(model, requests, disable_tqdm=True)
    passes = []
    forward = model.model.forward

    def counted(input_ids=None, **settings):
        passes.append(tuple(input_ids.shape))
        return forward(input_ids, **settings)

    counted.__signature__ = inspect.signature(forward)
    monkeypatch.setattr(model.model, "forward", counted)
    shared = model._loglikelihood_tokens(requests, disable_tqdm=True)
    assert [likelihood for likelihood, _ in shared] == pytest.approx([likelihood for likelihood, _ in alone], abs=1e-4)
    assert [is_greedy for _, is_greedy in shared] == [is_greedy for _, is_greedy in alone]
    assert passes.count((1, 9)) == 1 and passes.count((1, 12)) == 1  # each shared context is read once
