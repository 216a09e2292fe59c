"""Settings of ``sftdiv.measure``: datasets, metrics and output folder, validated before any work starts.

The composed ``conf/measure.yaml`` becomes a `MeasureRequest`. Its folder is named by the contents and
settings that the numbers depend on.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

import sftdiv
from sftdiv.config.app import conf_dir, options_of
from sftdiv.config.build import build_embedder, build_strategy
from sftdiv.config.build_corpus_spec import build_corpus_spec
from sftdiv.config.compose import check_given
from sftdiv.config.instantiate import make, plain
from sftdiv.config.names import in_terms_of_measure
from sftdiv.config.setting_types import build_checked
from sftdiv.config.spec import CorpusSpec, StrategySpec
from sftdiv.diversity.profile.settings import LAYOUT, Matched, Runs
from sftdiv.diversity.registry import foreign_unit_metrics, metric_families, metrics_identity
from sftdiv.protocols import Embedder, ShardExecutor
from sftdiv.records import SIDES, ModelRef, SftdivError
from sftdiv.storage.cell import flatten
from sftdiv.storage.escaping import escape_interpolation
from sftdiv.storage.files import local_path
from sftdiv.storage.folders import user_path
from sftdiv.storage.hashing import content_hash, identity_of
from sftdiv.storage.redaction import redacted_overrides, redacted_settings
from sftdiv.storage.validate import check_one_of, check_range, shown_value

NAME = "measure"  # name of conf/measure.yaml and of the folder below paths.outputs
SHARED_WITH_BASELINE = (
    "format",
    "on_bad_row",
    "id_column",
    "source_column",
    "columns",
    "remove",
    "mapping",
    "ignore",
    "max_row_bytes",
    "band",
    "dedup",
    "decontaminate",
    "contamination",
)


@dataclass(frozen=True, kw_only=True)
class MeasureRequest:
    """One or two datasets to measure, and the measurement settings.

    Attributes:
        corpora: The dataset and its baseline, if any.
        names: A distinct name for each.
        embedder: Embedder of the texts; without one, metrics and units that need it are skipped.
        strategies: Units of diversity to extract, each with its side.
        tokenizer: Tokenizer whose tokens are counted.
        metrics: Families of metrics, or ``paper`` or ``all``.
        pair_tokens: Number of leading tokens of each text that homogenisation compares.
        matched: Settings of equally sized samples.
        runs: Settings of repeated token runs.
        near: Settings of near duplicates; None skips them.
        band: Settings of the token band.
        seed: Seed of metrics that draw at random.
        folder: Output folder of the report.
        cache: Folder of cached artifacts.
        compute: Execution of the work on single rows.
        settings: All resolved settings as plain values.
        command: Command that reproduces the measurement.
    """

    corpora: Sequence[CorpusSpec]
    names: Sequence[str]
    embedder: Embedder | None
    strategies: Sequence[StrategySpec]
    tokenizer: ModelRef
    metrics: Sequence[str]
    pair_tokens: int
    matched: Matched
    runs: Runs
    near: Mapping[str, Any] | None
    band: Mapping[str, Any]
    seed: int
    folder: Path
    cache: Path
    compute: ShardExecutor
    settings: Mapping[str, Any]
    command: Sequence[str]


def build_measure_request(config: DictConfig, overrides: Sequence[str]) -> MeasureRequest:
    """The measurement of a composed ``conf/measure.yaml``.

    Args:
        config: The composed config.
        overrides: Overrides of the command.

    Raises:
        SftdivError: A setting is missing or invalid.
    """
    return build_checked(_build, config, overrides, NAME)


def _build(config: DictConfig, overrides: Sequence[str]) -> MeasureRequest:
    check_given(config)
    _check_units(config)
    check_range("seed", config.seed, least=0, whole=True)
    check_range("pair_tokens", config.pair_tokens, least=1, whole=True)
    metrics = metric_families(plain(config.metrics), name="metrics")
    matched, runs = Matched(**plain(config.matched)), Runs(**plain(config.repeated))
    configs = [config] if config.baseline is None else [config, baseline_config(config, overrides)]
    corpora = [build_corpus_spec(dataset.corpus) for dataset in configs]
    names = dataset_names([dataset.corpus for dataset in configs])
    tokenizer = ModelRef(str(config.tokenizer), config.tokenizer_revision)
    strategies = [_strategy(settings, tokenizer) for settings in composed_strategies(config, overrides)]
    embedder = build_embedder(config)
    settings = plain(config)
    return MeasureRequest(
        corpora=corpora,
        names=names,
        embedder=embedder,
        strategies=strategies,
        tokenizer=tokenizer,
        metrics=metrics,
        pair_tokens=config.pair_tokens,
        matched=matched,
        runs=runs,
        near=settings["near_duplicates"],
        band=settings["corpus"]["band"],
        seed=config.seed,
        folder=_folder(settings, names, [corpora, strategies, tokenizer, embedder], metrics),
        cache=user_path(config.paths.cache, name="paths.cache"),
        compute=make(config.compute),
        settings=redacted_settings(settings),
        command=["python", "-m", "sftdiv.measure", *redacted_overrides(overrides)],
    )


def _strategy(settings: Mapping[str, Any], tokenizer: ModelRef) -> StrategySpec:
    try:
        return build_strategy(settings, tokenizer)
    except SftdivError as error:
        raise SftdivError(in_terms_of_measure(str(error), settings["name"])) from error


def _check_units(config: DictConfig) -> None:
    known = options_of("strategy")
    for name, units in config.units.items():
        check_one_of("units", name, known)
        for side in [] if units is None else units.sides:
            check_one_of(f"units.{name}.sides", side, SIDES)


def composed_strategies(config: DictConfig, overrides: Sequence[str]) -> list[dict[str, Any]]:
    """Settings of the strategies in ``units``, one per strategy and side, with the changes listed beside ``sides``.

    Raises:
        SftdivError: A change names an unknown setting of its strategy.
    """
    embeds = "_target_" in config.embedder
    shared = [text for text in overrides if not text.lstrip("+~").startswith(("units", "hydra", "baseline"))]
    strategies: list[dict[str, Any]] = []
    for name, units in config.units.items():
        if units is None:
            continue
        changes = {key: value for key, value in flatten(plain(units)).items() if key != "sides" and value is not None}
        groups = {key: value for key, value in changes.items() if options_of(f"strategy/{key}")}
        options = [f"strategy/{key}={value}" for key, value in groups.items()]
        for side in units.sides:
            composed = compose(NAME, overrides=[*shared, f"+strategy={name}", *options])
            composed.strategy.side = side
            for key, value in changes.items():
                if key not in groups:
                    _change(composed, f"strategy.{key}", value, f"units.{name}.{key}")
            strategy: dict[str, Any] = plain(composed.strategy)
            if embeds or strategy["needs"] != "embeddings":
                strategies.append(strategy)
    return strategies


def _change(config: DictConfig, key: str, value: Any, setting: str) -> None:
    """Change a setting of a composed strategy; ``setting`` is its name as the user wrote it."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent)
    if not isinstance(node, DictConfig) or name not in node:
        groups = [path.name for path in (conf_dir() / "strategy").iterdir() if path.is_dir() and "." not in parent]
        known = sorted([*groups, *(map(str, node) if isinstance(node, DictConfig) else [])])
        raise SftdivError(f"{setting}={shown_value(value)} changes no existing setting. Known: {', '.join(known)}")
    OmegaConf.update(config, key, value)


def baseline_config(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The settings with the baseline's path in place of the dataset's; ``corpus=files`` for a local baseline."""
    path = config.baseline
    is_local = isinstance(path, str) and local_path(path) is not None
    if config.corpus.name == "files" or (config.corpus.name == "hub" and not is_local):
        baseline = copy.deepcopy(config)
        baseline.corpus.path = escape_interpolation(plain(path))
        return baseline
    shared = [text for text in overrides if not text.lstrip("+~").startswith(("corpus", "hydra"))]
    baseline = compose(NAME, overrides=[*shared, "corpus=files"])
    baseline.corpus.path = escape_interpolation(plain(path))
    for key in SHARED_WITH_BASELINE:
        if key in config.corpus and key in baseline.corpus:
            baseline.corpus[key] = config.corpus[key]
    return baseline


def dataset_names(corpora: Sequence[DictConfig]) -> list[str]:
    """A distinct name for each dataset."""
    names = [_dataset_name(corpus) for corpus in corpora]
    return [name if name not in names[:position] else f"{name} (baseline)" for position, name in enumerate(names)]


def _dataset_name(corpus: DictConfig) -> str:
    """Name of the file or folder, last part of a Hub id, or name of the option."""
    if "path" not in corpus:
        return str(corpus.name)
    paths = [corpus.path] if isinstance(corpus.path, str) else list(corpus.path)
    first = str(paths[0])
    name = first.rpartition("/")[2] if corpus.name == "hub" else user_path(first, name="corpus.path").absolute().stem
    return name + (f"+{len(paths) - 1}" if len(paths) > 1 else "")


def _folder(settings: Mapping[str, Any], names: Sequence[str], parts: Sequence[Any], metrics: Sequence[str]) -> Path:
    """Folder of a measurement: readable names, and a hash of the contents and settings that the numbers depend on."""
    skipped = ("corpus", "baseline", "units", "paths", "compute", "tokenizer", "tokenizer_revision", "embedder")
    rest = {key: value for key, value in settings.items() if key not in skipped}
    key = {**rest, "band": settings["corpus"]["band"], "parts": identity_of(parts)}
    own_metrics = [item for item in metrics_identity(metrics) if not isinstance(item, str)] + foreign_unit_metrics()
    if own_metrics:
        key["own_metrics"] = own_metrics
    digest = content_hash({**key, "layout": LAYOUT, "sftdiv": sftdiv.__version__}, length=6)
    name = re.sub(r"[^\w.+-]+", "_", "-vs-".join(names))[:100]
    return user_path(settings["paths"]["outputs"], name="paths.outputs").absolute() / NAME / f"{name}-h{digest}"
