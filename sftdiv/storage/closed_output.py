"""Output whose reader has gone, as with ``sftdiv run ... | head``: the work goes on, and the rest is written nowhere.

Python raises ``BrokenPipeError`` at the next ``print``, which would end a run between its row and its export.
"""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO, cast


def outlive_readers() -> None:
    """Let the standard output and error of this process outlive the program that reads them; idempotent."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, _OutlivingStream):
            setattr(sys, name, cast("TextIO", _OutlivingStream(stream)))


class _OutlivingStream:
    """A text stream that leads to ``os.devnull`` once nobody reads it any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, or drop it where nobody reads it."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._lead_nowhere()
            return len(text)

    def flush(self) -> None:
        """Write what is buffered, or drop it where nobody reads it."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._lead_nowhere()

    def _lead_nowhere(self) -> None:
        """Let the stream's descriptor write to ``os.devnull``, so that nothing buffered raises at the exit either."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
