"""Selectors over embeddings against public packages and plain loops, and their time and memory on 117,000 examples.

    python benchmarks/embedding_selectors.py vectors ../shared/data/pool-117k.parquet vectors.npy
    python benchmarks/embedding_selectors.py compare vectors.npy
    python benchmarks/embedding_selectors.py scale vectors.npy 10000 k_center log_det

The vectors are LSA of the responses in 384 dimensions. ``compare`` takes 5,000 of them and N = 500; it needs
submodlib-py, apricot-select, and nose, which apricot imports. ``scale`` takes all, with a size and names of selectors;
without names all of these. Results of a run: embedding_selectors.md.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sftdiv.protocols import SelectionProblem
from sftdiv.protocols.contexts import build_uncached
from sftdiv.records import Universe
from sftdiv.selection.rivals.deita import Deita
from sftdiv.selection.rivals.facility_location_selector import FacilityLocation
from sftdiv.selection.rivals.k_center import KCenter
from sftdiv.selection.rivals.log_det import LogDet
from sftdiv.selection.rivals.novel_select import NovelSelect, densities
from sftdiv.vectors.distinct import distinct_rows

Rows = NDArray[np.float64]
SMALL, PICKS, MORE_PICKS = 5_000, 500, 2_000
NOVEL = {"neighbours": 10, "density_power": 0.5, "distance_power": 1.0, "whiten": False}
COVERAGE = {"quality": 0.0, "column": None, "whiten": False}
SELECTORS: dict[str, Any] = {
    "k_center": KCenter(whiten=False),
    "log_det": LogDet(alpha=1.0, whiten=False),
    "deita": Deita(column="score", threshold=0.9, whiten=False),
    "facility_location": FacilityLocation(neighbours=100, **COVERAGE),
    "novel_select": NovelSelect(ranks=100, **NOVEL),
    "k_center, whitened": KCenter(whiten=True),
}


def problem_of(vectors: NDArray[np.float32], size: int) -> SelectionProblem:
    """A problem over all rows; the score is a fixed pseudo-random number."""
    count = len(vectors)
    unused: Any = None
    return SelectionProblem(
        units=unused,
        universe=Universe(np.arange(count), np.zeros(count, dtype=np.int64), {}),
        level=1.0,
        size=float(size),
        examples=size,
        weights=np.ones(count),
        side="response",
        seed=0,
        ladder_seed=0,
        embeddings=lambda side: vectors,
        token_ids=unused,
        column=lambda name: scores_of(count).tolist(),
        keep=build_uncached,
    )


def scores_of(count: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).random(count)


def plain_k_center(x: Rows, size: int) -> list[int]:
    """The rule of Sener and Savarese 2018: the distances to all selected examples, in every step."""
    norms, chosen = (x**2).sum(axis=1), [0]
    while len(chosen) < size:
        squared = norms[:, None] + norms[chosen] - 2 * x @ x[chosen].T
        nearest = squared.min(axis=1)
        nearest[chosen] = -np.inf
        chosen.append(int(nearest.argmax()))
    return chosen


def incremental_k_center(x: Rows, size: int) -> list[int]:
    """The loop of most public k-center code: one vectorised step of numpy per selected example."""
    norms, nearest, chosen = (x**2).sum(axis=1), np.full(len(x), np.inf), [0]
    while len(chosen) < size:
        last = chosen[-1]
        nearest = np.minimum(nearest, np.maximum(norms + norms[last] - 2 * x @ x[last], 0))
        nearest[last] = -1
        chosen.append(int(nearest.argmax()))
    return chosen


def plain_log_det(x: Rows, size: int) -> list[int]:
    """Algorithm 1 of Chen et al. 2018, with the whole kernel and its Cholesky factor."""
    kernel = np.eye(len(x)) + x @ x.T
    np.fill_diagonal(kernel, np.round(np.diagonal(kernel), 6))  # unit vectors, not their rounding to float32
    factor, gains, chosen = np.zeros((size, len(x))), np.diagonal(kernel).copy(), []
    for step in range(size):
        best = int(gains.argmax())
        chosen.append(best)
        row = (kernel[best] - factor[:step, best] @ factor[:step]) / np.sqrt(gains[best])
        factor[step] = row
        gains -= row**2
        gains[best] = -np.inf
    return chosen


def plain_deita(x: Rows, size: int) -> list[int]:
    """Liu et al. 2024: one example after another, its cosines to all that are kept."""
    ranked, kept = np.argsort(-scores_of(len(x)), kind="stable").tolist(), []
    for number in ranked:
        if len(kept) < size and (not kept or (x[kept] @ x[number]).max() < 0.9):
            kept.append(number)
    skipped = [number for number in ranked if number not in set(kept)]
    return (kept + skipped)[:size]


def plain_novel(x: Rows, size: int) -> list[int]:
    """Algorithm 1 of Yang et al. 2025: the distances to all selected examples are sorted in every step."""
    density, norms, chosen = densities(x.astype(np.float32), 10) ** 0.5, (x**2).sum(axis=1), [0]
    while len(chosen) < size:
        distance = np.maximum((norms[:, None] + norms[chosen]) / 2 - x @ x[chosen].T, 0)
        order = np.argsort(distance, axis=1, kind="stable")
        weighted = np.take_along_axis(distance * density[chosen], order, axis=1)
        novelty = weighted @ (1 / np.arange(1, len(chosen) + 1))
        novelty[chosen] = -np.inf
        chosen.append(int(novelty.argmax()))
    return chosen


def similarity_of(x: Rows) -> Rows:
    return np.maximum(x @ x.T, 0)


def plain_facility(x: Rows, size: int) -> list[int]:
    """Greedy as in Wei et al. 2015: the gains of all examples, in every step."""
    similarity, chosen = similarity_of(x), []
    covered = np.zeros(len(x))
    while len(chosen) < size:
        gains = np.maximum(similarity - covered[:, None], 0).sum(axis=0)
        gains[chosen] = -np.inf
        chosen.append(int(gains.argmax()))
        covered = np.maximum(covered, similarity[:, chosen[-1]])
    return chosen


def submodlib_facility(x: Rows, size: int) -> list[int]:
    import submodlib

    function = submodlib.FacilityLocationFunction(
        n=len(x), mode="dense", separate_rep=False, sijs=similarity_of(x), metric="cosine"
    )
    greedy = function.maximize(budget=size, optimizer="LazyGreedy", stopIfZeroGain=False, show_progress=False)
    return [number for number, _ in greedy]


def apricot_facility(x: Rows, size: int, optimizer: str = "naive") -> list[int]:
    import apricot

    chooser = apricot.FacilityLocationSelection(size, metric="precomputed", optimizer=optimizer)
    return [int(number) for number in chooser.fit(similarity_of(x)).ranking]


def lazy_apricot_facility(x: Rows, size: int) -> list[int]:
    """Lazy optimizer of apricot, whose picks are not those of its own naive greedy."""
    return apricot_facility(x, size, "lazy")


ALL_PAIRS = FacilityLocation(neighbours=None, **COVERAGE)
# Selector, its name, the reference, its name, N
REFERENCES: list[tuple[str, Any, str, Callable[[Rows, int], list[int]], int]] = [
    ("k_center", SELECTORS["k_center"], "plain loop", plain_k_center, PICKS),
    ("k_center", SELECTORS["k_center"], "numpy, incremental", incremental_k_center, PICKS),
    ("log_det", SELECTORS["log_det"], "plain loop (Cholesky)", plain_log_det, PICKS),
    ("log_det", SELECTORS["log_det"], "plain loop (Cholesky)", plain_log_det, MORE_PICKS),
    ("deita", SELECTORS["deita"], "plain loop", plain_deita, PICKS),
    ("deita", SELECTORS["deita"], "plain loop", plain_deita, MORE_PICKS),
    ("facility_location, all pairs", ALL_PAIRS, "submodlib", submodlib_facility, PICKS),
    ("facility_location, all pairs", ALL_PAIRS, "apricot, naive", apricot_facility, PICKS),
    ("facility_location, all pairs", ALL_PAIRS, "apricot, lazy", lazy_apricot_facility, PICKS),
    ("facility_location, all pairs", ALL_PAIRS, "plain loop", plain_facility, PICKS),
    ("facility_location, sparse", SELECTORS["facility_location"], "submodlib, all pairs", submodlib_facility, PICKS),
    ("novel_select, all ranks", NovelSelect(ranks=None, **NOVEL), "plain loop", plain_novel, PICKS),
    ("novel_select, 100 ranks", SELECTORS["novel_select"], "plain loop, all ranks", plain_novel, PICKS),
]


class Measured(NamedTuple):
    """Result of work in a child process: picks, wall seconds, CPU seconds of all threads, peak memory in GiB."""

    result: Any
    seconds: float
    cpu: float
    peak: float


def measured(work: Callable[[], Any], *, warm: bool) -> Measured:
    """Run work in a child process; with ``warm`` a second time, so that kernels are compiled and pages are there.

    Raises:
        EOFError: The child failed.
    """
    reader, writer = multiprocessing.Pipe(duplex=False)

    def child() -> None:
        if warm:
            work()
        started, cpu = time.perf_counter(), time.process_time()
        result = work()
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        writer.send(Measured(result, seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    writer.close()
    try:
        outcome: Measured = reader.recv()
    finally:
        process.join()
    return outcome


def compare(path: str, names: list[str]) -> None:
    everything = np.load(path, mmap_mode="r")
    rows = np.linspace(0, len(everything) - 1, SMALL).astype(int)
    vectors = np.ascontiguousarray(everything[rows])
    exact, copy_of = vectors.astype(np.float64), distinct_rows(vectors)[1]
    print("| selector | N | s | CPU s | GiB | reference | s | CPU s | GiB | faster (CPU) | equal picks | same set |")
    print("|" + " --- |" * 12)
    for name, selector, reference_name, reference, size in REFERENCES:
        if names and name.partition(",")[0] not in names:
            continue
        ours = measured(lambda chosen=selector, count=size: picks(chosen, vectors, count), warm=True)
        try:
            theirs = measured(lambda plain=reference, count=size: plain(exact, count), warm=False)
        except EOFError:
            print(f"| {name} | {size:,} | {_numbers(ours)} | {reference_name} | failed |", flush=True)
            continue
        our_texts, their_texts = (copy_of[outcome.result].tolist() for outcome in (ours, theirs))  # ties aside
        pairs = zip(our_texts, their_texts, strict=True)
        same = next((i for i, (our, their) in enumerate(pairs) if our != their), size)
        overlap = len(set(our_texts) & set(their_texts)) / len(set(their_texts))
        equal = "all" if same == size else f"first {same}"
        faster = f"{theirs.seconds / ours.seconds:.1f} ({theirs.cpu / ours.cpu:.1f})"
        cells = [name, f"{size:,}", _numbers(ours), reference_name, _numbers(theirs), faster, equal, f"{overlap:.1%}"]
        print(f"| {' | '.join(cells)} |", flush=True)


def picks(selector: Any, vectors: NDArray[np.float32], size: int) -> list[int]:
    rows: list[int] = selector.select(problem_of(vectors, size)).indices.tolist()
    return rows


def _numbers(outcome: Measured) -> str:
    return f"{outcome.seconds:.2f} | {outcome.cpu:.2f} | {outcome.peak:.2f}"


def scale(path: str, size: int, names: list[str]) -> None:
    vectors = np.load(path, mmap_mode="r")
    print("| selector | s | CPU s | peak GiB of the process | columns |")
    print("|" + " --- |" * 5)
    for name in names or list(SELECTORS):
        problem = problem_of(vectors, size)
        outcome = measured(lambda chosen=SELECTORS[name], whole=problem: chosen.select(whole), warm=False)
        assert len(set(outcome.result.indices.tolist())) == size
        print(f"| {name} | {_numbers(outcome)} | `{dict(outcome.result.columns)}` |", flush=True)


def write_vectors(pool: str, path: str) -> None:
    import pyarrow.parquet as pq

    from sftdiv.embeddings.lsa import LsaEmbedder

    embedder = LsaEmbedder(dimensions=384, min_documents=2, max_share=0.03, max_words=50_000, iterations=4, seed=0)
    texts = pq.read_table(pool, columns=["response"]).column("response").to_pylist()
    np.save(path, embedder.embed(texts, Path(path).parent).vectors)


def main() -> None:
    command, *arguments = sys.argv[1:]
    if command == "vectors":
        write_vectors(*arguments)
    elif command == "compare":
        compare(arguments[0], arguments[1:])
    else:
        scale(arguments[0], int(arguments[1]), arguments[2:])


if __name__ == "__main__":
    main()
