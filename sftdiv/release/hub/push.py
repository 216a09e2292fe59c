"""Upload a finished model's folder to the Hugging Face hub, or wherever ``HF_ENDPOINT`` points.

In: the folder and the repository's name. Out: a commit there, and its address. `check_push` asks
before anything is trained what would stop the upload after it. The trade: an upload that fails is a
warning with the command that does it later, for the model is worth more. The token is
huggingface_hub's affair (``HF_TOKEN``, or ``hf auth login``): nothing here holds, logs or returns
it.
"""

from __future__ import annotations

import functools
import logging
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sftdiv.records import SftdivError

log = logging.getLogger(__name__)
SETTING = "train.push_to_hub"
KEPT_HERE = (
    ".*",
    "checkpoint*",
    "*.ckpt*",
    "*.lock",
)  # stays here: locks, what is half-written, what training resumes from
REPLACED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "adapter_config.json",
)  # an earlier model's weights, else read along with these
WAITS = (5.0, 30.0)  # seconds before each further attempt


def repository(target: str, cell: str) -> str:
    """The repository that a target names: ``ME/MODEL`` itself, and of ``ME/`` the one called like the cell."""
    return target + cell if target.endswith("/") else target


@functools.cache
def check_push(repo: str, *, private: bool) -> None:
    """Refuse, before any work, an upload that could not succeed. A hub that does not answer now may do so later: that is a warning.

    A process asks once: a sweep checks the settings of every cell.

    Args:
        repo: ``ME/MODEL``.
        private: Whether the model is to be seen by its owner alone.

    Raises:
        SftdivError: The name has not the form, the hub is switched off, no valid token with the
            right to write is known, or the repository exists, is public and should be private.
    """
    from huggingface_hub import get_token, whoami
    from huggingface_hub.constants import ENDPOINT, is_offline_mode
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise SftdivError(f"{SETTING}={repo} cannot be a repository's name: {error}") from error
    if repo.count("/") != 1:
        raise SftdivError(f"{SETTING}={repo} must be ME/MODEL, or ME/ for a model called like its cell")
    if is_offline_mode():
        raise SftdivError(
            f"{SETTING}={repo} needs the hub, which HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids: unset it, or {SETTING}=null"
        )
    if get_token() is None:
        raise SftdivError(
            f"{SETTING}={repo} needs a login: `hf auth login`, or a token in the environment variable HF_TOKEN"
        )
    try:
        _check_rights(whoami(), repo)
        _check_visibility(repo, private=private)
    except SftdivError:
        raise
    except Exception as error:  # no network, a hub that is down, too many questions
        if _status(error) == 401:
            raise SftdivError(
                f"{SETTING}={repo}: {ENDPOINT} does not know the token; `hf auth login` sets a new one"
            ) from error
        log.warning(
            "%s cannot be asked about %s now (%s); the upload is tried after training", ENDPOINT, repo, _reason(error)
        )


def push(folder: Path, repo: str, *, private: bool, message: str, waits: Sequence[float] = WAITS) -> str | None:
    """Upload a model's folder, as one commit or several, and log where it is.

    Args:
        folder: Whole and in the hub's format. Hidden files, locks and checkpoints in it stay here.
        repo: ``ME/MODEL``; made where it does not exist.
        private: Whether a new repository is private; one that is public is then left alone.
        message: Of the commit.
        waits: Seconds before each further attempt, where the hub fails or cannot be reached.

    Returns:
        The model's address; None where the upload failed, and the log has said how to do it later.
    """
    for wait in (*waits, None):
        try:
            address = _upload(folder, repo, private=private, message=message)
        except Exception as error:  # whatever it is, the trained model must not be lost to it
            if wait is None or not _may_pass(error):
                _tell_how(folder, repo, error, private=private)
                return None
            log.warning("the upload to %s failed (%s); the next attempt is in %g s", repo, _reason(error), wait)
            time.sleep(wait)
        else:
            log.info("uploaded %s to %s", folder, address)
            return address
    return None


def _upload(folder: Path, repo: str, *, private: bool, message: str) -> str:
    from huggingface_hub import create_repo, upload_folder

    address = create_repo(repo, private=private, exist_ok=True)
    _check_visibility(repo, private=private)
    upload_folder(
        repo_id=repo,
        folder_path=folder,
        commit_message=message,
        ignore_patterns=list(KEPT_HERE),
        delete_patterns=list(REPLACED),
    )
    return str(address)


def _check_rights(who: dict[str, Any], repo: str) -> None:
    """Refuse a token that may only read; of a fine-grained one the hub does not say all, so that a foreign name is a warning."""
    role = who.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise SftdivError(
            f"{SETTING}={repo}: the token of {who['name']} may only read; make one that may write at hf.co/settings/tokens"
        )
    names = [who["name"], *(each["name"] for each in who.get("orgs", []))]
    if repo.partition("/")[0] not in names:
        log.warning(
            "%s=%s is outside %s, the names that the token is known to write to", SETTING, repo, ", ".join(names)
        )


def _check_visibility(repo: str, *, private: bool) -> None:
    """Refuse to put what should be private where everyone reads it; ``create_repo`` leaves a repository that exists as it is."""
    from huggingface_hub import model_info
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        public = model_info(repo).private is False
    except RepositoryNotFoundError:
        return
    if private and public:
        raise SftdivError(
            f"{SETTING}={repo} exists and is public, and train.private=true: take train.private=false, or another name"
        )


def _may_pass(error: Exception) -> bool:
    """Whether another attempt can succeed: the network or the hub failed, and nothing was refused."""
    status = _status(error)
    return not isinstance(error, (SftdivError, ValueError)) and (status is None or status >= 500 or status == 429)


def _status(error: Exception) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return int(status) if status is not None else None


def _reason(error: Exception) -> str:
    """The first line of an error and of what it was raised from, for huggingface_hub says of a failed file only which one it is."""
    told = [
        " ".join(str(each).split("\n", 1)[0].split()) or type(each).__name__
        for each in (error, error.__cause__)
        if each is not None
    ]
    return "; ".join(dict.fromkeys(told))


def _tell_how(folder: Path, repo: str, error: Exception, *, private: bool) -> None:
    if isinstance(error, SftdivError):  # which says what to change; uploading all the same is what it stopped
        log.warning(
            "the model is not on the hub: %s. It is whole in %s, and the same command uploads it then", error, folder
        )
        return
    kept = [word for pattern in KEPT_HERE for word in ("--exclude", pattern)]
    command = shlex.join(["hf", "upload", repo, str(folder), ".", "--private" if private else "--no-private", *kept])
    log.warning(
        "the model is not on the hub: %s. It is whole in %s; upload it later with: %s", _reason(error), folder, command
    )
