"""An OpenAI-compatible endpoint: requests that are bounded in number, tried again when that can help, and counted.

In: request bodies. Out: decoded answers, or why there is none. 408, 409, 425, 429 and 5xx, timeouts, broken connections and bodies that
are no JSON are tried again after a wait that doubles, with jitter, or that ``Retry-After`` names; other refusals come back at once. aiohttp
keeps more requests in flight than httpx does on the same cores. The trade: the key is read from the environment at the last
moment and cut out of every message, so it is never in a config, an artifact or a log.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from sftdiv.records import SftdivError

if TYPE_CHECKING:
    import aiohttp

AGAIN = {408, 409, 425, 429}
LOOKS = 3  # tries to find a server at all
SHOWN = 500  # characters of a server's message


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a model answers and how hard it is asked; nothing here decides what it answers.

    Attributes:
        base_url: Up to and with ``/v1``.
        api_key_env: Environment variable that holds the key; None where none is needed.
        concurrency: Requests in flight at most.
        timeout: Seconds for one request.
        tries: Of one request, the first included.
        wait: Seconds before the second try; doubled for each further one.
        longest_wait: Seconds at most, unless the server asks for more.
    """

    base_url: str
    api_key_env: str | None
    concurrency: int
    timeout: float
    tries: int
    wait: float
    longest_wait: float

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise SftdivError(f"base_url={self.base_url!r} is no address; it starts with http:// or https:// and mostly ends in /v1")
        if min(self.concurrency, self.tries) < 1:
            raise SftdivError(f"concurrency={self.concurrency} and tries={self.tries} must be at least 1")

    def key(self) -> str | None:
        """The key itself.

        Raises:
            SftdivError: If the variable is named and not set.
        """
        if self.api_key_env is None:
            return None
        if not (value := os.environ.get(self.api_key_env)):
            raise SftdivError(f"the environment variable {self.api_key_env} (api_key_env) holds no key; set it, or api_key_env=null")
        return value

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        """A session with the server."""
        import aiohttp

        key = self.key()
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        limit, timeout = aiohttp.TCPConnector(limit=self.concurrency), aiohttp.ClientTimeout(total=self.timeout)
        async with aiohttp.ClientSession(headers=headers, trust_env=True, connector=limit, timeout=timeout) as session:
            yield Connection(self, session, key)


@dataclass(frozen=True)
class Reply:
    """What became of a request: ``body`` where it was answered, else ``status`` and ``message``; ``errors`` counts what failed before."""

    body: Mapping[str, Any] | None
    status: int
    message: str
    errors: Mapping[str, int]


class Connection:
    """A session with an endpoint."""

    def __init__(self, endpoint: Endpoint, session: aiohttp.ClientSession, key: str | None) -> None:
        self._endpoint = endpoint
        self._session = session
        self._key = key
        self._jitter = np.random.default_rng()  # of waits alone: it spreads the clients of one server, and no result depends on it

    async def models(self) -> list[str]:
        """Names of the models that the server lists; none where it keeps no list.

        Raises:
            SftdivError: If the server cannot be reached or refuses the key.
        """
        for attempt in range(LOOKS):
            status, text, _ = await self._once("GET", "models", None)
            if status != 0:
                break
            await asyncio.sleep(min(1.0, self._wait(attempt, None)))
        if status in {0, 401, 403}:
            raise SftdivError(f"{self._endpoint.base_url} {'cannot be reached' if status == 0 else f'answers {status}'}: {text}")
        try:
            return [str(model["id"]) for model in json.loads(text)["data"]]
        except (ValueError, KeyError, TypeError):
            return []

    async def chat(self, request: Mapping[str, Any]) -> Reply:
        """Post to ``chat/completions`` until there is an answer, a refusal, or no try left."""
        errors: Counter[str] = Counter()
        for attempt in range(self._endpoint.tries):
            status, text, asked_wait = await self._once("POST", "chat/completions", request)
            body = _decoded(text) if status == 200 else None
            if body is not None:
                return Reply(body, status, "", errors)
            errors[_kind(status, text)] += 1
            if status not in {0, 200} and status not in AGAIN and status < 500:
                break
            if attempt + 1 < self._endpoint.tries:
                await asyncio.sleep(self._wait(attempt, asked_wait))
        return Reply(None, status, text or "an answer that is no JSON", errors)

    async def _once(self, method: str, path: str, request: Mapping[str, Any] | None) -> tuple[int, str, float | None]:
        """Status, text (the reason where the status is 0: no answer at all) and the wait that the server asks for."""
        import aiohttp

        url = f"{self._endpoint.base_url.rstrip('/')}/{path}"
        try:
            async with self._session.request(method, url, json=request) as response:
                text = await response.text()
                return response.status, text if response.status == 200 else self._told(text), _seconds(response.headers.get("Retry-After"))
        except TimeoutError:
            return 0, f"timeout: nothing within {self._endpoint.timeout:g} s", None
        except (aiohttp.ClientError, OSError, UnicodeDecodeError) as error:
            return 0, self._told(f"connection: {error!r}"), None

    def _wait(self, attempt: int, asked: float | None) -> float:
        """Seconds before the next try: the server's wish, or a doubling one; up to a half more or less, so that clients spread."""
        if asked is not None:
            return asked + float(self._jitter.uniform(0, self._endpoint.wait))
        return min(self._endpoint.longest_wait, self._endpoint.wait * 2.0**attempt) * float(self._jitter.uniform(0.5, 1.5))

    def _told(self, text: str) -> str:
        """A message fit to be shown: short, and without the key."""
        return (text if self._key is None else text.replace(self._key, "***"))[:SHOWN]


def _decoded(text: str) -> Mapping[str, Any] | None:
    """The body, where it is a JSON object with a choice in it."""
    try:
        body = json.loads(text)
    except ValueError:
        return None
    return body if isinstance(body, dict) and body.get("choices") else None


def _kind(status: int, text: str) -> str:
    return {0: text.split(":")[0], 200: "unreadable"}.get(status, str(status))


def _seconds(retry_after: str | None) -> float | None:
    """Seconds of a ``Retry-After`` header: a number, or a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
