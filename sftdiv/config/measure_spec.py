"""The settings of ``sftdiv.measure`` before any work: what cannot be right is refused, and what a measurement is made of gets its name.

In: ``conf/measure.yaml``, composed. Out: the same settings for the baseline, the strategies whose
units are counted, and the folder, which is named by content.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

import sftdiv
from sftdiv.config.app import conf_dir
from sftdiv.config.compose import check_given
from sftdiv.diversity.profile.settings import LAYOUT, Matched, Runs
from sftdiv.diversity.registry import FAMILIES
from sftdiv.records import SIDES, SftdivError
from sftdiv.storage.cell import flatten
from sftdiv.storage.hashing import content_hash, folder_identity
from sftdiv.storage.validate import check_range

NAME = "measure"  # of conf/measure.yaml and of the folder below paths.outputs
OF_FILES = ("format", "on_bad_row", "id_column", "source_column", "columns", "remove", "max_row_bytes", "band", "dedup")


def check(config: DictConfig) -> tuple[Matched, Runs]:
    """Refuse what cannot be right before anything is read.

    Raises:
        SftdivError: With the setting, its value and what it may be.
    """
    check_given(config)
    for family in [config.metrics] if isinstance(config.metrics, str) else config.metrics:
        _one_of("metrics", family, ("paper", "all", *FAMILIES))
    for name, wanted in config.units.items():
        _one_of("units", name, sorted(path.stem for path in (conf_dir() / "strategy").glob("*.yaml")))
        for side in [] if wanted is None else wanted.sides:
            _one_of(f"units.{name}.sides", side, SIDES)
    check_range("seed", config.seed, least=0, whole=True)
    check_range("pair_tokens", config.pair_tokens, least=1, whole=True)
    return Matched(**config.matched), Runs(**config.repeated)


def _one_of(name: str, value: Any, known: Sequence[str]) -> None:
    if value not in known:
        near = difflib.get_close_matches(str(value), known, n=1)
        raise SftdivError(
            f"{name}: {value!r} is unknown.{f' Did you mean {near[0]!r}?' if near else ''} Known: {', '.join(known)}"
        )


def composed_strategies(config: DictConfig, overrides: Sequence[str]) -> list[dict[str, Any]]:
    """The strategies that ``units`` names, on each of its sides, with the changes that stand beside ``sides``.

    Raises:
        SftdivError: If a change names no setting of its strategy.
    """
    embeds = "_target_" in config.embedder
    others = [text for text in overrides if not text.lstrip("+~").startswith(("units", "hydra", "baseline"))]
    found: list[dict[str, Any]] = []
    for name, wanted in config.units.items():
        changes = {} if wanted is None else flatten(OmegaConf.to_container(wanted, resolve=True))  # type: ignore[arg-type]
        changes = {key: value for key, value in changes.items() if key != "sides" and value is not None}
        groups = {key: value for key, value in changes.items() if (conf_dir() / "strategy" / key).is_dir()}
        chosen = [f"strategy/{key}={value}" for key, value in groups.items()]
        for side in [] if wanted is None else wanted.sides:
            whole = compose(NAME, overrides=[*others, f"+strategy={name}", *chosen])
            whole.strategy.side = side
            for key, value in changes.items():
                if key not in groups:
                    _change(whole, f"strategy.{key}", value, f"units.{name}.{key}")
            strategy: dict[str, Any] = OmegaConf.to_container(whole.strategy, resolve=True)  # type: ignore[assignment]
            if embeds or strategy["needs"] != "embeddings":
                found.append(strategy)
    return found


def _change(config: DictConfig, key: str, value: Any, told: str) -> None:
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent)
    if not isinstance(node, DictConfig) or name not in node:
        groups = [path.name for path in (conf_dir() / "strategy").iterdir() if path.is_dir() and not parent.count(".")]
        known = ", ".join(sorted([*groups, *(map(str, node) if isinstance(node, DictConfig) else [])]))
        raise SftdivError(f"{told}={value!r} changes nothing that is there. Known beside it: {known}")
    OmegaConf.update(config, key, value)


def baseline_config(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The same settings for the baseline: its path in place of the dataset's; what lies on this machine is read as files."""
    path = config.baseline
    if config.corpus.name == "files" or (
        config.corpus.name == "hub" and not (isinstance(path, str) and Path(path).expanduser().exists())
    ):
        other = copy.deepcopy(config)
        other.corpus.path = path
        return other
    others = [text for text in overrides if not text.lstrip("+~").startswith(("corpus", "hydra"))]
    other = compose(NAME, overrides=[*others, "corpus=files"])
    other.corpus.path = path
    for key in OF_FILES:
        if key in config.corpus and key in other.corpus:
            other.corpus[key] = config.corpus[key]
    return other


def dataset_names(configs: Sequence[DictConfig]) -> list[str]:
    """A name for each dataset, no two alike."""
    names = [_name(each.corpus) for each in configs]
    return [name if name not in names[:position] else f"{name} (baseline)" for position, name in enumerate(names)]


def _name(corpus: DictConfig) -> str:
    """What people call it: the file's or folder's name, the last part of a hub id, or ``embedded``."""
    if corpus.name == "embedded":
        return "embedded"
    paths = [corpus.path] if isinstance(corpus.path, str) else list(corpus.path)
    name = (
        Path(str(paths[0])).expanduser().absolute().stem if corpus.name == "files" else str(paths[0]).rpartition("/")[2]
    )
    return name + (f"+{len(paths) - 1}" if len(paths) > 1 else "")


def place(
    config: DictConfig, configs: Sequence[DictConfig], names: Sequence[str], strategies: Sequence[Mapping[str, Any]]
) -> Path:
    """The folder of this measurement: the names to read, and a hash of the contents and settings that its numbers depend on."""
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    tokenizer = str(config.tokenizer)
    settings["tokenizer"] = folder_identity(Path(tokenizer)) if Path(tokenizer).is_dir() else tokenizer
    settings["embedder"] = (
        dict(instantiate(config.embedder, _convert_="all").identity()) if "_target_" in config.embedder else None
    )
    settings["corpora"] = [_corpus_identity(each) for each in configs]
    kept = {key: value for key, value in settings.items() if key not in ("corpus", "baseline", "units", "paths")}
    made = content_hash(
        {**kept, "strategies": list(strategies), "layout": LAYOUT, "sftdiv": sftdiv.__version__}, length=6
    )
    name = re.sub(r"[^\w.+-]+", "_", "-vs-".join(names))[:100]
    return Path(config.paths.outputs).expanduser().absolute() / NAME / f"{name}-h{made}"


def _corpus_identity(config: DictConfig) -> dict[str, Any]:
    corpus: dict[str, Any] = OmegaConf.to_container(config.corpus, resolve=True)  # type: ignore[assignment]
    reader = dict(instantiate(config.corpus.reader, _convert_="all").identity())
    return {**{key: value for key, value in corpus.items() if key != "path"}, "reader": reader}
