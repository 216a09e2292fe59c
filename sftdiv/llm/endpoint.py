"""An OpenAI-compatible endpoint: its address and limits, and functions that read its replies.

``Endpoint`` is configuration; `sftdiv.llm.connection` sends the requests. The API key is read from
the environment when a connection is opened. It is therefore never part of a config, an artifact or a
log, and a process that was started without it has to be restarted.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sftdiv.llm.answer_text import escape_surrogates
from sftdiv.records import SftdivError
from sftdiv.storage.redaction import names_a_variable
from sftdiv.storage.validate import check_one_of, check_range

if TYPE_CHECKING:
    from sftdiv.llm.connection import Connection

HOST = re.compile(
    r"(?:localhost(?::\d{1,5})?|(?:\d+(?:\.\d+){3}|[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)+):\d{1,5})(?:/v\d+)?/?"
)  # surely no key
BATCH = (None, "openai", "files")
MOST_REQUESTS = 50_000  # per file of OpenAI's Batch API
CONNECT_SECONDS = 30.0  # to open a connection; the timeout of a reply would be a long silence where nothing listens


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Address and limits of a server. No setting decides what the model replies.

    Attributes:
        base_url: Address up to and including ``/v1``.
        api_key_env: Environment variable that holds the API key; None where none is needed.
        concurrency: Maximum number of requests in flight, or of batches.
        timeout: Seconds per request.
        tries: Tries per request, including the first.
        wait: Seconds before the second try; doubled for each further one.
        longest_wait: Maximum seconds between tries, unless the server asks for more.
        requests_per_minute: Maximum rate of single requests, retries included; None for no limit.
        batch: One of ``BATCH``: None sends each request by itself, ``openai`` many at once through the Batch API,
            ``files`` writes them to files and reads the files of answers put beside them.
        batch_requests: Maximum number of requests per batch.
    """

    performance_only: ClassVar[frozenset[str]] = frozenset(
        {
            "base_url",
            "api_key_env",
            "concurrency",
            "timeout",
            "tries",
            "wait",
            "longest_wait",
            "requests_per_minute",
            "batch",
            "batch_requests",
        }
    )

    base_url: str
    api_key_env: str | None
    concurrency: int
    timeout: float
    tries: int
    wait: float
    longest_wait: float
    requests_per_minute: float | None
    batch: str | None
    batch_requests: int

    def __post_init__(self) -> None:
        _check_address(self.base_url)
        if self.api_key_env is not None and not names_a_variable(self.api_key_env):
            raise SftdivError(
                "api_key_env names the environment variable that holds the key, such as OPENAI_API_KEY; the value "
                "given is no variable and does not look like the name of one; it is not shown, since it may be the "
                "key itself"
            )
        check_range("concurrency", self.concurrency, least=1, whole=True)
        check_range("tries", self.tries, least=1, whole=True)
        check_one_of("batch", self.batch, BATCH)
        check_range("batch_requests", self.batch_requests, least=1, most=MOST_REQUESTS, whole=True)
        if self.requests_per_minute is not None and self.requests_per_minute <= 0:
            raise SftdivError(f"requests_per_minute={self.requests_per_minute:g} must be above 0, or null for no limit")

    def key(self) -> str | None:
        """The API key; None where ``api_key_env`` is None.

        Raises:
            SftdivError: If the variable is not set, or its value cannot be a key.
        """
        if self.api_key_env is None:
            return None
        value = os.environ.get(self.api_key_env, "").strip()  # a key read from a file often ends in a line break
        if not value:
            raise SftdivError(
                f"the environment variable {self.api_key_env} (api_key_env) holds no key; set it, or api_key_env=null"
            )
        if not value.isprintable():
            raise SftdivError(
                f"the environment variable {self.api_key_env} (api_key_env) holds line ends or control characters"
            )
        return value

    @asynccontextmanager
    async def connect(self, *, max_calls: int | None = None) -> AsyncIterator[Connection]:
        """Open a connection that sends at most ``max_calls`` chat requests, retries included."""
        import aiohttp

        from sftdiv.llm.connection import Connection

        key = self.key()
        settings: dict[str, Any] = {
            "headers": {} if key is None else {"Authorization": f"Bearer {key}"},
            "connector": aiohttp.TCPConnector(limit=self.concurrency),
            "timeout": aiohttp.ClientTimeout(total=self.timeout, sock_connect=CONNECT_SECONDS),
            "cookie_jar": aiohttp.DummyCookieJar(),
            "auto_decompress": False,  # see `response_body`
        }
        async with aiohttp.ClientSession(**settings) as session:
            yield Connection(self, session, key, max_calls)


def _check_address(base_url: str) -> None:
    """Refuse an address that may hold a key or a password; it would be written to files and logs.

    Raises:
        SftdivError: Without the address.
    """
    if not base_url.startswith(("http://", "https://")):
        shown = f"={base_url!r}" if HOST.fullmatch(base_url) else ""
        raise SftdivError(
            f"base_url{shown} is not a URL: it starts with http:// or https:// and usually ends in /v1. Any other "
            "value is not shown, because it may be a key"
        )
    if "@" in base_url:
        raise SftdivError(
            "base_url holds a password, which would be written to files and logs; use api_key_env instead"
        )
    for sign, name in (("?", "query"), ("#", "fragment")):
        if sign in base_url:
            raise SftdivError(
                f"base_url holds a {name} (the part after {sign}); it may contain a key, and no path can follow it"
            )


@dataclass(frozen=True)
class Reply:
    """Outcome of a request.

    Attributes:
        body: Decoded chat completion; None where there is none.
        status: HTTP status; 0 where no response arrived.
        message: Reason for a missing body.
        errors: Number of failed tries by kind.
    """

    body: Mapping[str, Any] | None
    status: int
    message: str
    errors: Mapping[str, int]


def content(body: Mapping[str, Any]) -> tuple[str, str]:
    """Text and finish reason of a decoded chat completion; half a character is escaped."""
    choice = body["choices"][0]
    text = (choice.get("message") or {}).get("content")
    if isinstance(text, list):  # some reasoning models return parts; those without text are left out
        text = "".join(part["text"] for part in text if isinstance(part, dict) and isinstance(part.get("text"), str))
    reason = choice.get("finish_reason")
    return escape_surrogates(text) if isinstance(text, str) else "", reason if isinstance(reason, str) else "None"


def token_usage(body: Mapping[str, Any]) -> dict[str, int]:
    """Number of prompt and completion tokens, where the server reports them."""
    usage = body.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    return {name: counts[name] for name in ("prompt_tokens", "completion_tokens") if isinstance(counts.get(name), int)}
