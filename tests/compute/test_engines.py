"""The engines of the group ``compute``: the same artifacts by each, to the byte; a killed worker costs the shard that
it was at, and nothing is computed twice or lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sftdiv.compute.datatrove_local import DatatroveLocal
from sftdiv.compute.datatrove_ray import DatatroveRay
from sftdiv.compute.datatrove_slurm import DatatroveSlurm, _is_queued
from sftdiv.compute.local_shards import LOCAL, LocalShards
from sftdiv.compute.shard_files import UnfinishedShardsError
from sftdiv.config.from_python import compose_run
from sftdiv.data import file_shards, row_shards
from sftdiv.data.build_corpus import load_corpus
from sftdiv.data.conversion import Conversion
from sftdiv.data.decontamination import ContaminationFinder, Decontamination
from sftdiv.data.dedup import NearDuplicateFinder
from sftdiv.data.files_reader import FilesReader
from sftdiv.data.formats import Converter
from sftdiv.protocols import Benchmark, ShardExecutor
from sftdiv.records import Corpus, SftdivError
from sftdiv.storage.cache import Store
from sftdiv.units import encoding
from sftdiv.units.encoding import encode


@dataclass(frozen=True)
class Squares:
    """A step that writes the square of its number, and a line into a log beside the shards."""

    name: str = "squares"
    uses_all_cores: bool = False
    killed: int | None = None  # shard whose process is killed, once
    fails: int | None = None

    def write(self, shard: int, path: Path) -> None:
        marker = path.parent / "killed"
        if shard == self.killed and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if shard == self.fails:
            raise SftdivError(f"shard {shard} cannot be read")
        with (path.parent / "computed").open("a") as stream:
            stream.write(f"{shard}\n")
        path.write_text(str(shard**2))


def datatrove(folder: Path, tasks: int | None = 2) -> DatatroveLocal:
    return DatatroveLocal(logs=str(folder / "logs"), tasks=tasks, workers=2)


ENGINES: dict[str, Callable[[Path], ShardExecutor]] = {
    "local": lambda folder: LocalShards(processes=2),
    "datatrove_local": lambda folder: datatrove(folder, tasks=None),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_process_costs_its_shard_only(tmp_path: Path, engine: str) -> None:
    compute, step = ENGINES[engine](tmp_path), Squares(killed=3)
    with pytest.raises(UnfinishedShardsError, match=r"squares: a .*process was killed.*computes the missing shards"):
        compute.run(step, 8, tmp_path / "shards")
    before = (tmp_path / "shards" / "computed").read_text().split()
    assert 0 < len(before) < 8
    paths = compute.run(step, 8, tmp_path / "shards")
    assert [int(path.read_text()) for path in paths] == [shard**2 for shard in range(8)]
    computed = (tmp_path / "shards" / "computed").read_text().split()
    assert computed[: len(before)] == before and sorted(map(int, computed)) == list(range(8))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_message_of_a_shard_arrives(tmp_path: Path, engine: str) -> None:
    compute = ENGINES[engine](tmp_path)
    with pytest.raises(SftdivError, match=r"^shard 1 cannot be read$"):
        compute.run(Squares(fails=1), 3, tmp_path / "shards")
    compute.run(Squares(), 3, tmp_path / "shards")  # its cause mended


def test_tasks_leave_markers_logs_and_statistics_and_are_run_again_where_their_shards_are_gone(tmp_path: Path) -> None:
    compute = datatrove(tmp_path)
    paths = compute.run(Squares(), 5, tmp_path / "shards")
    (logs,) = (tmp_path / "logs").iterdir()
    assert sorted(path.name for path in (logs / "completions").iterdir()) == ["00000", "00001"]
    assert "Processing done for rank=1" in (logs / "logs" / "task_00001.log").read_text()
    (stats,) = json.loads((logs / "stats.json").read_text())
    assert (stats["name"], stats["stats"]["computed"]["total"]) == ("sftdiv: squares", 5)
    paths[3].unlink()
    assert compute.run(Squares(), 5, tmp_path / "shards") == paths and paths[3].read_text() == "9"
    assert (tmp_path / "shards" / "computed").read_text().split()[5:] == ["3"]


@pytest.fixture
def parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """90 rows in two row groups of one file, of which 20 repeat others, and 20 near duplicates in another file."""
    monkeypatch.setattr(file_shards, "ROWS", 25)
    folder = tmp_path / "data"
    folder.mkdir()
    verbs = ["Say"] * 90 + ["SAY"] * 20
    rows = [{"prompt": f"{verb} {row % 70}.", "completion": f"{row % 70} it is."} for row, verb in enumerate(verbs)]
    pq.write_table(pa.Table.from_pylist(rows[:90]), folder / "a.parquet", row_group_size=60)
    pq.write_table(pa.Table.from_pylist(rows[90:]), folder / "b.parquet")
    return folder


def reader(path: Path, columns: list[str] | None = None) -> FilesReader:
    converter = Converter(format="auto", id="id", source="source", columns=columns or [], remove=[])
    return FilesReader(path=str(path), max_row_bytes=4000, converter=converter)


def corpus(path: Path, store: Path, compute: ShardExecutor, on_bad_row: str = "error", **more: Any) -> Corpus:
    return load_corpus(reader(path, **more), Store(store), heldout=2, seed=0, on_bad_row=on_bad_row, compute=compute)


def test_shards_of_rows_are_the_rows(parquet: Path) -> None:
    files = reader(parquet)
    shards = files.shards()
    bounds = [(part.path.name, part.rows and (part.rows.start, part.rows.stop)) for (part,) in shards]
    assert bounds == [("a.parquet", (start, end)) for start, end in [(0, 22), (22, 45), (45, 67), (67, 90)]] + [
        ("b.parquet", None)
    ]

    def unread(*_: Any) -> None:
        raise AssertionError

    conversion = Conversion(files.converter, unread)
    apart = [example for shard in shards for example in files.read(shard, conversion, unread)]
    assert apart == list(files.examples(unread)) and len(apart) == 110


def files_of(store: Path) -> dict[str, bytes]:
    """Every file of a cache by its name, without what differs by nature: locks and logs."""
    paths = (path for path in store.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in paths}


def test_a_corpus_is_the_same_to_the_byte(parquet: Path, tmp_path: Path) -> None:
    one = corpus(parquet, tmp_path / "one", LOCAL)
    two = corpus(parquet, tmp_path / "two", datatrove(tmp_path))
    assert one.counts == two.counts and one.counts["examples"] == 90 and one.counts["duplicates"] == 20
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_near_duplicates_and_decontamination_are_the_same(
    parquet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_shards, "ROWS", 20)
    near = NearDuplicateFinder(on="pair", threshold=0.5, unit="words", shingle=2, permutations=32, recall=0.9, seed=0)
    finder = ContaminationFinder(ngram=2, share=0.7, sides=["instruction", "response"])
    drop = Decontamination(finder, [Benchmark("numbers", ["17 it is", "Say 33.", "never said"])])
    settings: dict[str, Any] = {"heldout": 0, "seed": 0, "on_bad_row": "error", "dedup": "near", "near": near}
    settings |= {"split": replace(near, on="instruction"), "drop": drop}
    counts = [
        load_corpus(reader(parquet), Store(tmp_path / name), compute=compute, **settings).counts
        for name, compute in (("one", LOCAL), ("two", datatrove(tmp_path)))
    ]
    assert counts[0] == counts[1] and (counts[0]["near_duplicates"], counts[0]["contaminated"]) == (20, 2)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    monkeypatch.setattr(row_shards, "ROWS", 1000)
    load_corpus(reader(parquet), Store(tmp_path / "whole"), **settings)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "whole")


def test_bad_rows_and_damage_are_named_as_by_one_process(parquet: Path, tmp_path: Path, monkeypatch: Any) -> None:
    table = pq.read_table(parquet / "a.parquet")
    emptied = pa.array([None if row in (30, 80) else text for row, text in enumerate(table["completion"].to_pylist())])
    pq.write_table(table.set_column(1, "completion", emptied), parquet / "a.parquet", row_group_size=60)
    (parquet / "c.parquet").write_bytes((parquet / "b.parquet").read_bytes()[:-9])
    (parquet / "d.jsonl").touch()
    for name, compute in (("one", LOCAL), ("two", datatrove(tmp_path))):
        corpus(parquet, tmp_path / name, compute, on_bad_row="skip")
        with pytest.raises(SftdivError, match=r"a\.parquet, line 31: "):
            corpus(parquet, tmp_path / f"{name}-error", compute)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    monkeypatch.setattr(file_shards, "ROWS", 1000)  # as before there were shards
    corpus(parquet, tmp_path / "whole", LOCAL, on_bad_row="skip")
    assert files_of(tmp_path / "one") == files_of(tmp_path / "whole")
    assert not list((tmp_path / "two-error").glob("corpus/*.partial"))


def test_nothing_follows_in_a_file_after_its_damage(parquet: Path, tmp_path: Path, monkeypatch: Any) -> None:
    path = parquet / "a.parquet"
    start = pq.read_metadata(path).row_group(0).column(1).data_page_offset
    content = bytearray(path.read_bytes())
    content[start + 40 : start + 60] = bytes(20)
    path.write_bytes(content)
    shards = corpus(parquet, tmp_path / "shards", LOCAL, on_bad_row="skip")
    monkeypatch.setattr(file_shards, "ROWS", 1000)
    whole = corpus(parquet, tmp_path / "whole", LOCAL, on_bad_row="skip")
    assert shards.counts == whole.counts and whole.counts["rejected.unreadable_rest"] == 1
    assert files_of(tmp_path / "shards") == files_of(tmp_path / "whole")


def test_a_column_of_two_kinds_is_found_across_shards(parquet: Path, tmp_path: Path) -> None:
    for name, values in (("a", ["x"] * 90), ("b", [1] * 20)):
        table = pq.read_table(parquet / f"{name}.parquet")
        pq.write_table(table.append_column("score", pa.array(values)), parquet / f"{name}.parquet")
    with pytest.raises(SftdivError, match=r"b\.parquet, line 1: the column 'score'.*numbers, and text in .*a\.parquet"):
        corpus(parquet, tmp_path / "store", LOCAL, columns=["score"])


def test_token_ids_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"b{number % 7} a, {number}" for number in range(50)]
    whole = {name: encode(texts, name) for name in ("lexical", "words")}
    monkeypatch.setattr(encoding, "SHARD", 12)
    for name, expected in whole.items():
        tokens = encode(texts, name, compute=datatrove(tmp_path), partial=tmp_path / name)
        assert (tokens.flat.tolist(), tokens.offsets.tolist(), tokens.names) == (
            expected.flat.tolist(),
            expected.offsets.tolist(),
            expected.names,
        )


SLURM: dict[str, Any] = {
    "tasks": None,
    "workers": 3,
    "partition": "cpu",
    "time": "01:00:00",
    "cpus_per_task": 2,
    "mem_per_cpu_gb": 4,
    "gpus_per_task": 0,
    "qos": None,
    "tasks_per_job": 1,
    "environment": None,
    "sbatch": {"account": "me"},
}


def test_the_script_of_slurm_names_what_a_node_needs(tmp_path: Path) -> None:
    from sftdiv.compute.shard_pipeline import ShardPipeline

    compute = DatatroveSlurm(logs=str(tmp_path), **SLURM)
    executor = compute.executor(ShardPipeline(Squares(), 7, tmp_path / "shards"), 7, tmp_path / "logs")
    script = executor.get_launch_file_contents(executor.get_sbatch_args(7), "srun launch_pickled_pipeline x.pik")
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    directives = {line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH")}
    assert directives >= {
        *(
            "array=0-6%3",
            "partition=cpu",
            "time=01:00:00",
            "cpus-per-task=2",
            "mem-per-cpu=4G",
            "account=me",
            "requeue",
        ),
        *("job-name=sftdiv-squares", f"output={tmp_path}/logs/slurm_logs/%A_%a.out"),
    }
    assert not any(line.startswith(("qos", "gpus")) for line in directives)
    exported = next(line for line in script.splitlines() if line.startswith("export PATH"))
    shown = subprocess.run(
        ["bash", "-c", f"{exported}; command -v launch_pickled_pipeline && python -c 'import sftdiv.compute'"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr


def test_slurm_is_refused_where_it_cannot_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = DatatroveSlurm(logs=str(tmp_path), **SLURM)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SftdivError, match="does not have: run it on a login node, or choose compute=local"):
        compute.run(Squares(), 3, tmp_path / "shards")
    (tmp_path / "sbatch").touch(mode=0o755)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    with pytest.raises(SftdivError, match="one of a job array"):
        compute.run(Squares(), 3, tmp_path / "shards")


@pytest.mark.parametrize(
    ("script", "is_queued"),
    [
        ("echo '7 cpu sftdiv'", True),
        ("exit 0", False),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", False),
        ("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1", True),
    ],
)
def test_a_silent_slurm_ends_no_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, is_queued: bool
) -> None:
    (tmp_path / "squeue").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert _is_queued("7") is is_queued


def test_an_error_in_a_thread_of_datatrove_s_ray_ends_the_command() -> None:
    from datatrove.executor.ray import TimeoutManager

    from sftdiv.compute.ray_task_manager import RaisingTaskManager

    manager = RaisingTaskManager(1, TimeoutManager())
    submitted = manager.submit_task(None, [0], None)  # None is no mapping of resources: fails before a Ray is needed
    with pytest.raises(SftdivError, match=r"a task could not be submitted to Ray: TypeError: .*need no Ray"):
        for _ in range(100):
            manager.wait([submitted], timeout=1)


@pytest.mark.nightly  # starts a Ray: half a minute, of which the shards take none
@pytest.mark.timeout(300)
def test_ray_computes_again_what_a_killed_process_was_at(tmp_path: Path) -> None:
    compute = DatatroveRay(
        logs=str(tmp_path / "logs"), tasks=None, workers=2, address=None, cpus_per_task=1, mem_per_cpu_gb=0.5,
        gpus_per_task=0,
    )  # fmt: skip
    paths = compute.run(Squares(killed=1), 4, tmp_path / "shards")
    assert [int(path.read_text()) for path in paths] == [0, 1, 4, 9]
    assert sorted((tmp_path / "shards" / "computed").read_text().split()) == ["0", "1", "2", "3"]
    with pytest.raises(SftdivError, match=r"^shard 2 cannot be read$"):
        compute.run(Squares(name="failing", fails=2), 3, tmp_path / "others")


def test_settings_of_every_engine_are_checked() -> None:
    given = ["corpus=files", "corpus.path=x.jsonl", "stop_after=select", "embedder=none"]
    assert isinstance(compose_run([*given, "compute=datatrove_ray"]).compute, DatatroveRay)
    with pytest.raises(SftdivError, match=r"compute\.partition must be given"):
        compose_run([*given, "compute=datatrove_slurm"])
    with pytest.raises(SftdivError, match=r"compute\.workers=0 must be a whole number of at least 1, or null"):
        compose_run([*given, "compute=datatrove_local", "compute.workers=0"])
