"""The ladder of ``selection.batch`` over a corpus in shards, each in a process: equal to that of one process.

    python benchmarks/ladder_rounds.py ../shared/data/pool-117k.parquet

In each round the coordinator, which knows nothing but the support of each type, sends out the types that are removed,
in order, and each shard sends back by how much the supports of the others fell. Prints JSON: whether the order of the
types and the step of every example are those of `selection.ladder`, the rounds, and the bytes that travelled.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Sequence
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse
from numba import njit
from numpy.typing import NDArray

from sftdiv.protocols import CorpusSide
from sftdiv.protocols.contexts import not_given
from sftdiv.records import Ladder
from sftdiv.selection.incidence import Int32s, Int64s, incidence
from sftdiv.selection.ladder import build_ladder, tie_ranks
from sftdiv.units.encoding import encode
from sftdiv.units.tokens import TokenUnits


@njit(cache=True)
def remove_types(
    starts: Int64s,
    ends: Int64s,
    types_of: Int32s,
    type_start: Int64s,
    holders: Int32s,
    steps: Int64s,
    removed: Int64s,
    step: int,
) -> Int64s:
    """Remove the live holders of the types, the first at step ``step`` + 1; the decrement of each type's support."""
    decrements = np.zeros(len(type_start) - 1, dtype=np.int64)
    for type_removed in removed:
        step += 1
        for row in holders[type_start[type_removed] : type_start[type_removed + 1]]:
            if steps[row] == 0:
                steps[row] = step
                for row_type in types_of[starts[row] : ends[row]]:
                    decrements[row_type] += 1
    return decrements


def serve(connection: Connection, matrix: scipy.sparse.csr_array) -> None:
    """Answer the coordinator from one shard of the rows; ends with the connection."""
    index = incidence(matrix)
    steps = np.zeros(matrix.shape[0], dtype=np.int64)
    connection.send(np.diff(index.type_start))
    while (request := connection.recv()) is not None:
        connection.send(remove_types(*index, steps, *request))
    connection.send(steps)


def ladder_of_shards(shards: Sequence[Connection], ties: NDArray[np.int64], batch: float) -> tuple[Ladder, Any]:
    """The ladder of the shards' rows one after the other; the rounds and the bytes of their messages."""
    support = np.sum([shard.recv() for shard in shards], axis=0)
    remaining, order, rounds, sent, received = np.flatnonzero(support), [], 0, 0, 0
    while len(remaining):
        ranked = remaining[np.lexsort((ties[remaining], support[remaining]))]
        count = max(1, int(batch * len(ranked)))
        removed, remaining = ranked[:count], ranked[count:]
        for shard in shards:
            shard.send((removed, len(order)))
        decrements = [shard.recv() for shard in shards]
        support -= np.sum(decrements, axis=0)
        order += removed.tolist()
        rounds += 1
        sent += removed.nbytes * len(shards)
        received += sum(each.nbytes for each in decrements)
    for shard in shards:
        shard.send(None)
    steps = np.concatenate([shard.recv() for shard in shards])
    return Ladder(np.array(order), steps), {"rounds": rounds, "bytes_sent": sent, "bytes_received": received}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("--batch", type=float, default=0.005)
    parser.add_argument("--shards", type=int, default=2)
    arguments = parser.parse_args()
    texts = pq.read_table(arguments.pool, columns=["response"]).column(0).to_pylist()
    side = CorpusSide(texts, lambda: encode(texts, "lexical"), embeddings=not_given, column=not_given)
    units = TokenUnits(low=10, high=500, unit="occurrences", scale="absolute").extract(side)
    matrix, ties = units.matrix[np.diff(units.matrix.indptr) > 0], tie_ranks(units.names, seed=0)
    alone = build_ladder(matrix, ties, prune="support", batch=arguments.batch)
    context, shards, processes = multiprocessing.get_context("spawn"), [], []
    bounds = np.linspace(0, matrix.shape[0], arguments.shards + 1).astype(int)
    for start, end in pairwise(bounds):
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, matrix[start:end]))
        process.start()
        shards.append(ours)
        processes.append(process)
    begun = time.perf_counter()
    together, traffic = ladder_of_shards(shards, ties, arguments.batch)
    seconds = round(time.perf_counter() - begun, 2)
    for process in processes:
        process.join()
    equal = {
        "equal_order": np.array_equal(alone.type_order, together.type_order),
        "equal_steps": np.array_equal(alone.example_step, together.example_step),
    }
    shape = {"rows": matrix.shape[0], "types": together.k_max, "shards": arguments.shards, "batch": arguments.batch}
    print(json.dumps(shape | equal | traffic | {"s": seconds}))


if __name__ == "__main__":
    main()
