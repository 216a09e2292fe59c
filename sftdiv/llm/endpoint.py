"""An OpenAI-compatible endpoint: where a model answers, how hard it may be asked, and how to read what it says.

In: an address and bounds. Out: a session to ask through (`sftdiv.llm.connection`). The trade: the
key is read from the environment at the last moment, so it is never in a config, an artifact or a
log, and a process that is started without it must be started again.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sftdiv.records import SftdivError

if TYPE_CHECKING:
    from sftdiv.llm.connection import Connection

VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
CONNECT = (
    30.0  # seconds to be connected at most: where nothing listens, a long timeout for answers would be a long silence
)


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
        requests_per_minute: Requests begin no closer than this allows, tries again included; None
            sets no bound.
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
            raise SftdivError(
                f"base_url={self.base_url!r} is no address; it starts with http:// or https:// and mostly ends in /v1"
            )
        if "@" in self.base_url.split("/")[2]:
            raise SftdivError(
                "base_url holds a password, which would end up in files and logs; name a variable by api_key_env instead"
            )
        if "?" in self.base_url:
            raise SftdivError(
                "base_url holds a query (what follows ?), behind which no path can be put, and which may hold a key"
            )
        if self.api_key_env is not None and not (
            VARIABLE.fullmatch(self.api_key_env) or self.api_key_env in os.environ
        ):
            raise SftdivError(
                "api_key_env names the environment variable that holds the key, such as OPENAI_API_KEY; what it is given here looks like "
                "no such name and is not shown, for it may be the key itself"
            )
        if min(self.concurrency, self.tries) < 1:
            raise SftdivError(f"concurrency={self.concurrency} and tries={self.tries} must be at least 1")
        if self.requests_per_minute is not None and self.requests_per_minute <= 0:
            raise SftdivError(f"requests_per_minute={self.requests_per_minute:g} must be above 0; null sets no bound")

    def key(self) -> str | None:
        """The key itself.

        Raises:
            SftdivError: If the variable is named and not set, or what it holds is no key.
        """
        if self.api_key_env is None:
            return None
        if not (
            value := os.environ.get(self.api_key_env, "").strip()
        ):  # a key that is read from a file often ends in a line end
            raise SftdivError(
                f"the environment variable {self.api_key_env} (api_key_env) holds no key; set it, or api_key_env=null"
            )
        if not value.isprintable():
            raise SftdivError(
                f"the environment variable {self.api_key_env} (api_key_env) holds line ends or such, which no key has"
            )
        return value

    @asynccontextmanager
    async def connect(self, *, most_calls: int | None = None) -> AsyncIterator[Connection]:
        """A session with the server, of ``most_calls`` chat requests at most, tries again included."""
        import aiohttp

        from sftdiv.llm.connection import Connection

        key = self.key()
        how: dict[str, Any] = {
            "headers": {} if key is None else {"Authorization": f"Bearer {key}"},
            "connector": aiohttp.TCPConnector(limit=self.concurrency),
            "timeout": aiohttp.ClientTimeout(total=self.timeout, sock_connect=CONNECT),
            "cookie_jar": aiohttp.DummyCookieJar(),
        }
        async with aiohttp.ClientSession(**how) as session:
            yield Connection(self, session, key, most_calls)


@dataclass(frozen=True)
class Reply:
    """What became of a request: ``body`` where it was answered, else ``status`` and ``message``; ``errors`` counts what failed before."""

    body: Mapping[str, Any] | None
    status: int
    message: str
    errors: Mapping[str, int]


def content(body: Mapping[str, Any]) -> tuple[str, str]:
    """The text of a decoded answer and why it ended."""
    choice = body["choices"][0]
    said = (choice.get("message") or {}).get("content")
    if isinstance(said, list):  # parts, as of some models that reason; those that are no text are left out
        said = "".join(part["text"] for part in said if isinstance(part, dict) and isinstance(part.get("text"), str))
    return said if isinstance(said, str) else "", str(choice.get("finish_reason"))


def used(body: Mapping[str, Any]) -> dict[str, int]:
    """Tokens of the prompt and the answer, where the server counts them."""
    usage = body.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    return {name: counts[name] for name in ("prompt_tokens", "completion_tokens") if isinstance(counts.get(name), int)}
