"""Folders that one test session builds once, for all its pytest processes, and hard-linked copies of them.

A folder is built by the first process that asks, under a file lock, and never written to afterwards: a test that
writes takes a copy. Files are linked, not copied, which takes no time and no space; that is safe as long as
nobody changes a file in place, and neither the artifact store nor the cells do (they rename whole files).
"""

import os
import shutil
from pathlib import Path

from filelock import FileLock
from warm_process import SHARED


def shared_folder(name, build):
    """The folder ``name`` of this session; ``build(folder)`` fills it if no process has done so."""
    folder = Path(os.environ[SHARED]) / name
    done = folder.with_suffix(".done")
    with FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            build(folder)
            done.touch()
    return folder


def linked_copy(source, target, *, without=()):
    """Copy a folder with hard links.

    Args:
        source: Folder to copy.
        target: Folder that does not exist yet.
        without: Names directly below ``source`` that are left out. Lock files always are: a lock belongs to the file
            behind the name, so that a linked one would be shared.
    """

    def ignore(folder, names):
        left_out = {name for name in names if name.endswith(".lock")}
        return left_out | (set(without) if Path(folder) == Path(source) else set())

    shutil.copytree(source, target, copy_function=os.link, ignore=ignore)
    return target
