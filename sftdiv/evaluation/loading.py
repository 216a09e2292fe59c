"""Loads lm-eval tasks and their data, from a folder or from the harness itself, which downloads data once.

Names of tasks, groups or tags come in; the harness's task objects go out, or one line that says which
task cannot be loaded, why, and what to do. Where the hub does not respond it is not asked again for
each dataset (24 s each): cached data is used, and missing data is refused at once.
"""

from __future__ import annotations

import contextlib
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

from sftdiv.evaluation.gold_likelihood import add_gold_likelihood
from sftdiv.records import SftdivError
from sftdiv.storage.validate import did_you_mean
from sftdiv.text.lines import first_line

PROBE_SECONDS = 5.0
FILE_READERS = ("json", "csv", "parquet", "arrow", "text")  # readers of `datasets` for local files
ADVICE = (
    "run once with network access, and the data stays in HF_HOME (~/.cache/huggingface); or take tasks from files: "
    "eval=custom eval.include_path=FOLDER eval.tasks=[...]; or use eval=embedded, heldout or none"
)


@dataclass(frozen=True)
class LoadedTasks:
    """Task objects of the harness.

    Attributes:
        tasks: Tasks by name.
        groups: Groups that were requested, by name.
        requested: The requested name (of a task, group or tag) by task name.
    """

    tasks: Mapping[str, Any]
    groups: Mapping[str, Any]
    requested: Mapping[str, str]


def load_tasks(tasks: Sequence[str], include_path: Path | None) -> LoadedTasks:
    """Load tasks and their data.

    Args:
        tasks: Names of tasks, groups or tags.
        include_path: Folder of task files, the only ones known then; None for the harness's own tasks.

    Raises:
        SftdivError: If a task is unknown, its data is unavailable, or a package is missing.
    """
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = harness_tasks() if include_path is None else _folder_manager(include_path)
    _check_known(tasks, manager.all_tasks, include_path)
    loaded: dict[str, Any] = {}
    groups: dict[str, Any] = {}
    requested: dict[str, str] = {}
    needs_hub = include_path is None or not _all_local(include_path)
    with hide_progress_bars(), _hub_or_cache(needed=needs_hub) as online:
        for name in tasks:
            result = _load_cached(name, online) if include_path is None else _load(manager, name, online)
            loaded |= result["tasks"]
            groups |= result["groups"]
            requested |= dict.fromkeys(result["tasks"], name)
    _check_supported(loaded)
    add_gold_likelihood(loaded, groups)
    return LoadedTasks(loaded, groups, requested)


def hide_progress_bars() -> contextlib.AbstractContextManager[Any]:
    """Discard stderr unless it is a terminal: the harness always draws progress bars, which would fill the log."""
    return contextlib.nullcontext() if sys.stderr.isatty() else contextlib.redirect_stderr(io.StringIO())


@functools.cache
def harness_tasks() -> Any:
    """Task manager of the harness's own 15,000 tasks; created once per process, because it takes up to 15 s."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _folder_manager(include_path: Path) -> Any:
    from lm_eval.tasks import TaskManager

    if not include_path.is_dir():
        raise SftdivError(f"eval.include_path={include_path} is no folder; it holds the YAML files of lm-eval tasks")
    return TaskManager(include_path=str(include_path), include_defaults=False)


@functools.cache
def _load_cached(name: str, online: bool) -> Any:
    """A task of the harness, loaded once: the evaluation after training reuses what the check before it has loaded."""
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
    except Exception as error:  # task files are third-party code and may raise anything
        reason = first_line(error)
        from_hub = isinstance(error, ConnectionError) or " Hub" in reason  # otherwise a local file is missing
        if online or not from_hub:
            raise SftdivError(f"the task {name} cannot be loaded: {type(error).__name__}: {reason}") from error
        raise SftdivError(
            f"the data of the task {name} is not on this machine, and the hub does not respond: {reason}; {ADVICE}"
        ) from error


def _all_local(include_path: Path) -> bool:
    """Whether the data of all tasks in a folder are local files, as far as the task files state it."""
    texts = [path.read_text(encoding="utf-8") for path in include_path.rglob("*.y*ml")]
    datasets = []
    for text in texts:
        datasets += re.findall(r"^\s*dataset_path:\s*[\"']?([^\s\"'#]+)", text, re.MULTILINE)
    local = all(name in FILE_READERS or Path(name).exists() for name in datasets)
    return bool(datasets) and local and not any("://" in text for text in texts)


@contextlib.contextmanager
def _hub_or_cache(*, needed: bool) -> Iterator[bool]:
    """Yield whether the hub responds; where it does not, its libraries are offline inside the context.

    Offline they read their caches. The hub is contacted only where it is needed: behind a firewall that
    drops packets, waiting for it takes long.
    """
    import datasets.config
    import huggingface_hub.constants as hub

    if not needed or datasets.config.HF_HUB_OFFLINE or hub.HF_HUB_OFFLINE or hub_responds(hub.ENDPOINT):
        yield not (datasets.config.HF_HUB_OFFLINE or hub.HF_HUB_OFFLINE)
        return
    with patch.object(hub, "HF_HUB_OFFLINE", True), patch.object(datasets.config, "HF_HUB_OFFLINE", True):
        yield False


def hub_responds(endpoint: str) -> bool:
    """Whether one request without retries succeeds; it uses the proxy that the environment names."""
    import httpx

    try:
        httpx.head(endpoint, timeout=PROBE_SECONDS)
    except httpx.HTTPError:
        return False
    return True


def _check_supported(tasks: Mapping[str, Any]) -> None:
    for name, task in tasks.items():
        if getattr(task, "UNSAFE_CODE", False):
            raise SftdivError(f"the task {name} executes code that the model writes, which sftdiv does not do")
        if getattr(task, "MULTIMODAL", False):
            raise SftdivError(f"the task {name} needs images or audio, which sftdiv's models do not accept")
        if str(task.config.dataset_path).endswith("/IFEval"):
            _check_punkt(name)


def _check_punkt(task: str) -> None:
    """IFEval splits sentences with data that nltk downloads, and fails only while scoring where it is missing."""
    nltk = importlib.import_module("nltk")  # a requirement of lm-eval's extra, not of this package
    try:
        nltk.data.find("tokenizers/punkt_tab")
    except LookupError as error:
        raise SftdivError(
            f"the task {task} needs nltk's punkt_tab: python -m nltk.downloader punkt_tab, with network access"
        ) from error


def _check_known(tasks: Sequence[str], known: Sequence[str], include_path: Path | None) -> None:
    for task in tasks:
        if task not in known:
            listing = "`lm-eval ls tasks` lists all."
            if include_path is not None:
                listing = f"{include_path} has: {', '.join(known) or 'none'}."
            raise SftdivError(
                f"the list of tasks names {task!r}, which is unknown.{did_you_mean(task, known)} {listing}"
            )
