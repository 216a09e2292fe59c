"""The engine of all LLM calls over real HTTP: what is asked once, counted, bounded and kept, whatever fails
on the way."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_openai_server import HTTP, Behaviour, often, serving

from sftdiv.llm.batch_requests import ChatSession, RequestTask, run_requests, summary
from sftdiv.llm.connection import parse_completion
from sftdiv.llm.endpoint import Endpoint, content, token_usage
from sftdiv.llm.journal import FAILED, Journal
from sftdiv.records import SftdivError

WORDS = [f"word {number}" for number in range(60)]


def loud(asked: dict[str, Any]) -> str:
    return str(asked["messages"][-1]["content"]).upper()


def endpoint(base_url: str, **settings: Any) -> Endpoint:
    hurried: dict[str, Any] = {"concurrency": 16, "timeout": 60, "tries": 10, "wait": 0.002, "longest_wait": 0.02}
    return Endpoint(base_url=base_url, **{"api_key_env": None, "requests_per_minute": None, **hurried, **settings})


def question(word: str) -> RequestTask:
    """Asks for a word in capitals; anything else is no answer."""

    async def ask(asker: ChatSession) -> dict[str, Any]:
        request = {"model": "tagger-1", "messages": [{"role": "user", "content": word}]}

        def read(text: str, ended: str) -> dict[str, Any]:
            return {"state": "good", "text": text} if text == word.upper() else {"state": FAILED}

        return await asker.read_text(lambda attempt: request, read, tries=3)

    return RequestTask(word, ask)


def ask_all(
    address: str,
    path: Path,
    words: list[str] = WORDS,
    *,
    max_failed: float = 0,
    max_calls: int | None = None,
    **how: Any,
) -> None:
    settings: dict[str, Any] = {
        "total": len(words),
        "max_failed": max_failed,
        "label": "shouting",
        "model": "tagger-1",
        "max_calls": max_calls,
    }
    with Journal(path) as ledger:
        run_requests(endpoint(address, **how), map(question, words), ledger, **settings)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_third_of_requests_failing_in_every_way_loses_nothing_and_asks_no_answered_question_again(
    tmp_path: Path,
) -> None:
    behaviour, words = (
        Behaviour(reply=loud, faults=often(0.33, (*HTTP, "prose")), slow=2.5),
        [f"word {number}" for number in range(150)],
    )
    with serving(behaviour) as address:
        ask_all(address, tmp_path / "ledger.jsonl", words, timeout=2)
        assert set(behaviour.served) == {*HTTP, "prose", "None"}
        written = lines(tmp_path / "ledger.jsonl")
        assert [line["text"] for line in written] == [line["key"].upper() for line in written]
        assert sorted(line["key"] for line in written) == sorted(words)
        too_slow = (
            summary(written)["errors"]["timeout"] - behaviour.served["slow"]
        )  # on a busy machine also what was no fault
        assert 0 <= behaviour.served["None"] - len(words) <= too_slow
        assert sum(line["calls"] for line in written) >= sum(behaviour.served.values())
        assert 0 < sum(line["asked_again"] for line in written) <= behaviour.served["prose"]
        behaviour.seen.clear()
        ask_all(address, tmp_path / "ledger.jsonl", words)
        assert not behaviour.seen
    counts = summary(written, states=("good", FAILED))
    assert (counts["asked"], counts["good"], counts["failed"]) == (150, 150, 0)
    assert set(counts["errors"]) == {"429", "500", "503", "connection", "timeout", "unreadable"}


def test_the_questions_are_taken_as_they_can_be_asked(tmp_path: Path) -> None:
    taken, behaviour = [], Behaviour(reply=loud)

    def questions() -> Iterator[RequestTask]:
        for word in WORDS:
            taken.append(word)
            assert len(taken) - len(ledger) <= 5  # 4 in flight and this one
            yield question(word)

    with serving(behaviour) as address, Journal(tmp_path / "ledger.jsonl") as ledger:
        run_requests(
            endpoint(address, concurrency=4),
            questions(),
            ledger,
            total=60,
            max_failed=0,
            label="shouting",
            model="tagger-1",
        )
        assert behaviour.most_in_flight <= 4
        assert len(ledger) == 60


def test_too_many_failures_stop_it_what_was_in_flight_is_kept_and_only_the_rest_is_asked(tmp_path: Path) -> None:
    path, behaviour = tmp_path / "ledger.jsonl", Behaviour(reply=loud, delay=0.05)
    behaviour.faults = lambda text, before: "prose" if int(text.split()[1]) % 2 else None
    with serving(behaviour) as address:
        with pytest.raises(
            SftdivError,
            match=r"shouting: 7 got no .* than the 6 that max_failed .*I am sorry.*'good': \d+.*Nothing is lost",
        ):
            ask_all(address, path, max_failed=0.1)
        answered = {line["key"] for line in lines(path) if line["state"] == "good"}
        assert 7 <= len(answered) < 30
        assert sum(line["calls"] for line in lines(path)) == sum(
            behaviour.served.values()
        )  # also of questions that did not end
        assert answered == {text for text in behaviour.seen if int(text.split()[1]) % 2 == 0}
        behaviour.seen.clear()
        behaviour.faults = lambda text, before: None
        ask_all(address, path)
        assert set(behaviour.seen) == set(WORDS) - answered


def test_no_more_requests_than_max_calls_over_all_runs(tmp_path: Path) -> None:
    path, behaviour = tmp_path / "ledger.jsonl", Behaviour(reply=loud, faults=often(0.3, ("500", "prose")))
    with serving(behaviour) as address:
        for cap, run in ((25, 1), (25, 2), (40, 3)):
            with pytest.raises(SftdivError, match=r"all requests that max_calls allows are sent"):
                ask_all(address, path, max_calls=cap)
            assert sum(behaviour.served.values()) == cap, run
        ask_all(address, path, max_calls=1000)
    assert sum(behaviour.served.values()) == sum(line["calls"] for line in lines(path))


def test_requests_begin_no_closer_than_the_rate_allows(tmp_path: Path) -> None:
    behaviour = Behaviour(reply=loud, faults=often(0.3, ("500",)))
    with serving(behaviour) as address:
        started = time.monotonic()
        ask_all(address, tmp_path / "ledger.jsonl", WORDS[:12], requests_per_minute=1200)
        seconds = time.monotonic() - started
    requests = sum(behaviour.served.values())
    assert requests > 12
    assert (requests - 1) * 0.05 <= seconds


def test_an_error_in_a_question_itself_is_shown_as_it_is(tmp_path: Path) -> None:
    async def broken(asker: ChatSession) -> dict[str, Any]:
        raise ZeroDivisionError("in the question")

    with (
        serving(Behaviour(reply=loud)) as address,
        Journal(tmp_path / "ledger.jsonl") as ledger,
        pytest.raises(ZeroDivisionError, match="in the question"),
    ):
        run_requests(
            endpoint(address),
            [question("a"), RequestTask("b", broken)],
            ledger,
            total=2,
            max_failed=0,
            label="shouting",
            model="tagger-1",
        )


def test_what_cannot_be_right_is_one_clear_error_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(SftdivError, match="requests_per_minute=0 must be above 0"):
        endpoint("http://a/v1", requests_per_minute=0)
    with pytest.raises(SftdivError, match="base_url holds a password") as caught:
        endpoint("http://me:not-a-real-key@a/v1")
    assert "not-a-real-key" not in str(caught.value)
    with pytest.raises(SftdivError, match="base_url holds a query"):
        endpoint("http://a/v1?key=not-a-real-key")
    with pytest.raises(SftdivError, match="api_key_env names the environment variable") as caught:
        endpoint("http://a/v1", api_key_env="sk-not-a-real-key")
    assert "not-a-real-key" not in str(caught.value)
    with pytest.raises(SftdivError, match=r"http://127.0.0.1:9/v1 cannot be reached"):
        ask_all("http://127.0.0.1:9/v1", tmp_path / "ledger.jsonl")
    with (
        serving(Behaviour(models=["other"])) as address,
        pytest.raises(SftdivError, match=r"refuses model='tagger-1' with 404.*models other"),
    ):
        ask_all(address, tmp_path / "ledger.jsonl")
    assert (tmp_path / "ledger.jsonl").read_bytes() == b""


def test_a_key_may_end_in_a_line_end_and_hold_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITS_KEY", "sk-right\n")
    with serving(Behaviour(reply=loud, key="sk-right")) as address:
        ask_all(address, tmp_path / "ledger.jsonl", WORDS[:1], api_key_env="ITS_KEY")
    monkeypatch.setenv("ITS_KEY", "sk-right\nX-Other: 1")
    with pytest.raises(SftdivError, match=r"ITS_KEY \(api_key_env\) holds line ends") as caught:
        endpoint("http://a/v1", api_key_env="ITS_KEY").key()
    assert "sk-right" not in str(caught.value)


@pytest.mark.parametrize("strange", [[None], {"a": 1}, "abc", [{"message": "text"}], []])
def test_a_body_of_another_form_is_no_answer(strange: Any) -> None:
    assert parse_completion(json.dumps({"choices": strange})) is None


def test_the_text_of_an_answer_in_parts_is_that_of_its_text_parts() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "Yes"},
        {"type": "text", "text": "."},
    ]
    assert content({"choices": [{"message": {"content": parts}, "finish_reason": "stop"}]}) == ("Yes.", "stop")
    assert content({"choices": [{}]}) == ("", "None")
    assert token_usage({"usage": [1]}) == {} and token_usage(
        {"usage": {"prompt_tokens": 3, "completion_tokens": None}}
    ) == {"prompt_tokens": 3}


def test_the_environment_s_proxy_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Behaviour(reply=loud)) as address:  # which does not look at the host that it is asked for
        monkeypatch.setenv("http_proxy", address.removesuffix("/v1"))
        ask_all("http://model.invalid/v1", tmp_path / "ledger.jsonl")
        monkeypatch.setenv("no_proxy", "model.invalid")
        with pytest.raises(SftdivError, match=r"http://model.invalid/v1 cannot be reached"):
            ask_all("http://model.invalid/v1", tmp_path / "other.jsonl")
    assert len(lines(tmp_path / "ledger.jsonl")) == len(WORDS)


def test_a_proxy_s_password_is_in_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Behaviour()) as address:  # which knows no CONNECT
        monkeypatch.setenv("https_proxy", address.removesuffix("/v1").replace("//", "//me:not-a-real-key@"))
        with pytest.raises(SftdivError, match=r"cannot be reached: connection: 501.*//\*\*\*@127") as caught:
            ask_all("https://model.invalid/v1", tmp_path / "ledger.jsonl")
    assert "not-a-real-key" not in str(caught.value)


def test_a_ledger_gives_back_each_key_s_last_line_and_cuts_off_a_torn_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger.jsonl"
    with Journal(path) as ledger:
        ledger.add({"key": "a", "state": FAILED, "calls": 3})
        ledger.add({"key": "b", "state": "good", "text": "ü \ud83d", "calls": 1})
        ledger.add({"key": "a", "state": "good", "text": "again", "calls": 2})
        assert (ledger.state("a"), ledger.done("a"), ledger.state("c"), ledger.done("c"), ledger.line("c")) == (
            "good",
            True,
            None,
            False,
            None,
        )
    with path.open("ab") as stream:
        stream.write(b'no json\n{"key": "c", "state": "go')
    with Journal(path) as ledger:
        assert "1 lines of" in caplog.text
        assert [line["key"] for line in ledger.lines()] == ["a", "b"]
        assert ledger.line("b") == {"key": "b", "state": "good", "text": "ü \ud83d", "calls": 1}
        assert (len(ledger), ledger.calls) == (2, 6)
        ledger.add({"key": "c", "state": "good"})
        assert ledger.line("c") == {"key": "c", "state": "good"}
        with pytest.raises(SftdivError, match=r"ledger\.jsonl is being written by another process"), Journal(path):
            pass
    assert path.read_bytes().count(b"\n") == 5
