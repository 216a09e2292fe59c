"""OpenAI's Batch API: upload a file of requests, create a batch of it, ask for its state, save its answers.

Source: https://platform.openai.com/docs/api-reference/batch. Other providers and gateways offer the same paths.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftdiv.llm.batch_files import URL
from sftdiv.llm.chat_tries import worth_retrying
from sftdiv.llm.connection import Connection, RefusedError
from sftdiv.llm.transport import Response
from sftdiv.records import SftdivError

WINDOW = "24h"  # the only completion window of the API
PAGE = 100  # batches per page of the list
TOO_MANY_TOKENS = "token_limit_exceeded"  # the account's limit on tokens in waiting batches


@dataclass(frozen=True)
class BatchState:
    """A batch as the server describes it.

    Attributes:
        id: Id of the batch.
        status: ``validating``, ``failed``, ``in_progress``, ``finalizing``, ``completed``, ``expired``,
            ``cancelling`` or ``cancelled``.
        completed: Number of requests that have succeeded so far.
        failed: Number of requests that have failed so far.
        files: Ids of the files of answers and errors.
        errors: Codes and messages of a failed batch.
    """

    id: str
    status: str
    completed: int
    failed: int
    files: tuple[str, ...]
    errors: tuple[tuple[str, str], ...]

    @property
    def has_ended(self) -> bool:
        """Whether its answers are final."""
        return self.status in {"completed", "expired", "cancelled", "failed"}


class BatchApi:
    """The Batch API behind a connection."""

    def __init__(self, connection: Connection, *, tries: int) -> None:
        self._connection = connection
        self._tries = tries

    async def upload(self, path: Path) -> str:
        """Upload a file of requests; returns its id."""
        return _text(await self._connection.call("POST", "files", upload=path), "id")

    async def create(self, file_id: str, *, may_exist: bool) -> BatchState:
        """Create the batch of an uploaded file, once.

        A request to create whose response is lost may have created the batch, so that before each further try the
        server's list is searched for it.

        Args:
            file_id: Id of the uploaded file.
            may_exist: Whether an earlier run may have created it.
        """
        request = {"input_file_id": file_id, "endpoint": URL, "completion_window": WINDOW}
        for attempt in range(self._tries):
            if may_exist and (batch := await self._find(file_id)) is not None:
                return batch
            may_exist = True
            try:
                return _state(await self._connection.call("POST", "batches", request, tries=1))
            except RefusedError as error:
                if attempt + 1 == self._tries or not worth_retrying(error.status):
                    raise
                await self._connection.pause(attempt, Response(error.status, str(error)))
        raise AssertionError("the last try returns or raises")

    async def state(self, batch_id: str) -> BatchState:
        """The state of a batch."""
        return _state(await self._connection.call("GET", f"batches/{batch_id}"))

    async def save(self, file_id: str, path: Path) -> None:
        """Save the content of a file."""
        await self._connection.call("GET", f"files/{file_id}/content", download=path)

    async def _find(self, file_id: str) -> BatchState | None:
        """The batch of an uploaded file among those that the server lists, unless it was refused."""
        after = ""
        while True:
            page = await self._connection.call("GET", f"batches?limit={PAGE}{after}")
            batches = page.get("data") if isinstance(page, Mapping) else None
            for batch in batches or []:
                if batch.get("input_file_id") == file_id and batch.get("status") != "failed":
                    return _state(batch)
            if not batches or not page.get("has_more"):
                return None
            after = f"&after={batches[-1]['id']}"


def _state(value: Any) -> BatchState:
    identity, status = _text(value, "id"), _text(value, "status")
    counts = value.get("request_counts") or {}
    files = tuple(str(value[name]) for name in ("output_file_id", "error_file_id") if value.get(name))
    listed = (value.get("errors") or {}).get("data") or []
    errors = tuple((str(error.get("code")), str(error.get("message"))) for error in listed)
    completed, failed = (int(counts.get(name) or 0) for name in ("completed", "failed"))
    return BatchState(identity, status, completed, failed, files, errors)


def _text(value: Any, name: str) -> str:
    text = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(text, str):
        raise SftdivError(f"the server does not speak the Batch API: no {name!r} in {json.dumps(value)[:200]}")
    return text
