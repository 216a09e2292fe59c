"""The lexicon of the synthetic world as typed records, read from ``lexicon.yaml``.

Nothing here is random: the words are data that a person may read and edit, and the seed of a world
decides only which facts are true and which are common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Attribute:
    """A property that every entity of a topic has; ``name`` is the list its values come from."""

    name: str
    clause: str
    question: str


@dataclass(frozen=True)
class Topic:
    """Twenty entities of one kind and their attributes."""

    name: str
    kind: str
    kinds: str
    article: str
    entities: Sequence[str]
    attributes: Sequence[Attribute]


@dataclass(frozen=True)
class Skill:
    """A kind of task: its ``prompts``, commonest first, and the form of its ``response``."""

    name: str
    prompts: Sequence[str]
    response: str


@dataclass(frozen=True)
class Style:
    """A manner of speech: the cues that ask for it and the wrappers around the answer, commonest first."""

    name: str
    cues: Sequence[str]
    wrappers: Sequence[str]


@dataclass(frozen=True)
class Lexicon:
    """All words of the world; ``values`` holds the possible values of each attribute, by its name."""

    topics: Sequence[Topic]
    values: Mapping[str, Sequence[str]]
    statements: Sequence[str]
    skills: Sequence[Skill]
    styles: Sequence[Style]
    skew: Mapping[str, float]


@cache
def load_lexicon() -> Lexicon:
    """The lexicon that ships with the package."""
    data = yaml.safe_load(Path(__file__).with_name("lexicon.yaml").read_text(encoding="utf-8"))
    topics = [_topic(name, entry) for name, entry in data["topics"].items()]
    return Lexicon(
        topics=topics,
        values=data["values"] | {topic.kind: topic.entities for topic in topics},
        statements=data["statements"],
        skills=[Skill(name, **entry) for name, entry in data["skills"].items()],
        styles=[Style(name, **entry) for name, entry in data["styles"].items()],
        skew=data["skew"],
    )


def _topic(name: str, entry: Mapping[str, Any]) -> Topic:
    kind, kinds = entry["kind"]
    attributes = [Attribute(key, clause, question) for key, (clause, question) in entry["attributes"].items()]
    return Topic(name, kind, kinds, entry["article"], entry["entities"], attributes)
