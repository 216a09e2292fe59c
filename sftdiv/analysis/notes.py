"""Collects messages about what an analysis could not compute: each reason once, with the ladders it applies to."""

from __future__ import annotations

MAX_NAMED = 2


class Notes:
    """Reasons in the order in which they were added, each with its ladders."""

    def __init__(self) -> None:
        self._ladders: dict[str, list[str]] = {}

    def add(self, reason: str, ladder: str | None = None) -> None:
        """Add a reason that applies to one ladder or, without one, to the whole study."""
        ladders = self._ladders.setdefault(reason, [])
        if ladder is not None and ladder not in ladders:
            ladders.append(ladder)

    def sentences(self) -> tuple[str, ...]:
        """One sentence per reason. Of more than ``MAX_NAMED`` series only the first is named."""
        return tuple(
            f"{reason} ({_names(ladders)})" if ladders else reason for reason, ladders in self._ladders.items()
        )


def _names(ladders: list[str]) -> str:
    return "; ".join(ladders) if len(ladders) <= MAX_NAMED else f"{len(ladders)} series, such as {ladders[0]}"
