"""Builds the specification of a corpus from the group ``corpus``: reader, cleaning, split and decontamination."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from sftdiv.config.data_spec import CorpusSpec
from sftdiv.config.decontamination_spec import DecontaminationSpec
from sftdiv.config.instantiate import make, plain
from sftdiv.protocols import BenchmarkSource, HasBenchmarks
from sftdiv.records import SftdivError
from sftdiv.storage.validate import check_one_of

if TYPE_CHECKING:
    from sftdiv.data.dedup import NearDuplicateFinder

DEFAULTS: Mapping[str, Any] = {
    "ngram": 8,
    "share": 0.5,
    "sides": ["instruction", "response"],
    "tasks": [],
    "include_path": None,
    "files": [],
}  # as in conf/corpus/contamination/ngrams.yaml, for corpus options written without it


def build_corpus_spec(corpus: DictConfig, evaluators: Mapping[str, HasBenchmarks] | None = None) -> CorpusSpec:
    """The group ``corpus``.

    Args:
        corpus: The group.
        evaluators: Evaluators whose items the corpus is searched for; None where nothing is selected or evaluated.
    """
    return CorpusSpec(
        name=corpus.name,
        reader=make(corpus.reader),
        heldout=corpus.heldout,
        seed=corpus.seed,
        on_bad_row=corpus.on_bad_row,
        dedup=corpus.dedup,
        near=make(corpus[corpus.dedup]) if corpus.dedup in ("near", "semantic") else None,
        decontamination=build_decontamination(corpus, evaluators or {}),
        split=_split(corpus),
        ood=plain(corpus.get("ood")) or (),
        ood_size=corpus.get("ood_size", 200),
        mix=_mix(corpus, selects=evaluators is not None),
    )


def _mix(corpus: DictConfig, *, selects: bool) -> dict[str, float]:
    """``corpus.mix``: the weight of each source."""
    mix = {} if corpus.get("mix") is None else plain(corpus.mix)
    if not isinstance(mix, dict):
        raise SftdivError(f"corpus.mix={mix} must give a share for each source: corpus.mix={{NAME: 0.3, OTHER: 0.7}}")
    if mix and not selects:
        raise SftdivError(
            f"corpus.mix={mix} decides who can be selected, and nothing is selected here: the whole corpus is read. "
            "sftdiv.run corpus.mix=... export.format=messages writes a mixture"
        )
    return {str(source): weight for source, weight in mix.items()}


def check_carried(corpus: DictConfig, used: Mapping[str, str]) -> None:
    """Reject settings that read a column which the corpus will not have.

    Args:
        corpus: The group; a corpus option without the setting ``columns`` decides by itself what it carries.
        used: Name of a column by the setting that reads it.

    Raises:
        SftdivError: A column is neither one of every corpus nor listed in ``corpus.columns``.
    """
    from sftdiv.data.formats import RESERVED  # in every corpus

    carried = plain(corpus.get("columns"))
    if not isinstance(carried, (list, tuple)):
        return
    for setting, column in used.items():
        if column not in (*RESERVED, *carried):
            listed = ",".join(map(str, [*carried, column]))
            raise SftdivError(
                f"{setting}={column} reads a column that is not kept: add corpus.columns=[{listed}]. "
                f"Known: {', '.join(map(str, [*RESERVED, *carried]))}"
            )


def _split(corpus: DictConfig) -> NearDuplicateFinder | None:
    """Near-duplicate instructions as the unit of splits, by ``corpus.heldout_by`` and ``corpus.heldout_similarity``."""
    from sftdiv.data.dedup import NearDuplicateFinder

    unit = corpus.get("heldout_by", "near")
    check_one_of("corpus.heldout_by", unit, ("near", "instruction"))
    if unit == "instruction":
        return None
    return NearDuplicateFinder(
        on="instruction",
        threshold=corpus.get("heldout_similarity", 0.5),
        unit="words",
        shingle=5,
        permutations=128,
        recall=0.95,
        seed=0,
    )


def build_decontamination(corpus: DictConfig, evaluators: Mapping[str, HasBenchmarks]) -> DecontaminationSpec:
    """The decontamination of a corpus.

    Args:
        corpus: The group ``corpus``.
        evaluators: Evaluators whose items are searched for.

    Raises:
        SftdivError: A setting is invalid, or there is nothing to search for although it is asked for.
    """
    from sftdiv.data.decontamination import ContaminationFinder

    given = plain(corpus.get("contamination")) or {}
    settings = {**DEFAULTS, **given}
    requested = str(corpus.get("decontaminate", "auto"))
    sources = _sources(settings)
    if requested in ("report", "drop") and not sources and not evaluators:
        raise SftdivError(
            f"corpus.decontaminate={requested} has no items to search for: the chosen evaluation has none beside the "
            "corpus. Choose eval=suite_small, custom or judge, or corpus.contamination.tasks=[mmlu] or "
            "corpus.contamination.files=[items.jsonl]"
        )
    return DecontaminationSpec(
        requested=requested,
        finder=ContaminationFinder(**{name: settings[name] for name in ("ngram", "share", "sides")}),
        is_default=not sources and all(settings[name] == DEFAULTS[name] for name in ("ngram", "share", "sides")),
        sources=sources,
        evaluators=evaluators,
    )


def _sources(settings: Mapping[str, Any]) -> list[BenchmarkSource]:
    from sftdiv.evaluation.task_items import FileBenchmarks, TaskBenchmarks

    sources: list[BenchmarkSource] = []
    if settings["tasks"]:
        if isinstance(settings["tasks"], str):
            raise SftdivError(f"corpus.contamination.tasks={settings['tasks']} must be a list: [{settings['tasks']}]")
        sources.append(TaskBenchmarks(tasks=settings["tasks"], include_path=settings["include_path"]))
    if settings["files"]:
        sources.append(FileBenchmarks(paths=settings["files"]))
    return sources
