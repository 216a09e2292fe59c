"""The files of batches beside a journal: requests to send, the server's ids, and answers until their tasks have ended.

Each batch has a number and these files in the folder:

- ``0001.requests.jsonl``: one request a line, in the format of OpenAI's Batch API (``custom_id``, ``method``, ``url``,
  ``body``); kept until it is answered.
- ``0001.batch.json``: server, id of the uploaded file and id of the batch; a relaunch adopts it.
- ``0001.answers.jsonl``: one line per request with ``custom_id`` and ``response`` or ``error``; kept until the journal
  has a line for each task that sent one.

With ``batch=files`` the user adds ``0001.results.jsonl``: the answers as a provider's console or ``vllm run-batch``
writes them.

Every file is written under a temporary name and renamed, so that after a kill each batch is in one of these states.
Memory holds the id of each request and the offset of its answer, not the texts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from sftdiv.llm.chat_tries import concerns_all_requests
from sftdiv.llm.stored_batch import ANSWERS, REQUESTS, StoredBatch, as_response
from sftdiv.llm.transport import Response
from sftdiv.records import SftdivError
from sftdiv.storage.files import writing

MOST_BYTES = 200_000_000  # per file of OpenAI's Batch API
UNFINISHED = ".unfinished"  # a file of requests that is being written
URL = "/v1/chat/completions"


class BatchFiles:
    """All batches of one journal.

    Attributes:
        folder: Their folder.
        waiting: Batches without answers, in the order of their numbers.
    """

    def __init__(self, folder: Path, *, most_requests: int, most_bytes: int = MOST_BYTES) -> None:
        """Read the batches of earlier runs.

        Args:
            folder: The folder; created with the first request.
            most_requests: Maximum number of requests per batch.
            most_bytes: Maximum size of a file of requests.
        """
        self.folder = folder
        self.waiting: list[StoredBatch] = []
        self._most_requests, self._most_bytes = most_requests, most_bytes
        self._answers: dict[str, tuple[StoredBatch, int]] = {}  # request -> batch and offset
        self._answered: set[StoredBatch] = set()
        self._number = 0
        self._stream: IO[bytes] | None = None
        self._ids: list[str] = []  # of the file that is being written
        self._size = 0
        self._load()

    def add(self, custom_id: str, body: Mapping[str, Any]) -> StoredBatch | None:
        """Write one request; returns the batch that it completes, of the requests before it.

        Raises:
            SftdivError: The request alone exceeds the size of a file.
        """
        request = {"custom_id": custom_id, "method": "POST", "url": URL, "body": dict(body)}
        line = json.dumps(request).encode() + b"\n"  # ASCII: half a character can be escaped only
        if len(line) > self._most_bytes:
            raise SftdivError(f"a request of {len(line):,} bytes exceeds the {self._most_bytes:,} bytes of a batch")
        full = len(self._ids) == self._most_requests or self._size + len(line) > self._most_bytes
        completed = self.close() if full else None
        if self._stream is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._number += 1
            self._stream = self.unfinished(f"{self._number:04d}").open("wb")
        self._stream.write(line)
        self._ids.append(custom_id)
        self._size += len(line)
        return completed

    def close(self) -> StoredBatch | None:
        """The batch of the requests written since the last one; None without a request."""
        if self._stream is None:
            return None
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        batch = StoredBatch(self.folder / f"{self._number:04d}", self._ids)
        self.unfinished(batch.base.name).replace(batch.requests)
        self._stream, self._ids, self._size = None, [], 0
        self.waiting.append(batch)
        return batch

    def stop(self) -> None:
        """Remove the file that is being written; nothing of it was sent."""
        if self._stream is not None:
            self._stream.close()
            self.unfinished(f"{self._number:04d}").unlink()
            self._stream, self._ids, self._size = None, [], 0

    def answer(self, custom_id: str) -> tuple[StoredBatch, Response] | None:
        """The stored answer to a request, and its batch; None where it has no answer."""
        if custom_id not in self._answers:
            return None
        batch, offset = self._answers[custom_id]
        with batch.answers.open("rb") as stream:
            stream.seek(offset)
            return batch, as_response(json.loads(stream.readline()))

    def store_answers(self, batch: StoredBatch, files: Iterable[Path], *, reason: str) -> None:
        """Store the answers to a batch, and remove its requests.

        Args:
            batch: The batch.
            files: Files of answers, as the server wrote them; lines that are no answer to this batch are left out.
            reason: Reason for each missing answer.
        """
        missing = dict.fromkeys(batch.ids)
        with writing(batch.answers) as temporary, temporary.open("wb") as stream:
            for custom_id, line in _lines(files):
                if custom_id in missing:
                    del missing[custom_id]
                    stream.write(line + b"\n")
            for custom_id in missing:
                error = {"code": reason, "message": "the batch ended without an answer to this request"}
                stream.write(json.dumps({"custom_id": custom_id, "response": None, "error": error}).encode() + b"\n")
        self.waiting.remove(batch)
        self._index(batch, loaded=False)

    def ended(self, batches: Iterable[StoredBatch]) -> None:
        """One task has ended that sent a request in each of these batches; removes batches that no task needs."""
        for batch in batches:
            batch.unfinished -= 1
            if batch.unfinished == 0 and batch in self._answered:
                self._remove(batch)

    def clear(self) -> None:
        """All tasks have ended: remove all answers, and the folder if no batch is left."""
        for batch in list(self._answered):
            self._remove(batch)
        if self.folder.exists() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def discard(self, batch: StoredBatch) -> None:
        """Remove a batch without answers."""
        self.waiting.remove(batch)
        batch.remove()

    def unfinished(self, name: str) -> Path:
        """Path of a file that is being written; it is removed when the folder is next read."""
        return self.folder / f"{name}{UNFINISHED}"

    def _load(self) -> None:
        for path in self.folder.glob(f"*{UNFINISHED}"):
            path.unlink()
        bases = {path.name.partition(".")[0] for path in self.folder.glob("[0-9]*.*.json*")}
        for name in sorted(bases, key=int):
            base = self.folder / name
            self._number = max(self._number, int(name))
            requests, answers = StoredBatch.path(base, REQUESTS), StoredBatch.path(base, ANSWERS)
            if requests.exists():
                batch = StoredBatch(base, [custom_id for custom_id, _ in _lines([requests])])
                batch.load()
                self.waiting.append(batch)
            elif answers.exists():
                self._index(StoredBatch(base, [custom_id for custom_id, _ in _lines([answers])]), loaded=True)

    def _index(self, batch: StoredBatch, *, loaded: bool) -> None:
        """Index the answers; without the refusals that ended an earlier run, whose requests are sent again."""
        batch.requests.unlink(missing_ok=True)
        batch.forget()
        self._answered.add(batch)
        offset = 0
        with batch.answers.open("rb") as stream:
            for data in stream:
                line = json.loads(data)
                if not (loaded and concerns_all_requests(as_response(line).status)):
                    self._answers[line["custom_id"]] = (batch, offset)
                offset += len(data)

    def _remove(self, batch: StoredBatch) -> None:
        self._answered.remove(batch)
        for custom_id in batch.ids:
            self._answers.pop(custom_id, None)
        batch.remove()


def _lines(files: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Id and content of each line that is a JSON object with a ``custom_id``."""
    for path in files:
        with path.open("rb") as stream:
            for data in stream:
                try:
                    custom_id = json.loads(data)["custom_id"]
                except (ValueError, KeyError, TypeError, RecursionError):
                    continue
                if isinstance(custom_id, str):
                    yield custom_id, data.rstrip(b"\r\n")
