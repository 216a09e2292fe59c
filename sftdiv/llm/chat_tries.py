"""Repeats one chat request until it is answered, refused, or out of tries; how a try is made is the caller's.

Status 408, 409, 425, 429 and 5xx, responses that did not arrive, and bodies that are no chat completion are tried
again. Other refusals end the request at once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sftdiv.llm.endpoint import Reply
from sftdiv.llm.response_body import TOO_LARGE
from sftdiv.llm.transport import SUCCESS, Response

RETRIED = {408, 409, 425, 429}  # client errors that are retried
TEXT_REFUSALS = {400, 413, 422}  # status codes that may concern one text: too long, filtered


async def until_answered(
    send: Callable[[], Awaitable[Response]],
    pause: Callable[[int, Response], Awaitable[None]],
    *,
    tries: int,
    redact: Callable[[str], str],
    errors: Counter[str] | None = None,
) -> Reply:
    """The reply to one chat request.

    Args:
        send: Sends the request once.
        pause: Waits before the next try, given the number of the last one, from 0, and its response.
        tries: Maximum number of tries.
        redact: Shortens a server's text and removes secrets from it.
        errors: Counter that is updated as tries fail, also if the call is cancelled later.
    """
    failures: Counter[str] = Counter()
    for attempt in range(tries):
        response = await send()
        body = parse_completion(response.text) if response.status == 200 else None
        if body is not None:
            return Reply(body, response.status, "", failures)
        kind = _error_kind(response)
        failures[kind] += 1
        if errors is not None:
            errors[kind] += 1
        if kind == TOO_LARGE or not (response.status == 200 or worth_retrying(response.status)):
            break
        if attempt + 1 < tries:
            await pause(attempt, response)
    message = response.text
    if response.status == 200:
        message = f"the response is no chat completion: {redact(response.text)[:100]!r}"
    return Reply(None, response.status, message, failures)


def worth_retrying(status: int) -> bool:
    """Whether a request that ended with this status may succeed if it is repeated; 0 where no response arrived."""
    return status not in SUCCESS and (status == 0 or status in RETRIED or status >= 500)


def concerns_all_requests(status: int) -> bool:
    """Whether a refusal with this status concerns the settings, such as the key or the model, and not one text."""
    return 300 <= status < 500 and status not in RETRIED | TEXT_REFUSALS


def parse_completion(text: str) -> Mapping[str, Any] | None:
    """The decoded body if it is a JSON object with a choice whose message, if any, is an object; else None."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):  # no JSON, a number of thousands of digits, or nested too deeply
        return None
    choices = body.get("choices") if isinstance(body, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return body if isinstance(first, dict) and isinstance(first.get("message") or {}, dict) else None


def _error_kind(response: Response) -> str:
    return {0: response.text.split(":")[0], 200: "unreadable"}.get(response.status, str(response.status))
