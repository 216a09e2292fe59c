"""Fine-tuning beside a plain PyTorch loop and TRL's SFTTrainer: same model, conversations, tokens and optimizer.

    python benchmarks/training.py ../shared/data/pool-117k.parquet [--only tiny 3m] [--samples 2000]
    [--turns 2] [--threads 2]

Each measurement is a separate process (`training/one.py`), which asserts that the samples it has computed
are the given ones, ids and labels alike. Sides take turns, in reverse order every second time; a ratio is
the median over the turns of the ratio within one turn. Writes benchmarks/training/results.json after each
case, keeping the results of the other cases, and results.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sftdiv.storage.files import write_atomically

HERE = Path(__file__).resolve().parent / "training"
WORK = HERE.parents[1] / "build" / "training"
RESULTS = HERE / "results.json"
CASES: dict[str, dict[str, Any]] = json.loads((HERE / "cases.json").read_text(encoding="utf-8"))
STARTING, START_TURNS = ("ours", "trl", "plain"), 3
NAMES = {
    "ours": "sftdiv",
    "ours_packed": "sftdiv, packing",
    "plain": "plain loop",
    "plain_at_labels": "plain loop, logits at labels",
    "trl": "TRL",
    "trl_grouped": "TRL, group_by_length",
    "trl_packed": "TRL, packing",
}
BARS = {"plain": "0.95", "trl_grouped": "1.2"}


def child(script: str, *words: str | Path, threads: int) -> dict[str, Any]:
    """Last line that a script prints, as JSON; caches of the hub's libraries are empty, so each process tokenizes."""
    with tempfile.TemporaryDirectory() as cache:
        limited = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}
        quiet = {"HF_HOME": cache, "TMPDIR": cache, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
        command = [sys.executable, str(HERE / script), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | limited | quiet)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(side: str, folder: Path, *words: str, seed: int, threads: int) -> dict[str, Any]:
    """One measurement by one side."""
    told = ("--seed", str(seed), "--threads", str(threads), "--spawned", repr(time.time()))
    result = child("one.py", side, folder, *told, *words, threads=threads)
    speed = f", {result['tokens_per_second']:,.0f} tokens/s" if "tokens_per_second" in result else ""
    print(
        f"  {NAMES[side]}, turn {seed}: start {result['start']:.1f} s{speed}, {result['peak_gib']:.2f} GiB", flush=True
    )
    return result


def turns(
    sides: list[str], once: list[str], count: int, run: Callable[[str, int], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Every side in every turn, in alternating order; some in the first turn only."""
    results = []
    for turn in range(count):
        order = sides + once if turn == 0 else sides
        results += [run(side, turn) for side in (order if turn % 2 == 0 else reversed(order))]
    return results


def run_case(name: str, pool: Path, *, samples: int | None, repeats: int | None, threads: int) -> dict[str, Any]:
    """All measurements of one case."""
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    case = child("data.py", pool, name, str(samples or CASES[name]["samples"]), folder, threads=threads)
    print(
        f"{name}: {case['parameters']:,} parameters, {case['samples']:,} samples, {case['tokens']:,} tokens", flush=True
    )
    whole = lambda side, turn: measure(side, folder, seed=turn, threads=threads)  # noqa: E731
    return {"case": case, "runs": turns(case["sides"], case["once"], repeats or case["turns"], whole)}


def run_start(pool: Path, *, samples: int | None, repeats: int | None, threads: int) -> dict[str, Any]:
    """Start times only, with the 3M model."""
    folder = WORK / "start"
    shutil.rmtree(folder, ignore_errors=True)
    case = child("data.py", pool, "3m", str(samples or CASES["3m"]["samples"]), folder, threads=threads)
    print(f"start: {case['samples']:,} samples", flush=True)
    only = lambda side, turn: measure(side, folder, "--only-start", seed=turn, threads=threads)  # noqa: E731
    return {"case": case, "runs": turns(list(STARTING), [], repeats or START_TURNS, only)}


def ratio(runs: list[dict[str, Any]], side: str, key: str) -> float:
    """Median over the turns of our number divided by theirs."""
    ours = "ours_packed" if side == "trl_packed" and any(run["side"] == "ours_packed" for run in runs) else "ours"
    numbers = {(run["side"], run["seed"]): run[key] for run in runs}
    return statistics.median(numbers[ours, seed] / value for (name, seed), value in numbers.items() if name == side)


def median(runs: list[dict[str, Any]], side: str, key: str) -> float:
    return statistics.median(run[key] for run in runs if run["side"] == side)


def case_table(name: str, result: dict[str, Any]) -> list[str]:
    """One case as Markdown."""
    case, runs = result["case"], result["runs"]
    sides = list(dict.fromkeys(run["side"] for run in runs))
    lines = [
        f"## {name}: {case['parameters'] / 1e6:.2f}M parameters, vocabulary {case['vocabulary']:,}",
        "",
        f"{case['samples']:,} samples of at most {case['positions']} tokens, "
        f"{case['tokens']:,} tokens, {case['label_tokens']:,} of them",
        f"learned; {case['batch_size']} in a step, one epoch, learning rate {case['learning_rate']}. {_made(result)}",
        "",
        "| side | turns | real tokens/s | ours by it | of processor time | bar | padding | held-out loss | ours by it "
        "| start, s | GiB |",
        "| --- " * 11 + "|",
    ]
    for side in sides:
        turns_of = sum(run["side"] == side for run in runs)
        mine = side.startswith("ours")
        speed, work, loss = (
            "" if mine else f"{ratio(runs, side, key):.{digits}f}"
            for key, digits in (("tokens_per_second", 2), ("tokens_per_cpu_second", 2), ("held_out_loss", 4))
        )
        lines.append(
            f"| {NAMES[side]} | {turns_of} | {median(runs, side, 'tokens_per_second'):,.0f} "
            f"| {speed} | {work} | {BARS.get(side, '')} "
            f"| {median(runs, side, 'padding'):.1%} | {median(runs, side, 'held_out_loss'):.4f} | {loss} "
            f"| {median(runs, side, 'start'):.1f} | {median(runs, side, 'peak_gib'):.2f} |"
        )
    return [*lines, ""]


def start_table(result: dict[str, Any]) -> list[str]:
    """The start as Markdown."""
    lines = [
        "## Start: from a new process to the first step",
        "",
        f"Imports, loading of the 3M model, tokenization of {result['case']['samples']:,} conversations. "
        f"{_made(result)}",
        "",
        "| side | turns | seconds | ours by it | peak, GiB |",
        "| --- " * 5 + "|",
    ]
    for side in STARTING:
        runs = result["runs"]
        compared = "" if side == "ours" else f"{ratio(runs, side, 'start'):.2f}"
        count, seconds, peak = (
            sum(run["side"] == side for run in runs),
            median(runs, side, "start"),
            median(runs, side, "peak_gib"),
        )
        lines.append(f"| {NAMES[side]} | {count} | {seconds:.1f} | {compared} | {peak:.2f} |")
    return [*lines, ""]


def _made(result: dict[str, Any]) -> str:
    return f"`{result['command']}`, {result['when']}, {result['machine']}."


def page(results: dict[str, Any]) -> str:
    """All results as Markdown."""
    tables = [line for name in CASES if name in results for line in case_table(name, results[name])]
    start = start_table(results["start"]) if "start" in results else []
    return "\n".join([(HERE / "head.md").read_text(encoding="utf-8"), *tables, *start])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("--only", nargs="+", choices=[*CASES, "start"], default=[*CASES, "start"])
    parser.add_argument("--samples", type=int, help="instead of each case's own number")
    parser.add_argument("--turns", type=int, help="instead of each case's own number")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--into", type=Path, default=RESULTS, help="the results' file; the page is written beside it")
    arguments = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    results = json.loads(arguments.into.read_text(encoding="utf-8")) if arguments.into.exists() else {}
    settings = {"samples": arguments.samples, "repeats": arguments.turns, "threads": arguments.threads}
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "pytorch-lightning", "trl"))
    for name in arguments.only:
        began, before = time.perf_counter(), os.getloadavg()[0]
        made = run_start(arguments.pool, **settings) if name == "start" else run_case(name, arguments.pool, **settings)
        results[name] = made | {
            "command": " ".join(["python", *sys.argv]),
            "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            "machine": f"{arguments.threads} threads of {os.cpu_count()} cores, {platform.machine()}, "
            f"load {before:.1f} before; {packages}",
            "minutes": (time.perf_counter() - began) / 60,
        }
        write_atomically(arguments.into, json.dumps(results, indent=1) + "\n")
        write_atomically(arguments.into.with_suffix(".md"), page(results))
        print(f"{name}: {results[name]['minutes']:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
