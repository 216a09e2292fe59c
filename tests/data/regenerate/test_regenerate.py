"""``python -m sftdiv.regenerate`` over real HTTP: what is asked, which corpus comes out, and what a kill, a
fault or a rerun does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_openai_server import HTTP, Behaviour, often, serving
from hydra import compose, initialize_config_dir
from warm_process import DEVNULL, start_program

from sftdiv.config.app import conf_dir, register_resolvers
from sftdiv.config.build_corpus_spec import build_corpus_spec
from sftdiv.llm.answer_text import without_thoughts
from sftdiv.pipeline.corpus_of_spec import load_corpus_of
from sftdiv.records import Corpus, SftdivError
from sftdiv.regenerate import regenerate
from sftdiv.storage.cache import Store

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "old one"},
    {"role": "user", "content": "Two?"},
    {"role": "assistant", "content": "old two"},
]
ROWS = [
    {"id": f"row-{i}", "instruction": f"Say {i}.", "output": f"old {i}", "source": "ab"[i % 2], "level": i}
    for i in range(60)
]
HURRIED = ["endpoint.wait=0.002", "endpoint.longest_wait=0.02", "endpoint.tries=10", "endpoint.concurrency=8"]


def reply(asked: dict[str, Any]) -> str:
    """Says how many messages it saw and the last of them in capitals."""
    return f"{len(asked['messages'])} {asked['messages'][-1]['content'].upper()}"


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def overrides(tmp_path: Path, address: str, path: Path, *more: str) -> list[str]:
    places = [f"paths.outputs={tmp_path}/outputs", f"paths.cache={tmp_path}/cache"]
    return [
        "corpus=files",
        f"corpus.path={path}",
        f"endpoint.base_url={address}",
        "endpoint.model=tagger-1",
        *HURRIED,
        *places,
        *more,
    ]


def config(*given: str) -> Any:
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("regenerate", overrides=list(given))


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A function that rewrites a file's responses, with a cache and outputs of its own."""

    def rewrite(address: str, path: Path, *more: str) -> dict[str, Any]:
        given = overrides(tmp_path, address, path, *more)
        return regenerate(config(*given), given)

    return rewrite


def folder(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "outputs" / "regenerate").iterdir()
    return found


def shards(tmp_path: Path) -> list[dict[str, Any]]:
    files = sorted((folder(tmp_path) / "corpus").iterdir())
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def corpus(tmp_path: Path, path: Path) -> Corpus:
    """What ``corpus=files`` reads there."""
    given = overrides(tmp_path, "http://a/v1", path, "corpus.columns=[level]", "corpus.dedup=none")
    return load_corpus_of(build_corpus_spec(config(*given).corpus), Store(tmp_path / "cache"))


def test_each_turn_is_asked_with_the_answers_before_it_and_system_turns_stay(tmp_path: Path, run: Run) -> None:
    path = written(tmp_path / "talk.jsonl", [{"id": "talk", "messages": TALK}])
    behaviour = Behaviour(reply=lambda asked: f"<think>hm</think>\n\nnew {len(asked['messages'])}")
    with serving(behaviour) as address:
        run(address, path, "system=You are kind.", "+sampling.extra.top_k=1")
    first, second = behaviour.requests
    assert first["messages"] == TALK[:2]
    assert second["messages"] == [*TALK[:2], {"role": "assistant", "content": "new 2"}, TALK[3]]
    assert shards(tmp_path) == [
        {
            "id": "talk",
            "messages": [
                *TALK[:2],
                {"role": "assistant", "content": "new 2"},
                TALK[3],
                {"role": "assistant", "content": "new 4"},
            ],
            "source": "",
        }
    ]
    asked = {name: value for name, value in first.items() if name not in {"messages", "seed"}}
    assert asked == {"model": "tagger-1", "temperature": 0.7, "max_tokens": 2048, "top_k": 1}
    assert first["seed"] != second["seed"] and 0 <= first["seed"] < 2**31


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("<think>hm\nso</think>\n\nParis", "Paris"),
        ("hm\nso\n</think>\n\nParis", "Paris"),  # the template has opened it
        ("<think>hm and never an end", ""),
        ("Write <think> first.\nThen answer.", "Write <think> first.\nThen answer."),
        ("Sure. <think>A </think> B?</think>\nParis", "Paris"),
        ("Paris", "Paris"),
    ],
)
def test_thoughts_are_what_stands_before_an_answer(text: str, kept: str) -> None:
    assert without_thoughts(text).strip() == kept


def test_a_system_prompt_is_said_where_there_is_none_and_is_not_written(tmp_path: Path, run: Run) -> None:
    behaviour = Behaviour(reply=reply)
    with serving(behaviour) as address:
        run(address, written(tmp_path / "one.jsonl", ROWS[:1]), "system=You are kind.")
    assert behaviour.requests[0]["messages"] == [
        {"role": "system", "content": "You are kind."},
        {"role": "user", "content": "Say 0."},
    ]
    assert [turn["role"] for turn in shards(tmp_path)[0]["messages"]] == ["user", "assistant"]


def test_a_third_of_requests_failing_loses_no_row_and_the_corpus_is_read_as_the_old_one(
    tmp_path: Path, run: Run
) -> None:
    path = written(tmp_path / "mine.jsonl", ROWS)
    behaviour = Behaviour(reply=reply, faults=often(0.33, HTTP), slow=2.5)
    with serving(behaviour) as address:
        record = run(address, path, "endpoint.timeout=2", "rows_per_shard=25", "corpus.columns=[level]")
        assert (record["rows"], record["written"], record["failed"], record["models_listed"]) == (
            60,
            60,
            0,
            ["tagger-1"],
        )
        assert record["asked"]["calls"] >= sum(behaviour.served.values()) > 60
        behaviour.seen.clear()
        assert (
            run("http://127.0.0.1:9/v1", path, "rows_per_shard=25", "corpus.columns=[level]") == record
        )  # done: nobody is asked
        assert run(address, path, "corpus.columns=[level]")["shards"].keys() == {
            "part-00000.jsonl"
        }  # other shards of the same answers
        assert not behaviour.seen
    assert list(record["shards"]) == ["part-00000.jsonl", "part-00001.jsonl", "part-00002.jsonl"]
    old, new = corpus(tmp_path, path), corpus(tmp_path, folder(tmp_path) / "corpus")
    assert [row["id"] for row in shards(tmp_path)] == old.column("id")
    kept = {row["id"]: row for row in new.table.to_list()}
    for row in old.table.to_list():
        assert kept[row["id"]]["response"] == f"1 {row['instruction'].upper()}"
        assert [kept[row["id"]][name] for name in ("instruction", "source", "level")] == [
            row[name] for name in ("instruction", "source", "level")
        ]


def test_killed_in_the_middle_it_asks_only_what_is_missing(tmp_path: Path, run: Run) -> None:
    path, behaviour = written(tmp_path / "mine.jsonl", ROWS), Behaviour(reply=reply, delay=0.2)
    with serving(behaviour) as address:
        given = overrides(tmp_path, address, path)
        process = start_program("sftdiv.regenerate", *given, stdout=DEVNULL, stderr=DEVNULL)
        deadline = time.monotonic() + 200
        while sum(behaviour.seen.values()) < 30 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.wait()
        ledger = folder(tmp_path) / "answers.jsonl"
        with ledger.open("ab") as stream:
            stream.write(b'{"key": "row-')  # a line that the kill tore
        done = {json.loads(line)["key"] for line in ledger.read_bytes().split(b"\n")[:-1]}
        assert 10 <= len(done) < 60
        assert not (folder(tmp_path) / "provenance.json").exists()
        behaviour.delay = 0.0
        behaviour.seen.clear()
        record = run(address, path)
    assert {f"Say {name.removeprefix('row-')}." for name in done} == {row["instruction"] for row in ROWS} - set(
        behaviour.seen
    )
    assert max(behaviour.seen.values()) == 1
    assert record["written"] == len(shards(tmp_path)) == 60


def test_rows_that_fail_or_are_cut_are_listed_left_out_and_counted_and_failed_ones_asked_again(
    tmp_path: Path, run: Run
) -> None:
    path = written(tmp_path / "mine.jsonl", ROWS)
    faults = {"Say 3.": "400", "Say 4.": "too long"}
    behaviour = Behaviour(
        reply=lambda asked: "" if asked["messages"][-1]["content"] == "Say 5." else "a whole answer of some length"
    )
    behaviour.faults = lambda text, before: faults.get(text)
    with serving(behaviour) as address:
        with pytest.raises(
            SftdivError, match=r"rewriting: 1 got no readable answer, more than the 0\.6 that max_failed allows"
        ):
            run(address, path)
        record = run(address, path, "max_failed=0.1")
        listed = [json.loads(line) for line in (folder(tmp_path) / "failures.jsonl").read_text().splitlines()]
        reasons = {line["id"]: line["reason"] for line in listed}
        assert "400" in reasons["row-3"] and "filtered" in reasons["row-3"]
        assert reasons["row-5"] == "an empty response to turn 1"
        assert reasons["row-4"].startswith("a response reached sampling.max_tokens")
        assert (record["rows"], record["written"], record["cut"], record["failed"]) == (60, 57, 1, 2)
        faults.clear()
        behaviour.reply, calls = reply, len(behaviour.requests)
        record = run(address, path, "on_cut=keep")
        assert {asked["messages"][-1]["content"] for asked in behaviour.requests[calls:]} == {"Say 3.", "Say 5."}
    assert (record["written"], record["cut"], record["failed"]) == (60, 1, 0)
    texts = {row["id"]: row["messages"][-1]["content"] for row in shards(tmp_path)}
    assert (texts["row-3"], texts["row-4"]) == ("1 SAY 3.", "a whole a")


def test_a_first_look_is_part_of_the_whole(tmp_path: Path, run: Run) -> None:
    path, behaviour = written(tmp_path / "mine.jsonl", ROWS), Behaviour(reply=reply)
    with serving(behaviour) as address:
        assert run(address, path, "limit=5")["written"] == len(shards(tmp_path)) == 5
        assert run(address, path)["written"] == len(shards(tmp_path)) == 60
    assert max(behaviour.seen.values()) == 1


def test_the_key_comes_from_the_environment_and_is_written_nowhere(
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("DEBUG")
    path, said = written(tmp_path / "mine.jsonl", ROWS), []
    with serving(Behaviour(reply=reply, key="not-a-real-key", faults=often(0.2, ("500",)))) as address:
        for value, problem in ((None, "SOME_KEY.*holds no key"), ("also-not-a-real-key", r"401.*Bearer \*\*\*")):
            if value:
                monkeypatch.setenv("SOME_KEY", value)
            with pytest.raises(SftdivError, match=problem) as caught:
                run(address, path, "endpoint.api_key_env=SOME_KEY")
            said.append(repr(caught.value))
        monkeypatch.setenv("SOME_KEY", "not-a-real-key")
        assert run(address, path, "endpoint.api_key_env=SOME_KEY")["written"] == 60
    files = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    shown = capfd.readouterr()
    assert b"row-3" in files and "tagger-1" in shown.out
    for text in (files.decode("utf-8", "replace"), shown.out, shown.err, caplog.text, *said):
        assert "a-real-key" not in text


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (("limit=0",), "limit=0 must be a whole number"),
        (("on_cut=mend",), "on_cut='mend' is unknown. Known: keep, drop"),
        (("max_failed=2",), r"max_failed=2 must be a number in \[0, 1\]"),
        (("+sampling.extra.messages=[]",), "sampling.extra may not hold messages"),
        (("endpoint.base_url=localhost",), "base_url='localhost' is not a URL"),
        (("endpoint.model=???",), "endpoint.model must be given"),
        (("endpoint.model=tagger-9",), r"refuses model='tagger-9' with 404: .*The server lists the models tagger-1"),
    ],
)
def test_a_wrong_setting_is_one_clear_error(tmp_path: Path, run: Run, wrong: tuple[str, ...], problem: str) -> None:
    with serving(Behaviour(reply=reply)) as address, pytest.raises(SftdivError, match=problem):
        run(address, written(tmp_path / "mine.jsonl", ROWS), *wrong)
