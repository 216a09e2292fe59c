"""Prepares a composed config for building: fractions, the strategy of another universe, and cross-setting checks.

Each part of the specification validates its own settings (`config.spec`). This module holds the checks that
need the config itself, such as those for missing settings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

from sftdiv.config.app import refuse_deletions
from sftdiv.config.build import build_request, evaluation_options
from sftdiv.config.instantiate import make
from sftdiv.config.run_request import RunRequest
from sftdiv.config.setting_types import build_checked
from sftdiv.modeling.packaged_models import packaged_or_hub
from sftdiv.records import SftdivError
from sftdiv.release.hub.reproduce_command import command_of
from sftdiv.storage.cell import flatten
from sftdiv.storage.files import local_path
from sftdiv.storage.validate import check_one_of, check_range

SHARED_OF_CUSTOM = ("tasks", "include_path")  # shared evaluation settings that only eval=custom reads
SHARED_COUNTS = {"limit": 1, "num_fewshot": 0}  # shared integer settings, with their minimum


def request_of(config: DictConfig, overrides: Sequence[str]) -> RunRequest:
    """The request of a composed config.

    Args:
        config: Config composed by Hydra, without the ``hydra`` node; modified in place.
        overrides: Overrides of the command.

    Raises:
        SftdivError: A setting is missing or invalid.
    """
    return build_checked(_build, config, overrides, "config")


def _build(config: DictConfig, overrides: Sequence[str]) -> RunRequest:
    prepare(config, overrides)
    return build_request(config)


def prepare(config: DictConfig, overrides: Sequence[str]) -> None:
    """Prepare a composed config in place: fractions, seeds, a packaged model, the strategy of ``selection.universe``.

    Args:
        config: Config composed by Hydra.
        overrides: Overrides of the command.

    Raises:
        SftdivError: A setting is missing or invalid.
    """
    refuse_deletions(overrides)
    if isinstance(config.diversity_level, str) and re.fullmatch(r"\d+/[1-9]\d*", config.diversity_level):
        config.diversity_level = float(Fraction(config.diversity_level))
    _expand_seed(config)
    check(config)
    if config.model.path is not None:
        config.model.path = packaged_or_hub(str(config.model.path), config.model.revision)
    with open_dict(config):
        config.command = command_of(overrides)
    _compose_universe(config, overrides)


def _expand_seed(config: DictConfig) -> None:
    """``seed=1`` sets the seeds of draw and training; the ladder stays that of the replicate."""
    check_range("replicate", config.replicate, least=0, whole=True)
    if not isinstance(config.seed, DictConfig):
        check_range("seed", config.seed, least=0, whole=True)
        config.seed = {"ladder": config.replicate, "draw": config.seed, "train": config.seed}


def check_given(config: DictConfig) -> None:
    """Reject a config with missing mandatory settings.

    Raises:
        SftdivError: Settings are missing; names them.
    """
    if missing := missing_settings(config):
        raise SftdivError(missing_message(missing))


def missing_settings(config: DictConfig) -> list[str]:
    """Names of the mandatory settings without a value."""
    unresolved = flatten(dict(OmegaConf.to_container(config, resolve=False)))  # type: ignore[arg-type]  # a mapping
    return [name for name, value in unresolved.items() if value == "???"]


def missing_message(missing: Sequence[str]) -> str:
    """What is missing, and how it is given."""
    without = "; without a language model for tags: tags=keyphrase, a deviation from the paper"
    alternative = without if any(name.startswith("tags.") for name in missing) else ""
    names = " and ".join(missing)
    return f"{names} must be given, as {missing[0]}=VALUE{alternative}; --help and conf/ list the values"


def check(config: DictConfig) -> None:
    """Validate a config before anything is built, read or written.

    Raises:
        SftdivError: A setting is invalid; names its value and the alternatives.
    """
    check_given(config)
    check_one_of("report.reference", config.report.reference, (None, "paper"))
    check_one_of("model.source", config.model.source, ("scratch", "pretrained"))
    for name in ("epochs", "batch_size", "micro_batch"):
        check_range(f"model.finetune.{name}", config.model.finetune[name], least=1, whole=True)
    if config.model.source == "scratch" and config.model.path:
        raise SftdivError(
            f"model={config.model.name} is trained from scratch and would ignore model.path={config.model.path}; "
            "choose a pretrained model too, such as model=smollm2_135m"
        )
    if config.corpus.name == "hub" and local_path(config.corpus.path):
        raise SftdivError(
            f"corpus.path={config.corpus.path} is a local path: use corpus=files, which detects changes of its content"
        )
    for group in ("strategy", "judge"):  # before settings are written or tracked: an invalid value may be a secret
        make(OmegaConf.select(config, f"{group}.endpoint"))
    _check_evaluation_options(config)


def _check_evaluation_options(config: DictConfig) -> None:
    if "_target_" in config.eval:
        name = config.eval.get("name", "NAME")
        raise SftdivError(
            f"the file of eval={name} must begin with the line '# @package eval.{name}', "
            "so that it can be combined with others"
        )
    options = evaluation_options(config)
    for name in SHARED_OF_CUSTOM:
        if config.eval[name] is not None and "custom" not in options:
            alternatives = " and ".join(f"eval.{option}.{name}" for option, node in options.items() if name in node)
            raise SftdivError(
                f"eval.{name}={config.eval[name]} is read by eval=custom only; use {alternatives or 'eval=custom'}"
            )
    for name, least in SHARED_COUNTS.items():
        if not isinstance(config.eval[name], DictConfig):  # a mapping holds one number per task
            check_range(f"eval.{name}", config.eval[name], least=least, whole=True, optional=True)
    if config.stop_after == "select":
        return
    for name, option in options.items():
        if option.get("needs_world", False) and config.corpus.name != "embedded":
            raise SftdivError(
                f"eval={name} is a benchmark of the synthetic corpus; with corpus={config.corpus.name} use "
                "eval=heldout, custom or none"
            )


def _compose_universe(config: DictConfig, overrides: Sequence[str]) -> None:
    """Compose the strategy named by ``selection.universe`` into ``universe_strategy``, on the side of the run.

    Overrides of the run's own strategy do not apply to it; all others do.
    """
    name = config.selection.universe
    known = sorted(GlobalHydra.instance().config_loader().get_group_options("strategy"))  # with those of --config-dir
    check_one_of("selection.universe", name, ("own", *known))
    if name != "own":
        shared = [text for text in overrides if not text.lstrip("+~").startswith(("strategy", "hydra"))]
        universe = compose(
            "config", overrides=[*shared, f"strategy={name}", f"strategy.side={config.strategy.side}"]
        ).strategy
        with open_dict(config):
            config.universe_strategy = universe
