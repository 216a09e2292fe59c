"""A real language model as the judge, behind HTTP with faults: its log-probabilities, its order effects,
and the same verdicts again."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_judges import MODEL
from fake_openai_server import HTTP, Behaviour, often
from test_judge import BASELINE, CANDIDATE, PROMPTS, judged, template
from tiny_models import CPU, fine_tuning, ref

from sftdiv.evaluation.judge.win_rate import win_rate
from sftdiv.modeling.checkpoint import load_model, load_tokenizer
from sftdiv.training.architecture import ArchitectureConfig
from sftdiv.training.fine_tune import fine_tune
from sftdiv.training.pretrain import train_base
from sftdiv.training.tokenizer import train_tokenizer

ASKED = [template("alpaca_eval").messages(p.instruction, CANDIDATE[p.key][0], BASELINE[p.key][0])[1:] for p in PROMPTS]
HOW = {"learning_rate": 0.01, "warmup": 0.1, "weight_decay": 0.01, "clip": 1.0}


class ModelJudge:
    """Answers a request with a model's likeliest next token and its log-probabilities, as vLLM does with
    ``max_tokens=1``."""

    def __init__(self, folder: Path) -> None:
        self._model, self._tokenizer = load_model(folder, dtype="auto", device="cpu"), load_tokenizer(folder)
        self._one_at_a_time = threading.Lock()

    def __call__(self, asked: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        turns = [turn for turn in asked["messages"] if turn["role"] != "system"]
        text = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        with self._one_at_a_time, torch.inference_mode():
            logits = self._model(**self._tokenizer(text, add_special_tokens=False, return_tensors="pt")).logits[0, -1]
        values, tokens = torch.log_softmax(logits.double(), dim=-1).topk(asked["top_logprobs"])
        likeliest = [
            {"token": self._tokenizer.decode([t]), "logprob": v}
            for t, v in zip(tokens.tolist(), values.tolist(), strict=True)
        ]
        return likeliest[0]["token"], {"content": [{**likeliest[0], "top_logprobs": likeliest}]}


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> ModelJudge:
    """A model of 20,000 weights that was taught to say A or B, whichever."""
    folder = tmp_path_factory.mktemp("judge")
    texts = [turns[0]["content"] for turns in ASKED]
    train_tokenizer([*texts, "A B"], folder / "tokenizer", vocab_size=400)
    shape = ArchitectureConfig(width=32, layers=2, heads=2, mlp_width=64, positions=512)
    train_base(
        texts,
        folder / "tokenizer",
        folder / "base",
        architecture=shape,
        steps=5,
        batch_size=2,
        context=64,
        trainer=CPU,
        seed=0,
        **HOW,
    )
    talks = [[*turns, {"role": "assistant", "content": "AB"[row % 2]}] for row, turns in enumerate(ASKED[:24])]
    names = [f"talk-{row}" for row in range(len(talks))]
    fine_tune(ref(folder / "base"), talks, names, folder / "tuned", **fine_tuning(epochs=6, max_length=512))
    return ModelJudge(folder / "tuned")


def test_verdicts_of_a_real_model_through_faults_are_those_without(judge: ModelJudge, tmp_path: Path) -> None:
    columns = judged(judge, tmp_path / "calm", verdict="logprobs")
    faulty = Behaviour(reply=judge, models=[MODEL], faults=often(0.3, HTTP), slow=4)
    through_faults = judged(faulty, tmp_path / "faulty", verdict="logprobs", most=0.0, timeout=2)
    assert set(faulty.served) == {"None", *HTTP} and faulty.served["None"] >= len(PROMPTS) * 2
    assert faulty.served.total() - faulty.served["None"] > 0.25 * len(PROMPTS) * 2
    assert np.array_equal(columns["first"], through_faults["first"])
    assert np.all((columns["first"] > 0) & (columns["first"] < 1)) and len(np.unique(columns["first"])) > len(PROMPTS)


def test_swapping_the_answers_of_a_real_model_gives_one_minus_the_win_rate(judge: ModelJudge, tmp_path: Path) -> None:
    rates = [
        win_rate(judged(judge, tmp_path / str(swap), *pair, verdict="logprobs")["preference"])
        for swap, pair in enumerate([(CANDIDATE, BASELINE), (BASELINE, CANDIDATE)])
    ]
    assert sum(rates) == pytest.approx(1.0, abs=1e-12) and rates[0] != 0.5
