"""The same subset by every engine of the config group ``compute``, with a worker killed on the way; see the .md beside.

    python benchmarks/compute_engines.py --pool ../shared/data/pool-117k.parquet --rows 500_000 --folder /tmp/engines

Rows are those of the pool whose texts have at most `LONGEST` characters each, repeated with one word inserted at random
into both texts, so that no row is a duplicate of another; they are written as Parquet files of 100,000 rows. Each
engine then goes the way from these files to a subset of 10,000, with a cache of its own. Once some shards of the corpus
are complete, a worker is ended by ``kill -9``: of ``local`` and ``datatrove_local`` a process of loky, which ends the
command, so that it is given again; of ``datatrove_ray`` the process in which an actor computes, whose task datatrove
then submits again.

Printed are a table of seconds, the shards that each start of the command computed, and digests of the artifacts.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sftdiv.config.from_python import compose_run
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.pipeline.stages import find_units, find_universe, select
from sftdiv.records import SftdivError
from sftdiv.storage.cache import Store
from sftdiv.storage.files import write_atomically
from sftdiv.storage.hashing import file_digest

ROWS_PER_FILE, BEFORE_KILL = 100_000, 2  # rows of a file; complete shards of the corpus when a worker is killed
LONGEST = 300  # characters of a text
SETTINGS = (
    *("strategy=micro_token", "strategy.tokenizer=lexical", "size=10k", "diversity_level=0.5", "stop_after=select"),
    *("embedder=none", "tracking=none", "corpus.heldout_by=instruction"),  # nothing is held out
)
ENGINES = {
    "local": ["compute=local"],
    "datatrove_local": ["compute=datatrove_local", "compute.workers=2"],
    "datatrove_ray": ["compute=datatrove_ray", "compute.workers=2"],
}
FILES = {  # of the cache, by artifact
    "corpus": "corpus/*/corpus.arrow",
    "token ids": "token_ids/*/flat.npy",
    "token names": "token_ids/*/names.json",
    "units": "units/*/matrix.npz",
    "selected ids": "ids.json",
}


@dataclass
class Outcome:
    """What came of one engine.

    Attributes:
        wall: Seconds from the first start to the end of the last.
        processor: Seconds of all processes that the commands have waited for; Ray's own are not among them.
        killed: Description of the killed process.
        starts: By start of the command, its exit code and the lines on shards of its log.
        digests: Digest by artifact, and of the selected ids.
    """

    wall: float = 0.0
    processor: float = 0.0
    killed: str = ""
    starts: list[tuple[int, list[str]]] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)


def noisy_rows(pool: pa.Table, rows: int) -> Iterator[dict[str, list[str]]]:
    """The pool's rows again and again, each with one inserted word, in tables of one file."""
    generator = np.random.default_rng(0)
    words = np.array(sorted({word for text in pool["response"][:2000].to_pylist() for word in text.split()}))
    for start in range(0, rows, ROWS_PER_FILE):
        count = min(ROWS_PER_FILE, rows - start)
        table = pool.take([(start + row) % len(pool) for row in range(count)])
        inserted = generator.choice(words, size=(2, count))
        places = generator.random((2, count))
        columns = {
            side: [
                with_word(text, str(word), place)
                for text, word, place in zip(table[side].to_pylist(), inserted[at], places[at], strict=True)
            ]
            for at, side in enumerate(("instruction", "response"))
        }
        yield {"id": [f"r{start + row}" for row in range(count)], **columns, "source": table["source"].to_pylist()}


def with_word(text: str, word: str, place: float) -> str:
    """The text with a word before the blank that follows a relative place."""
    blank = text.find(" ", int(place * len(text)))
    return f"{text} {word}" if blank < 0 else f"{text[:blank]} {word}{text[blank:]}"


def write_rows(pool: Path, rows: int, folder: Path) -> Path:
    """Write the Parquet files, unless they are there."""
    data = folder / f"rows-{rows}"
    if not data.exists():
        temporary = data.with_suffix(".writing")
        temporary.mkdir(parents=True)
        table = pq.read_table(pool, columns=["instruction", "response", "source"])
        table = table.filter(
            (pc.utf8_length(pc.field("instruction")) <= LONGEST) & (pc.utf8_length(pc.field("response")) <= LONGEST)
        )
        for number, columns in enumerate(noisy_rows(table, rows)):
            pq.write_table(pa.table(columns), temporary / f"part-{number:03d}.parquet")
        temporary.replace(data)
    return data


def run_engine(name: str, data: Path, folder: Path) -> Outcome:
    """Run an engine to its end, with one of its workers killed on the way."""
    place = folder / name
    settings = ["corpus=files", f"corpus.path={data}", f"paths.cache={place / 'cache'}", *SETTINGS, *ENGINES[name]]
    command = [sys.executable, __file__, "select", *settings]
    outcome, before = Outcome(), resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    while not outcome.starts or outcome.starts[-1][0]:
        if len(outcome.starts) == 3:
            raise SystemExit(f"{name} does not come to its end; see {place}")
        log = place / f"start-{len(outcome.starts) + 1}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as stream, subprocess.Popen(command, stdout=stream, stderr=stream) as process:
            if not outcome.starts:
                outcome.killed = kill_worker(name, process, place / "cache")
        lines = [line for line in log.read_text().splitlines() if "shards" in line]
        outcome.starts.append((process.returncode, lines))
    outcome.wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    outcome.processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    outcome.digests = digests(place)
    return outcome


def select_ids(settings: list[str]) -> None:
    """Select a subset and write the ids into the cache; the engine's command."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    request = compose_run(settings)
    artifacts = RunArtifacts(request.spec, Store(request.paths.cache), compute=request.compute)
    try:
        units = find_units(request.spec, artifacts)
    except SftdivError as error:
        raise SystemExit(str(error)) from error
    universe = find_universe(request.spec, artifacts, units)
    selection = select(request.spec, artifacts, units, universe)
    ids = artifacts.data.corpus.table.select(selection.indices)["id"][:]
    write_atomically(request.paths.cache / "ids.json", json.dumps(ids))


def kill_worker(name: str, process: subprocess.Popen[bytes], cache: Path) -> str:
    """Kill the busiest worker once some shards of the corpus are complete."""
    while len(list(cache.glob("corpus/*.partial/rows/*/*.shard"))) < BEFORE_KILL:
        if process.poll() is not None:
            return "none: the command ended before"
        time.sleep(0.2)
    workers = [worker for worker in psutil.Process(process.pid).children(recursive=True) if is_worker(name, worker)]
    worker = max(workers, key=lambda each: sum(each.cpu_times()[:2]))
    description = f"process {worker.pid} ({worker.name()})"
    worker.send_signal(signal.SIGKILL)
    return description


def is_worker(name: str, process: psutil.Process) -> bool:
    """Whether a process computes shards."""
    try:
        if name == "datatrove_ray":  # the only child of an actor that is an actor by its name
            parent = process.parent()
            return "RankWorker" in process.name() and parent is not None and "RankWorker" in parent.name()
        return "popen_loky" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def digests(place: Path) -> dict[str, str]:
    """Digests of an engine's artifacts and of its selected ids."""
    found = {}
    for artifact, pattern in FILES.items():
        (path,) = (place / "cache").glob(pattern)
        found[artifact] = file_digest(path)[:12]
    return found


def main() -> None:
    if sys.argv[1:2] == ["select"]:
        select_ids(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    given = parser.parse_args()
    data = write_rows(given.pool, given.rows, given.folder)
    outcomes = {name: run_engine(name, data, given.folder / f"engines-{given.rows}") for name in given.engines}
    artifacts = list(FILES)
    print(f"{given.rows:,} rows, load {os.getloadavg()[0]:.1f}\n")
    print(f"| engine | wall s | processor s | {' | '.join(artifacts)} |\n| {'--- | ' * (len(artifacts) + 3)}")
    for name, outcome in outcomes.items():
        shown = " | ".join(outcome.digests[artifact] for artifact in artifacts)
        print(f"| `{name}` | {outcome.wall:.0f} | {outcome.processor:.0f} | {shown} |")
    equal = len({tuple(sorted(outcome.digests.items())) for outcome in outcomes.values()}) == 1
    print(f"\nall digests equal: {equal}\n")
    for name, outcome in outcomes.items():
        print(f"{name}: killed {outcome.killed}")
        for number, (code, lines) in enumerate(outcome.starts, start=1):
            print(f"  start {number}, exit code {code}")
            for line in lines:
                print(f"    {re.sub(r' in /.*?/cache', ' in CACHE', line)}")


if __name__ == "__main__":
    main()
