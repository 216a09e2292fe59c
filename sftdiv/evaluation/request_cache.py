"""The prompts of a task, kept from one model for the next.

In: loaded tasks and a store. Out: tasks that read their prompts where the store has them. The key
is what makes them: the task's settings, its data, the chat format, the few-shot seed. (The
harness's own cache goes by the task's name alone, so that it does not notice changed data, and
unpickles what it finds.) The trade: a task whose requests are more than text, such as one of
images, makes them anew.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sftdiv.protocols import Keep
from sftdiv.storage.hashing import content_hash

FILE = "requests.jsonl"


def remember_requests(tasks: Mapping[str, Any], keep: Keep | None, *, seed: int) -> None:
    """Let tasks keep their prompts, or, where ``keep`` is None, make them anew."""
    for task in tasks.values():
        task.__dict__.pop("build_all_requests", None)  # the harness's own method shows again
        if keep is not None:
            task.build_all_requests = functools.partial(_build, task, task.build_all_requests, keep, seed)


def _build(
    task: Any, make: Callable[..., None], keep: Keep, seed: int, *, limit: int | None = None, **how: Any
) -> None:
    """In place of the task's ``build_all_requests``."""

    def fill(folder: Path, _: Path) -> None:
        make(limit=limit, **how)
        lines = [
            json.dumps([i.doc_id, i.request_type, i.idx, i.repeats, i.arguments], ensure_ascii=False)
            for i in task.instances
        ]
        (folder / FILE).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    try:
        folder = keep("requests", _key(task, seed, limit, how), fill)
    except (TypeError, AttributeError):  # requests that JSON does not know, data without a fingerprint
        make(limit=limit, **how)
        return
    _read(task, folder / FILE, limit)


def _key(task: Any, seed: int, limit: int | None, how: Mapping[str, Any]) -> dict[str, Any]:
    template = how.get("chat_template")
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    rendered = [template(turns[:1]), template(turns, False)] if template and how.get("apply_chat_template") else None
    plain = {
        name: value
        for name, value in how.items()
        if isinstance(value, bool | int | str | None) and name != "tokenizer_name"
    }
    template_text = getattr(getattr(getattr(template, "__self__", None), "tokenizer", None), "chat_template", None)
    splits = {name: split._fingerprint for name, split in (task.dataset or {}).items()}
    made = {
        "task": json.dumps(task.dump_config(), default=str, sort_keys=True),
        "data": splits,
        "seed": seed,
        "limit": limit,
    }
    return {key: content_hash(value) for key, value in made.items()} | {
        "how": content_hash([plain, rendered, template_text]),
        "versions": {"lm-eval": version("lm-eval")},
    }


def _read(task: Any, path: Path, limit: int | None) -> None:
    from lm_eval.api.instance import Instance

    items = dict(task.doc_iterator(rank=0, limit=limit, world_size=1))
    task._instances = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            item, kind, position, repeats, arguments = json.loads(line)
            about = (task.config.task, item, repeats)
            task._instances.append(Instance(kind, items[item], tuple(arguments), position, about))
