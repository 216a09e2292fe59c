"""Raw tags on disk: the tags of each text as a tagger gave them, before anything is merged or dropped.

The folder holds ``tags.jsonl`` (a list of tags per text, in the order of the texts),
``record.json`` and the files that the tagger wrote, such as every answer of a model. Raw tags are
an artifact of their own, some megabytes, so that a change of the normalisation needs no further
model calls.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from sftdiv.protocols import ShardExecutor, Tagger, tag_by
from sftdiv.records import RawTags

TAGS, RECORD = "tags.jsonl", "record.json"


def build_raw_tags(tagger: Tagger, texts: Sequence[str], compute: ShardExecutor, folder: Path, partial: Path) -> None:
    """Tag texts and write the result.

    Args:
        tagger: Tags the texts.
        texts: Distinct texts.
        compute: Computes the shards of a tagger that has some.
        folder: Destination.
        partial: Folder of the tagger's own files, which survives a killed call; it is copied and
            not moved, since the build can still be killed, without locks and the shards that its journal joins.
    """
    raw = tag_by(compute, tagger, texts, partial)
    shutil.copytree(partial, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.lock", "*.shards"))
    with (folder / TAGS).open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(list(tags), ensure_ascii=False) + "\n" for tags in raw.tags)
    (folder / RECORD).write_text(json.dumps(dict(raw.record), ensure_ascii=False, indent=1), encoding="utf-8")


def load_raw_tags(folder: Path) -> RawTags:
    """Read a folder that ``build_raw_tags`` wrote."""
    with (folder / TAGS).open(encoding="utf-8") as stream:
        tags = [json.loads(line) for line in stream]
    return RawTags(tags, json.loads((folder / RECORD).read_text(encoding="utf-8")))
