"""HTTP connection to an endpoint: requests are limited in number and rate, retried where that can help, and counted.

Requests are mappings in the format of OpenAI's chat completions; replies are decoded bodies or a
reason for their absence. Status 408, 409, 425, 429 and 5xx, timeouts, broken connections and invalid
JSON are retried after a wait that doubles, with jitter, or that ``Retry-After`` states; a server that
states more than ten minutes ends the run. Other refusals are returned at once. A response is read up
to a size, also decompressed (`sftdiv.llm.response_body`), and redirects to another host are refused, so
that no conversation is sent where the settings do not say. aiohttp needs a fifth to a tenth of the CPU time of httpx
(``benchmarks/llm_calls``). The API key is removed from every error message, even from messages in
which the server repeats it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import numpy as np

from sftdiv.llm.answer_text import escape_surrogates
from sftdiv.llm.endpoint import Endpoint, Reply
from sftdiv.llm.redirects import MOST_REDIRECTS, REDIRECTS, redirect_message, same_server
from sftdiv.llm.response_body import ACCEPTED_ENCODINGS, TOO_LARGE, UnreadableBodyError, read_body
from sftdiv.records import SftdivError

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)
RETRIED = {408, 409, 425, 429}  # client errors that are retried
LISTING_TRIES = 3  # tries to list the models
LONGEST_RETRY_AFTER = 600.0  # seconds; a run does not stand still for longer at a server's wish
LOGGED_RETRY_AFTER = 60.0  # seconds; a wish for more is logged, once
MESSAGE_CHARS = 500  # characters of a server's message that are shown
USERINFO = re.compile(r"//[^/@\s]+@")  # aiohttp's errors repeat a proxy's address with its password


class StoppedError(SftdivError):
    """No further requests are sent: closed, ``max_calls`` reached, or the server asks for too long a wait."""


class Connection:
    """A connection to an endpoint; all tasks that use it share its limits."""

    def __init__(
        self, endpoint: Endpoint, session: aiohttp.ClientSession, key: str | None, max_calls: int | None
    ) -> None:
        self._endpoint = endpoint
        self._base = endpoint.base_url.rstrip("/")
        # aiohttp's trust_env would look for a proxy and a netrc file in threads before each request.
        self._proxy = _proxy(endpoint.base_url)
        self._session = session
        self._key = key
        self._calls_left = max_calls
        self._closed = asyncio.Event()
        self._wait_logged = False
        self._next_start = 0.0  # earliest start of the next request where the rate is limited
        self._jitter = np.random.default_rng()  # for waiting times only; no result depends on it

    def close(self) -> None:
        """Send no further requests: those in flight may end, all that wait raise `StoppedError`."""
        self._closed.set()

    async def models(self) -> list[str]:
        """Names of the models that the server lists; empty where it has no list.

        Raises:
            SftdivError: If the server cannot be reached or rejects the key.
        """
        for attempt in range(LISTING_TRIES):
            status, text, _ = await self._send("GET", "models", None)
            if status != 0:
                break
            await asyncio.sleep(min(1.0, self._backoff(attempt, None)))
        if status in {0, 401, 403} or 300 <= status < 400:
            outcome = "cannot be reached" if status == 0 else f"answers {status}"
            raise SftdivError(f"{self._endpoint.base_url} {outcome}: {text}")
        try:
            return [escape_surrogates(str(model["id"])) for model in json.loads(text)["data"]]
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
        failures: Counter[str] = Counter()
        for attempt in range(self._endpoint.tries):
            await self._acquire()
            status, text, retry_after = await self._send("POST", "chat/completions", request)
            body = parse_completion(text) if status == 200 else None
            if body is not None:
                return Reply(body, status, "", failures)
            kind = _error_kind(status, text)
            failures[kind] += 1
            if errors is not None:
                errors[kind] += 1
            if kind == TOO_LARGE or (status not in {0, 200} and status not in RETRIED and status < 500):
                break
            if attempt + 1 < self._endpoint.tries:
                self._check_wait(retry_after)
                await self._sleep(self._backoff(attempt, retry_after))
        message = text if status != 200 else f"the response is no chat completion: {self._redact(text)[:100]!r}"
        return Reply(None, status, message, failures)

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
                raise StoppedError(
                    "all requests that max_calls allows are sent. Nothing is lost: a run with a higher max_calls sends "
                    "only the missing ones"
                )
            self._calls_left -= 1

    async def _sleep(self, seconds: float) -> None:
        """Wait, but no longer than the connection is open."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), seconds)

    async def _send(self, method: str, path: str, request: Mapping[str, Any] | None) -> tuple[int, str, float | None]:
        """Status, text and seconds of ``Retry-After``; status 0 with the reason as text where no response arrived."""
        import aiohttp

        url = f"{self._base}/{path}"
        settings: dict[str, Any] = {
            "json": request,
            "proxy": self._proxy,
            "allow_redirects": False,
            "headers": ACCEPTED_ENCODINGS,
        }
        try:
            for _ in range(MOST_REDIRECTS):
                async with self._session.request(method, url, **settings) as response:
                    if response.status in REDIRECTS:
                        target = urljoin(url, response.headers.get("Location", ""))
                        if not same_server(url, target):
                            return response.status, self._redact(redirect_message(target)), None
                        url = target
                        continue
                    text = await read_body(response)
                    shown = text if response.status == 200 else self._redact(text)
                    return response.status, shown, _retry_seconds(response.headers.get("Retry-After"))
            return 0, f"redirect: more than {MOST_REDIRECTS} in a row", None
        except UnreadableBodyError as error:
            return 0, str(error), None
        except aiohttp.ConnectionTimeoutError:
            return 0, "timeout: no connection", None
        except TimeoutError:
            return 0, f"timeout: no response within {self._endpoint.timeout:g} s", None
        except (aiohttp.ClientError, OSError, ValueError, LookupError) as error:
            return 0, self._redact(f"connection: {str(error) or repr(error)}"), None

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

    def _redact(self, text: str) -> str:
        """The start of a message, without the key or a proxy's password."""
        return USERINFO.sub("//***@", text if self._key is None else text.replace(self._key, "***"))[:MESSAGE_CHARS]


def _proxy(url: str) -> str | None:
    """Proxy that the environment (``HTTPS_PROXY``, ``NO_PROXY`` ...) names for a URL."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


def parse_completion(text: str) -> Mapping[str, Any] | None:
    """The decoded body if it is a JSON object with a choice whose message, if any, is an object; else None."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):  # no JSON, a number of thousands of digits, or nested too deeply
        return None
    choices = body.get("choices") if isinstance(body, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return body if isinstance(first, dict) and isinstance(first.get("message") or {}, dict) else None


def _error_kind(status: int, text: str) -> str:
    return {0: text.split(":")[0], 200: "unreadable"}.get(status, str(status))


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "forever"
    hours, minutes = seconds / 3600, seconds / 60
    return f"{hours:.3g} h" if hours >= 1 else f"{minutes:.3g} min"


def _retry_seconds(retry_after: str | None) -> float | None:
    """Seconds stated by a ``Retry-After`` header: a number, or a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
