"""A cell: one combination of settings, its folder named by content, and the files that say how far it came.

In: the resolved settings. Out: the folder's name and hash; ``result.json`` (one flat row, written
last: its presence means done), ``failure.json``, and ``.running.json`` in between. The same
settings give the same folder on every machine, so a command given again finds what it did before.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftdiv.storage.files import write_json
from sftdiv.storage.hashing import content_hash

RESULT, FAILURE, RUNNING = "result.json", "failure.json", ".running.json"
NOT_RESULT = ("study", "paths", "tracking", "sweep", "export", "command")  # settings that do not change the result


@dataclass(frozen=True)
class Cell:
    """Where a combination of settings keeps its files; ``hash`` covers what else the cells of one ladder have in common."""

    study: str
    name: str
    folder: Path
    hash: str

    def result(self) -> dict[str, Any] | None:
        """The finished row, or None while there is none."""
        path = self.folder / RESULT
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def plan_cell(settings: Mapping[str, Any], root: Path) -> Cell:
    """Name the cell of these settings.

    Args:
        settings: Resolved settings as plain values; whatever stands for content elsewhere (paths)
            is already replaced by its identity.
        root: The folder that studies are put in.
    """
    rest = {key: copy.deepcopy(value) for key, value in settings.items() if key not in NOT_RESULT}
    strategy, size, model = rest["strategy"], rest["size"], rest["model"]
    label_tokens, n = size.pop("label_tokens"), size.pop("n")
    amount = {None: f"n{n}", "auto": f"n{n}tokens"}.get(label_tokens, f"t{label_tokens}")
    if label_tokens == "auto":
        rest["label_tokens"] = "auto"  # else equal examples and equal tokens would share a hash, which groups a ladder
    level = rest.pop("diversity_level")
    parts = [strategy.pop("name"), strategy.pop("side"), amount]
    parts += [f"d{level:.3g}", model.pop("name"), f"s{rest.pop('seed')}"]
    common = content_hash(rest, length=6)
    unsaid = (
        common if float(f"{level:.3g}") == level else content_hash([rest, level], length=6)
    )  # 1/6 and 0.167 are two levels
    name = "-".join([*parts, f"h{unsaid}"])
    return Cell(settings["study"], name, root / settings["study"] / name, common)


def write_failure(folder: Path, stage: str, message: str, trace: str = "") -> None:
    """Write ``failure.json``, and take away the sign that the cell is running."""
    write_json(folder / FAILURE, {"stage": stage, "message": message, "traceback": trace})
    (folder / RUNNING).unlink(missing_ok=True)


def stage_of(folder: Path) -> str | None:
    """The stage that a cell last said it was in; None where it is not running, and was not killed while it ran."""
    try:
        return str(json.loads((folder / RUNNING).read_text(encoding="utf-8"))["stage"])
    except FileNotFoundError:
        return None


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one flat mapping with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
