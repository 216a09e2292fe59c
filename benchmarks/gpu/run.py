"""The GPU script: smoke checks, speed beside TRL, and the study on SmolLM2-135M, in at most nine minutes.

    python benchmarks/gpu/run.py                      # on a machine with a GPU, after `prepare.py`
    python benchmarks/gpu/run.py --rehearse           # on a CPU: what needs a GPU is recorded as skipped
    python benchmarks/gpu/run.py --only smoke         # parts, or names of checks

Each check is a process of its own, forked from one that has imported torch and transformers, and is killed at its time
limit. Its result is appended to ``results.jsonl`` and printed at once; a failed check stops no other. Rows of the study
are appended to ``rows.jsonl``. ``summary.md`` is written last. All three are in $OUT, or below build/gpu/out.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # the modules of this folder, also in the processes of the checks

from parts import PARTS, STUDY, Check, Part  # noqa: E402

from sftdiv.storage.files import write_atomically  # noqa: E402

DEADLINE = 540.0  # seconds for everything
REHEARSAL_PATIENCE = 20  # factor of all limits on a CPU
SPARE = 20.0  # seconds before the deadline at which nothing runs any more
TAIL = 1500  # characters of an error that are kept
WORST = ("failed", "timeout", "not started", "skipped", "ok")


class Results:
    """Appends one line per result, and prints it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lines, self._lock = folder, [], threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "results.jsonl").write_text("", encoding="utf-8")

    def add(self, line: Mapping[str, Any]) -> None:
        """Write and print a result."""
        with self._lock:
            self.lines.append(dict(line))
            with (self.folder / "results.jsonl").open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
            print(short(line), flush=True)

    def write_summary(self, header: str) -> None:
        """Write the table of all results."""
        rows = [
            f"| {line['part']} | {line['check']} | {line['status']} | {line['seconds']:.1f} | {words(line)} |"
            for line in self.lines
        ]
        counts = ", ".join(f"{sum(line['status'] == status for line in self.lines)} {status}" for status in WORST)
        table = ["| part | check | status | seconds | numbers or reason |", "| --- " * 5 + "|", *rows]
        text = "\n".join([header, "", counts, "", *table, ""])
        (self.folder / "summary.md").write_text(text, encoding="utf-8")
        print(f"\n{header}\n{counts}", flush=True)


def short(line: Mapping[str, Any]) -> str:
    """A result as one line of the terminal."""
    return f"{line['part']:6} {line['check']:32} {line['status']:8} {line['seconds']:6.1f} s  {words(line)}"


def words(line: Mapping[str, Any]) -> str:
    """The numbers of a result, or why there are none."""
    if line["status"] != "ok":
        return str(line["reason"]).strip().splitlines()[-1][:200]
    numbers = line["numbers"].items()
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in numbers
    )


def missing(check: Check, device: str) -> str:
    """Why a check cannot run here; empty if it can."""
    if "cuda" in check.needs and device == "cpu":
        return "needs cuda"
    packages = [name for name in check.needs if name != "cuda" and importlib.util.find_spec(name) is None]
    return f"needs {' and '.join(packages)}, not installed" if packages else ""


def end_with_script() -> None:
    """Wait until the script has ended, then kill this process and those that it has started."""
    script = multiprocessing.parent_process()
    assert script is not None
    multiprocessing.connection.wait([script.sentinel])
    os.killpg(0, signal.SIGKILL)


def child(check: Check, base: str, folder: str, device: str) -> None:
    """Run a check in this process, and write its result into its folder."""
    os.setsid()  # a group of its own, so that what it starts is killed with it
    threading.Thread(target=end_with_script, daemon=True).start()
    work = Path(folder)
    log = (work / "log.txt").open("w", encoding="utf-8")
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    module, _, function = check.function.partition(":")
    try:
        numbers = getattr(importlib.import_module(module), function)(Path(base), work, device, **check.settings)
        result = {"status": "ok", "numbers": numbers}
    except BaseException:
        result = {"status": "failed", "reason": traceback.format_exc()[-TAIL:]}
    write_atomically(work / "result.json", json.dumps(result, default=str))
    log.flush()
    os._exit(0)  # compilers and data loaders that are still there need not be waited for


def run_check(part: str, check: Check, work: Path, device: str, limit: float) -> dict[str, Any]:
    """Run a check in a process of its own; kill it at its limit."""
    began, folder = time.monotonic(), work / part / check.name
    if reason := missing(check, device):
        return {"part": part, "check": check.name, "status": "skipped", "seconds": 0.0, "reason": reason}
    folder.mkdir(parents=True)
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=child, args=(check, str(work / "base"), str(folder), device))
    process.start()
    process.join(limit)
    if process.is_alive():
        kill(process)
        result = {"status": "timeout", "reason": f"killed after {limit:.0f} s"}
    elif (folder / "result.json").exists():
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    else:
        log = (
            (folder / "log.txt").read_text(encoding="utf-8", errors="replace") if (folder / "log.txt").exists() else ""
        )
        result = {"status": "failed", "reason": f"{log[-TAIL:]}\nended with code {process.exitcode}"}
    return {"part": part, "check": check.name, "seconds": time.monotonic() - began, **result}


def kill(process: Any) -> None:
    """Kill a process and those that it has started."""
    with contextlib.suppress(ProcessLookupError):  # it has not come to make its group
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def run_part(part: Part, checks: Sequence[Check], work: Path, results: Results, device: str, end: float) -> None:
    """Run the checks of a part, some at a time; none starts after the part's limit."""
    patience = 1 if device == "cuda" else REHEARSAL_PATIENCE
    stop = min(time.monotonic() + patience * part.limit, end)

    def run(check: Check) -> None:
        left = stop - time.monotonic()
        if left <= 0 and not missing(check, device):
            line = {"status": "not started", "seconds": 0.0, "reason": f"the part's {part.limit:.0f} s were over"}
            results.add({"part": part.name, "check": check.name, **line})
            return
        results.add(run_check(part.name, check, work, device, min(patience * check.limit, end - time.monotonic())))

    with ThreadPoolExecutor(part.parallel) as pool:
        list(pool.map(run, checks))


def prepare(work: Path, results: Results, device: str) -> bool:
    """Write the tiny model and what the CPU computes with it, and see whether there is a GPU."""
    for check in (Check("machine", "machine:machine"), Check("reference", "machine:reference")):
        results.add(run_check("setup", check, work, device, 120 if device == "cuda" else 600))
    return all(line["status"] == "ok" for line in results.lines)


def selected(names: Sequence[str] | None) -> dict[str, list[Check]]:
    """Checks by part; ``names`` are parts or checks, None for all."""
    known = {STUDY, *(part.name for part in PARTS), *(check.name for part in PARTS for check in part.checks)}
    if names and (unknown := set(names) - known):
        raise SystemExit(f"no part or check is named {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
    wanted = set(names or known)
    chosen = {part.name: [check for check in part.checks if {part.name, check.name} & wanted] for part in PARTS}
    return {**chosen, STUDY: [Check(STUDY, "study:run")] if STUDY in wanted else []}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, with tiny sizes and twenty times the time")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="parts (smoke, speed, study) or checks")
    parser.add_argument("--out", type=Path, default=os.environ.get("OUT", HERE.parents[1] / "build" / "gpu" / "out"))
    parser.add_argument("--carry", type=Path, default=HERE / "carry", help="folder that prepare.py has written")
    parser.add_argument("--deadline", type=float, default=DEADLINE, help="seconds for everything")
    arguments = parser.parse_args()
    began, device = time.monotonic(), "cpu" if arguments.rehearse else "cuda"
    end = began + (arguments.deadline - SPARE if device == "cuda" else 24 * 3600)
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # an import that looks for a GPU must not spoil the forks
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "4")  # of each check that compiles
    multiprocessing.get_context("forkserver").set_forkserver_preload(["warm"])
    work, results = Path(tempfile.mkdtemp(prefix="sftdiv-gpu-")), Results(Path(arguments.out))
    chosen = selected(arguments.only)
    try:
        if prepare(work, results, device):
            for part in PARTS:
                run_part(part, chosen[part.name], work, results, device, end)
            if chosen[STUDY]:
                from study import run_study

                run_study(arguments.carry, work, results, device, end)
    finally:
        minutes = (time.monotonic() - began) / 60
        results.write_summary(f"{'Rehearsal on a CPU' if arguments.rehearse else 'GPU'}, {minutes:.1f} minutes")
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
