"""From files to a subset, and the diversity report, on corpora of millions of rows; results in `benchmarks/scale.md`.

    python benchmarks/scale_end_to_end.py rows --pool ../shared/data/pool-117k.parquet --rows 1_200_000 --out ROWS
    python benchmarks/scale_end_to_end.py select --rows ROWS [--limit-gb 4]
    python benchmarks/scale_end_to_end.py measure --rows ROWS
    python benchmarks/scale_end_to_end.py table
    python benchmarks/scale_end_to_end.py extrapolate

``rows`` writes Parquet shards: the pool, then copies of it in which one or two words of each row's longer side are
replaced by random words of the pool. ``select`` goes the way of ``python -m sftdiv.run corpus=files
strategy=micro_token strategy.tokenizer=lexical stop_after=select`` step by step, in one process with one thread, and
``measure`` runs ``python -m sftdiv.measure``. Both add their steps to `benchmarks/scale.csv`: processor and wall
seconds, and the peak of the memory without mapped files (``RssAnon``), which a process of its own samples 20 times a
second. With ``--limit-gb`` a step that needs more memory, cached pages of files included, is killed.
``table`` and ``extrapolate`` print what `scale.md` shows, from the CSV alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

RESULTS = Path(__file__).with_name("scale.csv")
FIELDS = ("way", "rows", "distinct", "nonzeros", "step", "processor_s", "wall_s", "peak_gb", "limit_gb", "date")
CONTROL_GROUP = Path("/sys/fs/cgroup/memory/sftdiv-scale")
SHARD = 100_000  # rows of a file
LONG = 100  # characters of a side from which two words are replaced
WORDS_OF = 2_000  # rows of the pool whose words replace others
SIZE = 100_000  # examples drawn; a tenth of a smaller corpus
BAND = ("corpus.band.scale=per_million", "corpus.band.low=90", "corpus.band.high=4500")  # of the pool: 10 to 500
SETTINGS = (
    *("corpus=files", "corpus.heldout=0", "corpus.heldout_by=instruction", "embedder=none", "stop_after=select"),
    *("strategy=micro_token", "strategy.tokenizer=lexical", "diversity_level=0.5", *BAND),
)
MEASURED = ("corpus=files", "corpus.on_bad_row=error", "corpus.heldout=0", "corpus.heldout_by=instruction", *BAND)
MACHINES = {10_000_000: (1, 16), 100_000_000: (4, 32), 1_000_000_000: (16, 64)}  # rows: machines, cores of each
SHARDED = {"corpus": 0.75, "token ids": 0.87}  # share of a step that is divided; `scale.md` says from what
STEPS = ("corpus", "token ids", "units", "universe", "ladder and draw")
SAMPLER = """
import select, sys
peak, ended = 0, False
print("ready", flush=True)
while not ended:
    ended = bool(select.select([sys.stdin], [], [], 0.05)[0])
    try:
        with open(f"/proc/{sys.argv[1]}/status") as status:
            peak = max([peak, *(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))])
    except OSError:
        ended = True
print(peak)
"""


class SampledPeak:
    """The most memory without mapped files that a process takes within the block, in ``peak`` bytes."""

    def __init__(self, process: int) -> None:
        command = [sys.executable, "-I", "-S", "-c", SAMPLER, str(process)]
        self._sampler = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._sampler.stdout is not None
        self._sampler.stdout.readline()  # "ready"

    def __enter__(self) -> SampledPeak:
        return self

    def __exit__(self, *_: object) -> None:
        self.peak = int(self._sampler.communicate("\n")[0])


def rows_of_pool(pool: Path, rows: int, out: Path) -> None:
    """Write ``rows`` rows as Parquet shards; the first ones are the pool's."""
    table = pq.read_table(pool)
    sample = table.column("response").slice(0, WORDS_OF).to_pylist()
    words = [word for text in sample for word in text.split()]
    out.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, rows, SHARD)):
        taken = np.arange(start, min(start + SHARD, rows))
        shard = table.take(taken % len(table))
        copies = taken // len(table)
        if copies[-1]:
            shard = varied(shard, copies, words, random.Random(number))
        pq.write_table(shard, out / f"{number:05d}.parquet", compression="zstd")


def varied(table: pa.Table, copies: np.ndarray, words: Sequence[str], rng: random.Random) -> pa.Table:
    """The rows with other ids, and one or two other words in the longer side, except those of copy 0."""
    columns = {name: table.column(name).to_pylist() for name in ("id", "instruction", "response")}
    for row, copy in enumerate(copies.tolist()):
        if not copy:
            continue
        columns["id"][row] = f"{columns['id'][row]}-{copy}"
        side = max("instruction", "response", key=lambda name: len(columns[name][row] or ""))
        text = columns[side][row]
        for _ in range(2 if len(text) > LONG else 1):
            text = with_other_word(text, rng.randrange(len(text) + 1), rng.choice(words))
        columns[side][row] = text
    for name, values in columns.items():
        position = table.schema.get_field_index(name)
        table = table.set_column(position, name, pa.array(values, table.schema.field(name).type))
    return table


def with_other_word(text: str, position: int, word: str) -> str:
    """The text with another word in place of the one after a position, or of the first one."""
    start = text.find(" ", position) + 1
    end = text.find(" ", start)
    return text[:start] + word + (text[end:] if end >= 0 else "")


def way_select(rows: Path, cache: Path, steps: Sequence[str], limit_gb: float | None) -> None:
    """Measure the steps from files to a subset, each in a process of its own that maps the results of earlier ones."""
    for step in steps:
        limit = [] if limit_gb is None else [f"--limit-gb={limit_gb}"]
        command = [sys.executable, __file__, "select", f"--rows={rows}", f"--cache={cache}", "--here", step, *limit]
        subprocess.run(command, check=True, env=os.environ | {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"})


def step_select(step: str, rows: Path, cache: Path, limit_gb: float | None) -> None:
    """Measure one step, and add it to the CSV."""
    from scale import ladder_and_draw, timed

    from sftdiv.config.from_python import compose_run
    from sftdiv.pipeline.run_artifacts import RunArtifacts
    from sftdiv.pipeline.stages import find_units, find_universe, select
    from sftdiv.records import ModelRef
    from sftdiv.storage.cache import Store

    total = number_of_rows(rows)
    spec = compose_run([*SETTINGS, f"corpus.path={rows}", f"size.n={min(SIZE, total // 10)}"]).spec
    artifacts = RunArtifacts(spec, Store(cache))
    if step == "ladder and draw":
        ladder_and_draw(1000, 100)  # compiles
    if limit_gb is not None:
        limit_memory(limit_gb)
    facts: dict[str, Any] = {"way": "select", "rows": total, "limit_gb": limit_gb or ""}

    def measured(name: str, work: Callable[[], Any]) -> Any:
        if name != step:
            return work()
        with SampledPeak(os.getpid()) as sampled:
            result, wall, processor = timed(work)
        facts["step"], facts["wall_s"], facts["processor_s"] = name, wall, processor
        facts["peak_gb"] = sampled.peak / 1e9
        return result

    facts["distinct"] = len(measured("corpus", lambda: artifacts.data.corpus))
    if step != "corpus":
        measured("token ids", lambda: artifacts.data.token_ids("response", ModelRef("lexical")))
    if step not in ("corpus", "token ids"):
        units = measured("units", lambda: find_units(spec, artifacts))
        facts["nonzeros"] = units.matrix.nnz
        universe = measured("universe", lambda: find_universe(spec, artifacts, units))
        if step != "universe":
            measured("ladder and draw", lambda: select(spec, artifacts, units, universe))
    record(facts)


def limit_memory(limit_gb: float) -> None:
    """Put this process into a control group of its own (cgroup v1, as root) that may not take more memory.

    Cached pages of files count as well, and are given up first. A process that needs more is killed.
    """
    CONTROL_GROUP.mkdir(exist_ok=True)
    (CONTROL_GROUP / "memory.limit_in_bytes").write_text(str(int(limit_gb * 1e9)), encoding="ascii")
    (CONTROL_GROUP / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")


def number_of_rows(folder: Path) -> int:
    """Rows of all shards."""
    return sum(pq.read_metadata(path).num_rows for path in folder.glob("*.parquet"))


def way_measure(rows: Path, cache: Path) -> None:
    """Measure the diversity report as a whole; finished parts of an interrupted run are not repeated."""
    with tempfile.TemporaryDirectory(dir=cache) as outputs:
        paths = (f"corpus.path={rows}", f"paths.outputs={outputs}", f"paths.cache={cache}")
        started = time.perf_counter()
        command = [sys.executable, "-m", "sftdiv.measure", *MEASURED, *paths]
        process = subprocess.Popen(command, env=os.environ | {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"})
        with SampledPeak(process.pid) as sampled:
            status = process.wait()
        wall, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        if status:
            raise SystemExit(status)
        numbers = json.loads(next(Path(outputs).rglob("measure.json")).read_text(encoding="utf-8"))
    facts = {"way": "measure", "step": "whole", "rows": number_of_rows(rows), "wall_s": wall}
    facts["processor_s"], facts["peak_gb"] = used.ru_utime + used.ru_stime, sampled.peak / 1e9
    record(facts | {"distinct": next(find(numbers, "counts"))["examples"]})


def find(value: Any, name: str) -> Iterator[Any]:
    """Every value of a key within nested JSON."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from [item] if key == name else find(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from find(item, name)


def measurements() -> dict[tuple[str, str], dict[int, dict[str, float]]]:
    """The CSV by way and step, then by rows; of repeated runs the last, those with a memory limit left out."""
    found: dict[tuple[str, str], dict[int, dict[str, float]]] = defaultdict(dict)
    with RESULTS.open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if not row["limit_gb"]:
                numbers = {name: float(row[name]) for name in ("processor_s", "wall_s", "peak_gb", "distinct")}
                found[row["way"], row["step"]][int(row["rows"])] = numbers
    return found


def print_table() -> None:
    """Print each step of each size, with the exponent of its processor time between the smallest and largest size."""
    print("| way | step | rows | processor s (wall) | peak GB | exponent |")
    print("| --- | --- | --- | --- | --- | --- |")
    order = [*STEPS, "whole"]
    for (way, step), by_rows in sorted(measurements().items(), key=lambda item: order.index(item[0][1])):
        for rows, numbers in sorted(by_rows.items()):
            cell = f"{exponent(by_rows):.2f}" if rows == max(by_rows) and len(by_rows) > 1 else ""
            seconds = f"{numbers['processor_s']:,.1f} ({numbers['wall_s']:,.0f})"
            print(f"| {way} | {step} | {rows:,} | {seconds} | {numbers['peak_gb']:.2f} | {cell} |")


def exponent(by_rows: Mapping[int, Mapping[str, float]]) -> float:
    """Exponent of the processor time in the number of rows, between the smallest and the largest size."""
    small, large = min(by_rows), max(by_rows)
    growth = by_rows[large]["processor_s"] / max(by_rows[small]["processor_s"], 0.01)
    return float(np.log(growth) / np.log(large / small))


def print_extrapolation() -> None:
    """Print core hours, hours and memory of each larger size on the machines of `MACHINES`.

    Time grows with the measured exponent, but at least linearly, and memory in proportion to the rows from the smallest
    and the largest size. What `SHARDED` names is divided among all cores of all machines, the rest uses one core.
    """
    print("| rows | machines | core hours | hours | peak GB of one process | bound by |")
    print("| --- | --- | --- | --- | --- | --- |")
    steps = {step: by_rows for (way, step), by_rows in measurements().items() if way == "select" and len(by_rows) > 1}
    for rows, (machines, cores) in MACHINES.items():
        hours = {step: extrapolated_seconds(by_rows, rows) / 3600 for step, by_rows in steps.items()}
        memory = {step: extrapolated_peak(by_rows, rows) for step, by_rows in steps.items()}
        divided = {step: SHARDED.get(step, 0.0) * value for step, value in hours.items()}
        wall = sum(hours.values()) - sum(divided.values()) * (1 - 1 / (machines * cores))
        largest = max(memory, key=memory.__getitem__)
        numbers = f"{sum(hours.values()):,.1f} | {wall:,.1f} | {memory[largest]:,.0f} | {largest}"
        print(f"| {rows:,} | {machines} of {cores} cores | {numbers} |")


def extrapolated_seconds(by_rows: Mapping[int, Mapping[str, float]], rows: int) -> float:
    """Processor seconds for a number of rows."""
    largest = max(by_rows)
    return by_rows[largest]["processor_s"] * (rows / largest) ** max(exponent(by_rows), 1.0)


def extrapolated_peak(by_rows: Mapping[int, Mapping[str, float]], rows: int) -> float:
    """Peak in GB for a number of rows, on the line through the smallest and the largest size."""
    small, large = min(by_rows), max(by_rows)
    slope = (by_rows[large]["peak_gb"] - by_rows[small]["peak_gb"]) / (large - small)
    return by_rows[large]["peak_gb"] + slope * (rows - large)


def record(facts: Mapping[str, Any]) -> None:
    """Print a step and add it to the CSV."""
    is_new = not RESULTS.exists()
    rounded = {key: round(value, 2) if isinstance(value, float) else value for key, value in facts.items()}
    print(json.dumps(rounded), flush=True)
    with RESULTS.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(rounded | {"date": date.today().isoformat()})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    ways = parser.add_subparsers(dest="way", required=True)
    rows = ways.add_parser("rows", help="write Parquet shards of the pool and varied copies of it")
    rows.add_argument("--pool", type=Path, required=True)
    rows.add_argument("--rows", type=int, required=True)
    rows.add_argument("--out", type=Path, required=True)
    for name, text in (("select", "from files to a subset"), ("measure", "the diversity report")):
        way = ways.add_parser(name, help=text)
        way.add_argument("--rows", type=Path, required=True, help="folder of Parquet shards")
        way.add_argument("--cache", type=Path, required=True, help="folder of the artifacts, empty at first")
        if name == "select":
            way.add_argument("--limit-gb", type=float, help="memory of a process")
            way.add_argument("--steps", nargs="+", default=STEPS, choices=STEPS)
            way.add_argument("--here", choices=STEPS, help=argparse.SUPPRESS)
    ways.add_parser("table", help="the measured steps")
    ways.add_parser("extrapolate", help="larger corpora, from the measured steps")
    settings = vars(parser.parse_args())
    way = settings.pop("way")
    if (step := settings.pop("here", None)) is not None:
        settings.pop("steps")
        step_select(step, **settings)
        return
    run: dict[str, Callable[..., None]] = {
        **{"rows": rows_of_pool, "select": way_select, "measure": way_measure},
        **{"table": print_table, "extrapolate": print_extrapolation},
    }
    run[way](**settings)


if __name__ == "__main__":
    main()
