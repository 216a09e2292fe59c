"""Requests through the Batch API over real HTTP: files within the limits, partial failures, expiry, kills, and the
offline way; what the journal holds at the end is what single requests leave there."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from fake_batch_api import BatchDesk
from fake_openai_server import Behaviour, answer_in_batch, serving
from test_llm import WORDS, ask_all, endpoint, lines, loud
from warm_process import start_code

from sftdiv.llm.batch_files import BatchFiles
from sftdiv.llm.batch_requests import ChatSession, RequestTask, run_requests
from sftdiv.llm.endpoint import content
from sftdiv.llm.journal import Journal
from sftdiv.records import SftdivError


def asked(desk: BatchDesk) -> list[list[str]]:
    """The words of each batch."""
    return [
        [line["body"]["messages"][0]["content"] for line in desk.requests(number)]
        for number in range(len(desk.batches))
    ]


def texts(path: Path) -> dict[str, Any]:
    return {line["key"]: line.get("text") for line in lines(path)}


def test_answers_of_batches_are_those_of_single_requests(tmp_path: Path) -> None:
    desk, behaviour = BatchDesk(), Behaviour(reply=loud)
    behaviour.batches = desk
    with serving(behaviour) as address:
        ask_all(address, tmp_path / "single.jsonl")
        behaviour.seen.clear()
        ask_all(address, tmp_path / "batch.jsonl", batch="openai", batch_requests=25)
        assert behaviour.seen.total() == 60
        behaviour.seen.clear()
        ask_all(address, tmp_path / "batch.jsonl", batch="openai")
        assert not behaviour.seen
    # The first task is a single request, so that a wrong key or model is an error within a second.
    assert asked(desk) == [WORDS[1:26], WORDS[26:51], WORDS[51:]]
    line = desk.requests(0)[0]
    assert (line["method"], line["url"], line["body"]["model"]) == ("POST", "/v1/chat/completions", "tagger-1")
    single, batched = (
        {line["key"]: line for line in lines(tmp_path / f"{name}.jsonl")} for name in ("single", "batch")
    )
    for table in (single, batched):
        assert len(table) == 60
        for line in table.values():
            line.pop("digest", None)
    assert {key: value["text"] for key, value in single.items()} == {key: v["text"] for key, v in batched.items()}
    assert all(line["calls"] == 1 and line["tokens"]["prompt_tokens"] == 100 for line in batched.values())
    assert not (tmp_path / "batch.batches").exists()  # nothing is left but the journal


def test_failed_requests_and_unreadable_answers_are_sent_again_in_further_batches(tmp_path: Path) -> None:
    faults = {"word 3": ["500"], "word 4": ["prose"], "word 5": ["429", "prose"], "word 6": ["400"]}
    desk, behaviour = BatchDesk(), Behaviour(reply=loud)
    behaviour.batches = desk
    behaviour.faults = lambda text, before: dict(enumerate(faults.get(text, []))).get(before)
    with serving(behaviour) as address:
        ask_all(address, tmp_path / "a.jsonl", batch="openai", max_failed=0.02)
    assert [sorted(words) for words in asked(desk)] == [
        sorted(WORDS[1:51]),
        sorted(WORDS[51:]),
        ["word 3", "word 4", "word 5"],
        ["word 5"],
    ]
    table = {line["key"]: line for line in lines(tmp_path / "a.jsonl")}
    assert table["word 3"]["errors"] == {"500": 1} and table["word 4"]["asked_again"] == 1
    assert (table["word 5"]["calls"], table["word 5"]["errors"], table["word 5"]["text"]) == (3, {"429": 1}, "WORD 5")
    assert (table["word 6"]["state"], table["word 6"]["refused"]) == (
        "failed",
        '400 {"error": {"message": "status 400"}}',
    )
    assert sum(line["state"] == "good" for line in table.values()) == 59


def test_what_an_expired_batch_has_answered_is_used_and_the_rest_sent_again(tmp_path: Path) -> None:
    desk = BatchDesk(outcome=lambda number: "expired" if number == 0 else "completed")
    behaviour = Behaviour(reply=loud, batches=desk)
    with serving(behaviour) as address:
        ask_all(address, tmp_path / "a.jsonl", WORDS[:41], batch="openai")
    assert asked(desk) == [WORDS[1:41], WORDS[21:41]]
    assert max(behaviour.seen.values()) == 1
    assert texts(tmp_path / "a.jsonl") == {word: word.upper() for word in WORDS[:41]}
    assert {line["errors"].get("batch_expired", 0) for line in lines(tmp_path / "a.jsonl")} == {0, 1}


def test_a_batch_over_the_limit_of_waiting_tokens_is_created_again_when_another_has_ended(tmp_path: Path) -> None:
    desk = BatchDesk(outcome=lambda number: "too many tokens" if number == 1 else "completed")
    desk.hold = lambda number: number == 0 and len(desk.batches) == 2 and desk.batches[1]["status"] == "validating"
    behaviour = Behaviour(reply=loud, batches=desk)
    with serving(behaviour) as address:
        ask_all(address, tmp_path / "a.jsonl", batch="openai")
    assert [batch["input_file_id"] for batch in desk.batches][1:] == ["file-1", "file-1"]
    assert max(behaviour.seen.values()) == 1 and len(texts(tmp_path / "a.jsonl")) == 60


def test_a_refused_or_cancelled_batch_and_a_server_without_the_api_are_one_clear_error(tmp_path: Path) -> None:
    desk = BatchDesk(outcome=lambda number: ["bad", "cancelled", "completed"][number])
    behaviour = Behaviour(reply=loud, batches=desk)
    with serving(behaviour) as address:
        with pytest.raises(SftdivError, match=r"refuses batch batch_0: invalid_request: The model is not available"):
            ask_all(address, tmp_path / "a.jsonl", WORDS[:21], batch="openai")
        with pytest.raises(SftdivError, match=r"batch batch_1 was cancelled after 10 of 20 answers, which are kept"):
            ask_all(address, tmp_path / "a.jsonl", WORDS[:21], batch="openai")
        ask_all(address, tmp_path / "a.jsonl", WORDS[:21], batch="openai")
        assert asked(desk)[2] == WORDS[11:21] and max(behaviour.seen.values()) == 1
        with pytest.raises(SftdivError, match=r"refuses model='tagger-1' with 404"):
            behaviour.models = ["other"]
            ask_all(address, tmp_path / "b.jsonl", batch="openai")
    with (
        serving(Behaviour(reply=loud)) as address,
        pytest.raises(SftdivError, match=r"POST http.*/files: 404: .*Without a Batch API, batch=null sends single"),
    ):
        ask_all(address, tmp_path / "c.jsonl", batch="openai")


def test_no_more_requests_than_max_calls_over_all_runs_of_batches(tmp_path: Path) -> None:
    behaviour = Behaviour(reply=loud, batches=BatchDesk())
    behaviour.faults = lambda text, before: "prose" if before == 0 and text.endswith("7") else None
    with serving(behaviour) as address:
        for most in (25, 40):
            with pytest.raises(SftdivError, match="all requests that max_calls allows are sent"):
                ask_all(address, tmp_path / "a.jsonl", batch="openai", max_calls=most)
            assert behaviour.seen.total() == most
        ask_all(address, tmp_path / "a.jsonl", batch="openai", max_calls=200)
    assert behaviour.seen.total() == 66 == sum(line["calls"] for line in lines(tmp_path / "a.jsonl"))


SCRIPT = """
import logging, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_llm import ask_all
ask_all(sys.argv[1], Path(sys.argv[2]), batch="openai", batch_requests=20)
"""


def killed_when(state: Any, address: str, path: Path) -> None:
    """Start the requests in a process of their own and kill it with signal 9 as soon as a state is reached."""
    process = start_code(SCRIPT, address, path, Path(__file__).parent)
    deadline = time.monotonic() + 200
    while not state() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert state()


def test_killed_while_batches_run_the_same_command_adopts_them(tmp_path: Path) -> None:
    desk, path = BatchDesk(hold=lambda number: number > 0), tmp_path / "a.jsonl"
    behaviour = Behaviour(reply=loud, batches=desk)
    with serving(behaviour) as address:
        killed_when(lambda: len(desk.batches) == 3 and path.read_bytes().count(b"\n") == 21, address, path)
        desk.hold = lambda number: False
        ask_all(address, path, batch="openai")
    assert len(desk.batches) == 3  # nothing was sent twice
    assert set(behaviour.seen.values()) == {1} and texts(path) == {word: word.upper() for word in WORDS}


def test_killed_before_it_knows_the_id_of_a_batch_it_finds_the_batch_in_the_servers_list(tmp_path: Path) -> None:
    desk, path = BatchDesk(hold=lambda number: True, slow=30.0), tmp_path / "a.jsonl"
    behaviour = Behaviour(reply=loud, batches=desk)
    with serving(behaviour) as address:
        killed_when(lambda: len(desk.batches) == 1, address, path)
        state = json.loads((tmp_path / "a.batches" / "0001.batch.json").read_text())
        assert state == {"server": address, "file": "file-0", "batch": None}
        desk.hold, desk.slow = (lambda number: False), 0.0
        ask_all(address, path, batch="openai", batch_requests=20)
    assert [len(words) for words in asked(desk)] == [20, 20, 19]
    assert set(behaviour.seen.values()) == {1} and len(texts(path)) == 60


def test_killed_between_two_answers_to_one_task_it_keeps_the_first(tmp_path: Path) -> None:
    desk, path = BatchDesk(hold=lambda number: number == 3), tmp_path / "a.jsonl"
    behaviour = Behaviour(reply=loud, batches=desk)
    behaviour.faults = lambda text, before: "prose" if text == "word 7" and before == 0 else None
    with serving(behaviour) as address:
        killed_when(lambda: len(desk.batches) == 4 and path.read_bytes().count(b"\n") == 59, address, path)
        assert (tmp_path / "a.batches" / "0001.answers.jsonl").exists()
        assert not (tmp_path / "a.batches" / "0002.answers.jsonl").exists()  # its tasks have ended
        desk.hold = lambda number: False
        ask_all(address, path, batch="openai")
    assert len(desk.batches) == 4 and behaviour.seen["word 7"] == 2
    assert {line["key"]: line["calls"] for line in lines(path)} == {word: 1 + (word == "word 7") for word in WORDS}


def test_a_batch_on_another_server_is_an_error_and_single_requests_say_that_batches_wait(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk, path = BatchDesk(hold=lambda number: True), tmp_path / "a.jsonl"
    with serving(Behaviour(reply=loud, batches=desk)) as address:
        killed_when(lambda: len(list(tmp_path.glob("a.batches/*.batch.json"))) == 3, address, path)
        with serving(Behaviour(reply=loud, batches=BatchDesk())) as other:
            with pytest.raises(SftdivError, match=rf"waits for a batch on {address}; give that base_url, or remove"):
                ask_all(other, path, batch="openai")
            ask_all(other, path)
    assert "batches of an earlier run are in" in caplog.text


def test_a_failed_task_is_asked_anew_and_does_not_meet_its_old_answers(tmp_path: Path) -> None:
    behaviour = Behaviour(reply=loud, batches=BatchDesk())
    behaviour.faults = lambda text, before: "prose" if text == "word 2" and before < 3 else None
    with serving(behaviour) as address:
        with pytest.raises(SftdivError, match=r"shouting: 1 got no readable answer"):
            ask_all(address, tmp_path / "a.jsonl", WORDS[:9], batch="openai")
        ask_all(address, tmp_path / "a.jsonl", WORDS[:9], batch="openai")
    assert behaviour.seen["word 2"] == 4 and behaviour.seen.total() == 12
    assert texts(tmp_path / "a.jsonl")["word 2"] == "WORD 2"


def test_the_turns_of_a_conversation_go_through_one_batch_each(tmp_path: Path) -> None:
    def conversation(word: str) -> RequestTask:
        async def ask(session: ChatSession) -> dict[str, Any]:
            messages: list[dict[str, str]] = []
            for turn in (word, "and again"):
                messages.append({"role": "user", "content": turn})
                reply = await session.reply({"model": "tagger-1", "messages": messages})
                messages.append({"role": "assistant", "content": content(reply.body or {})[0]})
            return {"state": "good", "messages": messages}

        return RequestTask(word, ask)

    behaviour = Behaviour(reply=lambda asked: f"{len(asked['messages'])} messages", batches=BatchDesk())
    settings: dict[str, Any] = {"total": 20, "max_failed": 0, "label": "talking", "model": "tagger-1"}
    with serving(behaviour) as address, Journal(tmp_path / "a.jsonl") as journal:
        run_requests(endpoint(address, batch="openai"), map(conversation, WORDS[:20]), journal, **settings)
        lines = list(journal.lines())
    assert [len(words) for words in asked(behaviour.batches or BatchDesk())] == [19, 19]
    assert all(
        line["messages"][1::2] == [{"role": "assistant", "content": f"{n} messages"} for n in (1, 3)] for line in lines
    )
    assert {line["calls"] for line in lines} == {2}


def test_without_a_server_requests_are_files_and_results_are_read_from_files(tmp_path: Path) -> None:
    path, behaviour, settings = tmp_path / "a.jsonl", Behaviour(reply=loud), {"batch": "files", "batch_requests": 40}
    behaviour.faults = lambda text, before: "prose" if text == "word 50" and before == 0 else None
    nowhere = "http://127.0.0.1:9/v1"

    def answer(name: str) -> None:
        """What a provider's console does with a file."""
        with (tmp_path / "a.batches" / f"{name}.results.jsonl").open("w") as stream:
            for line in (tmp_path / "a.batches" / f"{name}.requests.jsonl").read_text().splitlines():
                request = json.loads(line)
                status, body = answer_in_batch(behaviour, request["body"])
                response = {"status_code": status, "request_id": "1", "body": body}
                stream.write(json.dumps({"custom_id": request["custom_id"], "response": response}) + "\n")

    with pytest.raises(
        SftdivError, match=r"60 requests are in .*0001.requests.jsonl, .*0002.requests.jsonl. Have them"
    ):
        ask_all(nowhere, path, **settings)
    answer("0001")
    with pytest.raises(SftdivError, match=r"20 requests are in .*0002.requests.jsonl. Have them"):
        ask_all(nowhere, path, **settings)
    assert len(texts(path)) == 40
    answer("0002")
    with pytest.raises(SftdivError, match=r"1 requests are in .*0003.requests.jsonl. Have them"):
        ask_all(nowhere, path, **settings)
    answer("0003")
    ask_all(nowhere, path, **settings)
    assert texts(path) == {word: word.upper() for word in WORDS}
    assert behaviour.seen.total() == 61 and not (tmp_path / "a.batches").exists()


def test_a_file_ends_before_its_size_exceeds_the_limit(tmp_path: Path) -> None:
    files = BatchFiles(tmp_path / "batches", most_requests=100, most_bytes=300)
    completed = [files.add(f"id-{number}", {"text": "é" * 10}) for number in range(5)]  # 153 bytes each
    assert [None if batch is None else batch.ids for batch in completed] == [
        None,
        ["id-0"],
        ["id-1"],
        ["id-2"],
        ["id-3"],
    ]
    assert max(path.stat().st_size for path in tmp_path.glob("batches/*.requests.jsonl")) <= 300
    with pytest.raises(SftdivError, match="a request of 393 bytes exceeds the 300 bytes of a batch"):
        files.add("id-9", {"text": "é" * 50})
    files.stop()
    read = BatchFiles(tmp_path / "batches", most_requests=100)  # what a kill leaves: the last file was not complete
    assert [batch.ids for batch in read.waiting] == [["id-0"], ["id-1"], ["id-2"], ["id-3"]]
    assert not list(tmp_path.glob("batches/*.unfinished"))
    assert len(list(tmp_path.iterdir())) == 1
