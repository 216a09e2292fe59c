"""The judge as an evaluation: tiny real models answer, a server over HTTP judges, files and scores come
out; baselines; secrets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from fake_judges import MODEL, weighing
from fake_openai_server import Behaviour, serving
from hydra.utils import instantiate
from omegaconf import OmegaConf
from test_judge_generation import tiny_model

from sftdiv.evaluation.judge.baseline import find_baseline
from sftdiv.evaluation.judge.prompt import Prompt
from sftdiv.evaluation.judge.win_rate import win_rate
from sftdiv.protocols import EvalContext
from sftdiv.records import Heldout, ModelRef, SftdivError
from sftdiv.storage.cache import Store

SAID = ["the cat", "the dog says", "moo", "woof woof", "says the cow", "meow says the cat the cat"]
PROMPTS = [Prompt((("user", text),), source="farm", references=(f"{text}!",)) for text in SAID]
HELD = Heldout(
    [[{"role": "user", "content": t}, {"role": "assistant", "content": f"{t}!"}] for t in SAID],
    ["farm"] * len(SAID),
    SAID,
)
LEVEL = {
    "strategy": "micro_token",
    "side": "response",
    "size": 100,
    "budget": "examples",
    "match": "none",
    "universe_of": "own",
}
LEVEL |= {"model": "tiny", "corpus": "embedded", "seed": 0, "seed.ladder": 0}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The base and the fine-tuned."""
    folder = tmp_path_factory.mktemp("models")
    return tiny_model(folder / "base", seed=0), tiny_model(folder / "tuned", seed=1)


def exam_of(
    study: Path, base: Path, *, cell: str = "cell-d1", level: float = 1.0, positions: int | None = None
) -> EvalContext:
    store = Store(study.parent / "cache")

    def keep(kind: str, key: Mapping[str, Any], build: Callable[[Path, Path], None]) -> Path:
        return store.folder(kind, key, lambda folder: build(folder, store.partial(kind, key)))

    folder = study / cell
    folder.mkdir(parents=True, exist_ok=True)
    places: dict[str, Any] = {"folder": folder / "evaluation", "study": study, "cell": cell}
    has: dict[str, Any] = {
        "heldout": lambda: HELD,
        "world_tasks": lambda: study,
        "base": lambda: ModelRef(str(base)),
        "positions": lambda: positions,
        "columns": {**LEVEL, "level": level},
        "keep": keep,
    }
    return EvalContext(**has, **places, device="cpu", max_length=64, loss_turns="all", seed=0)


def judge(composed: Any, address: str, *overrides: str) -> Any:
    """The evaluator as a command makes it."""
    hurried = [
        "judge.endpoint.wait=0.002",
        "judge.endpoint.timeout=5",
        "judge.generation.max_new_tokens=12",
        "judge.draws=50",
        f"judge.model={MODEL}",
    ]
    config = composed("eval=[embedded,judge]", f"judge.endpoint.base_url={address}", *hurried, *overrides)
    return instantiate(OmegaConf.to_container(config.eval.judge, resolve=True), _convert_="all")


def test_scores_and_files_of_a_cell_and_nothing_is_asked_twice(
    composed: Any, models: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base, tuned = models
    behaviour = Behaviour(reply=weighing, models=[MODEL])
    exam = exam_of(tmp_path / "study", base)
    with serving(behaviour) as address:
        evaluator = judge(
            composed, address, "judge.repeats=2", "judge.repeat_share=0.5", "judge.prices={prompt: 10, completion: 100}"
        )
        given = evaluator.check(exam)
        assert len(behaviour.requests) == 1  # the one before training
        judge(composed, address, "judge.max_calls=11").judge.warn_of_calls(len(PROMPTS))
        assert "judge.max_calls=11 is less than the 12 verdicts that 6 prompts need" in caplog.text
        scores = evaluator.score(tuned, exam)
        asked = len(behaviour.requests)
        assert str(evaluator.score(tuned, exam)) == str(scores)  # NaN is not equal to itself
        assert len(behaviour.requests) == asked == 1 + 2 * 6 + 2 * 3
    assert given == {"judge.win_rate": True}  # what may be performance
    assert set(given) < set(scores) and all(name.startswith("judge.") for name in scores)
    table = pq.read_table(exam.folder / "judge" / "verdicts.parquet").to_pydict()
    assert table["repeat"] == [0] * 12 + [1] * 6 and set(table["order"]) == {"candidate_first", "baseline_first"}
    assert {table[name][0] for name in ("candidate", "baseline", "judge", "template")} == {
        "cell-d1",
        "base",
        MODEL,
        "alpaca_eval",
    }
    preference = np.array(table["preference"][:12])
    assert scores["judge.win_rate"].value == pytest.approx(win_rate(preference)) and 0 < win_rate(preference) < 1
    assert np.allclose(preference[::2], preference[1::2])  # this judge does not look at the order
    spent = {name: scores[f"judge.{name}"].value for name in ("calls", "prompt_tokens", "completion_tokens", "cost")}
    assert spent == {
        "calls": 18,
        "prompt_tokens": 1800,
        "completion_tokens": 180,
        "cost": pytest.approx((1800 * 10 + 180 * 100) / 1e6),
    }
    entries = json.loads((exam.folder / "judge" / "annotations.json").read_text())
    answers = [json.loads(line) for line in (exam.folder / "judge" / "answers.jsonl").read_text().splitlines()]
    assert [entry["instruction"] for entry in entries] == SAID
    assert {entry["output_2"] for entry in entries} == {line["text"] for line in answers}
    assert np.mean([entry["preference"] for entry in entries]) - 1 == pytest.approx(scores["judge.win_rate"].value)
    record = json.loads((exam.folder / "judge" / "judging.json").read_text())
    assert record["read_by"] == {"logprobs": 18} and record["prompts"] == {"farm": 6}


def test_answers_too_long_for_the_model_are_refused_before_training(
    composed: Any, models: tuple[Path, Path], tmp_path: Path
) -> None:
    evaluator = judge(composed, "http://a/v1", "judge.generation.max_new_tokens=128")
    with pytest.raises(SftdivError, match="max_new_tokens=128 leaves no room for a prompt in 128 positions"):
        evaluator.check(exam_of(tmp_path / "study", models[0], positions=128))


def test_no_seed_is_sent_and_yet_sample_and_bootstrap_have_one(composed: Any) -> None:
    made = judge(composed, "http://a/v1", "judge.seed=null").judge
    assert (made.asking.seed, made.seed) == (None, 0)


def test_answers_of_the_base_model_are_written_once_a_study(
    composed: Any, models: tuple[Path, Path], tmp_path: Path
) -> None:
    base, tuned = models
    with serving(Behaviour(reply=weighing, models=[MODEL])) as address:
        evaluator = judge(composed, address)
        first = evaluator.score(tuned, exam_of(tmp_path / "study", base))
        (kept,) = (tmp_path / "cache" / "answers").glob("*/answers.jsonl")
        written = kept.stat().st_mtime_ns
        assert str(evaluator.score(tuned, exam_of(tmp_path / "study", base, cell="cell-d0"))) == str(first)
        assert [kept] == list(
            (tmp_path / "cache" / "answers").glob("*/answers.jsonl")
        ) and kept.stat().st_mtime_ns == written
        own = evaluator.score(base, exam_of(tmp_path / "study", base, cell="random"))
    assert own["judge.win_rate"].value == 0.5 and own["judge.calls"].value == 0  # against itself: equal answers


def test_another_cell_is_found_by_name_pattern_or_level(tmp_path: Path) -> None:
    study = tmp_path / "study"
    exam = exam_of(study, tmp_path)
    for name, level, seed in (("micro-d0.5-s0", 0.5, 0), ("micro-d0.5-s1", 0.5, 1), ("micro-d0-s0", 0.0, 0)):
        (study / name / "model").mkdir(parents=True)
        (study / name / "result.json").write_text(json.dumps({**LEVEL, "level": level, "seed": seed}))
    found = {
        setting: find_baseline(setting, PROMPTS, exam).name
        for setting in ("level:0.5", "micro-d0-s0", "micro-d0.5-s1*", "level:0")
    }
    assert found == {
        "level:0.5": "micro-d0.5-s0",
        "micro-d0-s0": "micro-d0-s0",
        "micro-d0.5-s1*": "micro-d0.5-s1",
        "level:0": "micro-d0-s0",
    }
    assert find_baseline("level:1", PROMPTS, exam).is_candidate and find_baseline("cell-*", PROMPTS, exam).is_candidate
    with pytest.raises(
        SftdivError, match=r"no finished cell with level=0\.25, strategy=micro_token, .*run diversity_level=0\.25 first"
    ):
        find_baseline("level:0.25", PROMPTS, exam)
    with pytest.raises(SftdivError, match=r"names 2 cells: micro-d0\.5-s0, micro-d0\.5-s1"):
        find_baseline("micro-d0.5*", PROMPTS, exam)
    with pytest.raises(
        SftdivError, match=r"judge\.baseline=gpt4 is no finished cell of .*It may be base, reference, level:0\.5"
    ):
        find_baseline("gpt4", PROMPTS, exam)
    with pytest.raises(SftdivError, match=r"outputs\.json is no finished cell of .* or a FILE of outputs"):
        find_baseline(str(tmp_path / "outputs.json"), PROMPTS, exam)  # mistyped, and an absolute path is no pattern
    (study / "micro-d0-s0" / "model").rmdir()
    with pytest.raises(SftdivError, match=r"micro-d0-s0 holds no model \(was it run with stop_after=select\?\)"):
        find_baseline("level:0", PROMPTS, exam)


def test_published_outputs_are_a_baseline_and_each_prompt_must_have_one(tmp_path: Path) -> None:
    exam, path = exam_of(tmp_path / "study", tmp_path), tmp_path / "model_outputs.json"
    outputs = [{"dataset": "farm", "instruction": text, "output": text.upper(), "generator": "gpt4"} for text in SAID]
    path.write_text(json.dumps(outputs[::-1]))
    baseline = find_baseline(str(path), PROMPTS, exam)
    assert baseline.name == "gpt4" and baseline.replies == {
        prompt.key: (prompt.instruction.upper(),) for prompt in PROMPTS
    }
    path.write_text(json.dumps(outputs[2:]))
    with pytest.raises(SftdivError, match=r"has no answer to 2 of 6 prompts: 'the cat'; 'the dog says'$"):
        find_baseline(str(path), PROMPTS, exam)
    assert find_baseline("reference", PROMPTS, exam).replies == {prompt.key: prompt.references for prompt in PROMPTS}


def test_the_key_is_in_no_file_no_log_and_no_error(
    composed: Any,
    models: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-very-secret")
    exam = exam_of(tmp_path / "study", models[0])
    with serving(Behaviour(reply=weighing, models=[MODEL], key="sk-very-secret"), 0) as address, caplog.at_level(0):
        evaluator = judge(composed, address, "judge.endpoint.api_key_env=JUDGE_KEY")
        evaluator.check(exam)
        evaluator.score(models[1], exam)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 5 and not [path for path in files if b"very-secret" in path.read_bytes()]
    assert "very-secret" not in caplog.text + repr(evaluator)
