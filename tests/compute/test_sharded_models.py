"""Embeddings and a language model's tags in shards: equal artifacts by every engine, nothing twice after a kill."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_openai_server import Behaviour, serving, tags_of, text_of

from sftdiv.compute.datatrove_local import DatatroveLocal
from sftdiv.compute.local_shards import LOCAL
from sftdiv.compute.shard_files import UnfinishedShardsError
from sftdiv.embeddings import sentence
from sftdiv.embeddings.sentence import SentenceEmbedder
from sftdiv.llm.endpoint import Endpoint
from sftdiv.pipeline.serialize import save_embeddings
from sftdiv.protocols import ShardExecutor, embed_by
from sftdiv.units.tagging import llm_shards
from sftdiv.units.tagging.llm import LlmTagger
from sftdiv.units.tagging.raw import build_raw_tags, load_raw_tags

WORDS = ("bread", "flour", "stars", "night", "moon")
TEXTS = [" ".join(WORDS[(row + step * row) % 5] for step in range(1 + row % 4)) + f" {row}" for row in range(22)]
SHARD = 5  # texts: five shards


def datatrove(folder: Path) -> DatatroveLocal:
    return DatatroveLocal(logs=str(folder / "logs"), tasks=2, workers=2)


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of an artifact by its name."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def static_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of sentence-transformers that averages a random vector of each word."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    vocabulary = {word: number for number, word in enumerate([*WORDS, *map(str, range(22))])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="0"))
    tokenizer.pre_tokenizer = Whitespace()
    weights = np.random.default_rng(0).normal(size=(len(vocabulary), 8)).astype(np.float32)
    folder = str(tmp_path_factory.mktemp("static"))
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu").save(folder)
    return folder


@dataclass(frozen=True, kw_only=True)
class KilledEmbedder(SentenceEmbedder):
    """Its second process is killed when it loads the model."""

    folder: str
    parent: int

    def load(self, device: str) -> Any:
        marker = Path(self.folder) / "loaded"
        if os.getpid() != self.parent:
            loads = marker.read_text() if marker.exists() else ""
            marker.write_text(f"{loads}x")
            if len(loads) == 1:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().load(device)


def test_vectors_are_the_same_to_the_byte_and_whole_shards_of_a_killed_worker_are_kept(
    static_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentence, "SHARD", SHARD)
    settings: dict[str, Any] = {"path": static_model, "revision": None, "max_tokens": None, "prompt": None}
    settings |= {"devices": ["cpu"], "batch_tokens": None}
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    made = embed_by(LOCAL, SentenceEmbedder(**settings), [*TEXTS, TEXTS[0]], tmp_path / "partial-one")
    save_embeddings(made, folders[0])

    killed = KilledEmbedder(**settings, folder=str(tmp_path), parent=os.getpid())
    compute, partial = datatrove(tmp_path), tmp_path / "partial-two"
    with pytest.raises(UnfinishedShardsError, match=r"embedding: a task's process was killed.*the missing shards only"):
        embed_by(compute, killed, [*TEXTS, TEXTS[0]], partial)
    before = {path: path.stat().st_mtime_ns for path in partial.rglob("*.shard")}
    assert len(before) == 3  # those of the first task: 0, 2 and 4
    damaged = max(before)
    damaged.write_bytes(damaged.read_bytes()[:-4] + bytes(4))
    save_embeddings(embed_by(compute, killed, [*TEXTS, TEXTS[0]], partial), folders[1])
    assert files_of(folders[0]) == files_of(folders[1])
    assert [path for path in before if path.stat().st_mtime_ns != before[path]] == [damaged]


@dataclass(frozen=True, kw_only=True)
class KilledTagger(LlmTagger):
    """Its process is killed when it first asks about a text."""

    folder: str
    fatal: str

    def request(self, text: str, *, attempt: int, schema: bool) -> dict[str, Any]:
        marker = Path(self.folder) / "killed"
        if text == self.fatal and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().request(text, attempt=attempt, schema=schema)


def tag_settings(address: str) -> dict[str, Any]:
    hurried: dict[str, Any] = {"concurrency": 1, "timeout": 5, "tries": 8, "wait": 0.002, "longest_wait": 0.02}
    hurried |= {"requests_per_minute": None, "batch": None, "batch_requests": 50, "api_key_env": None}
    return {
        "endpoint": Endpoint(base_url=address, **hurried),
        "model": "tagger-1",
        "prompt": "Name tags.\n[begin]\n{text}\n[end]",
        "structured": "auto",
        "temperature": 0.0,
        "retry_temperature": 0.7,
        "seed": 0,
        "max_tokens": 64,
        "max_chars": 1000,
        "retries": 0,
        "max_failed": 0.1,
        "extra": {},
    }


def build(tagger: LlmTagger, texts: Sequence[str], folder: Path, compute: ShardExecutor) -> Path:
    """The artifact of the tags of some texts."""
    artifact, partial = folder / "artifact", folder / "partial"
    for path in (artifact, partial):
        path.mkdir(parents=True, exist_ok=True)
    build_raw_tags(tagger, texts, compute, artifact, partial)
    return artifact


def test_tags_are_the_same_and_a_killed_worker_asks_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llm_shards, "SHARD", SHARD)
    expected, behaviour = sorted(TEXTS), Behaviour()
    with serving(behaviour) as address:
        settings = tag_settings(address)
        one = build(LlmTagger(**settings), TEXTS, tmp_path / "one", LOCAL)
        assert [text_of(request) for request in behaviour.requests] == expected  # equal beginnings together
        behaviour.requests.clear()
        killed = KilledTagger(**settings, folder=str(tmp_path), fatal=expected[12])
        with pytest.raises(UnfinishedShardsError, match="tagging: a task's process was killed"):
            build(killed, TEXTS, tmp_path / "two", datatrove(tmp_path))
        asked = [text_of(request) for request in behaviour.requests]
        assert expected[12] not in asked and {*expected[:5], *expected[10:12]} <= set(asked)
        two = build(killed, TEXTS, tmp_path / "two", datatrove(tmp_path))
    assert sorted(text_of(request) for request in behaviour.requests) == expected  # each once, in both starts
    assert load_raw_tags(one).tags == [tags_of(text) for text in TEXTS]
    assert files_of(one) == files_of(two) and sorted(files_of(one)) == ["answers.jsonl", "record.json", "tags.jsonl"]


def test_failures_in_one_shard_count_against_all_texts_and_are_asked_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of 22 texts fail, both in the first of five shards: 40 % of it, but less than a tenth of all."""
    monkeypatch.setattr(llm_shards, "SHARD", SHARD)
    failing = sorted(TEXTS)[1:3]
    behaviour = Behaviour(faults=lambda text, before: "prose" if text in failing and before < 1 else None)
    with serving(behaviour) as address:
        artifact = build(LlmTagger(**tag_settings(address)), TEXTS, tmp_path, LOCAL)
    assert load_raw_tags(artifact).tags == [tags_of(text) for text in TEXTS]
    assert load_raw_tags(artifact).record["failed"] == 0
