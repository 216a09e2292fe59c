"""Uploads a finished model's folder to the Hugging Face hub, or to the server at ``HF_ENDPOINT``.

`check_push` finds out before training what would prevent the upload afterwards. An upload that fails is a
warning with the command that repeats it, since the model is worth more than the upload. The token is
managed by huggingface_hub (``HF_TOKEN``, or ``hf auth login``): it is not stored, logged or returned here.
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
NOT_UPLOADED = (".*", "checkpoint*", "*.ckpt*", "*.lock")  # hidden and temporary files, checkpoints, locks
# Weights of an earlier model in the repository, which would otherwise be loaded together with the new ones.
REPLACED = ("*.safetensors", "*.safetensors.index.json", "adapter_config.json")
WAITS = (5.0, 30.0)  # seconds before each further attempt


def repository(target: str, cell: str) -> str:
    """The repository of a target: ``ME/MODEL`` itself, or for ``ME/`` the one with the cell's name."""
    return target + cell if target.endswith("/") else target


@functools.cache
def check_push(repo: str, *, private: bool) -> None:
    """Reject an upload that could not succeed, before any work.

    A hub that does not answer is only a warning, since it may answer later. The result is cached per
    process: a sweep checks the settings of every cell.

    Args:
        repo: ``ME/MODEL``.
        private: Whether the repository must be private.

    Raises:
        SftdivError: If the name is invalid, the hub is disabled, there is no valid token with write access,
            or the repository exists, is public and should be private.
    """
    from huggingface_hub import get_token, whoami
    from huggingface_hub.constants import ENDPOINT, is_offline_mode
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise SftdivError(f"{SETTING}={repo} cannot be a repository's name: {error}") from error
    if repo.count("/") != 1:
        raise SftdivError(f"{SETTING}={repo} must be ME/MODEL, or ME/ for a model named like its cell")
    if is_offline_mode():
        raise SftdivError(
            f"{SETTING}={repo} needs the hub, which HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids: "
            f"unset it, or {SETTING}=null"
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
    except Exception as error:  # no network, hub out of service, rate limit
        if _status(error) == 401:
            raise SftdivError(
                f"{SETTING}={repo}: {ENDPOINT} rejects the token; `hf auth login` sets a new one"
            ) from error
        log.warning(
            "%s cannot be reached for %s now (%s); the upload is tried after training", ENDPOINT, repo, _reason(error)
        )


def push(folder: Path, repo: str, *, private: bool, message: str, waits: Sequence[float] = WAITS) -> str | None:
    """Upload a model's folder, as one commit or several, and log its address.

    Args:
        folder: Complete folder in the hub's format. Hidden files, locks and checkpoints are not uploaded.
        repo: ``ME/MODEL``; created if it does not exist.
        private: Whether a new repository is private; an existing public one is then an error.
        message: Commit message.
        waits: Seconds before each further attempt if the hub fails or cannot be reached.

    Returns:
        Address of the model; None if the upload failed, after a warning with the command that repeats it.
    """
    for wait in (*waits, None):
        try:
            address = _upload(folder, repo, private=private, message=message)
        except Exception as error:  # no error of an upload may lose the trained model
            if wait is None or not _is_temporary(error):
                _warn_of_failure(folder, repo, error, private=private)
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
        ignore_patterns=list(NOT_UPLOADED),
        delete_patterns=list(REPLACED),
    )
    return str(address)


def _check_rights(account: dict[str, Any], repo: str) -> None:
    """Reject a read-only token. Rights of fine-grained tokens are not fully known: a foreign name is a warning."""
    role = account.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise SftdivError(
            f"{SETTING}={repo}: the token of {account['name']} may only read; "
            "create one with write access at hf.co/settings/tokens"
        )
    names = [account["name"], *(organisation["name"] for organisation in account.get("orgs", []))]
    if repo.partition("/")[0] not in names:
        log.warning(
            "%s=%s is outside %s, the names that the token is known to write to", SETTING, repo, ", ".join(names)
        )


def _check_visibility(repo: str, *, private: bool) -> None:
    """Reject a private upload to an existing public repository, which ``create_repo`` would leave public."""
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


def _is_temporary(error: Exception) -> bool:
    """Whether another attempt can succeed: the network or the hub failed, and nothing was rejected."""
    status = _status(error)
    return not isinstance(error, (SftdivError, ValueError)) and (status is None or status >= 500 or status == 429)


def _status(error: Exception) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return int(status) if status is not None else None


def _reason(error: Exception) -> str:
    """First lines of an error and of its cause; of a failed file huggingface_hub's own error has only the name."""
    lines = []
    for cause in (error, error.__cause__):
        if cause is not None:
            lines.append(" ".join(str(cause).split("\n", 1)[0].split()) or type(cause).__name__)
    return "; ".join(dict.fromkeys(lines))


def _warn_of_failure(folder: Path, repo: str, error: Exception, *, private: bool) -> None:
    if isinstance(error, SftdivError):  # a setting is wrong: no command to upload all the same
        log.warning(
            "the model is not on the hub: %s. It is complete in %s; change that and repeat the command", error, folder
        )
        return
    excluded = [word for pattern in NOT_UPLOADED for word in ("--exclude", pattern)]
    visibility = "--private" if private else "--no-private"
    command = shlex.join(["hf", "upload", repo, str(folder), ".", visibility, *excluded])
    log.warning(
        "the model is not on the hub: %s. It is complete in %s; upload it later with: %s",
        _reason(error),
        folder,
        command,
    )
