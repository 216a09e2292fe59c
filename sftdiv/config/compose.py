"""The composed config before any work: values that cannot be right are refused, and paths give way to the content behind them.

In: the config as Hydra composed it. Out: nothing, or an error with the value and the alternatives
(``check``); and the plain settings that name a cell (``identified``), which are equal wherever the
same data and models lie.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from sftdiv.config.build import made, training_settings
from sftdiv.pipeline.publish import check_publishing
from sftdiv.pipeline.scoring import check_chosen, chosen, performance
from sftdiv.records import SIDES, SftdivError
from sftdiv.release.export.write_export import FORMATS
from sftdiv.release.hub.reproduce_command import command_of
from sftdiv.storage.cell import flatten
from sftdiv.storage.hashing import file_digest, folder_identity

STOPS = (None, "select", "train")
CHOICES = {
    "stop_after": STOPS,
    "model.source": ("scratch", "pretrained"),
    "strategy.side": SIDES,
    "selection.prune": ("support", "sample", "random"),
    "selection.match": ("none", "length", "source", "length+source"),
    "export.format": (None, *FORMATS),
    "corpus.dedup": ("exact", "near", "none"),
}
YAML = {None: "null", True: "true", False: "false"}  # as a user writes them
PATHS = {"path", "tag_map", "include_path", "baseline"}  # settings that may name something on this machine
HOW_FAST = {
    "endpoint",
    "devices",
    "device",
    "batch_tokens",
    "batch_size",
    "dtype",
}  # ... that change no result (but for its last bits)
HOW_FAST |= {"cache_requests", "max_calls", "max_unreadable", "prices"}
HOW_FAST |= {"nodes", "prefix", "offload", "checkpoint_minutes", "checkpoint_steps", "push_to_hub", "private"}


def prepare(config: DictConfig, overrides: Sequence[str], strategies: Path) -> None:
    """Make a composed config ready to run, in place: fractions become numbers, values are checked, another universe's settings composed.

    Args:
        config: As Hydra composed it.
        overrides: The command's overrides; see `resolve_universe`.
        strategies: The folder of the strategies' YAML files.

    Raises:
        SftdivError: As `check` and `resolve_universe` do.
    """
    if isinstance(config.diversity_level, str) and re.fullmatch(r"\d+/[1-9]\d*", config.diversity_level):
        config.diversity_level = float(Fraction(config.diversity_level))
    check(config)
    with open_dict(config):
        config.command = command_of(overrides)
    resolve_universe(config, overrides, strategies)


def check_given(config: DictConfig) -> None:
    """Refuse a config that leaves open what has no default.

    Raises:
        SftdivError: With the settings that are missing.
    """
    unresolved = flatten(OmegaConf.to_container(config, resolve=False))  # type: ignore[arg-type]
    if missing := [name for name, value in unresolved.items() if value == "???"]:
        raise SftdivError(
            f"{' and '.join(missing)} must be given, as {missing[0]}=VALUE; --help and conf/ say what it may be"
        )


def check(config: DictConfig) -> None:
    """Refuse what cannot be right before anything is read or written.

    Raises:
        SftdivError: With the setting, its value and what it may be.
    """
    check_given(config)
    for group in ("strategy", "judge"):
        made(
            OmegaConf.select(config, f"{group}.endpoint")
        )  # before anything is written or tracked: a wrong value may be a key
    from sftdiv.diversity.catalogue import metric_families  # here, for it brings numba

    for name, known in CHOICES.items():
        _one_of(name, OmegaConf.select(config, name), known)
    _number("diversity_level", config.diversity_level, least=0, most=1)
    _number("selection.replicate", config.selection.replicate, least=0, most=1)
    _number("selection.slack", config.selection.slack, least=1)
    for name in ("seed", "selection.seed", "samples", "corpus.heldout"):
        _number(name, OmegaConf.select(config, name), least=0, whole=True)
    for name in ("epochs", "batch_size", "micro_batch"):
        _number(f"model.finetune.{name}", config.model.finetune[name], least=1, whole=True)
    training_settings(config)
    check_publishing(config)
    metric_families(OmegaConf.to_container(config.diversity).get("metrics"))  # type: ignore[union-attr, arg-type]
    _check_size(config)
    _check_sweep(config.sweep)
    if config.selection.k_min != "auto":
        _number("selection.k_min", config.selection.k_min, least=0)
    _check_filters(config.selection)
    if config.model.source == "scratch" and config.model.path:
        raise SftdivError(
            f"model={config.model.name} is trained from scratch and would ignore model.path={config.model.path}; "
            "choose a pretrained one too, such as model=smollm2_135m"
        )
    if config.corpus.name == "hub" and Path(config.corpus.path).exists():
        raise SftdivError(
            f"corpus.path={config.corpus.path} lies on this machine: use corpus=files, which notices when its content changes"
        )
    if config.strategy.needs == "embeddings" and "_target_" not in config.embedder:
        raise SftdivError(
            f"strategy={config.strategy.name} clusters embeddings, and embedder=none makes none: embedder=minilm or embedder=lsa"
        )
    if config.export.format is not None and config.size.n == 0:
        raise SftdivError(
            f"export.format={config.export.format} has nothing to write: with size=none nothing is selected"
        )
    check_chosen(config)
    if config.model.get("reads") == "world" and config.corpus.name != "embedded":
        raise SftdivError(
            f"model={config.model.name} is pretrained on the embedded world; with corpus={config.corpus.name} use model=scratch_3m "
            "or a pretrained one, such as model=smollm2_135m"
        )


def _check_size(config: DictConfig) -> None:
    n, label_tokens = config.size.n, config.size.label_tokens
    if n != "all":
        _number("size.n", n, least=0, whole=True)
    elif config.diversity_level != 1:
        raise SftdivError(
            f"size.n=all is all of the universe, and so is diversity_level=1, not {config.diversity_level}"
        )
    if label_tokens not in (None, "auto"):
        _number("size.label_tokens", label_tokens, least=1, whole=True)
    if config.selection.k_min_size is not None:
        _number("selection.k_min_size", config.selection.k_min_size, least=1, whole=True)


def _check_sweep(sweep: DictConfig) -> None:
    _one_of("sweep.on_error", sweep.on_error, ("continue", "stop"))
    _one_of("sweep.isolate", sweep.isolate, (True, False, "forkserver", "spawn"))


def _check_filters(selection: DictConfig) -> None:
    band, sources = selection.response_tokens, selection.sources
    if band is not None and not (isinstance(band, ListConfig) and len(band) == 2 and 0 <= band[0] <= band[1]):
        raise SftdivError(f"selection.response_tokens={band} must be [low, high], two numbers of tokens, low first")
    if sources is not None and not isinstance(sources, ListConfig):
        raise SftdivError(f"selection.sources={sources} must be a list: selection.sources=[{sources}]")


def resolve_universe(config: DictConfig, overrides: Sequence[str], strategies: Path) -> None:
    """Where ``selection.universe`` names a strategy, compose its settings into ``universe_strategy``, on the run's own side.

    Args:
        config: The composed config; changed in place.
        overrides: The command's overrides, which hold for that strategy too where they are not
            about the run's own.
        strategies: The folder of the strategies' YAML files.

    Raises:
        SftdivError: If there is no such strategy.
    """
    name = config.selection.universe
    known = sorted(path.stem for path in strategies.glob("*.yaml"))
    _one_of("selection.universe", name, ("own", *known))
    if name != "own":
        others = [text for text in overrides if not text.lstrip("+~").startswith(("strategy", "hydra"))]
        with open_dict(config):
            config.universe_strategy = compose(
                "config", overrides=[*others, f"strategy={name}", f"strategy.side={config.strategy.side}"]
            ).strategy


def identified(config: DictConfig) -> dict[str, Any]:
    """The settings as plain values, each path replaced by what names its content."""
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    corpus, model = settings["corpus"], settings["model"]
    corpus["reader"] = dict(instantiate(config.corpus.reader, _convert_="all").identity())
    corpus.pop("path", None)
    for owner, key in ((model, "path"), (settings["strategy"], "tokenizer")):
        if owner.get(key) and Path(str(owner[key])).is_dir():
            owner[key] = folder_identity(Path(owner[key]))
    for group in ("embedder", "strategy", "train", "trainer", "judge", "prompts"):
        settings[group] = _by_content(settings.get(group))
    settings["eval"] = {"options": identified_options(config), "primary": performance(config)["primary"]}
    return {group: node for group, node in settings.items() if node is not None}


def identified_options(config: DictConfig) -> dict[str, Any]:
    """The chosen ways to evaluate, each by name: what decides their scores."""
    return {name: _by_content(OmegaConf.to_container(node, resolve=True)) for name, node in chosen(config).items()}


def _by_content(node: Any) -> Any:
    """Settings of embedders and unit finders without what says where and how fast; models and maps on this machine by content."""
    if not isinstance(node, dict):
        return node
    kept = {key: _by_content(value) for key, value in node.items() if key not in HOW_FAST}
    for key in PATHS & kept.keys():
        if key == "baseline" and kept[key] in ("base", "reference"):  # whatever else is called so here
            continue
        if kept[key] and (place := Path(str(kept[key])).expanduser()).exists():
            place = (
                place / "model" if key == "baseline" and (place / "model").is_dir() else place
            )  # of a cell: its logs may grow
            kept[key] = folder_identity(place) if place.is_dir() else file_digest(place)
    return kept


def _one_of(name: str, value: Any, known: Sequence[Any]) -> None:
    if value not in known:
        near = difflib.get_close_matches(str(value), [str(item) for item in known], n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise SftdivError(
            f"{name}={value!r} is unknown.{hint} Known: {', '.join(YAML.get(item, item) for item in known)}"
        )


def _number(name: str, value: Any, *, least: float, most: float = float("inf"), whole: bool = False) -> None:
    kind = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not least <= value <= most:
        bounds = f"of at least {least}" if most == float("inf") else f"in [{least}, {most}]"
        raise SftdivError(f"{name}={value!r} must be {kind} {bounds}")
