"""Answers the requests of one task from the files of batches, as if the server had been asked.

The id of a request is a hash of the task, the journal's last line of it, the request, and how often the task has sent
the same one. A task thus meets its own answers again and never those of another with the same text, and a task that
failed is asked anew by a later run.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from sftdiv.llm.batch_files import BatchFiles
from sftdiv.llm.chat_tries import until_answered
from sftdiv.llm.connection import Connection
from sftdiv.llm.endpoint import Reply
from sftdiv.llm.journal import Journal
from sftdiv.llm.request import RequestTask
from sftdiv.llm.stored_batch import StoredBatch
from sftdiv.llm.transport import Response


class PostponedError(Exception):
    """A request without a stored answer."""

    def __init__(self, custom_id: str, body: Mapping[str, Any]) -> None:
        super().__init__(custom_id)
        self.custom_id, self.body = custom_id, body


class StoredChat:
    """Answers the requests of one task from the files of batches; raises `PostponedError` at the first without answer.

    Attributes:
        used: Batches that answered.
        sent: Number of requests, including the postponed one.
    """

    def __init__(
        self, task: RequestTask, files: BatchFiles, journal: Journal, connection: Connection, *, tries: int
    ) -> None:
        self.used: set[StoredBatch] = set()
        self.sent = 0
        self._prefix = f"{journal.position(task.key)}:{task.key}"
        self._times: Counter[str] = Counter()  # by request
        self._files, self._redact, self._tries = files, connection.redact, tries

    async def chat(self, request: Mapping[str, Any], errors: Counter[str] | None = None) -> Reply:
        """The stored reply; failed answers count as tries."""

        async def send() -> Response:
            return self._stored(request)

        return await until_answered(send, _no_pause, tries=self._tries, redact=self._redact, errors=errors)

    def _stored(self, request: Mapping[str, Any]) -> Response:
        text = json.dumps(request, sort_keys=True)
        name = f"{self._prefix}:{self._times[text]}:{text}"
        custom_id = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=16).hexdigest()
        self._times[text] += 1
        self.sent += 1
        stored = self._files.answer(custom_id)
        if stored is None:
            raise PostponedError(custom_id, request)
        batch, response = stored
        self.used.add(batch)
        return response if response.status == 200 else Response(response.status, self._redact(response.text))


async def _no_pause(attempt: int, response: Response) -> None:
    """Stored answers need no wait."""
