"""Throughput of LLM calls beside other clients, and memory while 117,000 rows are rewritten.

    python benchmarks/llm_calls.py ../shared/data/pool-117k.parquet [--without memory]

Writes benchmarks/llm_calls/results.json and results.md. The server is a separate process that answers
after 50 ms (speed) or at once (memory). With 64 requests in flight the ideal is 64 / 0.05 s = 1,280
requests/s. A bare aiohttp loop shows what this machine can reach, and the ``openai`` client (httpx) what
most people use. The clients take turns, so that other load affects all of them. Memory is that of
``python -m sftdiv.regenerate``: the peak of the whole process, and the peak without mapped files.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sftdiv.storage.files import write_atomically

HERE = Path(__file__).parent
FILES, PEERS = HERE / "llm_calls", HERE.parent / "build" / "openai"
SECONDS, IN_FLIGHT, REQUESTS, ROUNDS = 0.05, 64, 6400, 5
NAMES = {"ours": "sftdiv.llm", "aiohttp": "bare aiohttp loop", "openai": "openai client"}


def openai_python() -> Path:
    """Python of the openai client's environment, which is created if it is missing."""
    python, done = PEERS / "bin" / "python", PEERS / "installed"
    if not done.exists():
        venv.create(PEERS, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--quiet", "openai"], check=True)
        done.touch()
    return python


@contextmanager
def server(milliseconds: float) -> Iterator[int]:
    """The server in a separate process; yields its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [sys.executable, str(FILES / "server.py"), str(port), str(milliseconds), "1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield port
        finally:
            process.terminate()


def speed() -> list[dict[str, Any]]:
    """Every client, several times in turn: median and fastest run."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in NAMES}
    with server(1000 * SECONDS) as port:
        for _ in range(ROUNDS):
            for name in NAMES:
                requests = REQUESTS if name != "openai" else REQUESTS // 4
                python = openai_python() if name == "openai" else sys.executable
                command = [str(python), str(FILES / "client.py"), name, str(port), str(requests), str(IN_FLIGHT)]
                busy = os.getloadavg()[0]
                runs[name].append(
                    {"load": busy}
                    | json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
                )
                print(name, runs[name][-1], file=sys.stderr)
    return [
        {
            "client": name,
            "per_second": median([run["requests"] / run["wall"] for run in each]),
            "slowest": min(run["requests"] / run["wall"] for run in each),
            "fastest": max(run["requests"] / run["wall"] for run in each),
            "load": median([run["load"] for run in each]),
            "cpu_ms": median([1000 * run["cpu"] / run["requests"] for run in each]),
        }
        for name, each in runs.items()
    ]


def median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def memory(pool: str) -> list[dict[str, Any]]:
    """Peaks of rewriting 10,000 rows and all rows, in separate processes; the corpus is built and mapped before."""
    found = []
    with server(0) as port, tempfile.TemporaryDirectory() as folder:
        for limit in ("1", "10000", "null"):  # the first one builds the corpus and is not reported
            places = [f"paths.outputs={folder}/{limit}", f"paths.cache={folder}/cache"]
            where = [f"endpoint.base_url=http://127.0.0.1:{port}/v1", "endpoint.model=bench", f"limit={limit}"]
            given = ["corpus=files", f"corpus.path={pool}", "corpus.on_bad_row=skip", *where, *places]
            found.append(peaks([sys.executable, "-m", "sftdiv.regenerate", *given]))
            (record,) = Path(folder, limit).rglob("provenance.json")
            found[-1]["rows"] = json.loads(record.read_text())["written"]
            print(found[-1], file=sys.stderr)
        found[-1]["arrow_mib"] = max(file.stat().st_size for file in Path(folder, "cache").rglob("*.arrow")) / 2**20
    return found[1:]


def peaks(command: Sequence[str]) -> dict[str, Any]:
    """Seconds of a command and its memory peaks in MiB, whole and without mapped files (ten samples per second)."""
    started, private, whole = time.perf_counter(), 0.0, 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            status = status_of(process.pid)
            private, whole = max(private, status.get("RssAnon", 0) / 1024), max(whole, status.get("VmHWM", 0) / 1024)
            time.sleep(0.1)
    if process.returncode:
        raise SystemExit(process.returncode)
    return {"private_mib": private, "whole_mib": whole, "seconds": time.perf_counter() - started}


def status_of(pid: int) -> dict[str, int]:
    """Memory of a process in kilobytes, by the kernel's names."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {
        name: int(rest.split()[0])
        for name, _, rest in (line.partition(":") for line in lines)
        if rest.strip().endswith("kB")
    }


def tables(results: Mapping[str, Any]) -> Iterator[str]:
    """The results as Markdown."""
    ideal = IN_FLIGHT / SECONDS
    yield f"# LLM calls\n\n`{results['command']}`, {results['date']}, {os.cpu_count()} cores "
    yield f"(load: runnable processes of all users). {IN_FLIGHT} in flight, answers after {1000 * SECONDS:g} ms: ideal "
    yield f"{ideal:,.0f} requests/s. {ROUNDS} runs of each, in turn; other load can only slow a run, so the fastest is "
    yield "the most informative.\n\n| client | fastest run, requests/s | of the ideal | median run | of the ideal "
    yield "| processor ms per request | load before |\n|---|---|---|---|---|---|---|\n"
    for row in results.get("speed", []):
        rates = " | ".join(f"{row[name]:,.0f} | {row[name] / ideal:.0%}" for name in ("fastest", "per_second"))
        yield f"| {NAMES[row['client']]} | {rates} | {row['cpu_ms']:.2f} | {row['load']:.1f} |\n"
    if rows := results.get("memory"):
        yield "\n`sftdiv.regenerate` on the pool, answers at once, 1,000 characters each; its mapped corpus has "
        yield f"{rows[-1]['arrow_mib']:,.0f} MiB.\n\n| rows | peak, MiB | without mapped files, MiB | seconds |\n"
        yield "|---|---|---|---|\n"
        for row in rows:
            yield f"| {row['rows']:,} | {row['whole_mib']:,.0f} | {row['private_mib']:,.0f} | {row['seconds']:,.0f} |\n"
        grown = (rows[-1]["private_mib"] - rows[0]["private_mib"]) * 2**20 / (rows[-1]["rows"] - rows[0]["rows"])
        yield f"\n{grown:,.0f} bytes per further row: its key and offset in the journal.\n"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool")
    parser.add_argument("--without", choices=["memory", "speed"])
    arguments = parser.parse_args()
    results_file = FILES / "results.json"
    results: dict[str, Any] = json.loads(results_file.read_text()) if results_file.exists() else {}
    results |= {
        "command": f"python benchmarks/{Path(__file__).name} POOL",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
    if arguments.without != "speed":
        results["speed"] = speed()
    if arguments.without != "memory":
        results["memory"] = memory(arguments.pool)
    write_atomically(results_file, json.dumps(results, indent=1) + "\n")
    write_atomically(FILES / "results.md", "".join(tables(results)))
    print((FILES / "results.md").read_text())


if __name__ == "__main__":
    main()
