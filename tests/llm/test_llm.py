"""The engine of all LLM calls over real HTTP: what is asked once, counted, bounded and kept, whatever fails
on the way."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fake_openai_server import HTTP, Behaviour, often, serving

from sftdiv.llm.batch_requests import ChatSession, RequestTask, run_requests, summary
from sftdiv.llm.chat_tries import parse_completion
from sftdiv.llm.endpoint import Endpoint, Reply, content, token_usage
from sftdiv.llm.journal import FAILED, Journal
from sftdiv.llm.redirects import same_server
from sftdiv.records import SftdivError

WORDS = [f"word {number}" for number in range(60)]


def loud(asked: dict[str, Any]) -> str:
    return str(asked["messages"][-1]["content"]).upper()


def endpoint(base_url: str, **settings: Any) -> Endpoint:
    hurried: dict[str, Any] = {"concurrency": 16, "timeout": 60, "tries": 10, "wait": 0.002, "longest_wait": 0.02}
    hurried |= {"api_key_env": None, "requests_per_minute": None, "batch": None, "batch_requests": 50}
    return Endpoint(base_url=base_url, **{**hurried, **settings})


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
    with pytest.raises(
        SftdivError, match=r"batch='opnai' is unknown\. Did you mean 'openai'\? Known: null, openai, files"
    ):
        endpoint("http://a/v1", batch="opnai")
    with pytest.raises(SftdivError, match="batch_requests=50001"):
        endpoint("http://a/v1", batch_requests=50_001)
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


# what a server may do: sizes, depths, waits, redirects


class OneResponse(BaseHTTPRequestHandler):
    """Answers every request with the same status, headers and chunks; remembers what was posted."""

    status: ClassVar[int]
    sent_headers: ClassVar[dict[str, str]]
    chunks: ClassVar[tuple[bytes, ...]]
    posted: ClassVar[list[bytes]]

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.posted.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(self.status)
        for name, value in self.sent_headers.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):  # the client does not read on
            for chunk in self.chunks:
                self.wfile.write(chunk)


@contextmanager
def responding(*chunks: bytes, status: int = 200, repeat: int = 1, **headers: str) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives one response; its base URL, and the bodies of the requests to it."""
    posted: list[bytes] = []
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    kind = type(
        "Bound", (OneResponse,), {"status": status, "sent_headers": fields, "chunks": chunks * repeat, "posted": posted}
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", posted
    finally:
        server.shutdown()
        server.server_close()


def chat_once(address: str) -> Reply:
    async def run() -> Reply:
        async with endpoint(address, tries=2, wait=0.0).connect() as connection:
            return await connection.chat({"model": "m", "messages": [{"role": "user", "content": "secret"}]})

    return asyncio.run(run())


OK = b'{"choices": [{"message": {"content": "ok"}}]}'


def test_an_endless_response_is_read_up_to_a_size_and_not_requested_again() -> None:
    with responding(b" " * (1 << 20), repeat=10_000) as (address, posted):
        reply = chat_once(address)
    assert (reply.body, reply.message) == (None, "too large: the response exceeds 32 MiB")
    assert len(posted) == 1


def test_a_compressed_response_is_bounded_when_decompressed() -> None:
    bomb = gzip.compress(b" " * (100 << 20))
    for response, outcome in ((gzip.compress(OK), ""), (bomb, "too large: "), (b"no gzip", "unreadable: ")):
        with responding(response, Content_Encoding="gzip") as (address, _):
            reply = chat_once(address)
        assert reply.message.startswith(outcome) and (reply.body is not None) == (outcome == "")
    with responding(zlib.compress(OK), Content_Encoding="deflate") as (address, _):
        assert chat_once(address).body is not None
    with responding(OK, Content_Encoding="br") as (address, _):
        assert chat_once(address).message == "unreadable: the response is compressed by 'br'"


@pytest.mark.parametrize("nested", ["[" * 100_000, "[" * 5000 + "]" * 5000, '{"a":' * 5000 + "1" + "}" * 5000])
def test_a_deeply_nested_body_is_unreadable(nested: str) -> None:
    beside = parse_completion('{"choices": [{"message": {"content": "ok"}}], "x": ' + nested + "}")
    assert beside is None or content(beside) == ("ok", "None")  # how deep is too deep differs among Python versions
    within = parse_completion('{"choices": [{"message": {"content": ' + nested + "}}]}")
    assert within is None or content(within) == ("", "None")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_to_another_host_is_refused_and_the_conversation_not_sent(status: int, tmp_path: Path) -> None:
    with responding(OK) as (other, received), responding(b"", status=status, Location=f"{other}/chat") as (address, _):
        reply = chat_once(address)
        assert reply.status == status and "redirects to another server, http://127.0.0.1:" in reply.message
        with pytest.raises(SftdivError, match=r"redirects to another server, .* set base_url to it"):
            ask_all(address, tmp_path / "a.jsonl", ["red"])
    assert received == []


def test_redirects_stay_on_a_server() -> None:
    stays = partial(same_server, "http://a.org/v1/chat")
    assert stays("http://a.org/v2") and stays("https://a.org/v1/chat")
    assert not any(map(stays, ["http://b.org/v1", "http://a.org:81/v1", "http://u@a.org/v1", "ftp://a.org", "//b.org"]))
    assert not same_server("https://a.org/v1", "http://a.org/v1")


def test_a_long_retry_after_is_said_once_and_a_too_long_one_ends_with_what_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with responding(b"", status=429, Retry_After="86400") as (address, posted):
        with pytest.raises(SftdivError, match=r"asks to wait 24 h .* longer than the 10 min .* Nothing is lost"):
            ask_all(address, tmp_path / "a.jsonl", ["red"])
        assert len(posted) == 1

    async def twice() -> None:
        async with endpoint("http://127.0.0.1:9/v1").connect() as connection:
            for _ in range(2):
                connection._check_wait(120.0)

    asyncio.run(twice())
    assert caplog.text.count("asks to wait 2 min before the next request; waiting") == 1


def test_half_a_character_in_an_answer_is_escaped() -> None:
    body = parse_completion('{"choices": [{"message": {"content": "a \\ud83d b \\ud83d\\ude00"}}]}')
    assert body is not None and content(body) == ("a \\ud83d b \U0001f600", "None")
