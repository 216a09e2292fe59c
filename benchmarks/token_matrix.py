"""Time and memory of the token matrix on made-up token ids, by whichever sftdiv is on ``PYTHONPATH``.

    python benchmarks/token_matrix.py 500000

Each text has 100 tokens of 30,000 types whose frequencies fall as 1/rank; ranks 200 to 11,200 are the band. Prints JSON
with sums that two versions of the code must share.
"""

import json
import resource
import sys
import time

import numpy as np

from sftdiv.records import TokenIds
from sftdiv.units.tokens import frequencies, token_matrix

TEXT, TYPES = 100, 30_000


def main() -> None:
    rows, rng = int(sys.argv[1]), np.random.default_rng(0)
    flat = np.empty(rows * TEXT, dtype=np.int32)
    for start in range(0, len(flat), 1_000_000):
        part = flat[start : start + 1_000_000]
        part[:] = TYPES ** rng.random(len(part)) - 1
    tokens = TokenIds(flat, np.arange(0, len(flat) + 1, TEXT, dtype=np.int64), [""] * TYPES)
    few = TokenIds(flat[: 10 * TEXT], tokens.offsets[:11], tokens.names)
    band = np.zeros(TYPES, dtype=bool)
    band[200:11_200] = True
    frequencies(few, "documents")  # compiles
    token_matrix(few, band)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, processor = time.perf_counter(), time.process_time()
    counts, matrix = frequencies(tokens, "documents"), token_matrix(tokens, band)
    seconds = [round(time.perf_counter() - wall, 2), round(time.process_time() - processor, 2)]
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    sums = [int(counts.sum()), int(matrix.data.sum()), int(np.dot(matrix.indices % 1000, np.arange(matrix.nnz) % 1000))]
    measured = {"s": seconds, "bytes_per_nonzero": round(added / matrix.nnz, 1), "sums": sums}
    print(json.dumps({"rows": rows, "tokens": len(flat), "nonzeros": int(matrix.nnz), **measured}))


if __name__ == "__main__":
    main()
