"""Text of data that stands in a message: control characters escaped, long text cut.

A row's key may hold a terminal's control sequences or megabytes. Both are made harmless where the message
is made, so that terminals, logs and ``failure.json`` receive the same readable text.
"""

from __future__ import annotations

import re
from typing import Any

MOST = 1000  # characters of data in one message
# C0 without tab and newline, DEL, C1, line and paragraph separators, and marks that reverse the direction of text.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def escape_controls(text: str) -> str:
    r"""The text with every control character and lone surrogate as ``\xNN`` or ``\uNNNN``; tabs and newlines stay."""
    return _CONTROLS.sub(lambda match: ascii(match[0])[1:-1], text)


def shortened(text: str, most: int = MOST) -> str:
    """The text, or its first ``most`` characters and the number of those left out."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text) - most:,} more characters)"


def listed(names: list[str], most: int = 10) -> str:
    """Names separated by commas: at most ``most`` of them, each cut, and the number of those left out."""
    text = ", ".join(shortened(name, 60) for name in names[:most])
    return text if len(names) <= most else f"{text}, ... ({len(names) - most:,} more)"


def escape_interpolation(value: Any) -> Any:
    """Plain values whose texts OmegaConf reads as they are, ``${...}`` included."""
    if isinstance(value, dict):
        return {key: escape_interpolation(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escape_interpolation(item) for item in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value
