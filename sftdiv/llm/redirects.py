"""Which redirects of a server are followed: those that stay on it, with the same request."""

from __future__ import annotations

from urllib.parse import urlsplit

REDIRECTS = {301, 302, 307, 308}
MOST_REDIRECTS = 3  # responses, the last of which must be no redirect


def same_server(url: str, target: str) -> bool:
    """Whether a redirect stays on the host and port of a URL, or moves from HTTP to HTTPS on the same host."""
    old, new = urlsplit(url), urlsplit(target)
    upgraded = (old.scheme, new.scheme) == ("http", "https") and old.port in {None, 80} and new.port in {None, 443}
    same_address = old.scheme == new.scheme and old.port == new.port
    return old.hostname == new.hostname and new.username is None and (same_address or upgraded)


def redirect_message(target: str) -> str:
    """The message for a redirect that is not followed; it names the host, and no password."""
    parts = urlsplit(target)
    return (
        f"redirects to another server, {parts.scheme}://{parts.netloc.rpartition('@')[2]}, to which the conversation "
        "is not sent; if that is the right one, set base_url to it"
    )
