"""One HTTP request to an endpoint: proxy, redirects, size limit, files, and error messages without secrets.

A response is read up to a size, also decompressed (`sftdiv.llm.response_body`), and redirects to another host are
refused, so that no conversation is sent where the settings do not say. The API key is removed from every error
message, even from messages in which the server repeats it. Nothing is retried here; see `sftdiv.llm.connection`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from sftdiv.llm.endpoint import CONNECT_SECONDS, Endpoint
from sftdiv.llm.redirects import MOST_REDIRECTS, REDIRECTS, redirect_message, same_server
from sftdiv.llm.response_body import ACCEPTED_ENCODINGS, UnreadableBodyError, read_body, save_body

if TYPE_CHECKING:
    import aiohttp

MESSAGE_CHARS = 500  # characters of a server's message that are shown
SUCCESS = {200, 201}
USERINFO = re.compile(r"//[^/@\s]+@")  # aiohttp's errors repeat a proxy's address with its password


@dataclass(frozen=True)
class Response:
    """Outcome of one HTTP request.

    Attributes:
        status: HTTP status; 0 where no response arrived.
        text: The body, or the reason for its absence; empty where it was saved to a file.
        retry_after: Seconds that the header ``Retry-After`` states; None without it.
    """

    status: int
    text: str
    retry_after: float | None = None


class Transport:
    """Sends single requests to an endpoint."""

    def __init__(self, endpoint: Endpoint, session: aiohttp.ClientSession, key: str | None) -> None:
        self._endpoint = endpoint
        self._base = endpoint.base_url.rstrip("/")
        # aiohttp's trust_env would look for a proxy and a netrc file in threads before each request.
        self._proxy = _proxy(endpoint.base_url)
        self._session = session
        self._key = key

    async def send(
        self,
        method: str,
        path: str,
        request: Mapping[str, Any] | None = None,
        *,
        upload: Path | None = None,
        download: Path | None = None,
    ) -> Response:
        """Send one request.

        Args:
            method: HTTP method.
            path: Path below the base URL.
            request: JSON body.
            upload: File to send as a form, with the purpose ``batch``; takes the place of ``request``.
            download: File to save the body of a successful response to.
        """
        import aiohttp

        url = f"{self._base}/{path}"
        try:
            for _ in range(MOST_REDIRECTS):
                with ExitStack() as stack:
                    settings = self._settings(request, upload, download, stack)
                    async with self._session.request(method, url, **settings) as response:
                        if response.status in REDIRECTS:
                            target = urljoin(url, response.headers.get("Location", ""))
                            if not same_server(url, target):
                                return Response(response.status, self.redact(redirect_message(target)))
                            url = target
                            continue
                        if download is not None and response.status in SUCCESS:
                            await save_body(response, download)
                            return Response(response.status, "")
                        text = await read_body(response)
                        shown = text if response.status in SUCCESS else self.redact(text)
                        return Response(response.status, shown, _retry_seconds(response.headers.get("Retry-After")))
            return Response(0, f"redirect: more than {MOST_REDIRECTS} in a row")
        except UnreadableBodyError as error:
            return Response(0, str(error))
        except aiohttp.ConnectionTimeoutError:
            return Response(0, "timeout: no connection")
        except TimeoutError:
            return Response(0, f"timeout: no response within {self._endpoint.timeout:g} s")
        except (aiohttp.ClientError, OSError, ValueError, LookupError) as error:
            return Response(0, self.redact(f"connection: {str(error) or repr(error)}"))

    def _settings(
        self, request: Mapping[str, Any] | None, upload: Path | None, download: Path | None, stack: ExitStack
    ) -> dict[str, Any]:
        """Settings of aiohttp's request. A file may take any time, as long as something arrives within the timeout."""
        import aiohttp

        settings: dict[str, Any] = {"json": request, "proxy": self._proxy, "allow_redirects": False}
        settings["headers"] = ACCEPTED_ENCODINGS if download is None else {"Accept-Encoding": "identity"}
        if upload is not None:
            form = aiohttp.FormData({"purpose": "batch"})
            stream = stack.enter_context(upload.open("rb"))
            form.add_field("file", stream, filename=upload.name, content_type="application/jsonl")
            settings |= {"json": None, "data": form}
        if upload is not None or download is not None:
            settings["timeout"] = aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_SECONDS, sock_read=self._endpoint.timeout
            )
        return settings

    def redact(self, text: str) -> str:
        """The start of a message, without the key or a proxy's password."""
        return USERINFO.sub("//***@", text if self._key is None else text.replace(self._key, "***"))[:MESSAGE_CHARS]


def _proxy(url: str) -> str | None:
    """Proxy that the environment (``HTTPS_PROXY``, ``NO_PROXY`` ...) names for a URL."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


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
