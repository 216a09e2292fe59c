"""Answers of real tiny models: alone or in a batch, greedy or drawn, over several turns, and after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from sftdiv.evaluation.judge.answers import Generation, read_answers, write_answers
from sftdiv.evaluation.judge.prompt import Prompt
from sftdiv.llm.journal import Journal
from sftdiv.modeling.checkpoint import load_tokenizer
from sftdiv.modeling.generate import BatchedModel, PerRowSampler, Sampling
from sftdiv.modeling.generate_vllm import check_vllm
from sftdiv.records import ModelRef, SftdivError
from sftdiv.storage.hashing import content_hash
from sftdiv.training.tokenizer import train_tokenizer

SOUNDS = {"cat": "meow", "dog": "woof", "cow": "moo"}
TEXTS = [f"the {animal} says {sound} " * times for times, (animal, sound) in enumerate(SOUNDS.items(), start=1)]
ASKED = [
    [{"role": "user", "content": text.strip()}]
    for text in [*TEXTS, "cat", "dog woof cow moo", "says " * 12, "the", "moo moo"]
]
GREEDY = {"max_new_tokens": 12, "temperature": 0.0, "top_p": 1.0, "seed": 0}
DRAWN = {**GREEDY, "temperature": 0.9, "top_p": 0.95}


def tiny_model(folder: Path, *, seed: int) -> Path:
    """A model of random weights with a tokenizer that knows the words above."""
    train_tokenizer(TEXTS, folder, vocab_size=300)
    torch.manual_seed(seed)
    tokenizer = load_tokenizer(folder)
    shape = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "initializer_range": 0.5,
    }
    special = {
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=128, **shape, **special)
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"), seed=0)


def said(model: Path, batch_size: int, sampling: dict[str, float], rows: slice = slice(None)) -> list[str]:
    asked, seeds = ASKED[rows], list(range(len(ASKED)))[rows]
    batched = BatchedModel(model, load_tokenizer(model), max_length=100, batch_size=batch_size, device="cpu")
    answers = dict(batched.answers(asked, seeds, sampling=Sampling(**sampling)))  # type: ignore[arg-type]
    return [answers[row].text for row in range(len(asked))]


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN], ids=["greedy", "drawn"])
def test_an_answer_does_not_depend_on_the_batch_it_is_in(model: Path, sampling: dict[str, float]) -> None:
    alone = said(model, 1, sampling)
    assert said(model, 16, sampling) == alone
    assert said(model, 3, sampling, slice(None, None, -1)) == alone[::-1]
    assert len(set(alone)) > 4  # the prompts do matter


def test_a_batch_that_does_not_fit_is_halved(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    alone, generate = said(model, 1, DRAWN), LlamaForCausalLM.generate

    def scarce(self: Any, input_ids: torch.Tensor, **how: Any) -> Any:
        if len(input_ids) > 2:
            raise torch.OutOfMemoryError("no room")
        return generate(self, input_ids=input_ids, **how)

    monkeypatch.setattr(LlamaForCausalLM, "generate", scarce)
    assert said(model, 8, DRAWN) == alone
    assert [record.getMessage()[:9] for record in caplog.records] == ["8 answers", "4 answers"]


def test_another_seed_draws_other_answers(model: Path) -> None:
    assert said(model, 16, DRAWN) != said(model, 16, {**DRAWN, "seed": 1})


def test_a_token_is_drawn_from_the_nucleus_by_its_share() -> None:
    scores = torch.log(torch.tensor([[0.2, 0.5, 0.3]] * 2000))
    randoms = [np.random.default_rng(seed) for seed in range(2000)]
    drawn = PerRowSampler(randoms, Sampling(max_new_tokens=1, temperature=1.0, top_p=0.7, seed=0))(
        scores, scores
    ).argmax(dim=-1)
    shares = (
        torch.bincount(drawn, minlength=3) / 2000
    )  # the nucleus of 0.7 is the tokens of 0.5 and 0.3: 5/8 and 3/8 of the draws
    assert shares[0] == 0 and abs(float(shares[1]) - 5 / 8) < 0.03


def test_the_second_turn_follows_on_the_answer_to_the_first(model: Path, tmp_path: Path) -> None:
    generation = Generation(**GREEDY, batch_size=4, backend="hf")  # type: ignore[arg-type]
    two = Prompt((("user", "the cat"),), ("the dog",))
    replies = write_answers(
        ModelRef(str(model)),
        model,
        [two],
        tmp_path / "answers.jsonl",
        generation=generation,
        max_length=100,
        device="cpu",
    )
    first, second = replies[two.key]
    whole = Prompt((("user", "the cat"), ("assistant", first), ("user", "the dog")))
    again = write_answers(
        ModelRef(str(model)),
        model,
        [whole],
        tmp_path / "whole.jsonl",
        generation=generation,
        max_length=100,
        device="cpu",
    )
    assert again[whole.key] == (second,)


def test_answers_are_kept_as_they_come_and_not_written_twice(model: Path, tmp_path: Path) -> None:
    generation = Generation(**GREEDY, batch_size=2, backend="hf")  # type: ignore[arg-type]
    prompts, path = (
        [Prompt((("user", text),)) for text in ("the cat", "the dog", "the cow says moo")],
        tmp_path / "answers.jsonl",
    )
    how: dict[str, Any] = {"generation": generation, "max_length": 100}
    whole = write_answers(ModelRef(str(model)), model, prompts, path, device="cpu", **how)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + lines[2][:20])  # what a kill leaves
    assert read_answers(path, prompts, **how) is None
    assert write_answers(ModelRef(str(model)), model, prompts, path, device="cpu", **how) == whole
    assert path.read_text().splitlines(keepends=True) == lines
    nowhere = tmp_path / "no-model"  # nothing is missing, so no model is loaded
    assert (
        write_answers(ModelRef(str(nowhere)), nowhere, prompts, path, device="cpu", **how)
        == whole
        == read_answers(path, prompts, **how)
    )


def test_an_answer_may_hold_what_python_takes_for_line_ends(tmp_path: Path) -> None:
    generation, prompt = Generation(**GREEDY, batch_size=2, backend="hf"), Prompt((("user", "the cat"),))  # type: ignore[arg-type]
    key = content_hash([prompt.key, 0, generation.artifact_key(max_length=100)])
    with Journal(tmp_path / "answers.jsonl") as ledger:
        ledger.add({"key": key, "state": "answered", "text": "one\u2028two\u0085three"})
    read = read_answers(tmp_path / "answers.jsonl", [prompt], generation=generation, max_length=100)
    assert read == {prompt.key: ("one\u2028two\u0085three",)}


def test_what_cannot_work_is_said_with_the_way_out(model: Path) -> None:
    with pytest.raises(SftdivError, match=r"pip install 'sftdiv\[vllm\]', or backend=hf"):
        check_vllm()
    assert Generation(**GREEDY, batch_size="auto", backend="hf").initial_batch_size == 16  # type: ignore[arg-type]
    with pytest.raises(SftdivError, match="batch_size='atuo' must be auto or a whole number"):
        Generation(**GREEDY, batch_size="atuo", backend="hf")  # type: ignore[arg-type]
    with pytest.raises(SftdivError, match="max_new_tokens=128 leaves no room for a prompt in 128 positions"):
        said(model, 1, {**GREEDY, "max_new_tokens": 128})
