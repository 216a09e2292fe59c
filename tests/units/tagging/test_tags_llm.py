"""Tags from a model over real HTTP: the protocol, 30 % of requests that fail in eleven ways, kill -9 and
resume, secrets."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from fake_batch_api import BatchDesk
from fake_openai_server import FAULTS, Behaviour, often, serving, tags_of
from warm_process import start_code

from sftdiv.llm.endpoint import Endpoint
from sftdiv.llm.journal import Journal
from sftdiv.records import SftdivError
from sftdiv.units.tagging.llm import LlmTagger
from sftdiv.units.tagging.parsing import parse_tags
from sftdiv.units.tagging.tag_answers import tags_of as tags_in
from sftdiv.units.tagging.tag_answers import text_key

PROMPT = 'Name tags.\n[begin]\n{text}\n[end]\nAnswer as [{"tag": str, "explanation": str}].'
TEXTS = [f"write poem number {i} about {topic}" for i in range(40) for topic in ("ships", "bread", "stars")]


def tagger(
    base_url: str, *, api_key_env: str | None = None, concurrency: int = 16, timeout: float = 5, **settings: Any
) -> LlmTagger:
    hurried: dict[str, Any] = {"tries": 8, "wait": 0.002, "longest_wait": 0.02, "requests_per_minute": None}
    hurried |= {"batch": settings.pop("batch", None), "batch_requests": settings.pop("batch_requests", 50)}
    asked: dict[str, Any] = {
        "model": "tagger-1",
        "prompt": PROMPT,
        "structured": "auto",
        "temperature": 0.0,
        "retry_temperature": 0.7,
        "seed": 0,
        "max_tokens": 64,
        "max_chars": 1000,
        "retries": 3,
        "max_failed": 0.0,
        "extra": {},
    }
    endpoint = Endpoint(base_url=base_url, api_key_env=api_key_env, concurrency=concurrency, timeout=timeout, **hurried)
    return LlmTagger(endpoint=endpoint, **{**asked, **settings})


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]


def test_each_text_gets_its_tags_and_every_answer_is_kept(tmp_path: Path) -> None:
    with serving(Behaviour()) as address:
        raw = tagger(address).tag(TEXTS, tmp_path)
    assert raw.tags == [tags_of(text) for text in TEXTS]
    assert {line["key"] for line in lines(tmp_path)} == {text_key(text) for text in TEXTS}
    expected = {
        "asked": 120,
        "clean": 120,
        "repaired": 0,
        "cut": 0,
        "failed": 0,
        "asked_again": 0,
        "errors": {},
        "cut_texts": 0,
    }
    assert {name: raw.record[name] for name in expected} == expected
    assert raw.record["tokens"] == {"completion_tokens": 1200, "prompt_tokens": 12000}


def test_thirty_percent_of_requests_failing_in_eleven_ways_lose_nothing(tmp_path: Path) -> None:
    behaviour = Behaviour(faults=often(0.3), slow=5.0)
    with serving(behaviour) as address:
        raw = tagger(address, timeout=2).tag(TEXTS, tmp_path)
    assert raw.tags == [tags_of(text) for text in TEXTS]  # as in the clean run above
    served, errors = behaviour.served, raw.record["errors"]
    assert set(served) == {*FAULTS, "None"}
    assert 0.2 < sum(served[fault] for fault in FAULTS) / sum(served.values()) < 0.4
    for status in ("429", "500", "503"):
        assert 0 < errors[status] <= served[status]  # on a busy machine the client may have given up waiting for it
    assert errors["timeout"] >= served["slow"]
    assert errors["connection"] > 0
    assert 0 < errors["unreadable"] <= served["broken JSON"]
    assert 0 < raw.record["repaired"] <= served["fence"] + served["comma"]
    assert 0 < raw.record["asked_again"] <= served["cut"] + served["prose"]
    assert (raw.record["cut"], raw.record["failed"]) == (0, 0)


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_tags_llm import TEXTS, tagger
tagger(sys.argv[1], concurrency=4).tag(TEXTS, Path(sys.argv[2]))
"""


def test_killed_in_the_middle_it_asks_only_what_is_missing(tmp_path: Path) -> None:
    behaviour, answers = Behaviour(delay=0.05), tmp_path / "answers.jsonl"
    with serving(behaviour) as address:
        process = start_code(SCRIPT, address, tmp_path, Path(__file__).parent)
        deadline = time.monotonic() + 200
        while (not answers.exists() or answers.read_bytes().count(b"\n") < 30) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.wait()
        with answers.open("ab") as stream:
            stream.write(b'{"key": "0123')  # a line that the kill tore
        done = {json.loads(line)["key"] for line in answers.read_bytes().split(b"\n")[:-1]}
        assert 30 <= len(done) < len(TEXTS)
        behaviour.delay = 0.0
        behaviour.seen.clear()
        raw = tagger(address).tag(TEXTS, tmp_path)
        assert set(behaviour.seen) == {text for text in TEXTS if text_key(text) not in done}
        assert raw.tags == [tags_of(text) for text in TEXTS]
        behaviour.seen.clear()
        assert tagger(address).tag(TEXTS, tmp_path).tags == raw.tags
        assert not behaviour.seen
    assert len(lines(tmp_path)) == len(TEXTS)


def test_no_more_requests_in_flight_than_allowed_and_about_that_many(tmp_path: Path) -> None:
    behaviour = Behaviour(delay=0.1)
    with serving(behaviour) as address:
        tagger(address, concurrency=8).tag(TEXTS, tmp_path)
    assert 5 <= behaviour.most_in_flight <= 8


def test_the_request_says_what_the_settings_say(tmp_path: Path) -> None:
    behaviour = Behaviour(faults=lambda text, before: "prose" if before == 0 else None)
    with serving(behaviour) as address:
        tagger(address, max_chars=4, extra={"top_k": 1}).tag(["red apples"], tmp_path)
    first, second = behaviour.requests
    assert first["messages"] == [{"role": "user", "content": PROMPT.replace("{text}", "red ")}]
    assert first["response_format"]["json_schema"]["strict"] is True
    asked = {name: value for name, value in first.items() if name not in {"messages", "response_format"}}
    assert asked == {"model": "tagger-1", "temperature": 0.0, "max_tokens": 64, "seed": 0, "top_k": 1}
    assert (second["temperature"], second["seed"]) == (0.7, 1)


def test_a_server_without_schemas_is_asked_in_words_and_a_strict_setting_says_so(tmp_path: Path) -> None:
    behaviour = Behaviour(knows_schema=False)
    with serving(behaviour) as address:
        assert tagger(address).tag(["red apples"], tmp_path).tags == [["red", "apples"]]
        assert "response_format" not in behaviour.requests[-1]
        with pytest.raises(SftdivError, match=r"refuses model='tagger-1' with 400: .*json_schema is not supported"):
            tagger(address, structured="schema").tag(["green pears"], tmp_path / "strict")


def test_a_list_that_the_token_limit_cuts_keeps_its_whole_entries_and_is_not_asked_again(tmp_path: Path) -> None:
    with serving(Behaviour(faults=lambda text, before: "too long")) as address:
        raw = tagger(address).tag(["red apples pie"], tmp_path)
    assert raw.tags == [["red", "apples"]]
    assert (raw.record["cut"], raw.record["asked_again"]) == (1, 0)


def test_what_stays_malformed_is_counted_and_has_no_tags_and_too_much_of_it_is_an_error(tmp_path: Path) -> None:
    behaviour = Behaviour(faults=lambda text, before: "prose" if "stars" in text else None)
    with serving(behaviour) as address:
        with pytest.raises(
            SftdivError, match=r"1 got no readable answer, more than the 0 that max_failed allows; the last: an answer"
        ):
            tagger(address).tag(TEXTS, tmp_path)
        answered = {line["key"] for line in lines(tmp_path) if line["state"] == "clean"}
        raw = tagger(address, max_failed=0.4).tag(TEXTS, tmp_path)  # goes on from what there is
        assert [bool(tags) for tags in raw.tags] == ["stars" not in text for text in TEXTS]
        assert raw.record["failed"] == 40
        assert answered and all(behaviour.seen[text] == 1 for text in TEXTS if text_key(text) in answered)
        behaviour.faults = lambda text, before: None
        assert tagger(address).tag(TEXTS, tmp_path).record["failed"] == 0  # failed ones are asked again


def test_a_refusal_of_one_text_is_counted_and_of_all_is_an_error(tmp_path: Path) -> None:
    with serving(Behaviour(faults=lambda text, before: "400" if "bread" in text else None)) as address:
        raw = tagger(address, max_failed=0.4).tag(TEXTS, tmp_path)
        assert raw.record["failed"] == raw.record["errors"]["400"] == 40
        with pytest.raises(SftdivError, match=r"with 400: .*filtered"):
            tagger(address, max_failed=1).tag(
                ["new bread", "newer bread", "newest bread", "ships"], tmp_path / "others"
            )


def test_wrong_model_names_those_that_are_there(tmp_path: Path) -> None:
    with (
        serving(Behaviour(models=["tagger-1", "tagger-2"])) as address,
        pytest.raises(SftdivError, match=r"404.*models tagger-1, tagger-2"),
    ):
        tagger(address, model="tagger-3").tag(TEXTS, tmp_path)
    with serving(Behaviour(models=None)) as address:  # a server without a list is no error
        assert tagger(address).tag(["red"], tmp_path).tags == [["red"]]


def test_an_unreachable_server_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SftdivError, match=r"http://127.0.0.1:9/v1 cannot be reached: connection"):
        tagger("http://127.0.0.1:9/v1").tag(TEXTS, tmp_path)
    with pytest.raises(SftdivError, match="base_url='localhost:8000' is not a URL"):
        tagger("localhost:8000")


def test_the_key_comes_from_the_environment_and_is_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with serving(Behaviour(key="not-a-real-key")) as address:
        with pytest.raises(SftdivError, match=r"TAGS_KEY.*holds no key"):
            tagger(address, api_key_env="TAGS_KEY").tag(TEXTS[:3], tmp_path)
        monkeypatch.setenv("TAGS_KEY", "another-key")
        with pytest.raises(SftdivError, match=r"401.*Bearer \*\*\*"):
            tagger(address, api_key_env="TAGS_KEY").tag(TEXTS[:3], tmp_path)
        monkeypatch.setenv("TAGS_KEY", "not-a-real-key")
        working = tagger(address, api_key_env="TAGS_KEY")
        raw = working.tag(TEXTS[:3], tmp_path)
    written = "".join(file.read_text() for file in tmp_path.rglob("*") if file.is_file())
    for text in (written, caplog.text, json.dumps(raw.record), json.dumps(working.identity())):
        assert "a-real-key" not in text and "another-key" not in text


def test_identity_is_what_is_asked_and_not_where_or_how_fast() -> None:
    one = tagger("http://a/v1")
    assert one.identity() == tagger("http://b/v1", concurrency=1, timeout=9, api_key_env="X", max_failed=0.5).identity()
    changed: dict[str, Any] = {
        "model": "m",
        "prompt": "{text}",
        "max_tokens": 1,
        "max_chars": 1,
        "temperature": None,
        "extra": {"top_k": 1},
        "seed": 1,
    }
    digests = {json.dumps(tagger("http://a/v1", **{name: value}).identity()) for name, value in changed.items()}
    assert len(digests | {json.dumps(one.identity())}) == len(changed) + 1


def test_a_damaged_line_is_asked_again(tmp_path: Path) -> None:
    good = json.dumps({"key": text_key("red"), "answer": '[{"tag": "colour"}]', "state": "clean"})
    (tmp_path / "answers.jsonl").write_text(f"{good}\nnot json\n[1]\n")
    with Journal(tmp_path / "answers.jsonl") as ledger:
        assert [ledger.done(text_key(text)) for text in ("red", "green")] == [True, False]
        assert tags_in(ledger, ["red", "green"]) == [["colour"], []]


@pytest.mark.parametrize(
    ("answer", "tags", "state"),
    [
        ('[{"tag": "a", "explanation": "x"}, {"tag": "b"}]', ["a", "b"], "clean"),
        ('{"tags": [{"tag": "a"}]}', ["a"], "clean"),
        ('["a", "b  c", "a", ""]', ["a", "b c"], "clean"),
        ("[]", [], "clean"),
        ('{"tag": "a", "explanation": "x"}', ["a"], "clean"),
        ('[{"Tag": "a"}]', ["a"], "clean"),
        ('```json\n[{"tag": "a"}]\n```', ["a"], "repaired"),
        ('Here are [3] tags: [{"tag": "a"},\n]. Bye', ["a"], "repaired"),
        ('{"tag": "a"}\n{"tag": "b"}', ["a", "b"], "repaired"),
        ("[{'tag': 'a', 'explanation': 'it\\'s'}]", ["a"], "repaired"),
        ('<think>maybe [{"tag": "x"}]</think>[{"tag": "a"}]', ["a"], "clean"),
        ('[{"tag": "a", "explanation": "x"}, {"tag": "b", "expl', ["a"], "cut"),
        ('{"tags": [{"tag": "a"}, {"tag', ["a"], "cut"),
        ('["a", "b", "c', ["a", "b"], "cut"),
        ('[{"tag": "a', [], "malformed"),
        ("I cannot.", [], "malformed"),
        ('"a"', [], "malformed"),
        ("[1, 2]", [], "malformed"),
        ("", [], "malformed"),
        ("<think>never ends", [], "malformed"),
        ("[" * 100_000, [], "malformed"),
        ("Sure: " + "[" * 700 + '"x"' + "]" * 700, [], "malformed"),
        ("1" * 5000, [], "malformed"),
        ('[{"tag": "\\ud83d"}, {"tag": "b"}]', ["\\ud83d", "b"], "clean"),  # half an emoji
    ],
)
def test_answers_are_read_and_what_is_lost_is_said(answer: str, tags: list[str], state: str) -> None:
    parsed = parse_tags(answer)
    assert (parsed.tags, parsed.state) == (tags, state)


def test_texts_with_equal_beginnings_are_sent_together(tmp_path: Path) -> None:
    """One slot, so that the order of arrival is that of sending: a server that caches prefixes reads each once."""
    beginnings = ["Translate into French the following text: ", "Summarize the article below. ", "Is this polite? "]
    mixed = [f"{beginnings[number % 3]}text {number}" for number in range(30)]
    behaviour = Behaviour()
    with serving(behaviour) as address:
        raw = tagger(address, concurrency=1).tag(mixed, tmp_path)
    arrived = [
        request["messages"][0]["content"].removeprefix("Name tags.\n[begin]\n") for request in behaviour.requests
    ]
    order = [next(start for start in beginnings if text.startswith(start)) for text in arrived]
    assert sum(order[row] != order[row + 1] for row in range(29)) == 2
    assert raw.tags == [tags_of(text) for text in mixed]  # in the order of the texts


def test_a_tagger_in_batches_gives_the_tags_of_single_requests(tmp_path: Path) -> None:
    behaviour = Behaviour(faults=often(0.3, ("500", "cut", "prose", "fence")), batches=BatchDesk(), knows_schema=False)
    with serving(behaviour) as address:
        raw = tagger(address, batch="openai", batch_requests=40).tag(TEXTS, tmp_path)
    assert raw.tags == [tags_of(text) for text in TEXTS]
    assert raw.record["calls"] == behaviour.served.total() + raw.record["errors"].get("400", 0)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == ["answers.jsonl"]
