"""Selectors over unit types against apricot and plain loops, and their time and memory on 117,000 examples.

    python benchmarks/unit_selectors.py units ../shared/data/pool-117k.parquet units.npz   # words of the responses
    python benchmarks/unit_selectors.py compare units.npz                                   # 2,000 examples, N = 200
    python benchmarks/unit_selectors.py scale units.npz                                     # all examples, N = 10,000

``compare`` needs apricot-select (and nose, which it imports); where it is missing, its rows say so.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from sftdiv.selection.rivals.coverage import presence
from sftdiv.selection.rivals.greedy_coverage import greedy_order
from sftdiv.selection.rivals.instag import complexity_first

Matrix = scipy.sparse.csr_array
SMALL, PICKS, LARGE_PICKS = 2_000, 200, 10_000
BAND = (10, 500)  # examples that have the word


def measured(work: Callable[[], list[int]]) -> tuple[list[int], float, float]:
    """Result, seconds and peak memory in GiB of work in a child process, its second run, without compilation.

    Raises:
        EOFError: The work fails.
    """
    reader, writer = multiprocessing.Pipe(duplex=False)

    def child() -> None:
        work()
        started = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - started
        writer.send((result, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    writer.close()
    try:
        return reader.recv()
    finally:
        process.join()


def ours(objective: str) -> Callable[[Matrix, int], list[int]]:
    return lambda matrix, size: greedy_order(matrix, np.ones(matrix.shape[0]), size, objective=objective).tolist()


def instag(matrix: Matrix, size: int) -> list[int]:
    return complexity_first(matrix)[:size].tolist()


def apricot_sqrt(matrix: Matrix, size: int) -> list[int]:
    """Apricot's lazy greedy; its sparse kernels take scipy's older class of matrices."""
    import apricot

    chooser = apricot.FeatureBasedSelection(size, concave_func="sqrt", optimizer="lazy")
    return [int(row) for row in chooser.fit(scipy.sparse.csr_matrix(matrix)).ranking]


def apricot_cover(matrix: Matrix, size: int) -> list[int]:
    import apricot

    chooser = apricot.MaxCoverageSelection(size, threshold=1, optimizer="lazy")
    return [int(row) for row in chooser.fit(scipy.sparse.csr_matrix(matrix)).ranking]


def plain(gain: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]) -> Any:
    """The plain greedy algorithm on a dense matrix: all gains in every step."""

    def choose(matrix: Matrix, size: int) -> list[int]:
        weights, chosen = matrix.toarray(), []
        collected = np.zeros(matrix.shape[1])
        while len(chosen) < size:
            gains = gain(collected, weights)
            gains[chosen] = -1
            chosen.append(int(gains.argmax()))
            collected += weights[chosen[-1]]
        return chosen

    return choose


def plain_instag(matrix: Matrix, size: int) -> list[int]:
    """Algorithm 1 of Lu et al. 2023: pass over all remaining examples in every round."""
    tags = [set(matrix.indices[start:end]) for start, end in zip(matrix.indptr, matrix.indptr[1:], strict=False)]
    remaining, chosen = sorted(range(len(tags)), key=lambda row: -len(tags[row])), []
    while len(chosen) < size:
        seen: set[int] = set()
        left = []
        for row in remaining:
            if tags[row] <= seen:
                left.append(row)
                continue
            chosen.append(row)
            seen |= tags[row]
        remaining = left
    return chosen[:size]


PLAIN_SQRT = plain(lambda collected, w: (np.sqrt(collected + w) - np.sqrt(collected)).sum(axis=1))
PLAIN_MIG = plain(lambda collected, w: w @ (0.8 * (collected + 1e-6) ** -0.2))
REFERENCES: list[tuple[str, Any, str, Any]] = [
    ("coverage, sqrt", ours("sqrt"), "plain loop (dense)", PLAIN_SQRT),
    ("coverage, sqrt", ours("sqrt"), "apricot FeatureBased, lazy", apricot_sqrt),
    ("coverage, set_cover", ours("set_cover"), "apricot MaxCoverage, lazy", apricot_cover),
    ("mig (without a graph)", ours("mig"), "plain loop (dense)", PLAIN_MIG),
    ("instag", instag, "plain loop", plain_instag),
]


def objective_of(name: str, matrix: Matrix, rows: list[int]) -> float:
    counts = np.asarray(matrix[rows].sum(axis=0)).ravel()
    phi = {"sqrt": np.sqrt, "cover": lambda x: np.minimum(x, 1), "mig": lambda x: (x + 1e-6) ** 0.8}
    return float(next(value(counts).sum() for key, value in phi.items() if key in name)) if name != "instag" else 0.0


def compare(path: str) -> None:
    everything = scipy.sparse.csr_array(scipy.sparse.load_npz(path))
    matrix = presence(everything[np.linspace(0, everything.shape[0] - 1, SMALL).astype(int)])
    used = np.flatnonzero(np.bincount(matrix.indices, minlength=matrix.shape[1]))
    matrix = scipy.sparse.csr_array(matrix[np.diff(matrix.indptr) > 0][:, used])
    print(f"{matrix.shape[0]:,} examples, {matrix.shape[1]:,} types, {matrix.nnz:,} non-zeros, N = {PICKS:,}\n")
    print("| selector | seconds | reference | seconds | times faster | equal picks | same set | objective / theirs |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, work, reference_name, reference in REFERENCES:
        mine = measured(lambda chosen=work: chosen(matrix, PICKS))
        try:
            theirs = measured(lambda chosen=reference: chosen(matrix, PICKS))
        except EOFError:
            print(f"| {name} | {mine[1]:.3f} | {reference_name} | failed | | | | |", flush=True)
            continue
        same = next((i for i, (a, b) in enumerate(zip(mine[0], theirs[0], strict=False)) if a != b), PICKS)
        overlap = len(set(mine[0]) & set(theirs[0])) / PICKS
        values = [objective_of(name, matrix, rows) for rows in (mine[0], theirs[0])]
        ratio = f"{values[0] / values[1]:.6f}" if values[1] else ""
        cells = [name, f"{mine[1]:.3f}", reference_name, f"{theirs[1]:.2f}", f"{theirs[1] / mine[1]:.0f}"]
        cells += ["all" if same == PICKS else f"first {same}", f"{overlap:.1%}", ratio]
        print(f"| {' | '.join(cells)} |", flush=True)


def scale(path: str) -> None:
    everything = presence(scipy.sparse.csr_array(scipy.sparse.load_npz(path)))
    matrix = scipy.sparse.csr_array(everything[np.diff(everything.indptr) > 0])
    print(f"{matrix.shape[0]:,} examples, {matrix.shape[1]:,} types, {matrix.nnz:,} non-zeros, N = {LARGE_PICKS:,}\n")
    print("| selector | seconds | peak GiB of the process |")
    print("| --- | --- | --- |")
    works = {name: work for name, work, *_ in REFERENCES} | {"apricot FeatureBased, lazy": apricot_sqrt}
    for name, work in works.items():
        try:
            _, seconds, peak = measured(lambda chosen=work: chosen(matrix, LARGE_PICKS))
        except EOFError:
            print(f"| {name} | failed | |", flush=True)
            continue
        print(f"| {name} | {seconds:.1f} | {peak:.2f} |", flush=True)


def write_units(pool: str, path: str) -> None:
    import pyarrow.parquet as pq
    from sklearn.feature_extraction.text import CountVectorizer

    from sftdiv.text.words import terms

    texts = pq.read_table(pool, columns=["response"]).column("response").to_pylist()
    counter = CountVectorizer(tokenizer=terms, token_pattern=None, min_df=BAND[0], max_df=BAND[1])
    scipy.sparse.save_npz(path, counter.fit_transform(texts))


if __name__ == "__main__":
    {"units": write_units, "compare": compare, "scale": scale}[sys.argv[1]](*sys.argv[2:])
