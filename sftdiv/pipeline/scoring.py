"""How a run is evaluated: the chosen options of the config group ``eval``, asked before training and after it.

In: the composed config and an `Exam`. Out: the options in the order of the command line, the
columns that say what performance means, every score. Several options may be chosen
(``eval=[embedded,judge]``): each file is packaged under its own name, so that none overwrites
another, and reads the settings that lie beside them (``eval.limit`` ...). A score's name belongs to
one option alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from sftdiv.config.build import made
from sftdiv.protocols import EvalContext, Evaluator
from sftdiv.records import Score, SftdivError

OF_CUSTOM = ("tasks", "include_path")  # shared settings that one option alone reads
COUNTS = {"limit": 1, "num_fewshot": 0}  # shared settings that are whole numbers, and the least they may be


def chosen(config: DictConfig) -> dict[str, DictConfig]:
    """The chosen options by name, in the order given: what lies below ``eval`` and says what makes it."""
    return {
        str(name): node for name, node in config.eval.items() if isinstance(node, DictConfig) and "_target_" in node
    }


def check_chosen(config: DictConfig) -> None:
    """Refuse what cannot be right with the options, before anything is read.

    Raises:
        SftdivError: With the setting, its value and what it may be.
    """
    if "_target_" in config.eval:
        name = config.eval.get("name", "NAME")
        raise SftdivError(
            f"the file of eval={name} must begin with the line '# @package eval.{name}', so that it can stand beside others"
        )
    options = chosen(config)
    for name in OF_CUSTOM:
        if config.eval[name] is not None and "custom" not in options:
            instead = (
                " and ".join(f"eval.{option}.{name}" for option, node in options.items() if name in node)
                or "eval=custom"
            )
            raise SftdivError(f"eval.{name}={config.eval[name]} is read by eval=custom alone; here it is {instead}")
    for name, least in COUNTS.items():
        value = config.eval[name]
        if isinstance(value, DictConfig) or value is None:  # examples by task
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise SftdivError(f"eval.{name}={value!r} must be a whole number of at least {least}, or null")
    if config.stop_after == "select":
        return
    for name, option in options.items():
        if option.get("needs_world", False) and config.corpus.name != "embedded":
            raise SftdivError(
                f"eval={name} asks about the embedded world; with corpus={config.corpus.name} use eval=heldout, custom or none"
            )
        made(option)


def performance(config: DictConfig) -> dict[str, Any]:
    """``eval``, ``primary`` and ``higher_is_better`` as columns of a row, as far as the settings alone say."""
    options = chosen(config)
    first = next(iter(options.values()), None)
    own = None if first is None else first.primary
    primary = own if config.eval.primary is None else config.eval.primary
    better = next((option.higher_is_better for option in options.values() if option.primary == primary), None)
    return {"eval": "+".join(options) or "none", "primary": primary, "higher_is_better": better}


def check_evaluation(config: DictConfig, exam: EvalContext) -> dict[str, Any]:
    """Refuse, before anything is trained, what could not be evaluated after it.

    Returns:
        ``primary`` and ``higher_is_better``, now that the options have said which scores they give.

    Raises:
        SftdivError: An option cannot score, two give the same score, or none gives ``eval.primary``.
    """
    givers: dict[str, str] = {}
    better: dict[str, bool | None] = {}
    for name, node in chosen(config).items():
        option: Evaluator = made(node)
        gives = option.check(exam) or {f"{name}.": None}
        for score, higher in gives.items():
            _once(score, name, givers)
            givers[score] = name
            better[score] = option.higher_is_better if option.primary == score or higher is None else higher
    primary = performance(config)["primary"]
    if primary is None:
        if any(not score.endswith(".") for score in givers):
            raise SftdivError(f"eval.primary must say which score is performance: {_listed(givers)}")
        return {"primary": None, "higher_is_better": None}
    found = (
        primary
        if primary in givers
        else max((s for s in givers if s.endswith(".") and primary.startswith(s)), key=len, default=None)
    )
    if found is None:
        near = difflib.get_close_matches(primary, givers, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise SftdivError(f"eval.primary={primary!r} is none of the scores: {_listed(givers)}.{hint}")
    return {"primary": primary, "higher_is_better": better[found]}


def evaluate(config: DictConfig, exam: EvalContext, checkpoint: Path) -> dict[str, Any]:
    """Every score of the checkpoint as ``score.NAME`` and ``score.NAME.stderr``.

    Raises:
        SftdivError: Two options give the same score, or the primary score is not among them.
    """
    scores: dict[str, Score] = {}
    givers: dict[str, str] = {}
    for name, node in chosen(config).items():
        option: Evaluator = made(node)
        for score, value in option.score(checkpoint, exam).items():
            _once(score, name, givers)
            givers[score], scores[score] = name, value
    primary = performance(config)["primary"]
    if primary is not None and primary not in scores:
        raise SftdivError(f"eval.primary={primary!r} is not among the scores: {_listed(scores)}")
    named = {f"score.{name}": score.value for name, score in scores.items()}
    return named | {f"score.{name}.stderr": score.stderr for name, score in scores.items()}


def _once(score: str, option: str, givers: Mapping[str, str]) -> None:
    if score in givers:
        raise SftdivError(
            f"both eval={givers[score]} and eval={option} give the score {score}; leave one of them out, or its task"
        )


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(sorted(f"{name}*" if name.endswith(".") else name for name in names))
