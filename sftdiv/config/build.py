"""Builds the typed `RunRequest` from a composed and checked config. No other package sees a ``DictConfig``.

Heavy libraries are not imported: a sweep builds the specification of every cell before the first one runs,
and a finished cell is recognised by its specification. An `SftdivError` of a component's class is raised as
it is, without Hydra's wrapper.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from sftdiv.config.build_corpus_spec import build_corpus_spec, check_carried
from sftdiv.config.build_training import build_training
from sftdiv.config.instantiate import make, plain
from sftdiv.config.run_request import CostSpec, ExportSpec, PathsSpec, PublishSpec, RunRequest, SweepSpec
from sftdiv.config.spec import (
    SELECT,
    ModelSpec,
    PretrainSpec,
    RunSpec,
    Seeds,
    SelectionSpec,
    SizeSpec,
    StrategySpec,
)
from sftdiv.diversity.registry import metric_families
from sftdiv.modeling.gguf_conversion import is_gguf
from sftdiv.protocols import Embedder, Evaluator, HasBenchmarks, Tracking
from sftdiv.records import ModelRef, SftdivError
from sftdiv.storage.escaping import escape_interpolation
from sftdiv.storage.files import local_path
from sftdiv.storage.folders import user_path
from sftdiv.storage.redaction import redacted_settings
from sftdiv.units.identity import EachExample
from sftdiv.units.lexical import LEXICAL

# Nothing is selected, or everything is: strategy and level have no effect. Units are not measured.
NO_STRATEGY = StrategySpec(name="random", side="response", needs="nothing", extractor=EachExample(), tokenizer=None)


def build_request(config: DictConfig) -> RunRequest:
    """The request of a composed and checked config, the result of `config.compose.prepare`.

    Raises:
        SftdivError: A setting is invalid.
    """
    resolved = plain(config)
    settings = redacted_settings(resolved)
    return RunRequest(
        spec=build_spec(config),
        study=str(config.study),
        paths=PathsSpec(
            **{name: user_path(path, name=f"paths.{name}").absolute() for name, path in resolved["paths"].items()}
        ),
        tracking=build_tracking(config),
        export=ExportSpec(
            format=config.export.format,
            folder=None
            if config.export.folder is None
            else user_path(config.export.folder, name="export.folder").absolute(),
            name=config.export.name,
        ),
        publish=PublishSpec(target=config.train.push_to_hub, private=config.train.private),
        sweep=SweepSpec(
            cost=CostSpec(parameters=config.model.get("parameters"), **resolved["sweep"]["cost"]),
            on_error=config.sweep.on_error,
            isolate=config.sweep.isolate,
            wait=config.sweep.wait,
        ),
        compute=make(config.compute),
        command=settings.get("command", ""),
        settings=settings,
        text=OmegaConf.to_yaml(OmegaConf.create(escape_interpolation(settings)), resolve=True),
    )


def build_spec(config: DictConfig) -> RunSpec:
    """The specification of a run: the part of the config that decides its result.

    Raises:
        SftdivError: A setting is invalid.
    """
    evaluators = build_evaluators(config) if config.stop_after is None else {}
    model = _tokenizer_alone(config.model) if config.stop_after == SELECT else _model(config.model)
    strategy, selection = build_strategy(plain(config.strategy), model.ref), _selection(config, model.ref)
    check_carried(config.corpus, _columns_used(config, selection))
    return RunSpec(
        corpus=build_corpus_spec(config.corpus, _searched_evaluators(config, evaluators)),
        strategy=strategy if selection.size.chooses else NO_STRATEGY,
        selection=selection,
        embedder=None if selection.size.nothing else build_embedder(config),
        model=model,
        training=build_training(config),
        evaluators=evaluators,
        primary=_primary(config, evaluators),
        metrics=metric_families(plain(config.diversity.metrics)),
        samples=config.samples,
        seeds=_seeds(config, selection),
        stop_after=config.stop_after,
    )


def _columns_used(config: DictConfig, selection: SelectionSpec) -> dict[str, str]:
    """Names of the columns that units and strata are read from, by setting."""
    used = {}
    if selection.size.chooses and config.strategy.get("needs") == "column" and "column" in config.strategy:
        used["strategy.column"] = config.strategy.column
    if selection.size.chooses and "quality" in selection.match and selection.quality is not None:
        used["selection.quality"] = selection.quality
    if selection.size.chooses and (column := getattr(selection.selector, "column", None)) is not None:
        used["selection.selector.column"] = column
    if selection.size.chooses and (draw_by := config.selection.get("draw_by")) is not None:
        used["selection.draw_by"] = draw_by
    return used


def _searched_evaluators(config: DictConfig, evaluators: Mapping[str, Evaluator]) -> dict[str, HasBenchmarks]:
    """Evaluators whose items the corpus is searched for: all with items, or with ``auto`` those from outside the run.

    Asked for explicitly, also those of a run that stops before it evaluates.
    """
    requested = config.corpus.get("decontaminate", "auto")
    explicit = requested in ("report", "drop")
    chosen = build_evaluators(config) if explicit and config.stop_after is not None else evaluators
    having = {name: part for name, part in chosen.items() if isinstance(part, HasBenchmarks)}
    return {name: part for name, part in having.items() if explicit or part.is_public}


def build_strategy(strategy: Mapping[str, Any], model: ModelRef | None = None) -> StrategySpec:
    """The group ``strategy``.

    Args:
        strategy: Resolved settings of the group as plain values.
        model: The model; its revision also applies to a tokenizer of the same name.
    """
    name = str(strategy.get("tokenizer", "model"))
    tokenizer = model if model is not None and name == model.path else ModelRef(name)
    return StrategySpec(
        name=strategy["name"],
        side=strategy["side"],
        needs=strategy["needs"],
        extractor=make(strategy["units"]),
        tokenizer=None if name == "model" else tokenizer,
        permuted=bool(strategy.get("permuted", False)),
    )


def build_embedder(config: DictConfig) -> Embedder | None:
    """The group ``embedder``; None for ``embedder=none``."""
    embedder: Embedder | None = make(config.embedder) if "_target_" in config.embedder else None
    return embedder


def build_evaluators(config: DictConfig) -> dict[str, Evaluator]:
    """Chosen options of the group ``eval`` by name, in command-line order."""
    return {name: make(option) for name, option in evaluation_options(config).items()}


def evaluation_options(config: DictConfig) -> dict[str, DictConfig]:
    """Config nodes of the chosen options below ``eval``: those with a ``_target_``."""
    options = {str(name): node for name, node in config.eval.items()}
    return {name: node for name, node in options.items() if isinstance(node, DictConfig) and "_target_" in node}


def build_tracking(config: DictConfig) -> list[Tracking]:
    """Chosen options of the group ``tracking``, in command-line order.

    Raises:
        SftdivError: A setting is invalid, an option's package is missing, or its file lacks the ``@package`` line.
    """
    if "_target_" in config.tracking:
        raise SftdivError(
            "the file of tracking=NAME must begin with the line '# @package tracking.NAME', "
            "so that it can be combined with others"
        )
    nodes = [node for node in config.tracking.values() if isinstance(node, DictConfig) and "_target_" in node]
    return [make(node) for node in nodes]


def _selection(config: DictConfig, model: ModelRef | None) -> SelectionSpec:
    rules = plain(config.selection)
    universe = config.get("universe_strategy")
    return SelectionSpec(
        selector=make(config.selection.selector),
        level=config.diversity_level,
        size=SizeSpec(n=config.size.n, label_tokens=config.size.label_tokens),
        max_per_group=rules["max_per_group"],
        group_by=rules["group_by"],
        match=rules["match"],
        quality=rules["quality"],
        universe=None if universe is None else build_strategy(plain(universe), model),
        universe_share=rules["universe_share"],
        response_tokens=rules["response_tokens"],
        sources=rules["sources"],
    ).normalized(config.strategy.side)


def _seeds(config: DictConfig, selection: SelectionSpec) -> Seeds:
    """The seeds; where nothing is selected, those of ladder and draw are without effect."""
    seeds = Seeds(**plain(config.seed))
    return Seeds(ladder=0, draw=seeds.train, train=seeds.train) if selection.size.nothing else seeds


def _tokenizer_alone(model: DictConfig) -> ModelSpec:
    """The model of a run that trains none: its tokenizer alone.

    A tokenizer that would be trained for a model from scratch is not: ``lexical`` counts instead, words and
    punctuation by a fixed rule.
    """
    if model.source != "scratch":
        return _model(model)
    return ModelSpec(name=LEXICAL, ref=ModelRef(LEXICAL), pretrain=None, max_length=model.max_length)


def _model(model: DictConfig) -> ModelSpec:
    scratch = model.source == "scratch"
    if is_gguf(Path(str(model.path))) and local_path(model.path) is None:
        raise SftdivError(f"model.path={model.path}: there is no such file")
    return ModelSpec(
        name=model.name,
        ref=None if scratch else ModelRef(str(model.path), model.revision),
        pretrain=_pretrain(model) if scratch else None,
        max_length=model.max_length,
    )


def _pretrain(model: DictConfig) -> PretrainSpec:
    return PretrainSpec(
        reads=model.reads,
        vocabulary=model.vocabulary,
        share=model.pretrain_share,
        seed=model.seed,
        architecture=make(model.architecture),
        settings=plain(model.pretrain),
    )


def _primary(config: DictConfig, evaluators: Mapping[str, Evaluator]) -> str | None:
    """Name of the performance score: ``eval.primary``, else the first evaluator's primary score."""
    if config.eval.primary is not None:
        return str(config.eval.primary)
    first = next(iter(evaluators.values()), None)
    return None if first is None else first.primary
