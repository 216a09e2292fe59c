"""The gallery: the report of the real study with the pages of its cells, made from the rows in the repository."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from repository_pages import BENCHMARKS

from sftdiv.pipeline.analyze_study import REPORT, analyze_study

ROWS = BENCHMARKS / "real_study" / "rows"
ADDRESS = "gallery/real_study"


def gallery_files() -> Iterator[tuple[str, bytes]]:
    """Address and content of each file; without ``report.html``, whose links to folders a site cannot answer."""
    with tempfile.TemporaryDirectory() as temporary:
        study = Path(temporary) / "real_study"
        shutil.copytree(ROWS, study)
        analyze_study(study, draw=False, bundle=True)
        for path in sorted(study.rglob("*")):
            if path.is_file() and path != study / REPORT:
                yield f"{ADDRESS}/{path.relative_to(study).as_posix()}", path.read_bytes()
