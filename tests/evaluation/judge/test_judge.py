"""The judge over real HTTP: prompts as they are published, verdicts by choice and by weight, faults, kill
-9, baselines, secrets."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from fake_batch_api import BatchDesk
from fake_judges import MODEL, always_first, longer, weighing
from fake_openai_server import HTTP, Behaviour, often, serving, text_of
from warm_process import start_code

from sftdiv.config.app import conf_dir
from sftdiv.evaluation.judge.client import JudgeClient, check_judge, judge_cases
from sftdiv.evaluation.judge.comparisons import Pair, cases_of, pairs_of, tabulate
from sftdiv.evaluation.judge.judge_config import JudgeConfig
from sftdiv.evaluation.judge.position_bias import position_bias
from sftdiv.evaluation.judge.prompt import Prompt
from sftdiv.evaluation.judge.prompt_files import read_prompts
from sftdiv.evaluation.judge.prompts import FilePrompts, distinct, load_prompts, spread
from sftdiv.evaluation.judge.templates import Template, logprob_preference
from sftdiv.evaluation.judge.win_rate import win_rate
from sftdiv.llm.batch_requests import summary
from sftdiv.llm.endpoint import Endpoint
from sftdiv.llm.journal import Journal
from sftdiv.records import SftdivError

NAMES = {"candidate": "a", "baseline": "b", "judge": MODEL, "template": "alpaca_eval"}
PROMPTS = [Prompt((("user", f"What is {row} + {row}?"),), source="sums") for row in range(60)]
CANDIDATE = {prompt.key: (f"It is {'very ' * (row % 7)}{2 * row}.",) for row, prompt in enumerate(PROMPTS)}
BASELINE = {prompt.key: (f"Of course {'so ' * (row % 5)}{2 * row}!",) for row, prompt in enumerate(PROMPTS)}


def template(name: str) -> Template:
    settings = yaml.safe_load((conf_dir() / "judge" / f"{name}.yaml").read_text())["template"]
    return Template(**{key: value for key, value in settings.items() if key != "_target_"})


def asking(
    address: str, *, judge: str = "alpaca_eval", api_key_env: str | None = None, timeout: float = 30, **changes: Any
) -> JudgeConfig:
    hurried: dict[str, Any] = {
        "tries": 12,
        "wait": 0.002,
        "longest_wait": 0.02,
        "requests_per_minute": None,
        "timeout": timeout,
        "batch": changes.pop("batch", None),
        "batch_requests": 50,
    }
    endpoint = Endpoint(base_url=address, api_key_env=api_key_env, concurrency=16, **hurried)
    settings: dict[str, Any] = {
        "verdict": "auto",
        "top_logprobs": 5,
        "temperature": 0.0,
        "retry_temperature": 0.7,
        "seed": 0,
    }
    settings |= {"max_tokens": 8, "retries": 2, "extra": {}}
    return JudgeConfig(endpoint=endpoint, model=MODEL, template=template(judge), **{**settings, **changes})


def judged(
    reply: Any, folder: Path, candidate: Any = CANDIDATE, baseline: Any = BASELINE, *, most: float = 0.5, **changes: Any
) -> dict[str, Any]:
    """The columns of a judging of 60 pairs."""
    behaviour = reply if isinstance(reply, Behaviour) else Behaviour(reply=reply, models=[MODEL])
    cases = cases_of(pairs_of(PROMPTS, candidate, baseline), repeats=1, repeat_share=1.0, seed=0)
    with serving(behaviour) as address:
        lines = judge_cases(cases, asking(address, **changes), folder, max_unreadable=most, max_calls=None)
    return tabulate(cases, lines, NAMES)


def test_a_judge_that_likes_the_first_place_says_nothing_of_the_answers(tmp_path: Path) -> None:
    columns = judged(always_first, tmp_path)
    assert win_rate(columns["preference"]) == 0.5
    assert position_bias(columns["first"]) == 1.0


@pytest.mark.parametrize(("name", "judge"), [("alpaca_eval", weighing), ("arena_hard", longer)])
def test_swapping_candidate_and_baseline_gives_one_minus_the_win_rate(name: str, judge: Any, tmp_path: Path) -> None:
    rates = [
        win_rate(judged(judge, tmp_path / str(swap), *pair, judge=name)["preference"])
        for swap, pair in enumerate([(CANDIDATE, BASELINE), (BASELINE, CANDIDATE)])
    ]
    assert sum(rates) == pytest.approx(1.0, abs=1e-12)
    assert rates[0] != 0.5


def test_the_preference_is_the_logistic_of_two_logprobs() -> None:
    likely = [{"token": "A", "logprob": -0.4}, {"token": " B", "logprob": -1.9}, {"token": "The", "logprob": -3.0}]
    said = {"content": [{"token": "\n", "logprob": -0.1, "top_logprobs": []}, {**likely[0], "top_logprobs": likely}]}
    assert logprob_preference({"choices": [{"logprobs": said}]}, ("A", "B")) == pytest.approx(
        1 / (1 + math.exp(-1.5)), rel=1e-12
    )
    alone = {"content": [{**likely[0], "top_logprobs": likely[:1]}]}
    assert (
        logprob_preference({"choices": [{"logprobs": alone}]}, ("A", "B")) == 1.0
    )  # what is not among the likeliest is impossible
    assert logprob_preference({"choices": [{"logprobs": alone}]}, ("m", "M")) is None
    begun = {
        "content": [
            {"token": "Answer", "logprob": -0.1, "top_logprobs": [{"token": "Answer", "logprob": -0.1}, likely[0]]}
        ]
    }
    assert logprob_preference({"choices": [{"logprobs": begun}]}, ("A", "B")) is None  # "Answer B" is no verdict for A
    strangers: tuple[Any, ...] = (
        [],
        {"content": "A"},
        {"content": [{"token": "A"}]},
        {"tokens": ["A"], "token_logprobs": [-0.1]},
    )
    for strange in strangers:
        assert logprob_preference({"choices": [{"logprobs": strange}]}, ("A", "B")) is None


@pytest.mark.parametrize(
    ("name", "text", "verdict"),
    [
        ("alpaca_eval", "A", "A"),
        ("alpaca_eval", " **B**\n\nB is shorter than A.", "B"),
        ("alpaca_eval", "The better answer is A.", "A"),
        ("alpaca_eval", "Assistant B is better", "B"),
        ("alpaca_eval", "tie", "tie"),
        ("alpaca_eval", "A dog is an animal.", None),
        ("alpaca_eval", "Both A and B are wrong.", None),
        ("alpaca_eval", "", None),
        ("arena_hard", "Mine: 4.\nA says 5.\n[[B>>A]]", "B>>A"),
        ("arena_hard", "[[A=B]]. As I said: [[A=B]]", "A=B"),
        ("arena_hard", "First I thought [[A>B]], then [[B>A]]", None),
        ("arena_hard", "[[A<B]]", None),
        ("alpaca_eval", "a", "A"),
        ("alpaca_eval", "Tie", "tie"),
        ("alpaca_eval", "<think>\nAssistant A is good. Is B better?\n</think>\n\nB", "B"),
        ("alpaca_eval", "A looks short. B is right.\n</think>\n\nB", "B"),
        ("alpaca_eval", "<think>A is better", None),
        ("alpaca_eval", "**A:** misses the point.\n**B:** is right.\n\n**B**", "B"),
        ("alpaca_eval", "A: short and wrong. B: right. So B.", None),
        ("alpaca_eval", "A is better written, but B answers the question, so: B", None),
        ("alpaca_eval", "The answer A) misses the point; B", None),
        ("alpaca_eval", "A\nB", None),
        ("alpaca_eval", "B is better because it answers the question.", "B"),
        ("alpaca_eval", "A is better. However, B answers, so I pick B.", None),
        ("alpaca_eval", "Both try.\n\nThe winner is **B**.", "B"),
        ("arena_hard", "My final verdict: [[A > B]]", "A>B"),
        ("arena_hard", "[[ b>>a ]]", "B>>A"),
        ("arena_hard", "<think>\nFirst [[A>B]], or [[B>A]].\n</think>\n\n[[B>A]]", "B>A"),
    ],
)
def test_a_verdict_is_read_or_it_is_none(name: str, text: str, verdict: str | None) -> None:
    assert template(name).choice(text) == verdict


def test_texts_are_put_into_the_template_once() -> None:
    (_, turn) = template("alpaca_eval").messages("Say {first}.", "{second}", "{instruction}")
    assert [turn["content"].count(text) for text in ("Say {first}.", "{second}", "{instruction}")] == [1, 1, 1]


def test_nothing_is_lost_and_nothing_judged_twice_with_30_percent_faults(tmp_path: Path) -> None:
    smooth = judged(weighing, tmp_path / "smooth")
    rough = Behaviour(reply=weighing, models=[MODEL], faults=often(0.3, HTTP), slow=2.0)
    assert np.array_equal(judged(rough, tmp_path / "rough", timeout=1.5)["first"], smooth["first"])
    assert sum(rough.served.values()) - rough.served["None"] > 20 and len(rough.served) == len(HTTP) + 1
    with Journal(tmp_path / "rough" / "verdicts.jsonl") as ledger:
        too_slow = (
            summary(ledger.lines())["errors"]["timeout"] - rough.served["slow"]
        )  # on a busy machine also what was no fault
    assert 0 <= rough.served["None"] - 120 <= too_slow  # a verdict each, whatever came before it
    again = Behaviour(reply=weighing, models=[MODEL])
    assert np.array_equal(judged(again, tmp_path / "rough")["first"], smooth["first"])
    assert not again.requests


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_judge import BASELINE, CANDIDATE, PROMPTS, asking
from sftdiv.evaluation.judge.client import judge_cases
from sftdiv.evaluation.judge.comparisons import cases_of, pairs_of
cases = cases_of(pairs_of(PROMPTS, CANDIDATE, BASELINE), repeats=1, repeat_share=1.0, seed=0)
judge_cases(cases, asking(sys.argv[1]), Path(sys.argv[2]), max_unreadable=0.0, max_calls=None)
"""


def test_killed_in_the_middle_it_asks_only_what_is_missing(tmp_path: Path) -> None:
    behaviour, store = Behaviour(reply=weighing, models=[MODEL], delay=0.1), tmp_path / "verdicts.jsonl"
    with serving(behaviour) as address:
        process = start_code(SCRIPT, address, tmp_path, Path(__file__).parent)
        deadline = time.monotonic() + 100
        while (not store.exists() or store.read_bytes().count(b"\n") < 30) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.wait()
    done = store.read_bytes().count(b"\n")
    assert 30 <= done < 120
    after = Behaviour(reply=weighing, models=[MODEL])
    columns = judged(after, tmp_path)
    assert len(after.requests) == 120 - done
    assert not np.isnan(columns["first"]).any()


def test_the_cases_of_a_prompt_are_sent_together_and_those_that_show_the_same_answer_first(tmp_path: Path) -> None:
    behaviour = Behaviour(reply=weighing, models=[MODEL])
    cases = cases_of(pairs_of(PROMPTS, CANDIDATE, BASELINE), repeats=2, repeat_share=0.5, seed=0)
    with serving(behaviour) as address:
        config = asking(address)
        one_slot = replace(config, endpoint=replace(config.endpoint, concurrency=1))
        lines = judge_cases(cases, one_slot, tmp_path, max_unreadable=0, max_calls=None)
    arrived = [text_of(request).partition("</answer_of_A>")[0] for request in behaviour.requests]
    runs = 1 + sum(before != after for before, after in pairwise(arrived))
    assert len(arrived) == 180 and runs == len(set(arrived)) == 120  # 60 prompts, either answer first
    instructions = [text.partition("</question>")[0] for text in arrived]
    assert 1 + sum(before != after for before, after in pairwise(instructions)) == 60
    with serving(Behaviour(reply=weighing, models=[MODEL])) as address:  # the order of sending decides nothing
        backwards = judge_cases(cases[::-1], asking(address), tmp_path / "b", max_unreadable=0, max_calls=None)
    assert [line and line["first"] for line in lines] == [line and line["first"] for line in backwards[::-1]]


def test_verdicts_of_batches_are_those_of_single_requests(tmp_path: Path) -> None:
    single = judged(weighing, tmp_path / "single")
    behaviour = Behaviour(reply=weighing, models=[MODEL], batches=BatchDesk(), faults=often(0.2, ("429", "503")))
    batched = judged(behaviour, tmp_path / "batch", batch="openai")
    assert np.array_equal(single["first"], batched["first"]) and len(behaviour.batches.batches) >= 3
    with pytest.raises(SftdivError, match=r"120 requests are in .*verdicts\.batches/0001\.requests\.jsonl"):
        judged(weighing, tmp_path / "files", batch="files")


def test_what_cannot_be_read_is_asked_again_warmer_then_counted_and_is_no_tie(tmp_path: Path) -> None:
    def moody(asked: dict[str, Any]) -> str:
        silent = "What is 7 + 7?" in text_of(asked) or (
            "What is 8 + 8?" in text_of(asked) and asked["temperature"] == 0
        )
        return "I would rather not say." if silent else longer(asked)

    behaviour = Behaviour(reply=moody, models=[MODEL])
    columns = judged(behaviour, tmp_path)
    states = {
        name: [str(columns["state"][row]) for row in range(120) if f"is {name} +" in columns["instruction"][row]]
        for name in (7, 8, 9)
    }
    assert states == {7: ["unreadable"] * 2, 8: ["read"] * 2, 9: ["read"] * 2}
    assert np.flatnonzero(np.isnan(columns["preference"])).tolist() == [14, 15]
    asked = [request for request in behaviour.requests if "What is 7 + 7?" in text_of(request)]
    assert (
        sorted((request["temperature"], request["seed"]) for request in asked)
        == [(0.0, 0)] * 2 + [(0.7, 1)] * 2 + [(0.7, 2)] * 2
    )
    with pytest.raises(
        SftdivError, match=r"judging: 2 got no readable answer, more than the 1\.2 that judge\.max_unreadable allows"
    ):
        judged(Behaviour(reply=moody, models=[MODEL]), tmp_path, most=0.01)


def test_a_server_without_logprobs_is_heard_by_its_choice_or_refused_by_name(tmp_path: Path) -> None:
    columns = judged(longer, tmp_path / "auto")
    assert set(columns["first"]) == {0.0, 1.0} and set(columns["verdict"]) == {"A", "B"}
    with pytest.raises(
        SftdivError, match=r"gives no log-probabilities; judge\.verdict=choice takes what the judge writes"
    ):
        judged(longer, tmp_path / "logprobs", verdict="logprobs")
    with pytest.raises(SftdivError, match=r"no two single tokens can be weighed: judge\.verdict=choice"):
        asking("http://localhost", judge="arena_hard", verdict="logprobs")


def test_a_server_that_refuses_logprobs_is_asked_without_and_that_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    behaviour = Behaviour(reply=longer, models=[MODEL], knows_logprobs=False)
    columns = judged(behaviour, tmp_path)
    assert set(columns["verdict"]) == {"A", "B"} and not np.isnan(columns["first"]).any()
    assert caplog.text.count("without log-probabilities, because with them the judge answers: ") == 1
    assert len(behaviour.requests) == 120
    with Journal(tmp_path / "verdicts.jsonl") as ledger:
        assert ledger.calls == 121  # the first question finds out, before others are asked


def test_equal_answers_are_a_tie_and_no_question(tmp_path: Path) -> None:
    behaviour = Behaviour(reply=always_first, models=[MODEL])
    columns = judged(behaviour, tmp_path, CANDIDATE, CANDIDATE)
    assert set(columns["preference"]) == {0.5} and set(columns["state"]) == {"identical"} and not behaviour.requests


def test_a_repeated_sample_is_asked_with_other_seeds_and_kept_apart(tmp_path: Path) -> None:
    pairs = pairs_of(PROMPTS, CANDIDATE, BASELINE)
    cases = cases_of(pairs, repeats=2, repeat_share=0.25, seed=0)
    again = [case for case in cases if case.repeat]
    assert (
        len(cases) == 150 and len(again) == 30 and again == cases_of(pairs, repeats=2, repeat_share=0.25, seed=0)[120:]
    )
    behaviour = Behaviour(reply=longer, models=[MODEL])
    with serving(behaviour) as address:
        judge_cases(cases, asking(address), tmp_path, max_unreadable=0.0, max_calls=None)
    assert len(behaviour.requests) == 150
    assert [request["seed"] for request in behaviour.requests].count(3) == 30


def test_a_wrong_judge_is_an_error_before_any_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-wrong")
    with serving(Behaviour(reply=longer, models=["another"], key="sk-right")) as address:
        with pytest.raises(SftdivError, match="401") as refused:
            check_judge(asking(address, api_key_env="JUDGE_KEY"))
        assert "sk-wrong" not in str(refused.value)
        monkeypatch.setenv("JUDGE_KEY", "sk-right")
        with pytest.raises(
            SftdivError, match=r"does not judge with model='judge-1': 404 .* The server lists the models another"
        ):
            check_judge(asking(address, api_key_env="JUDGE_KEY"))
    with pytest.raises(SftdivError, match="cannot be reached"):
        check_judge(asking(address))


def test_a_judge_that_says_nothing_readable_is_an_error_before_training() -> None:
    behaviour = Behaviour(reply=lambda asked: "Let me think", models=[MODEL])
    unreadable = r"asked 3 times, judge-1 gave no verdict that can be read: 'Let me think'; perhaps judge\.max_tokens"
    with serving(behaviour) as address, pytest.raises(SftdivError, match=unreadable):
        check_judge(asking(address))
    assert len(behaviour.requests) == 3


STRANGE_LOGPROBS: list[Any] = [
    {"content": [{"token": "A", "logprob": None, "top_logprobs": [{"token": "A", "logprob": None}]}]},
    {"content": [{"token": "A", "logprob": -0.1, "top_logprobs": {"A": -0.1, "B": -2.0}}]},
    {"content": [{"token": "A", "logprob": -0.1, "top_logprobs": 0.5}]},
    {"content": [{"token": "A", "logprob": -0.1, "top_logprobs": [None]}]},
    {"content": [{"token": "A", "logprob": -0.1, "top_logprobs": [{"token": "A", "logprob": -0.1}, {"token": "B"}]}]},
    {"content": [{"token": "A", "logprob": -0.1, "top_logprobs": [{"token": "A", "logprob": "x"}]}]},
    {"content": [{"token": "A", "logprob": -0.1, "top_logprobs": [{"token": "A", "logprob": math.nan}]}]},
    {"content": [{"token": "A", "logprob": -0.1, "top_logprobs": [{"id": 5, "logprob": -0.1}]}]},
    {"tokens": ["A"], "token_logprobs": [-0.1], "top_logprobs": [{"A": -0.1}]},
    {"content": 3},
    [1],
    "A",
]


@pytest.mark.parametrize("strange", STRANGE_LOGPROBS, ids=str)
def test_log_probabilities_of_another_form_fall_back_to_the_letter(strange: Any) -> None:
    client = JudgeClient(asking("http://localhost"))
    line = client._read({"choices": [{"message": {"content": "A"}, "logprobs": strange}]})
    assert (line["state"], line["first"], line["read_by"]) == ("read", 1.0, "choice")


def test_the_first_token_of_a_discussion_is_no_verdict() -> None:
    likely = [{"token": "A", "logprob": -0.1}, {"token": "B", "logprob": -2.1}]

    def read(text: str) -> dict[str, Any]:
        said = {"content": [{**likely[0], "top_logprobs": likely}]}
        client = JudgeClient(asking("http://localhost"))
        return client._read({"choices": [{"message": {"content": text}, "logprobs": said}]})

    assert read("A")["first"] == pytest.approx(1 / (1 + math.exp(-2.0)))
    assert read("A: fine.\nB: better.\n\nB") == {
        "state": "read",
        "first": 0.0,
        "verdict": "B",
        "read_by": "choice",
        "answer": "A: fine.\nB: better.\n\nB",
    }
    assert read("A is well written, but B is right")["state"] == "failed"


def test_lower_case_letters_are_weighed_too() -> None:
    likely = [{"token": "a", "logprob": -0.1}, {"token": "b", "logprob": -2.1}]
    said = {"content": [{**likely[0], "top_logprobs": likely}]}
    assert logprob_preference({"choices": [{"logprobs": said}]}, ("A", "B")) == pytest.approx(1 / (1 + math.exp(-2.0)))


def test_judged_answers_are_without_thoughts() -> None:
    prompt = PROMPTS[0]
    (pair,) = pairs_of([prompt], {prompt.key: ("<think>\n\n</think>\n\nmast",)}, {prompt.key: ("sail",)})
    assert (pair.candidate, pair.baseline) == ("mast", "sail")


def test_published_prompts_are_read_as_they_are(tmp_path: Path) -> None:
    rows: dict[str, Any] = {
        "alpaca.json": [
            {"dataset": "helpful_base", "instruction": "Who?", "output": "You.", "generator": "gpt4_1106_preview"}
        ],
        "arena_v1.jsonl": [
            {
                "question_id": "96d2",
                "category": "arena-hard-v0.1",
                "cluster": "Keyboards",
                "turns": [{"content": "How?"}],
            }
        ],
        "arena_v2.jsonl": [{"uid": "2edb", "category": "hard_prompt", "subcategory": "coding", "prompt": "Write zig."}],
        "mt_bench.jsonl": [
            {"question_id": 81, "category": "writing", "turns": ["Write.", "Rewrite."], "reference": ["One.", "Two."]}
        ],
        "chat.jsonl": [{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]}],
    }
    for name, entries in rows.items():
        lines = "".join(f"{json.dumps(entry)}\n" for entry in entries)
        (tmp_path / name).write_text(json.dumps(entries) if name.endswith(".json") else lines)
    read = [prompt for name in rows for prompt in read_prompts(tmp_path / name, source="mine")]
    assert [(prompt.instruction, prompt.answer_count, prompt.source, prompt.references) for prompt in read] == [
        ("Who?", 1, "helpful_base", ("You.",)),
        ("How?", 1, "arena-hard-v0.1", ()),
        ("Write zig.", 1, "coding", ()),
        ("[user]\nWrite.\n\n[user]\nRewrite.", 2, "writing", ("One.", "Two.")),
        ("Hi", 1, "mine", ("Yes?",)),
    ]
    (tmp_path / "ends.jsonl").write_text(
        '{"instruction": "One\u2028two\u0085three?"}\n'
    )  # line ends to Python, not to JSON lines
    assert [prompt.instruction for prompt in read_prompts(tmp_path / "ends.jsonl", source="mine")] == [
        "One\u2028two\u0085three?"
    ]


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        ('{"question": "What?"}', r"bad.jsonl, entry 2: no prompt in the keys question; known: messages, turns"),
        ("null", r"bad.jsonl must hold objects, got None"),
        (
            '{"messages": [{"role": "user"}]}',
            r"bad.jsonl, entry 2 is no prompt in a known form \(KeyError\('content'\)\)",
        ),
        ('{"messages": [{"role": "user", "content": null}]}', r"entry 2: a turn's content must be text; got None"),
        ('{"instruction": "\\ud83d?"}', r"entry 2: a text holds half a character"),
    ],
)
def test_a_row_that_is_no_prompt_is_named(second: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text(f'{{"instruction": "Who?"}}\n{second}\n')
    with pytest.raises(SftdivError, match=problem):
        read_prompts(tmp_path / "bad.jsonl", source="mine")


def test_prompts_of_two_sources_are_merged_and_a_limit_is_spread_over_sources(tmp_path: Path) -> None:
    for name, texts in (("one", ["a", "b"]), ("two", ["b", "c"])):
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps({'instruction': text})}\n" for text in texts))
    nowhere: dict[str, Any] = {"repository": None, "file": None, "revision": None, "turns": "all", "limit": None}
    sources = {name: FilePrompts(name=name, path=str(tmp_path / f"{name}.jsonl"), **nowhere) for name in ("one", "two")}
    merged = load_prompts(sources, None)  # type: ignore[arg-type]  # files ask nothing of the run
    assert [(prompt.instruction, prompt.source) for prompt in merged] == [("a", "one"), ("b", "one"), ("c", "two")]
    for limit in (0, 0.5):
        with pytest.raises(SftdivError, match=r"prompts\.one\.limit=0.* must be a whole number of at least 1"):
            FilePrompts(name="one", path="one.jsonl", **{**nowhere, "limit": limit})
    many = [Prompt((("user", f"{source} {row}"),), source=source) for row in range(20) for source in ("x", "y")]
    assert sorted(prompt.source for prompt in spread(many, 6)) == ["x"] * 3 + ["y"] * 3
    assert distinct([*many, *many]) == many
    assert Pair(merged[0], "1", "2").prompt.key != merged[1].key
