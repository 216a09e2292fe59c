"""The ``conf/`` folder: its groups and their options."""

from __future__ import annotations

import re
from pathlib import Path

from sftdiv.storage.files import local_path


def conf_dir() -> Path:
    """The packaged ``conf`` folder of a wheel, or the repository's in a checkout or an editable install."""
    package = Path(__file__).resolve().parent.parent
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent / "conf"


def is_group(name: str) -> bool:
    """Whether a name is that of a config group, such as ``strategy/tagger``."""
    folder = local_path(conf_dir() / name) if name else None
    return folder is not None and folder.is_dir()


def options_of(group: str) -> list[str]:
    """Names of a group's options, sorted."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def chooses_option(override: str) -> bool:
    """Whether an override chooses one or several options of a group, as ``strategy=meso_tag`` does."""
    is_choice = re.fullmatch(r"\+?[\w/]+=([\w.]+|\[[\w.,]+\])", override)
    return is_choice is not None and is_group(override.lstrip("+").partition("=")[0])
