"""Paths that users give, and what the operating system says against them: messages with the path and the way out."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sftdiv.records import SftdivError

LONGEST_NAME = 240  # bytes; file systems take 255, and temporary names are a little longer
_WAYS_OUT = {
    errno.ENOSPC: "free some space, or choose other folders (paths.outputs, paths.cache ...)",
    errno.EDQUOT: "the quota is used up: free some space, or choose other folders (paths.outputs, paths.cache ...)",
    errno.EFBIG: "the system allows no larger file here (ulimit -f); raise the limit, or choose another folder",
    errno.EROFS: "the file system is read-only; choose another folder (paths.outputs, paths.cache ...)",
    errno.EACCES: "choose a folder of your own, or ask its owner for the permission",
    errno.EPERM: "choose a folder of your own, or ask its owner for the permission",
    errno.ENOTDIR: "a file is in the way of a folder: remove it or choose another folder",
    errno.EEXIST: "a file is in the way of a folder: remove it or choose another folder",
    errno.ENAMETOOLONG: f"the file system takes no name of more than {LONGEST_NAME} bytes; shorten it",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.EIO: "the disk or its connection is faulty",
}

_WRITTEN_NUMBER = re.compile(r"\(os error (\d+)\)|\[[Ee]rrno (\d+)\]")  # of safetensors and tokenizers; of Arrow
_SHORT_WRITE = re.compile(  # numpy, torch: fewer bytes were written than given
    r"\d+ requested and \d+ written|PytorchStreamWriter failed|inline_container\.cc.* unexpected pos"
)


def user_path(path: str | Path, *, name: str = "the path") -> Path:
    """A path as users write it, ``~`` replaced.

    Args:
        path: Path, possibly with ``~``.
        name: Setting that holds the path, for messages.

    Raises:
        SftdivError: The home directory of its user is unknown, or no file system takes such a name.
    """
    if "\0" in str(path):
        raise SftdivError(f"{name}={str(path)!r} holds a null character, which no path can")
    check_names(name, Path(path), longest=255)
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # ~nobody
        raise SftdivError(
            f"{name}={path}: this machine knows no home directory for {Path(path).parts[0]}; write the whole path"
        ) from error


def check_folder(name: str, folder: Path) -> None:
    """Create a folder and a file in it, which is removed: what cannot be written is known before anything is read.

    Args:
        name: Setting that decides the folder.
        folder: The folder; its parents are created too.

    Raises:
        SftdivError: It cannot be written, with the reason and the way out.
    """
    check_names(name, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b"\0")
    except OSError as error:
        way_out = _WAYS_OUT.get(error.errno or 0, "choose another folder")
        raise SftdivError(f"{name}: {folder} cannot be written: {error.strerror}; {way_out}") from error


def check_names(name: str, path: Path, *, longest: int = LONGEST_NAME) -> None:
    """Refuse a path with a part that is too long for file systems.

    Raises:
        SftdivError: With the part.
    """
    for part in path.parts:
        if len(os.fsencode(part)) > longest:
            raise SftdivError(
                f"{name}: the name {part[:40]}... has {len(os.fsencode(part))} bytes, and file systems take at most "
                f"{longest}; shorten it"
            )


@contextmanager
def disk_errors_explained(folder: Path) -> Iterator[None]:
    """Turn what a full, read-only or faulty disk makes any library raise into an error with the path and the way out.

    Args:
        folder: Folder that the block writes to, named where the error has no path of its own.

    Raises:
        SftdivError: The block failed for such a reason.
    """
    try:
        yield
    except (SftdivError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # torch's CheckpointException is no Exception
        message = _disk_error(error, folder)
        if message is None:
            raise
        raise SftdivError(message) from error


def _disk_error(error: BaseException, folder: Path) -> str | None:
    """The message for an error, or one that it was raised from, that the operating system has against writing."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        number = cause.errno if isinstance(cause, OSError) else None
        if number is None and (match := _WRITTEN_NUMBER.search(str(cause))):
            number = int(match[1] or match[2])
        if number is None and _SHORT_WRITE.search(str(cause)):
            number = errno.ENOSPC
        if number in _WAYS_OUT:
            path = cause.filename if isinstance(cause, OSError) and isinstance(cause.filename, str) else str(folder)
            return os_error_message(OSError(number, os.strerror(number), path))
        cause = cause.__cause__ or cause.__context__
    return None


def os_error_message(error: OSError) -> str | None:
    """What a user can do about an error of the operating system; None for other kinds, such as a network's."""
    if error.errno not in _WAYS_OUT and not (error.errno in (errno.ENOENT, errno.EISDIR) and error.filename):
        return None
    path = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
    way_out = _WAYS_OUT.get(error.errno or 0, "it was removed or replaced while this command ran")
    return f"{path}{error.strerror}; {way_out}. What is finished is kept, and the same command resumes"
