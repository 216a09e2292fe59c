"""Raw tags: what a tagger says of each text, before anything is merged or dropped.

In: texts and a tagger. Out: a folder with ``tags.jsonl`` (a list of tags a text, in the order of
the texts), ``record.json`` and whatever the tagger wrote on its way, such as every answer of a
model. The trade: raw tags are an artifact of their own, some megabytes, so that no change of the
normalisation asks a model anything again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

TAGS, RECORD = "tags.jsonl", "record.json"


@dataclass(frozen=True)
class RawTags:
    """Tags of each text as the tagger gave them, and what it counted on the way (JSON)."""

    tags: Sequence[Sequence[str]]
    record: Mapping[str, Any]


class Tagger(Protocol):
    """Tags texts. ``identity`` names what decides the tags, not how fast they come; it is asked before anything is tagged."""

    def identity(self) -> Mapping[str, Any]:
        """Settings and content of the tagger, JSON-serialisable, free of paths and secrets."""
        ...

    def tag(self, texts: Sequence[str], partial: Path) -> RawTags:
        """Raw tags of distinct texts; what a killed call left in ``partial`` is from the same texts and identity."""
        ...


def build_raw_tags(tagger: Tagger, texts: Sequence[str], folder: Path, partial: Path) -> None:
    """Tag the texts into ``folder``; what the tagger left in ``partial`` is copied, not moved: the build may still be killed."""
    raw = tagger.tag(texts, partial)
    shutil.copytree(partial, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.lock"))
    with (folder / TAGS).open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(list(tags), ensure_ascii=False) + "\n" for tags in raw.tags)
    (folder / RECORD).write_text(json.dumps(dict(raw.record), ensure_ascii=False, indent=1), encoding="utf-8")


def load_raw_tags(folder: Path) -> RawTags:
    """Read what ``build_raw_tags`` wrote."""
    with (folder / TAGS).open(encoding="utf-8") as stream:
        tags = [json.loads(line) for line in stream]
    return RawTags(tags, json.loads((folder / RECORD).read_text(encoding="utf-8")))
