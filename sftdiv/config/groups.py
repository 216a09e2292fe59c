"""The ``conf/`` folder: its groups and their options, and the folders that a command adds to it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from sftdiv.records import SftdivError
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


def known_groups() -> list[str]:
    """Names of all groups, such as ``strategy`` and ``strategy/tagger``, sorted."""
    paths = [path.parent.relative_to(folder) for folder in _config_folders() for path in folder.rglob("*/*.yaml")]
    return sorted({path.as_posix() for path in paths} - {"."})


def option_file(name: str) -> Path | None:
    """The file of an option such as ``selector/longest``, or of a command's config; None where there is none."""
    paths = [folder / f"{name}.yaml" for folder in _config_folders()]
    return next((path for path in paths if path.is_file()), None)


def own_config_folders() -> list[Path]:
    """The folders that this command adds by ``--config-dir`` and ``hydra.searchpath``."""
    folders = []
    for argument, following in zip(sys.argv, [*sys.argv[1:], ""], strict=True):
        name, equals, value = argument.partition("=")
        if name in ("--config-dir", "-cd"):
            folders.append(Path(value if equals else following))
        elif name.lstrip("+") == "hydra.searchpath":
            folders += [Path(folder) for folder in re.findall(r"file://([^\s,'\"\]]+)", value)]
    return folders


def check_own_options() -> None:
    """Refuse a file of the user's own folder that has the name of a built-in one: Hydra would read the built-in one.

    Raises:
        SftdivError: With both files, or with a folder that does not exist.
    """
    for folder in own_config_folders():
        if not folder.is_dir():
            raise SftdivError(f"--config-dir {folder} is no folder; it holds groups, such as strategy/my_strategy.yaml")
    for path, builtin in _shadowed_files():
        group, option = path.parent.name, path.stem
        raise SftdivError(
            f"{path} is never read, because the built-in {builtin} has the same name: rename it, for example to "
            f"my_{path.name}" + (f", and choose {group}=my_{option}" if builtin.parent != conf_dir() else "")
        )


def chooses_option(override: str) -> bool:
    """Whether an override chooses one or several options of a group, as ``strategy=meso_tag`` does."""
    is_choice = re.fullmatch(r"\+?[\w/]+=([\w.]+|\[[\w.,]+\])", override)
    return is_choice is not None and is_group(override.lstrip("+").partition("=")[0])


def _config_folders() -> list[Path]:
    """The folder ``conf/`` and the user's own of this command, in the order in which Hydra searches them."""
    return [conf_dir(), *own_config_folders()]


def _shadowed_files() -> Iterator[tuple[Path, Path]]:
    """Files of the user's own folders, each with the built-in file of the same name."""
    for folder in own_config_folders():
        for path in sorted(folder.rglob("*.yaml")):
            builtin = conf_dir() / path.relative_to(folder)
            if builtin.is_file() and not builtin.samefile(path):
                yield path, builtin
