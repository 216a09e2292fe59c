"""An OpenAI-compatible endpoint: requests that are bounded in number and rate, tried again when that can help, and counted.

In: request bodies. Out: decoded answers, or why there is none. 408, 409, 425, 429 and 5xx, timeouts, broken connections and bodies that
are no JSON are tried again after a wait that doubles, with jitter, or that ``Retry-After`` names; other refusals come back at once. aiohttp
keeps more requests in flight than httpx does on the same cores. The trade: the key is read from the environment at the last
moment and cut out of every message, so it is never in a config, an artifact or a log.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
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
        requests_per_minute: Requests begin no closer than this allows, tries again included; None sets no bound.
    """

    base_url: str
    api_key_env: str | None
    concurrency: int
    timeout: float
    tries: int
    wait: float
    longest_wait: float
    requests_per_minute: float | None

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise SftdivError(f"base_url={self.base_url!r} is no address; it starts with http:// or https:// and mostly ends in /v1")
        if "@" in self.base_url.split("/")[2]:
            raise SftdivError("base_url holds a password, which would end up in files and logs; name a variable by api_key_env instead")
        if min(self.concurrency, self.tries) < 1:
            raise SftdivError(f"concurrency={self.concurrency} and tries={self.tries} must be at least 1")
        if self.requests_per_minute is not None and self.requests_per_minute <= 0:
            raise SftdivError(f"requests_per_minute={self.requests_per_minute:g} must be above 0; null sets no bound")

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
    async def connect(self, *, most_calls: int | None = None) -> AsyncIterator[Connection]:
        """A session with the server, of ``most_calls`` chat requests at most, tries again included."""
        import aiohttp

        key = self.key()
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        limit, timeout = aiohttp.TCPConnector(limit=self.concurrency), aiohttp.ClientTimeout(total=self.timeout)
        async with aiohttp.ClientSession(headers=headers, trust_env=True, connector=limit, timeout=timeout) as session:
            yield Connection(self, session, key, most_calls)


@dataclass(frozen=True)
class Reply:
    """What became of a request: ``body`` where it was answered, else ``status`` and ``message``; ``errors`` counts what failed before."""

    body: Mapping[str, Any] | None
    status: int
    message: str
    errors: Mapping[str, int]


class StoppedError(SftdivError):
    """Nothing more is sent: the session was closed, or has sent as many requests as it may."""


class Connection:
    """A session with an endpoint; all that ask through it share its bounds."""

    def __init__(self, endpoint: Endpoint, session: aiohttp.ClientSession, key: str | None, most_calls: int | None) -> None:
        self._endpoint = endpoint
        self._session = session
        self._key = key
        self._left = most_calls
        self._closed = asyncio.Event()
        self._next = 0.0  # when the next request may begin, where the rate is bounded
        self._jitter = np.random.default_rng()  # of waits alone: it spreads the clients of one server, and no result depends on it

    def close(self) -> None:
        """Send nothing more: what is in flight may end, whatever waits raises `StoppedError`."""
        self._closed.set()

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

    async def chat(self, request: Mapping[str, Any], errors: Counter[str] | None = None) -> Reply:
        """Post to ``chat/completions`` until there is an answer, a refusal, or no try left.

        Args:
            request: The body.
            errors: Where to count what fails, so that it is known too when nothing comes back.

        Raises:
            StoppedError: If the session is closed or its calls are spent.
        """
        errors = Counter() if errors is None else errors
        before = Counter(errors)
        for attempt in range(self._endpoint.tries):
            await self._turn()
            status, text, asked_wait = await self._once("POST", "chat/completions", request)
            body = _decoded(text) if status == 200 else None
            if body is not None:
                return Reply(body, status, "", errors - before)
            errors[_kind(status, text)] += 1
            if status not in {0, 200} and status not in AGAIN and status < 500:
                break
            if attempt + 1 < self._endpoint.tries:
                await self._sleep(self._wait(attempt, asked_wait))
        return Reply(None, status, text if status != 200 else "an answer that is no JSON", errors - before)

    async def _turn(self) -> None:
        """Wait until one more request may be sent."""
        if self._endpoint.requests_per_minute is not None:
            now = time.monotonic()
            begins = max(now, self._next)
            self._next = begins + 60 / self._endpoint.requests_per_minute
            await self._sleep(begins - now)
        if self._closed.is_set():
            raise StoppedError("stopped before an answer")
        if self._left is not None:
            if self._left <= 0:
                raise StoppedError(
                    "all requests that max_calls allows are sent; nothing is lost: a higher max_calls asks only what is missing"
                )
            self._left -= 1

    async def _sleep(self, seconds: float) -> None:
        """Wait, but no longer than the session is open."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), seconds)

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


def content(body: Mapping[str, Any]) -> tuple[str, str]:
    """The text of a decoded answer and why it ended."""
    choice = body["choices"][0]
    return str((choice.get("message") or {}).get("content") or ""), str(choice.get("finish_reason"))


def used(body: Mapping[str, Any]) -> dict[str, int]:
    """Tokens of the prompt and the answer, where the server counts them."""
    usage = body.get("usage") or {}
    return {name: int(usage[name]) for name in ("prompt_tokens", "completion_tokens") if usage.get(name)}
