"""Pinned content of the synthetic world: a change of it needs another ``GENERATOR_VERSION``, and its digests here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from sftdiv.data.synthetic.world import GENERATOR_VERSION, World
from sftdiv.records import Example

PINNED = {  # by version and seed: samples, statements, items, task files
    (1, 0): {
        "samples": "e97172cb89cae0b583fa3cc6827f69e7",
        "statements": "9ad720a914e85552e536ec3be8a68323",
        "items": "2c70b712293731e383690b064e23a050",
        "tasks": "65b9690a7e7dd715632bc817a101f42f",
    },
    (1, 1): {
        "samples": "602a80219bd665dfa86536b0bcc44177",
        "statements": "bcd3f740396589dceeac7c7a2c7539c5",
        "items": "cccab9a04c0217d143962caa58dd2dac",
        "tasks": "d2437fa8088f540e707608c6a5b534f1",
    },
}


def digest(parts: Iterable[Any]) -> str:
    lines = [json.dumps(part, sort_keys=True, ensure_ascii=False) for part in parts]
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def content(sample: Example) -> dict[str, Any]:
    """The fields of a sample but ``unread``, which only readers of other data fill."""
    return {name: value for name, value in asdict(sample).items() if name != "unread"}


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_version_writes_the_same_world(seed: int, tmp_path: Path) -> None:
    world = World(seed=seed, size=500, skew=1.0)
    world.write_tasks(tmp_path, final_folder=Path("/tasks"))
    written = {
        "samples": digest(content(sample) for sample in world.samples()),
        "statements": digest(world.statements),
        "items": digest(asdict(item) for item in world.items()),
        "tasks": digest([path.name, path.read_text(encoding="utf-8")] for path in sorted(tmp_path.iterdir())),
    }
    assert written == PINNED[GENERATOR_VERSION, seed], "the content changed: raise GENERATOR_VERSION and pin it anew"
