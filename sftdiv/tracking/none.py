"""The tracker that does nothing, so that no caller ever asks whether there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class NoTracker:
    """Takes the same settings as every tracker and forgets them."""

    group: str
    name: str
    folder: Path
    config: Mapping[str, Any]
    kind: str
    tags: Sequence[str]

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Forget the metrics of a step."""

    def samples(self, path: Path) -> None:
        """Forget the generations."""

    def finish(self, summary: Mapping[str, Any], exit_code: int) -> None:
        """Forget the summary."""
