"""Messages for people about what an analysis could not do, each reason once, with the ladders that it holds for."""

from __future__ import annotations

MOST_NAMED = 2


class Notes:
    """Collects reasons in the order in which they are found."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def add(self, reason: str, ladder: str | None = None) -> None:
        """Note a reason, of one ladder or of the whole study."""
        ladders = self._found.setdefault(reason, [])
        if ladder is not None and ladder not in ladders:
            ladders.append(ladder)

    def told(self) -> tuple[str, ...]:
        """One sentence a reason; of many ladders the first is named."""
        return tuple(f"{reason} ({_named(ladders)})" if ladders else reason for reason, ladders in self._found.items())


def _named(ladders: list[str]) -> str:
    return "; ".join(ladders) if len(ladders) <= MOST_NAMED else f"{len(ladders)} ladders, such as {ladders[0]}"
