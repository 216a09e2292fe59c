"""A connection to an endpoint: requests are limited in number and rate, and retried where that can help.

Chat requests are mappings in the format of OpenAI's chat completions; replies are decoded bodies or a
reason for their absence. What is retried is in `sftdiv.llm.chat_tries`: after a wait that doubles, with jitter, or
that ``Retry-After`` states; a server that states more than ten minutes ends the run. aiohttp needs a
fifth to a tenth of the CPU time of httpx (``benchmarks/llm_calls``).
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sftdiv.llm.answer_text import escape_surrogates
from sftdiv.llm.chat_tries import until_answered, worth_retrying
from sftdiv.llm.endpoint import Endpoint, Reply
from sftdiv.llm.transport import SUCCESS, Response, Transport
from sftdiv.records import SftdivError

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)
LISTING_TRIES = 3  # tries to list the models
LONGEST_RETRY_AFTER = 600.0  # seconds; a run does not stand still for longer at a server's wish
LOGGED_RETRY_AFTER = 60.0  # seconds; a wish for more is logged, once
CALLS_ARE_SPENT = (
    "all requests that max_calls allows are sent. Nothing is lost: a run with a higher max_calls sends only the "
    "missing ones"
)


class StoppedError(SftdivError):
    """No further requests are sent: closed, ``max_calls`` reached, or the server asks for too long a wait."""


class RefusedError(SftdivError):
    """A request that is no chat was refused or failed in every try; ``status`` is 0 where no response arrived."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Connection:
    """A connection to an endpoint; all tasks that use it share its limits."""

    def __init__(
        self, endpoint: Endpoint, session: aiohttp.ClientSession, key: str | None, max_calls: int | None
    ) -> None:
        self._endpoint = endpoint
        self._transport = Transport(endpoint, session, key)
        self._calls_left = max_calls
        self._closed = asyncio.Event()
        self._wait_logged = False
        self._next_start = 0.0  # earliest start of the next request where the rate is limited
        self._jitter = np.random.default_rng()  # for waiting times only; no result depends on it

    def redact(self, text: str) -> str:
        """The start of a message, without the key or a proxy's password."""
        return self._transport.redact(text)

    def close(self) -> None:
        """Send no further requests: those in flight may end, all that wait raise `StoppedError`."""
        self._closed.set()

    async def models(self) -> list[str]:
        """Names of the models that the server lists; empty where it has no list.

        Raises:
            SftdivError: If the server cannot be reached or rejects the key.
        """
        for attempt in range(LISTING_TRIES):
            response = await self._transport.send("GET", "models")
            if response.status != 0:
                break
            await asyncio.sleep(min(1.0, self._backoff(attempt, None)))
        if response.status in {0, 401, 403} or 300 <= response.status < 400:
            outcome = "cannot be reached" if response.status == 0 else f"answers {response.status}"
            raise SftdivError(f"{self._endpoint.base_url} {outcome}: {response.text}")
        try:
            return [escape_surrogates(str(model["id"])) for model in json.loads(response.text)["data"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            return []

    async def chat(self, request: Mapping[str, Any], errors: Counter[str] | None = None) -> Reply:
        """Post to ``chat/completions`` until there is a reply, a refusal, or no try left.

        Args:
            request: Body of the request.
            errors: Counter that is updated as tries fail, also if the call is cancelled later.

        Raises:
            StoppedError: If the connection is closed, ``max_calls`` is reached, or the server asks for a
                wait of more than ``LONGEST_RETRY_AFTER``.
        """

        async def send() -> Response:
            await self._acquire()
            return await self._transport.send("POST", "chat/completions", request)

        return await until_answered(send, self.pause, tries=self._endpoint.tries, redact=self.redact, errors=errors)

    async def call(
        self,
        method: str,
        path: str,
        request: Mapping[str, Any] | None = None,
        *,
        upload: Path | None = None,
        download: Path | None = None,
        tries: int | None = None,
    ) -> Any:
        """The decoded response to a request that is no chat; None where it is saved to ``download``.

        Args:
            method: HTTP method.
            path: Path below the base URL.
            request: JSON body.
            upload: As for `Transport.send`.
            download: As for `Transport.send`.
            tries: Maximum number of tries; None for those of the endpoint.

        Raises:
            RefusedError: The server refuses, or the last try failed.
            StoppedError: As for `chat`.
        """
        tries = tries or self._endpoint.tries
        for attempt in range(tries):
            response = await self._transport.send(method, path, request, upload=upload, download=download)
            if response.status in SUCCESS:
                if download is not None:
                    return None
                with suppress(ValueError, RecursionError):
                    return json.loads(response.text)
            elif not worth_retrying(response.status):
                break
            if attempt + 1 < tries:
                await self.pause(attempt, response)
        outcome = response.status or "no response"
        raise RefusedError(
            f"{method} {self._endpoint.base_url}/{path}: {outcome}: {self.redact(response.text)}",
            response.status,
        )

    async def _acquire(self) -> None:
        """Wait until one more request may be sent."""
        if self._endpoint.requests_per_minute is not None:
            now = time.monotonic()
            start = max(now, self._next_start)
            self._next_start = start + 60 / self._endpoint.requests_per_minute
            await self._sleep(start - now)
        if self._closed.is_set():
            raise StoppedError("stopped before a reply")
        if self._calls_left is not None:
            if self._calls_left <= 0:
                raise StoppedError(CALLS_ARE_SPENT)
            self._calls_left -= 1

    async def _sleep(self, seconds: float) -> None:
        """Wait, but no longer than the connection is open."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), seconds)

    async def pause(self, attempt: int, response: Response) -> None:
        """Wait before the next try, given the number of the last one, from 0, and its response."""
        self._check_wait(response.retry_after)
        await self._sleep(self._backoff(attempt, response.retry_after))

    def _check_wait(self, retry_after: float | None) -> None:
        """Log a long ``Retry-After`` once; stop at one that is too long."""
        if retry_after is None or retry_after < LOGGED_RETRY_AFTER:
            return
        asked = f"{self._endpoint.base_url} asks to wait {_duration(retry_after)} before the next request"
        if retry_after > LONGEST_RETRY_AFTER:
            raise StoppedError(
                f"{asked}, longer than the {_duration(LONGEST_RETRY_AFTER)} that a run waits. Nothing is lost: the "
                "same command sends only the missing requests, once the server accepts them"
            )
        if not self._wait_logged:
            self._wait_logged = True
            log.warning("%s; waiting", asked)

    def _backoff(self, attempt: int, retry_after: float | None) -> float:
        """Seconds before the next try: the server's wish, or a doubling wait with a jitter of up to one half."""
        if retry_after is not None:
            return retry_after + float(self._jitter.uniform(0, self._endpoint.wait))
        wait = min(self._endpoint.longest_wait, self._endpoint.wait * 2.0**attempt)
        return wait * float(self._jitter.uniform(0.5, 1.5))


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "forever"
    hours, minutes = seconds / 3600, seconds / 60
    return f"{hours:.3g} h" if hours >= 1 else f"{minutes:.3g} min"
