"""Cached prompts of lm-eval tasks: built for one model, reused for the next.

Loaded tasks and a cache come in; the tasks then read their prompts from the cache where it has them.
The key is what decides the prompts: the task's settings, its data, the chat format and the few-shot
seed. (The harness's own cache is keyed by the task's name alone, so it does not notice changed data,
and it unpickles its files.) Tasks whose requests are more than text, such as images, are not cached.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sftdiv.protocols import Keep
from sftdiv.storage.hashing import content_hash, library_versions

FILE = "requests.jsonl"


def cache_requests(tasks: Mapping[str, Any], keep: Keep | None, *, seed: int) -> None:
    """Make tasks read their prompts from a cache, or, where ``keep`` is None, build them anew."""
    for task in tasks.values():
        task.__dict__.pop("build_all_requests", None)  # restores the harness's own method
        if keep is not None:
            task.build_all_requests = functools.partial(_build_cached, task, task.build_all_requests, keep, seed)


def _build_cached(
    task: Any, build: Callable[..., None], keep: Keep, seed: int, *, limit: int | None = None, **settings: Any
) -> None:
    """Replaces the task's ``build_all_requests``."""

    def fill(folder: Path, _: Path) -> None:
        build(limit=limit, **settings)
        lines = [
            json.dumps([i.doc_id, i.request_type, i.idx, i.repeats, i.arguments], ensure_ascii=False)
            for i in task.instances
        ]
        (folder / FILE).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    try:
        folder = keep("requests", _cache_key(task, seed, limit, settings), fill)
    except (TypeError, AttributeError):  # requests that JSON cannot express, or data without a fingerprint
        build(limit=limit, **settings)
        return
    _read_requests(task, folder / FILE, limit)


def _cache_key(task: Any, seed: int, limit: int | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    template = settings.get("chat_template")
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    rendered = None
    if template and settings.get("apply_chat_template"):
        rendered = [template(turns[:1]), template(turns, False)]
    plain = {
        name: value
        for name, value in settings.items()
        if isinstance(value, bool | int | str | None) and name != "tokenizer_name"
    }
    template_text = getattr(getattr(getattr(template, "__self__", None), "tokenizer", None), "chat_template", None)
    parts = {
        "task": json.dumps(task.dump_config(), default=str, sort_keys=True),
        "data": {name: split._fingerprint for name, split in (task.dataset or {}).items()},
        "seed": seed,
        "limit": limit,
    }
    return {name: content_hash(value) for name, value in parts.items()} | {
        "how": content_hash([plain, rendered, template_text]),
        "versions": library_versions(["lm-eval"]),
    }


def _read_requests(task: Any, path: Path, limit: int | None) -> None:
    from lm_eval.api.instance import Instance

    items = dict(task.doc_iterator(rank=0, limit=limit, world_size=1))
    task._instances = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            item, request_type, position, repeats, arguments = json.loads(line)
            metadata = (task.config.task, item, repeats)
            task._instances.append(Instance(request_type, items[item], tuple(arguments), position, metadata))
