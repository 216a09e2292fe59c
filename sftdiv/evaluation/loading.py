"""lm-eval tasks and their data, from a folder or from the harness's own, which download once.

In: names of tasks, groups or tags. Out: what the harness makes of them, or one line that says which
task cannot be loaded, why, and the way out. Where the hub does not answer, it is not asked again
and again (24 s a data set): what the cache holds is used, and what it does not hold is refused at
once.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import io
import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sftdiv.records import SftdivError

PROBE_SECONDS = 5.0
OF_FILES = ("json", "csv", "parquet", "arrow", "text")  # readers of `datasets` that take files
WAY_OUT = (
    "run once where there is a network, and the data stays in HF_HOME (~/.cache/huggingface); or take tasks from files: "
    "eval=custom eval.include_path=FOLDER eval.tasks=[...]; or eval=embedded, heldout or none"
)


@dataclass(frozen=True)
class Loaded:
    """Tasks by name, the groups they were asked for in, and the name by which each was asked for."""

    tasks: Mapping[str, Any]
    groups: Mapping[str, Any]
    asked: Mapping[str, str]


def load_tasks(tasks: Sequence[str], include_path: Path | None) -> Loaded:
    """Load tasks and their data.

    Args:
        tasks: Names of tasks, groups or tags.
        include_path: A folder with task files, the only ones known then; None for the harness's own.

    Raises:
        SftdivError: A task is unknown, its data cannot be had, or it needs a package that is missing.
    """
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = harness_tasks() if include_path is None else _manager_of(include_path)
    _check_known(tasks, manager.all_tasks, include_path)
    loaded: dict[str, Any] = {}
    groups: dict[str, Any] = {}
    asked: dict[str, str] = {}
    with quiet(), _hub_or_cache(needed=include_path is None or not _all_local(include_path)) as online:
        for name in tasks:
            one = _load_once(name, online) if include_path is None else _load(manager, name, online)
            loaded |= one["tasks"]
            groups |= one["groups"]
            asked |= dict.fromkeys(one["tasks"], name)
    _check_possible(loaded)
    return Loaded(loaded, groups, asked)


def quiet() -> contextlib.AbstractContextManager[Any]:
    """The harness draws bars on stderr and cannot be told not to; elsewhere than in a terminal they would fill the log."""
    return contextlib.nullcontext() if sys.stderr.isatty() else contextlib.redirect_stderr(io.StringIO())


@functools.cache
def harness_tasks() -> Any:
    """What finds the harness's own 15,000 tasks by name; made once a process, for it takes 15 s on a slow machine."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _manager_of(include_path: Path) -> Any:
    from lm_eval.tasks import TaskManager

    if not include_path.is_dir():
        raise SftdivError(f"eval.include_path={include_path} is no folder; it holds the YAML files of lm-eval tasks")
    return TaskManager(include_path=str(include_path), include_defaults=False)


@functools.cache
def _load_once(name: str, online: bool) -> Any:
    """A task of the harness's own: the check before training loads what the evaluation after it takes."""
    return _load(harness_tasks(), name, online)


def _load(manager: Any, name: str, online: bool) -> Any:
    try:
        return manager.load([name])
    except ImportError as error:
        package = error.name or str(error)
        extra = f" (or: pip install 'lm-eval[{name}]')" if name == "ifeval" else ""
        raise SftdivError(
            f"the task {name} needs the package {package}, which is missing: pip install {package}{extra}"
        ) from error
    except Exception as error:  # a task's file is somebody's code, and what its loading raises is not foreseen
        reason = _reason(error)
        if online or not (
            isinstance(error, ConnectionError) or " Hub" in reason
        ):  # else a file of the user's own is missing
            raise SftdivError(f"the task {name} cannot be loaded: {type(error).__name__}: {reason}") from error
        raise SftdivError(
            f"the task {name} has data that is not on this machine, and the hub does not answer: {reason}; {WAY_OUT}"
        ) from error


def _reason(error: BaseException) -> str:
    """The first line of a message that may be forty."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]


def _all_local(include_path: Path) -> bool:
    """Whether the data of a folder's tasks are files of this machine, as far as the tasks' files say."""
    texts = [path.read_text(encoding="utf-8") for path in include_path.rglob("*.y*ml")]
    data = [
        name for text in texts for name in re.findall(r"^\s*dataset_path:\s*[\"']?([^\s\"'#]+)", text, re.MULTILINE)
    ]
    known = all(name in OF_FILES or Path(name).exists() for name in data)
    return bool(data) and known and not any("://" in text for text in texts)


@contextlib.contextmanager
def _hub_or_cache(*, needed: bool) -> Iterator[bool]:
    """Whether the hub answers; inside, where it does not, its libraries are offline and read their caches without asking.

    Where it is not needed it is not asked, for that may take long: a firewall drops what it does
    not let through.
    """
    import datasets.config
    import huggingface_hub.constants as hub

    if not needed or datasets.config.HF_HUB_OFFLINE or hub.HF_HUB_OFFLINE or _answers(hub.ENDPOINT):
        yield not (datasets.config.HF_HUB_OFFLINE or hub.HF_HUB_OFFLINE)
        return
    with patch.object(hub, "HF_HUB_OFFLINE", True), patch.object(datasets.config, "HF_HUB_OFFLINE", True):
        yield False


def _answers(endpoint: str) -> bool:
    """One request, without retries; it goes through a proxy where the environment names one."""
    import httpx

    try:
        httpx.head(endpoint, timeout=PROBE_SECONDS)
    except httpx.HTTPError:
        return False
    return True


def _check_possible(tasks: Mapping[str, Any]) -> None:
    for name, task in tasks.items():
        if getattr(task, "UNSAFE_CODE", False):
            raise SftdivError(f"the task {name} runs programs that the model writes, which sftdiv does not do")
        if getattr(task, "MULTIMODAL", False):
            raise SftdivError(f"the task {name} shows images or sounds, which sftdiv's models do not take")
        if str(task.config.dataset_path).endswith("/IFEval"):
            _check_punkt(name)


def _check_punkt(task: str) -> None:
    """IFEval splits sentences with data that nltk downloads, and notices only while it scores that it could not."""
    nltk = importlib.import_module("nltk")  # of lm-eval's extra, not among this package's requirements
    try:
        nltk.data.find("tokenizers/punkt_tab")
    except LookupError as error:
        raise SftdivError(
            f"the task {task} needs nltk's punkt_tab: python -m nltk.downloader punkt_tab, with a network"
        ) from error


def _check_known(tasks: Sequence[str], known: Sequence[str], include_path: Path | None) -> None:
    for task in tasks:
        if task not in known:
            near = difflib.get_close_matches(task, known, n=3)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            where = (
                f"{include_path} has: {', '.join(known) or 'none'}."
                if include_path
                else "`lm-eval ls tasks` lists all."
            )
            raise SftdivError(f"the list of tasks names {task!r}, which is unknown.{hint} {where}")
