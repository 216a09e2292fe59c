"""The ``conf/`` folder: its groups and their options."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sftdiv.storage.files import local_path


def conf_dir() -> Path:
    """The packaged ``conf`` folder of a wheel, or the repository's in a checkout or an editable install."""
    package = Path(__file__).resolve().parent.parent
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent / "conf"


def is_group(name: str) -> bool:
    """Whether a name is that of a config group, such as ``strategy/tagger``."""
    folders = [local_path(folder / name) for folder in _config_folders()] if name else []
    return any(folder is not None and folder.is_dir() for folder in folders)


def options_of(group: str) -> list[str]:
    """Names of a group's options, sorted; those of ``--config-dir`` included."""
    folders = [folder / group for folder in _config_folders()]
    return sorted({path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.yaml")})


def _config_folders() -> list[Path]:
    """The folder ``conf/`` and the user's own of this command."""
    own = []
    for argument, following in zip(sys.argv, [*sys.argv[1:], ""], strict=True):
        name, equals, value = argument.partition("=")
        if name in ("--config-dir", "-cd"):
            own.append(Path(value if equals else following))
    return [conf_dir(), *own]


def chooses_option(override: str) -> bool:
    """Whether an override chooses one or several options of a group, as ``strategy=meso_tag`` does."""
    is_choice = re.fullmatch(r"\+?[\w/]+=([\w.]+|\[[\w.,]+\])", override)
    return is_choice is not None and is_group(override.lstrip("+").partition("=")[0])
