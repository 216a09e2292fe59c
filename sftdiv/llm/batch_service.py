"""How batches get their answers: from the Batch API of a server, or from files that the user adds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from sftdiv.llm.batch_api import TOO_MANY_TOKENS, BatchApi, BatchState
from sftdiv.llm.batch_files import BatchFiles
from sftdiv.llm.connection import Connection, RefusedError
from sftdiv.llm.endpoint import Endpoint
from sftdiv.llm.stored_batch import REQUESTS, RESULTS, StoredBatch
from sftdiv.records import SftdivError
from sftdiv.storage.progress_bar import Advance

log = logging.getLogger(__name__)
SHOWN_FILES = 3


class BatchService(Protocol):
    """Has batches answered.

    Attributes:
        most: Maximum number of batches at once; None for no limit.
    """

    most: int | None

    async def send(self, batch: StoredBatch) -> None:
        """Send the requests of a batch, or adopt it where an earlier run did."""
        ...

    async def collect(self, sent: Sequence[StoredBatch]) -> list[StoredBatch]:
        """Wait until at least one of the batches has ended, store the answers, and return those that have."""
        ...


class OpenAIBatches:
    """Batches of an endpoint with OpenAI's Batch API."""

    def __init__(self, endpoint: Endpoint, connection: Connection, files: BatchFiles, advance: Advance) -> None:
        """Check that the batches of earlier runs are on this server.

        Raises:
            SftdivError: One is not.
        """
        self.most: int | None = endpoint.concurrency
        self._endpoint, self._connection, self._files, self._advance = endpoint, connection, files, advance
        self._in_flight = 0  # answers in running batches, as last reported
        self._api = BatchApi(connection, tries=endpoint.tries)
        for batch in files.waiting:
            if batch.server not in {None, endpoint.base_url}:
                raise SftdivError(
                    f"{batch.requests} waits for a batch on {batch.server}; give that base_url, or remove the files "
                    f"{batch.base}.* to send its {len(batch.ids):,} requests to {endpoint.base_url}"
                )

    async def send(self, batch: StoredBatch) -> None:
        """Upload a file and create its batch; each id is stored as soon as it is known.

        Raises:
            SftdivError: The server refuses, or has no Batch API.
        """
        if batch.batch_id is not None:
            log.info("%s: adopting batch %s of an earlier run", batch.base.name, batch.batch_id)
            return
        server, may_exist = self._endpoint.base_url, batch.file_id is not None
        try:
            file_id = batch.file_id or await self._api.upload(batch.requests)
            batch.save(server=server, file_id=file_id, batch_id=None)
            state = await self._api.create(file_id, may_exist=may_exist)
        except RefusedError as error:
            if 400 <= error.status < 500:
                batch.forget()  # perhaps the file was removed from the server
            if error.status in {404, 405}:
                raise SftdivError(f"{error}. Without a Batch API, batch=null sends single requests") from None
            raise
        batch.save(server=server, file_id=file_id, batch_id=state.id)
        log.info("%s: %d requests in batch %s", batch.base.name, len(batch.ids), state.id)

    async def collect(self, sent: Sequence[StoredBatch]) -> list[StoredBatch]:
        """Ask for the states, after a wait that doubles up to ``longest_wait``, until a batch has ended.

        Raises:
            SftdivError: A batch was refused or cancelled.
        """
        wait = self._endpoint.wait
        while True:
            ended: list[StoredBatch] = []
            processed = 0
            for batch in sent:
                state = await self._state(batch)
                if state is None:
                    continue
                if state.status == "failed":
                    others = [other for other in sent if other is not batch and (other.batch_id or other in ended)]
                    self._refused(batch, state, others=bool(others))
                elif state.has_ended:
                    await self._store(batch, state)
                    ended.append(batch)
                else:
                    processed += state.completed + state.failed
            self._advance(processed - self._in_flight)  # answers of ended batches are reported task by task
            self._in_flight = processed
            if ended:
                for batch in sent:
                    if batch.batch_id is None and batch not in ended:
                        await self.send(batch)
                return ended
            await asyncio.sleep(wait)
            wait = min(self._endpoint.longest_wait, 2 * wait)

    async def _state(self, batch: StoredBatch) -> BatchState | None:
        """The state of a batch; None where it is held back.

        Raises:
            SftdivError: The server does not know it, among other reasons.
        """
        if batch.batch_id is None:
            return None
        try:
            return await self._api.state(batch.batch_id)
        except RefusedError as error:
            if error.status != 404:
                raise
            raise SftdivError(f"{error}. To send its requests again, remove the files {batch.base}.*") from None

    async def _store(self, batch: StoredBatch, state: BatchState) -> None:
        """Store the answers of a batch that has ended.

        Raises:
            SftdivError: The batch was cancelled, which nobody but the user does.
        """
        files: list[Path] = []
        for number, file_id in enumerate(state.files):
            files.append(self._files.unfinished(f"{batch.base.name}.{number}"))
            await self._api.save(file_id, files[-1])
        self._files.store_answers(batch, files, reason=f"batch_{state.status}")
        for path in files:
            path.unlink()
        count = f"{state.completed:,} of {len(batch.ids):,} answers"
        if state.status == "cancelled":
            raise SftdivError(
                f"batch {state.id} was cancelled after {count}, which are kept; the same command sends the other "
                "requests again"
            )
        if state.status == "expired":
            log.warning("batch %s expired after %s; the other requests are sent again", state.id, count)

    def _refused(self, batch: StoredBatch, state: BatchState, *, others: bool) -> None:
        """Hold a batch back while others take up the account's limit of waiting tokens.

        Raises:
            SftdivError: There is another reason, or no other batch; with the server's reasons.
        """
        assert batch.server is not None and batch.file_id is not None
        codes = {code for code, _ in state.errors}
        if codes == {TOO_MANY_TOKENS} and others:
            log.info("%s: batch %s exceeds the limit of waiting tokens; it is created again", batch.base.name, state.id)
            batch.save(server=batch.server, file_id=batch.file_id, batch_id=None)
            return
        self._files.discard(batch)  # none of its requests was run
        advice = "; a lower batch_requests makes smaller batches" if TOO_MANY_TOKENS in codes else ""
        reasons = "; ".join(f"{code}: {message}" for code, message in state.errors[:3])
        raise SftdivError(
            f"{self._endpoint.base_url} refuses batch {state.id}: {self._connection.redact(reasons)}{advice}. "
            "Nothing is lost: the same command sends its requests again"
        )


class ResultFiles:
    """Batches that the user has answered elsewhere: in a provider's console, or by ``vllm run-batch``."""

    most: int | None = None

    def __init__(self, files: BatchFiles) -> None:
        """Set the files."""
        self._files = files

    async def send(self, batch: StoredBatch) -> None:
        """The file of requests is written: nothing is left to do."""

    async def collect(self, sent: Sequence[StoredBatch]) -> list[StoredBatch]:
        """Store the answers that the user has added.

        Raises:
            SftdivError: None was added; with the files that are to be answered.
        """
        answered = [batch for batch in sent if batch.results.exists()]
        for batch in answered:
            self._files.store_answers(batch, [batch.results], reason="unanswered")
        if not answered:
            requests = sum(len(batch.ids) for batch in sent)
            names = ", ".join(str(batch.requests) for batch in sent[:SHOWN_FILES])
            more = f" and {len(sent) - SHOWN_FILES:,} more" if len(sent) > SHOWN_FILES else ""
            raise SftdivError(
                f"batch=files: {requests:,} requests are in {names}{more}. Have them answered (in a provider's "
                "console, or by vllm run-batch -i REQUESTS -o RESULTS --model NAME), put the results of each "
                f"NUMBER{REQUESTS} beside it as NUMBER{RESULTS}, and run the same command again"
            )
        return answered
