"""Rows of a JSON file, one at a time: an object a line, arrays of objects, objects over several lines, or all of these.

Names of files do not decide: JSON lines are often called ``.json``, and arrays ``.jsonl``. What follows an array is
read too. A line that cannot be read costs itself; inside an array the rest of the file is rejected and named.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Generator
from decimal import Decimal
from pathlib import Path
from typing import Any

from sftdiv.data.bad_rows import json_reason
from sftdiv.data.byte_source import BLOCK, ByteSource, RejectRow, Rows, is_utf16, rest
from sftdiv.storage.escaping import shortened

_BLANK, _BETWEEN = re.compile(r"[\s\ufeff]*"), re.compile(r"[\s,]*")  # files joined end to end have marks in between
_AFTER_ROW = re.compile(r"[^\S\n]*(?:,?[^\S\n]*(?:\n|\Z)|(?=\{))")  # on its line: nothing, a comma or another row
_ARRAY_OF_OBJECTS = re.compile(r"\[\s*[{\]]")


class _Window:
    """The part of a file's text that is in memory: ``text`` from ``at`` on is not read yet; ``line`` is its number."""

    def __init__(self, source: ByteSource) -> None:
        self.text, self.at, self.line = "", 0, 1
        self.head = source.read(BLOCK) or b""
        self._source, self._pending = source, self.head
        self._text_decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="surrogateescape")
        self._twice: list[str] = []
        self._decoder = json.JSONDecoder(object_pairs_hook=self._object, parse_int=_integer)

    def decode(self) -> tuple[Any, int]:
        """The value that begins at ``at``, and its end; a `_Doubled` for one with a key that stands twice.

        Raises:
            ValueError: If none can be decoded from the text in memory.
            RecursionError: If it is nested too deeply.
        """
        self._twice.clear()
        row, end = self._decoder.raw_decode(self.text, self.at)
        return (_Doubled(self._twice[0]) if self._twice else row), end

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        row = dict(pairs)
        if len(row) < len(pairs):
            names = [name for name, _ in pairs]
            self._twice.append(next(name for name in names if names.count(name) > 1))
        return row

    def more(self) -> bool:
        """Append at least as much text as is pending, so that a row of n characters costs O(n); False at the end."""
        pending = self.text[self.at :]
        blocks: list[str] = []
        while sum(map(len, blocks)) < max(1, len(pending)):
            data = self._pending or self._source.read(BLOCK) or b""
            self._pending = b""
            blocks.append(self._text_decoder.decode(data, final=not data))
            if not data:
                break
        block = "".join(blocks)
        self.text, self.at = pending + block, 0
        return bool(block)

    def move(self, end: int) -> None:
        """Advance to a position of ``text``."""
        self.line += self.text.count("\n", self.at, end)
        self.at = end

    def skip(self, pattern: re.Pattern[str]) -> bool:
        """Skip what a pattern matches, over any length; False if nothing follows."""
        while True:
            match = pattern.match(self.text, self.at)
            self.move(match.end() if match else self.at)
            if self.at < len(self.text):
                return True
            if not self.more():
                return False

    def end_of_line(self, limit: int) -> int | None:
        """The position after the next newline, or of the file's end; None for a line of more than ``limit`` bytes."""
        while (end := self.text.find("\n", self.at)) < 0 and len(self.text) - self.at <= limit and self.more():
            pass
        end = len(self.text) if end < 0 else end + 1
        size = end - self.at
        if 4 * size > limit and (
            size > limit or len(self.text[self.at : end].encode(errors="surrogateescape")) > limit
        ):
            return None
        return end

    def skip_line(self) -> None:
        """Skip to the next line without keeping or decoding this one."""
        end = self.text.find("\n", self.at) + 1
        if end:
            self.move(end)
            return
        self.move(len(self.text))
        while data := self._pending or self._source.read(BLOCK):
            end = data.find(b"\n") + 1
            self._pending = data[end:] if end else b""
            if end:
                self.line += 1
                self._text_decoder.reset()
                return


def read_json(path: Path, *, limit: int, reject: RejectRow, arrays_of_anything: bool = True) -> Rows:
    """Rows of a file.

    Args:
        path: The file.
        limit: Largest row, in bytes (in an array: characters).
        reject: Receives what is left out.
        arrays_of_anything: Whether a leading ``[`` opens an array whatever follows; otherwise a line may be a list.
    """
    with ByteSource(path) as source:
        window = _Window(source)
        if is_utf16(window.head, reject):
            return
        first = True
        while window.skip(_BLANK):
            if window.text[window.at] == "[" and ((first and arrays_of_anything) or _opens_array(window)):
                if not (yield from _array(window, limit, reject, source)):
                    return
            elif not (yield from _value(window, limit, reject, source)):
                return
            first = False
        if source.damage:
            reject(window.line, rest(source.damage), "")


def read_jsonl(path: Path, *, limit: int, reject: RejectRow) -> Rows:
    """Rows of a file of JSON lines; as `read_json`, but a line may be a list, which is then rejected by itself."""
    return read_json(path, limit=limit, reject=reject, arrays_of_anything=False)


def _opens_array(window: _Window) -> bool:
    """Whether the ``[`` at hand opens an array of objects."""
    while re.fullmatch(r"\[\s*", window.text[window.at : window.at + 1000]) and window.more():
        pass
    return _ARRAY_OF_OBJECTS.match(window.text, window.at) is not None


def _array(
    window: _Window, limit: int, reject: RejectRow, source: ByteSource
) -> Generator[tuple[int, Any], None, bool]:
    """Elements of an array up to its end. Returns whether the file can be read on."""
    window.move(window.at + 1)
    while True:
        if window.skip(_BETWEEN) and window.text[window.at] == "]":
            window.move(window.at + 1)
            return True
        try:
            row, end = _decode_growing(window, limit)
        except (ValueError, RecursionError) as error:
            too_long = len(window.text) - window.at > limit and _could_go_on(error, window)
            reason = source.damage or f"not JSON: {json_reason(error)}"
            if too_long:
                reason = f"too long, more than corpus.max_row_bytes={limit}"
            reject(window.line, rest(reason), window.text[window.at :][:limit])
            return False
        yield from _sound(window, row, end, limit, reject)


def _value(
    window: _Window, limit: int, reject: RejectRow, source: ByteSource
) -> Generator[tuple[int, Any], None, bool]:
    """The value on the line at hand, or the object that begins on it. Returns whether the file can be read on."""
    end_of_line = window.end_of_line(limit)
    if end_of_line is None:
        line, text = window.line, window.text[window.at :][:limit]
        window.skip_line()
        reject(line, f"too long: more than corpus.max_row_bytes={limit}", text)
        return True
    size = end_of_line - window.at
    if source.damage and end_of_line == len(window.text) and not window.text.endswith("\n"):
        reject(window.line, rest(source.damage), window.text[window.at :])  # half a line
        return False
    try:
        row, end = _decode_growing(window, limit)
        after = _AFTER_ROW.match(window.text, end)
        if after is None:
            raise ValueError("Extra data")
    except (ValueError, RecursionError) as error:
        if len(window.text) - window.at > max(limit, size) and _could_go_on(error, window):
            reason = f"one JSON object over several lines of more than corpus.max_row_bytes={limit}"
            reason += ": give an array of rows, or one row a line"
            reject(window.line, rest(reason), window.text[window.at :][:limit])
            return False
        line, text = window.line, window.text[window.at : window.at + size]
        window.move(window.at + size)
        reject(line, f"not JSON: {json_reason(error)}", text)
        return True
    yield from _sound(window, row, end, limit, reject)
    window.move(after.end())
    return True


def _decode_growing(window: _Window, limit: int) -> tuple[Any, int]:
    """The value at hand, with as much more text as it needs and the limit allows; errors as `_Window.decode`."""
    while True:
        try:
            return window.decode()
        except (ValueError, RecursionError) as error:
            pending = len(window.text) - window.at
            if not (pending <= limit and _could_go_on(error, window) and window.more()):
                raise


def _sound(window: _Window, row: Any, end: int, limit: int, reject: RejectRow) -> Rows:
    """Advance over a row; yield it, or reject it for its length or a doubled key."""
    line, text = window.line, window.text[window.at : end][:limit]
    too_long = end - window.at > limit
    window.move(end)
    if too_long:
        reject(line, f"too long: more than corpus.max_row_bytes={limit}", text)
    elif isinstance(row, _Doubled):
        reject(line, f"doubled key: {shortened(row.name, 60)!r} stands twice in one object", text)
    else:
        yield line, row


class _Doubled:
    """Stands for a value in which an object has the key ``name`` twice."""

    def __init__(self, name: str) -> None:
        self.name = name


def _could_go_on(error: Exception, window: _Window) -> bool:
    """Whether more text could mend an error: it lies at the end of the text, or a string or word is cut there."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    blank = _BLANK.match(window.text, error.pos + len("-Infinity"))
    at_end = error.pos + len("-Infinity") >= len(window.text) or (blank is not None and blank.end() == len(window.text))
    return at_end or error.msg.startswith("Unterminated string")


def _integer(digits: str) -> int | Decimal:
    """An integer; one of more digits than Python reads as such is a decimal, and no text or number of a corpus."""
    return int(digits) if len(digits) < 1000 else Decimal(digits)
