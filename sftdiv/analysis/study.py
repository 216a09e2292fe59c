"""A finished study as tables.

In: a study's folder, of which every cell's ``result.json`` or ``failure.json`` is read, and one ``config.yaml`` a ladder where two ladders
must be told apart. Out: one row a finished cell, what failed, and clear messages about whatever keeps cells from being compared.
The trade: rows are read strictly, so that a row of another version is an error and not a gap in a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd


@dataclass(frozen=True)
class Study:
    """The cells of one study folder.

    ``cells`` has the columns of ``result.json`` and ``performance`` (the primary score, negated where lower is better), ``k_share``
    (k_asked / k_max), ``unit_entropy``, ``ladder`` (a label; empty for baselines) and ``variant`` (what else tells this ladder from one of
    the same name). ``failures`` has ``cell, stage, message``. ``notes`` are messages for people.
    """

    folder: Path
    name: str
    cells: pd.DataFrame
    failures: pd.DataFrame
    notes: tuple[str, ...]
