"""A session with an endpoint: requests that are bounded in number and rate, tried again when that can help, and counted.

In: request bodies. Out: decoded answers, or why there is none. 408, 409, 425, 429 and 5xx,
timeouts, broken connections and bodies that are no JSON are tried again after a wait that doubles,
with jitter, or that ``Retry-After`` names; other refusals come back at once. aiohttp costs a fifth
to a tenth of the processor that httpx does (benchmarks/llm_calls). The trade: the key is cut out of
every message, at the price of a message that lacks it where a server repeats it.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import numpy as np

from sftdiv.llm.endpoint import Endpoint, Reply
from sftdiv.records import SftdivError

if TYPE_CHECKING:
    import aiohttp

AGAIN = {408, 409, 425, 429}
LOOKS = 3  # tries to find a server at all
SHOWN = 500  # characters of a server's message
USERINFO = re.compile(r"//[^/@\s]+@")  # aiohttp's errors repeat a proxy's address with its password


class StoppedError(SftdivError):
    """Nothing more is sent: the session was closed, or has sent as many requests as it may."""


class Connection:
    """A session with an endpoint; all that ask through it share its bounds."""

    def __init__(
        self, endpoint: Endpoint, session: aiohttp.ClientSession, key: str | None, most_calls: int | None
    ) -> None:
        self._endpoint = endpoint
        self._base = endpoint.base_url.rstrip("/")
        self._proxy = _proxy(
            endpoint.base_url
        )  # aiohttp's trust_env would look for it, and for a netrc, in threads before each request
        self._session = session
        self._key = key
        self._left = most_calls
        self._closed = asyncio.Event()
        self._next = 0.0  # when the next request may begin, where the rate is bounded
        self._jitter = (
            np.random.default_rng()
        )  # of waits alone: it spreads the clients of one server, and no result depends on it

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
            raise SftdivError(
                f"{self._endpoint.base_url} {'cannot be reached' if status == 0 else f'answers {status}'}: {text}"
            )
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
        failed: Counter[str] = Counter()
        for attempt in range(self._endpoint.tries):
            await self._turn()
            status, text, asked_wait = await self._once("POST", "chat/completions", request)
            body = decoded(text) if status == 200 else None
            if body is not None:
                return Reply(body, status, "", failed)
            failed[kind := _kind(status, text)] += 1
            if errors is not None:
                errors[kind] += 1
            if status not in {0, 200} and status not in AGAIN and status < 500:
                break
            if attempt + 1 < self._endpoint.tries:
                await self._sleep(self._wait(attempt, asked_wait))
        return Reply(
            None, status, text if status != 200 else f"what came holds no answer: {self._told(text)[:100]!r}", failed
        )

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

        try:
            async with self._session.request(
                method, f"{self._base}/{path}", json=request, proxy=self._proxy
            ) as response:
                text = await response.text()
                return (
                    response.status,
                    text if response.status == 200 else self._told(text),
                    _seconds(response.headers.get("Retry-After")),
                )
        except aiohttp.ConnectionTimeoutError:
            return 0, "timeout: no connection", None
        except TimeoutError:
            return 0, f"timeout: nothing within {self._endpoint.timeout:g} s", None
        except (aiohttp.ClientError, OSError, UnicodeDecodeError, LookupError) as error:
            return 0, self._told(f"connection: {str(error) or repr(error)}"), None

    def _wait(self, attempt: int, asked: float | None) -> float:
        """Seconds before the next try: the server's wish, or a doubling one; up to a half more or less, so that clients spread."""
        if asked is not None:
            return asked + float(self._jitter.uniform(0, self._endpoint.wait))
        return min(self._endpoint.longest_wait, self._endpoint.wait * 2.0**attempt) * float(
            self._jitter.uniform(0.5, 1.5)
        )

    def _told(self, text: str) -> str:
        """A message fit to be shown: short, and without the key or a proxy's password."""
        return USERINFO.sub("//***@", text if self._key is None else text.replace(self._key, "***"))[:SHOWN]


def _proxy(url: str) -> str | None:
    """The proxy that the environment (``HTTPS_PROXY``, ``NO_PROXY`` ...) names for an address."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


def decoded(text: str) -> Mapping[str, Any] | None:
    """The body, where it is a JSON object with a choice in it, a message of the right form or none in that."""
    try:
        body = json.loads(text)
    except ValueError:
        return None
    choices = body.get("choices") if isinstance(body, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return body if isinstance(first, dict) and isinstance(first.get("message") or {}, dict) else None


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
