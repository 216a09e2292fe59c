"""Greedy selection of apricot, in apricot's own environment; run by `benchmarks/selection.py`.

    python benchmarks/selection_peer.py KIND FOLDER ROWS SIZE

Reads ``units.npz`` and ``embeddings.npy`` in FOLDER and uses their first ROWS; prints a line of JSON.
``feature`` is FeatureBasedSelection (square root, lazy greedy) on the sparse units; ``facility`` is
FacilityLocationSelection (cosine, lazy greedy) on the embeddings, since it takes no sparse features.
Imports are not timed, and neither is numba's compilation, which a first call on 200 rows triggers.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import scipy.sparse
from apricot import FacilityLocationSelection, FeatureBasedSelection  # type: ignore[import-not-found]


def main() -> None:
    kind, folder, rows, size = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    if kind == "feature":
        data = scipy.sparse.csr_matrix(scipy.sparse.load_npz(folder / "units.npz"))[:rows]
        make = lambda count: FeatureBasedSelection(count, concave_func="sqrt", optimizer="lazy")  # noqa: E731
    else:
        data = np.load(folder / "embeddings.npy", mmap_mode="r")[:rows].copy()
        make = lambda count: FacilityLocationSelection(count, metric="cosine", optimizer="lazy")  # noqa: E731
    make(20).fit(data[:200])
    started, processor = time.perf_counter(), time.process_time()
    selected = make(size).fit(data).ranking
    wall = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        json.dumps(
            {
                "wall": wall,
                "processor": time.process_time() - processor,
                "peak_gib": peak,
                "selected": len(set(map(int, selected))),
            }
        )
    )


if __name__ == "__main__":
    main()
