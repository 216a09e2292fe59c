"""Embeddings and a language model's tags in shards: equal artifacts by every engine, nothing twice after a kill."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_openai_server import Behaviour, serving, tags_of, text_of
from numpy.typing import NDArray

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


def word_tokenizer() -> Any:
    """A tokenizer of the library tokenizers that knows every word of the texts."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    vocabulary = {word: number for number, word in enumerate([*WORDS, *map(str, range(22)), "?"])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer


class WordModel:
    """What `SentenceEmbedder` uses of a SentenceTransformer, without torch: means of a random vector of each word."""

    max_seq_length, device = 16, SimpleNamespace(type="cpu")

    def __init__(self) -> None:
        self.tokenizer = word_tokenizer()
        self.weights = np.random.default_rng(0).normal(size=(self.tokenizer.get_vocab_size(), 8))

    def encode(self, texts: Sequence[str], **_: Any) -> NDArray[np.float64]:
        means = np.stack([self.weights[self.tokenizer.encode(text).ids].mean(axis=0) for text in texts])
        return means / np.linalg.norm(means, axis=1, keepdims=True)


@pytest.fixture
def static_model(tmp_path: Path) -> str:
    """The same as a model of sentence-transformers."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    model, folder = WordModel(), str(tmp_path / "static")
    static = StaticEmbedding(model.tokenizer, embedding_weights=model.weights.astype(np.float32))
    SentenceTransformer(modules=[static], device="cpu").save(folder)
    return folder


@dataclass(frozen=True, kw_only=True)
class KilledEmbedder(SentenceEmbedder):
    """Loads a `WordModel` for want of a path. Of the processes that are not its parent, the second load is killed."""

    folder: str
    parent: int

    def load(self, device: str) -> Any:
        loads = Path(self.folder) / "loads"
        if os.getpid() != self.parent:
            with loads.open("a") as stream:
                stream.write("x")
            if loads.read_text() == "xx":
                os.kill(os.getpid(), signal.SIGKILL)
        return super().load(device) if self.path else WordModel()


def check_embedding(path: str, tmp_path: Path) -> None:
    """The same vectors by both engines, whole shards of a killed worker kept, a damaged one computed again."""
    settings: dict[str, Any] = {"path": path, "revision": None, "max_tokens": None, "prompt": None}
    settings |= {"devices": ["cpu"], "batch_tokens": None, "folder": str(tmp_path), "parent": os.getpid()}
    embedder, texts, compute = KilledEmbedder(**settings), [*TEXTS, TEXTS[0]], datatrove(tmp_path)
    one, two, partial = tmp_path / "one", tmp_path / "two", tmp_path / "partial-two"
    for folder in (one, two):
        folder.mkdir()
    made = embed_by(LOCAL, embedder, texts, tmp_path / "partial-one")
    assert np.array_equal(made.vectors[0], made.vectors[-1])
    save_embeddings(made, one)
    with pytest.raises(UnfinishedShardsError, match=r"embedding: a task's process was killed.*the missing shards only"):
        embed_by(compute, embedder, texts, partial)
    before = {path: path.stat().st_mtime_ns for path in partial.rglob("*.shard")}
    assert len(before) == 3  # those of the first task: 0, 2 and 4
    damaged = max(before)
    damaged.write_bytes(damaged.read_bytes()[:-4] + bytes(4))
    save_embeddings(embed_by(compute, embedder, texts, partial), two)
    assert files_of(one) == files_of(two)
    assert [path for path in before if path.stat().st_mtime_ns != before[path]] == [damaged]


def test_vectors_are_the_same_and_a_killed_worker_costs_its_task_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentence, "SHARD", SHARD)
    check_embedding("", tmp_path)


@pytest.mark.nightly  # three processes import torch
@pytest.mark.timeout(900)
def test_vectors_of_a_sentence_model_are_the_same(
    static_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentence, "SHARD", SHARD)
    check_embedding(static_model, tmp_path)


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
