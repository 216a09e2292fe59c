"""What the Hydra entry points share: where ``conf/`` is, the resolvers its defaults use, and errors that name the alternatives.

In: an app decorated with ``hydra.main``. Out: its run, or a short message and exit code 1 or 2
where the user can mend what went wrong.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, InstantiationException, OverrideParseException
from omegaconf import DictConfig, OmegaConf

from sftdiv.records import SftdivError
from sftdiv.storage.hashing import content_hash

BROUGHT_BY = dict.fromkeys(
    ("judge", "prompts"), re.compile(r"eval=(.*\W)?judge\b.*")
)  # groups that an option of another one brings


def conf_dir() -> Path:
    """The packaged ``conf`` folder where there is one (a wheel), else the repository's (a checkout or an editable install)."""
    here = Path(__file__).resolve().parent.parent
    packaged = here / "conf"
    return packaged if packaged.is_dir() else here.parent / "conf"


def register_resolvers() -> None:
    """Make the resolvers of ``conf/config.yaml`` known; calling it again changes nothing."""
    resolvers: dict[str, Callable[..., Any]] = {
        "given": lambda value, otherwise: otherwise if value is None else value,
        "by_corpus": lambda corpus, embedded, other: embedded if corpus == "embedded" else other,
        "hardware": lambda: "gpu" if _has_gpu() else "cpu",
        "study_of_command": lambda: study_of_command(sys.argv[1:]),
        "user_cache": lambda: str(Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "sftdiv"),
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def study_of_command(arguments: list[str]) -> str:
    """The default study: the experiment's name, else ``single`` for one run, else a hash of what is swept over.

    Settings that a resuming command may change are left out of the hash, since they change no result.
    """
    for argument in arguments:
        name, _, experiment = argument.lstrip("+").partition("=")
        if name == "experiment" and experiment:
            return experiment.replace(",", "+")
    if not {"-m", "--multirun"} & set(arguments):
        return "single"
    aside = ("tracking", "paths.", "hydra", "study", "sweep.")
    return "sweep-" + content_hash(
        sorted(each for each in arguments if "=" in each and not each.startswith(aside)), length=6
    )


def run_app(app: Callable[[], None], *, config_name: str) -> None:
    """Run a Hydra app over ``conf/CONFIG_NAME.yaml``; what a user can mend ends as a message, without a traceback."""
    os.environ.setdefault(
        "HYDRA_FULL_ERROR", "1"
    )  # else Hydra prints and exits itself, and the alternatives are never named
    _refuse_numbers_for_groups(sys.argv[1:])
    try:
        app()
    except ConfigCompositionException as error:
        sys.exit(f"sftdiv: {_with_alternatives(str(error), config_name)}")
    except (OverrideParseException, SftdivError) as error:
        sys.exit(f"sftdiv: {error}")
    except KeyboardInterrupt:
        print("sftdiv: stopped; what is finished is kept, and the same command goes on from there", file=sys.stderr)
        sys.exit(130)
    except InstantiationException as error:  # Hydra wraps what a constructor raises
        if not isinstance(error.__cause__, SftdivError):
            raise
        sys.exit(f"sftdiv: {error.__cause__}")


def _refuse_numbers_for_groups(arguments: list[str]) -> None:
    """Hydra takes a group's option for a number where it reads like one, and fails with a message about types."""
    for argument in arguments:
        name, _, value = argument.partition("=")
        if re.fullmatch(r"[\d.e,]+", value) and _is_group(name):
            options = ", ".join(sorted(path.stem for path in (conf_dir() / name).glob("*.yaml")))
            hint = f"; any number by size.n={value}" if name == "size" else ""
            sys.exit(f"sftdiv: {name}={value} is not an option of the group {name}: {options}{hint}")


def _has_gpu() -> bool:
    """Whether an NVIDIA device is visible, found without the seconds that importing torch takes."""
    there = any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()  # the second is WSL's
    return there and os.environ.get("CUDA_VISIBLE_DEVICES") not in {"", "-1"}


def _with_alternatives(message: str, config_name: str) -> str:
    """Hydra's message about an unknown key, or an unknown option in a list, with what exists there and the nearest of it."""
    absent = re.search(r"Could not load '([^']+)/([^'/]+)'", message)
    if absent and _is_group(absent[1]):
        options = sorted(path.stem for path in (conf_dir() / absent[1]).glob("*.yaml"))
        close = difflib.get_close_matches(absent[2], options, n=1)
        guess = f" Did you mean {close[0]!r}?" if close else ""
        return f"unknown option {absent[2]!r} of {absent[1]}.{guess} Known: {', '.join(options)}"
    unknown = re.search(r"Could not override '([^']+)'", message)
    if not unknown:
        return message
    root = re.split(r"[./@]", unknown[1])[0]
    if root in BROUGHT_BY and not any(BROUGHT_BY[root].fullmatch(argument) for argument in sys.argv[1:]):
        return f"unknown setting {unknown[1]!r}: {root} is there with eval=judge, or eval=[embedded,judge]"
    parent, _, name = unknown[1].rpartition(".")
    group_choices = [
        argument
        for argument in sys.argv[1:]
        if re.fullmatch(r"[\w/]+=([\w.]+|\[[\w.,]+\])", argument) and _is_group(argument.split("=")[0])
    ]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(config_name, overrides=group_choices)
    node = OmegaConf.select(config, parent) if parent else config
    if not isinstance(node, DictConfig):
        return f"unknown setting {unknown[1]!r}: {parent!r} has no settings below it"
    keys = [str(key) for key in node]
    near = difflib.get_close_matches(name, keys, n=1)
    hint = f" Did you mean {'.'.join(filter(None, [parent, near[0]]))!r}?" if near else ""
    return f"unknown setting {unknown[1]!r}.{hint} Known{' in ' + parent if parent else ''}: {', '.join(sorted(keys))}"


def _is_group(name: str) -> bool:
    return (conf_dir() / name).is_dir()
