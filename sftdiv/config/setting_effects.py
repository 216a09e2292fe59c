"""Settings that change no result, each with the reason; every other setting may change one and names the cell.

`tests/config/test_config_identity.py` changes every setting in turn and compares the names of the cells, so that a
setting that shares a cell and is missing here, or one that is listed here and names another cell, fails a test. The
documentation shows the reasons beside each setting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatch

# Settings of ``run`` by pattern of their dotted name; ``:eval`` restricts a pattern to settings of evaluators.
WITHOUT_EFFECT: Mapping[str, str] = {
    "study": "where the cell is kept",
    "paths.*": "where files are kept",
    "tracking.*": "where numbers are sent",
    "sweep.*": "how cells are run",
    "compute.*": "who does the work on single rows",
    "report.*": "what the page of a study shows",
    "model.parameters": "for the stated cost",
    "export.*": "another form of a finished subset",
    "command": "how the run was asked for",
    "train.push_to_hub": "where a finished model is uploaded",
    "train.private": "who sees the upload",
    "train.checkpoint_*": "how often an interrupted training is saved",
    "train.batch": "how many conversations at once; a step is the same sum",
    "model.finetune.micro_batch": "how many conversations at once; a step is the same sum",
    "train.name": "the name of an option whose settings count",
    "trainer.accelerator": "where the arithmetic is done",
    "trainer.strategy": "who shares the work",
    "trainer.threads": "who shares the work",
    "trainer.devices": "who shares the work",
    "trainer.nodes": "who shares the work",
    "trainer.prefix": "how ranks are started",
    "trainer.offload": "where shards are kept",
    "embedder.name": "the name of an option whose settings count",
    "*embedder.devices": "who shares the work",
    "*embedder.batch_tokens": "how many texts at once",
    "*.template.name": "the name of an option whose settings count",
    "*.batch_size:eval": "how many items at once",
    "eval.cache_requests": "whether prompts are kept",
    "eval.*.cache_requests": "whether prompts are kept",
    "judge.endpoint.*": "where requests are sent",
    "*.endpoint.*": "where requests are sent",
    "judge.max_calls": "how many requests a run may send",
    "judge.max_unreadable": "when a run fails",
    "judge.prices.*": "what calls cost",
    "*.max_calls": "how many requests a run may send",
    "*.max_unreadable": "when a run fails",
    "*.prices.*": "what calls cost",
    "strategy.units.tagger.batch_size": "how many texts at once",
    "strategy.units.tagger.device": "who does the work",
    "strategy.units.tagger.max_failed": "when a run fails",
    "strategy.needs": "the kind of input that the extractor uses, which is part of the extractor",
    "universe_strategy.*": "composed from selection.universe and the strategy's file",
    "model.source": "which of two ways the other settings of model are read",
}

# Settings of the other commands, by command.
WITHOUT_EFFECT_OF: Mapping[str, Mapping[str, str]] = {
    "measure": {
        "paths.*": "where files are kept",
        "compute.*": "who does the work on single rows",
        "embedder.devices": "who shares the work",
        "embedder.batch_tokens": "how many texts at once",
    },
    "regenerate": {
        "paths.*": "where files are kept",
        "endpoint.[!m]*": "where and how fast requests are sent",
        "max_failed": "when a run fails",
        "rows_per_shard": "how the same rows are cut into files",
    },
}


def reason_without_effect(setting: str, command: str = "run") -> str | None:
    """Why a setting changes no result; None for a setting that may change one.

    Args:
        setting: Dotted name, such as ``train.checkpoint_minutes``.
        command: ``run``, ``measure`` or ``regenerate``.
    """
    reasons = WITHOUT_EFFECT if command == "run" else WITHOUT_EFFECT_OF[command]
    return next((reason for pattern, reason in reasons.items() if is_listed(setting, [pattern])), None)


def is_listed(setting: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns names a setting."""
    suffix = ":eval" if setting.startswith("eval") else ""
    return any(fnmatch(setting, pattern) or fnmatch(setting + suffix, pattern) for pattern in patterns)
