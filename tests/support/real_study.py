"""Studies that were really run, on a synthetic corpus and a model that trains in a second, as folders of rows.

``tests/analysis/real_studies.json`` holds the rows and item scores of

    python -m sftdiv.run -m SMALL sweep=grid selection.universe_share=0.7 strategy=micro_token,meso_tag \\
        strategy.side=response diversity_level=0,1/2,1 replicate=0,1,2 study=replicated
    python -m sftdiv.run -m SMALL sweep=grid strategy=micro_token,meso_tag strategy.side=instruction,response \\
        diversity_level=0,1/2,1 seed=0,1 study=real
    python -m sftdiv.run -m SMALL strategy=micro_token strategy.tokenizer=model,words diversity_level=0,1/2,1 \\
        seed=0 study=tokenizers

with SMALL as in ``small_runs`` and ``eval.limit=40 samples=1``, less times, versions and paths. What all cells of a
study have in common is written once. ``real`` was run before rows named their ladder.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from sftdiv.storage.cell import RESULT
from sftdiv.storage.files import write_json

FILE = Path(__file__).parents[1] / "analysis" / "real_studies.json"


def write_real_study(folder: Path, name: str) -> Path:
    """Write the rows and item scores of one of the studies.

    Args:
        folder: Where the study's folder is made.
        name: ``replicated``, ``real`` or ``tokenizers``.

    Returns:
        The study's folder.
    """
    study = json.loads(FILE.read_text(encoding="utf-8"))[name]
    for cell, content in study["cells"].items():
        for path, columns in content["items"].items():
            target = folder / name / cell / "evaluation" / path
            target.parent.mkdir(parents=True)
            pd.DataFrame(study["items"][path] | columns).to_parquet(target, index=False)
        (folder / name / cell).mkdir(parents=True, exist_ok=True)
        write_json(folder / name / cell / RESULT, study["shared"] | content["row"])
    return folder / name
