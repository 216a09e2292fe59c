"""Secrets in settings and texts: a possible API key or password is replaced by ``***`` before it is written or shown.

Whatever keeps or shows settings, commands or messages of errors passes them through here: ``config.yaml``,
``result.json``, ``failure.json``, ``sweep.json``, records of commands, logs and the terminal. A value is taken for a
secret by its setting's name (``api_key``, ``password``), by its place in an address (``user:password@``, what follows
``?`` or ``#``), by the form of its provider's keys (``sk-...``), or because an environment variable of such a name
holds it. Rather too much is hidden than too little: a hidden value can be looked up by the user who wrote it.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, TextIO, cast

HIDDEN = "***"
_SECRET_WORDS = "api_?keys?|keys?|secrets?|tokens?|passwords?|passwd|passphrases?|pwd|credentials?"
_NAME = rf"(?:\w*_)?(?:{_SECRET_WORDS})(?:_env)?(?![\w])"
_SETTING = re.compile(_NAME, re.IGNORECASE)
_ADDRESS = "base_url"  # a key in its place is no address
_SHORTEST_KEY = 4  # characters; no key has as few
_SHORTEST = 8  # characters of a variable's value that is looked for in texts; shorter ones stand in ordinary words

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_NAMING_WORDS = {"KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "AUTH", "API", "APIKEY"}
_USERINFO = re.compile(  # also with a slash in the password, and without the scheme
    r"(?<=//)[^/\s'\"]*@|(?<=//)[^\s'\"@]*:[^\s'\"@]*@|(?<![\w/])[\w.+-]+:(?!//)[^\s@'\"]+@(?=[\w.-])"
)
_AFTER_PATH = re.compile(r"(\w://[^\s'\"?#,}\])]*)[?#][^\s'\",}\])]+")
_PROVIDERS = re.compile(
    r"\b(?:sk|pk|rk)[-_][\w-]{6,}|\bhf_\w{8,}|\bgh[oprsu]_\w{16,}|\bgithub_pat_\w{16,}|\bxox[a-z]-[\w-]{8,}|"
    r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\bAIza[\w-]{20,}|\bgsk_\w{8,}|\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]+)?"
)
_SCHEME = re.compile(r"\b(Bearer|(?i:authorization)\W{1,3}\w+)\s+[\w.+/=~-]{3,}")
_YAML_LINE = re.compile(r"(\s*(?:- )?)([\w/@.-]+): (.*)")  # name: value
_NOT_PROSE = r"(?<!\bkey)(?<!\bkeys)(?<!\btoken)(?<!\btokens)"  # as in "the number of label tokens: too few cells"
_ASSIGNED = re.compile(  # ``key: value`` is prose more often than a setting
    rf"(?<![\w])(?P<name>{_NAME}|base_url)(?P<sign>['\"]?\s*=\s*|['\"]?:(?=[^\s])|['\"]:\s*|{_NOT_PROSE}:\s*)"
    r"(?P<value>'[^']*'|\"[^\"]*\"|[^\s}\])]+)",
    re.IGNORECASE,
)


def names_a_variable(text: str) -> bool:
    """Whether a text is the name of an environment variable that holds a key, and surely not the key itself.

    A name in use is one. Any other must read like one, as OPENAI_API_KEY does: keys of capitals and digits exist.
    """
    if text in os.environ:
        return True
    if _VARIABLE.fullmatch(text) and len(text) <= _SHORTEST_KEY:
        return True
    words = text.split("_")
    is_mixed = any(len(word) > 7 and re.search(r"\d", word) for word in words)
    return _VARIABLE.fullmatch(text) is not None and not is_mixed and not _NAMING_WORDS.isdisjoint(words)


def redacted(text: str) -> str:
    """A text, such as an error's message, without what may be a secret."""
    for value in _values_of_variables():
        text = text.replace(value, HIDDEN)
    text = _AFTER_PATH.sub(rf"\1{HIDDEN}", _USERINFO.sub(f"{HIDDEN}@", text))
    text = _SCHEME.sub(rf"\1 {HIDDEN}", text)
    return _PROVIDERS.sub(HIDDEN, _ASSIGNED.sub(_without_value, text))


def redact_shown_settings() -> None:
    """Let the standard output of this process, which will show settings as YAML, pass through `redacted_yaml`."""
    if not isinstance(sys.stdout, _RedactedStream):
        sys.stdout = cast("TextIO", _RedactedStream(sys.stdout, redacted_yaml))


def redacted_yaml(text: str) -> str:
    """Settings as YAML, as Hydra's ``--cfg job`` shows them, without what may be a secret."""
    return "\n".join(map(_redacted_line, text.split("\n")))


def _redacted_line(line: str) -> str:
    match = _YAML_LINE.fullmatch(line)
    if match is None:
        return redacted(line)
    opening, name, value = match.groups()
    if re.fullmatch(r"\$\{[\w.]+\}", value):  # refers to another setting
        return line
    if _is_secret_name(name) and not _may_be_shown(name, value):
        return f"{opening}{name}: '{HIDDEN}'"
    return redacted(line)


def redact_output() -> None:
    """Let the log messages, the standard error and the tracebacks of this process pass through `redacted`.

    Libraries repeat a command's overrides in their messages, as Hydra does for every job that fails.
    """
    logging.setLogRecordFactory(_RedactedRecord)
    sys.excepthook = _show_traceback
    if not isinstance(sys.stderr, _RedactedStream):
        sys.stderr = cast("TextIO", _RedactedStream(sys.stderr))


class _RedactedStream:
    """A text stream that hides what may be a secret in each piece of text written to it."""

    def __init__(self, stream: TextIO, redact: Callable[[str], str] = redacted) -> None:
        self._stream = stream
        self._redact = redact

    def write(self, text: str) -> int:
        """Write the text without what may be a secret."""
        self._stream.write(self._redact(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _RedactedRecord(logging.LogRecord):
    def getMessage(self) -> str:  # noqa: N802  # logging's name
        return redacted(super().getMessage())


def _show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))


def redacted_overrides(overrides: Sequence[str]) -> list[str]:
    """Overrides of a command, such as ``judge.endpoint.api_key_env=NAME``, without what may be a secret."""
    return [_redacted_override(override) for override in overrides]


def redacted_settings(settings: Any, name: str = "") -> Any:
    """Nested settings without what may be a secret.

    Args:
        settings: Mappings, lists and plain values.
        name: Name of the setting whose value ``settings`` is.
    """
    if isinstance(settings, Mapping):
        return {key: redacted_settings(value, str(key)) for key, value in settings.items()}
    if isinstance(settings, (list, tuple)):
        return [redacted_settings(value, name) for value in settings]
    if not isinstance(settings, str) or settings == "???":
        return settings
    if _is_secret_name(name):
        return redacted(settings) if _may_be_shown(name, settings) else HIDDEN
    return redacted(settings) if "\n" not in settings else settings  # prompts and templates are no secrets


def _is_secret_name(name: str) -> bool:
    """Whether a setting of this name may hold a secret."""
    return _SETTING.fullmatch(name) is not None or name == _ADDRESS


def _redacted_override(override: str) -> str:
    key, sign, value = override.partition("=")
    name = re.split(r"[./@]", key.lstrip("+~"))[-1]
    if sign and _is_secret_name(name) and not _may_be_shown(name, value):
        return f"{key}={HIDDEN}"
    return redacted(override)


def _may_be_shown(name: str, value: str) -> bool:
    """Whether the value of a setting with a secret's name is harmless: empty, a count of tokens, names of variables."""
    values = [part.strip().strip("'\"") for part in value.replace("\\", "").strip("[]").split(",")]
    if name == _ADDRESS:
        return all(part in ("", "null", "???") or re.match(r"https?://", part) for part in values)
    if name.lower().endswith("_env"):
        return all(part in ("", "null") or names_a_variable(part) for part in values)
    counts = r"|auto|-?[\d._]+(?:e\d+)?" if name.lower().endswith("tokens") else ""
    return all(re.fullmatch(rf"|null|none|true|false{counts}", part, re.IGNORECASE) for part in values)


def _without_value(match: re.Match[str]) -> str:
    name, sign, value = match["name"], match["sign"], match["value"]
    return match[0] if _may_be_shown(name, value.strip("'\"").rstrip(".,;:")) else f"{name}{sign}{HIDDEN}"


def _values_of_variables() -> list[str]:
    """Values of the environment variables that hold secrets by their name, the longest first."""
    names = (name for name in os.environ if not _NAMING_WORDS.isdisjoint(name.upper().split("_")))
    values = {os.environ[name].strip() for name in names}
    return sorted((value for value in values if len(value) >= _SHORTEST), key=len, reverse=True)
