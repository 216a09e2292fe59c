"""The launcher for Ray: its settings, what a task reserves, and a sweep on a real Ray whose workers are killed."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from documentation import ROOT
from hydra import compose, initialize_config_dir
from small_runs import SMALL, environment, paths
from warm_process import DEVNULL, PIPE, run_code, run_program, start_program

from sftdiv.config.app import conf_dir, register_resolvers
from sftdiv.records import SftdivError
from sftdiv.sweep.cost import cost_lines
from sftdiv.sweep.ray_tasks import RaySettings, check_fit, gpus_of_cell, needed_resources, task_options

ON_RAY = ["-m", *SMALL, "strategy=micro_token", "stop_after=select", "embedder=none", "tracking=none", "study=on_ray"]


def settings(*overrides: str) -> dict[str, Any]:
    """Settings of the launcher as Hydra composes them."""
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("config", overrides=["hydra/launcher=ray", *overrides], return_hydra_config=True)
    return {name: value for name, value in config.hydra.launcher.items() if name != "_target_"}


def test_a_task_reserves_what_the_settings_name() -> None:
    given = RaySettings(**settings())
    assert (given.address, given.num_gpus, given.max_retries) == (None, None, 1)
    assert task_options(given, gpus=0) == {"num_cpus": 1, "num_gpus": 0, "max_retries": 1}

    given = RaySettings(
        **settings(
            "hydra.launcher.num_cpus=4",
            "hydra.launcher.memory_gb=1.5",
            "hydra.launcher.max_retries=0",
            "+hydra.launcher.resources.big_node=1",
            "+hydra.launcher.runtime_env.pip=[polars]",
        )
    )
    options = task_options(given, gpus=2)
    assert options == {
        "num_cpus": 4,
        "num_gpus": 2,
        "max_retries": 0,
        "memory": 1.5 * 2**30,
        "resources": {"big_node": 1},
        "runtime_env": {"pip": ["polars"]},
    }
    assert needed_resources(options) == {"CPU": 4, "GPU": 2, "memory": 1.5 * 2**30, "big_node": 1}


@pytest.mark.parametrize(
    ("setting", "devices", "nodes", "gpus"),
    [
        (None, 1, [{"CPU": 8}], 0),  # no GPU in the cluster: cells run on CPUs
        (None, 2, [{"CPU": 8}, {"CPU": 8, "GPU": 8}], 2),
        (None, "auto", [{"GPU": 4}, {"GPU": 8}], 8),
        (None, 0, [{"GPU": 8}], 0),  # trainer=cpu or stop_after=select
        (0, 1, [{"GPU": 8}], 0),
        (4, 1, [{"CPU": 8}], 4),
    ],
)
def test_gpus_of_a_cell(setting: int | None, devices: int | str, nodes: list[dict[str, float]], gpus: int) -> None:
    assert gpus_of_cell(setting, devices, nodes) == gpus


def test_cells_that_no_machine_can_run_are_refused_where_none_will_come(caplog: pytest.LogCaptureFixture) -> None:
    nodes = [{"CPU": 8, "GPU": 1}, {"CPU": 64}]
    check_fit({"CPU": 64}, nodes, final=True)
    message = re.escape(
        "what a cell reserves, {CPU: 16, GPU: 1} (hydra.launcher.*): {CPU: 8, GPU: 1}, {CPU: 64, GPU: 0}"
    )
    with pytest.raises(SftdivError, match=message):
        check_fit({"CPU": 16, "GPU": 1}, nodes, final=True)
    check_fit({"CPU": 16, "GPU": 1}, nodes, final=False)
    assert "the cells wait for one" in caplog.text


def test_wrong_settings_name_themselves() -> None:
    with pytest.raises(SftdivError, match=r"hydra\.launcher\.max_retries=-1"):
        RaySettings(**settings("hydra.launcher.max_retries=-1"))


def test_without_ray_the_command_says_how_to_install_it(tmp_path: Path) -> None:
    hidden = (
        "import importlib.util as found; find = found.find_spec\n"
        "found.find_spec = lambda name, *rest: None if name == 'ray' else find(name, *rest)\n"
        "from sftdiv.run import main; main()"
    )
    done = run_code(hidden, *ON_RAY, *paths(tmp_path), "seed=0,1", "hydra/launcher=ray", env=environment())
    assert done.returncode == 1
    assert done.stderr == "sftdiv: hydra/launcher=ray needs the package ray: pip install 'sftdiv[ray]'\n"
    assert not (tmp_path / "multirun").exists()


def test_a_sweep_that_does_not_wait_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    given = [*ON_RAY, *paths(tmp_path), "seed=0,1", "hydra/launcher=ray", "sweep.wait=false"]
    done = run_program("sftdiv.run", *given, env=environment())
    assert done.returncode == 1 and "sweep.wait=false: Ray ends a command's cells with the command" in done.stderr
    assert not (tmp_path / "multirun").exists()


def test_the_cost_names_what_each_cell_is_given() -> None:
    from sftdiv.config.from_python import compose_run

    launcher = {"_target_": "hydra_plugins.sftdiv_ray_launcher.RayLauncher", "num_cpus": 2, "num_gpus": None}
    lines = cost_lines([compose_run(["trainer=gpu", "stop_after=select"])], launcher)
    assert lines[1] == "each cell: gpu, devices=1; Ray: num_cpus=2 (hydra.launcher.*)"


def test_the_guide_lists_every_setting() -> None:
    guide = (ROOT / "docs" / "guides" / "on-a-cluster.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", guide, re.MULTILINE) == list(settings())


TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef0123456789abcdef"}  # of cluster and command
FOUR_CELLS = """
import os, pathlib, signal, sys
from sftdiv.sweep.ray_tasks import RaySettings, run_tasks

folder = pathlib.Path(sys.argv[1])

def cell(overrides):
    import ray
    (name,) = overrides
    attempt = len(list(folder.glob(f"{name}.*")))
    got = ray.get_runtime_context().get_assigned_resources()
    (folder / f"{name}.{attempt}").write_text(f"{sorted(got.items())} {os.getcwd()} {os.environ['MINE']}")
    if name == "dies" or (name == "dies_once" and attempt == 0):
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "raises":
        raise ValueError("7 is no level")

settings = RaySettings(address=None, num_cpus=1, num_gpus=None, memory_gb=None, resources={"slot": 1}, max_retries=1,
                       runtime_env={}, init={"num_cpus": 2, "resources": {"slot": 1}})
os.environ["MINE"] = "passed on"
run_tasks(cell, [["dies"], ["dies_once"], ["raises"], ["works"]], settings=settings, devices=1,
          on_lost=lambda overrides, message: print("lost", *overrides, message, sep=": "))
"""


@pytest.mark.nightly  # starts a Ray: 45 s
@pytest.mark.timeout(600)
def test_workers_killed_by_a_signal_are_replaced_and_reported_on_a_real_ray(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    program = [sys.executable, "-c", FOUR_CELLS, str(tmp_path)]
    done = subprocess.run(
        program, cwd=tmp_path, env=environment(**TOKEN), capture_output=True, text=True, check=False, timeout=560
    )
    assert done.returncode == 0, done.stderr[-3000:]
    attempts = sorted(path.name for path in tmp_path.glob("*.?"))
    assert attempts == ["dies.0", "dies.1", "dies_once.0", "dies_once.1", "raises.0", "works.0"]
    lost = dict(line.split(": ", 2)[1:] for line in done.stdout.splitlines() if line.startswith("lost: "))
    assert lost.keys() == {"dies", "raises"} and lost["raises"] == "ValueError: 7 is no level"
    assert re.search(r"worker died.*hydra\.launcher\.max_retries=1", lost["dies"])
    assert (tmp_path / "works.0").read_text() == f"[('CPU', 1.0), ('slot', 1.0)] {tmp_path} passed on"


class RayHead:
    """A Ray of one machine with two CPUs, started as a user does, in another folder and with another environment."""

    def __init__(self, folder: Path) -> None:
        port, log = 21000 + os.getpid() % 8000, folder / "ray.log"
        self.address = f"127.0.0.1:{port}"
        program = str(Path(sys.executable).with_name("ray"))
        command = [program, "start", "--head", "--block", f"--port={port}", "--num-cpus=2", '--resources={"slot": 1}']
        command += [f"--ray-client-server-port={port + 1}", f"--dashboard-agent-listen-port={port + 2}"]
        command += ["--include-dashboard=false", "--disable-usage-stats", f"--temp-dir=/tmp/ray-{os.getpid()}"]
        unknown = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "SFTDIV_CACHE")}
        unknown |= TOKEN
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                command, cwd="/", env=unknown, stdout=stream, stderr=stream, start_new_session=True
            )
        deadline = time.monotonic() + 120
        while "Ray runtime started" not in log.read_text():
            assert time.monotonic() < deadline and self.process.poll() is None, log.read_text()
            time.sleep(0.2)

    def workers(self) -> list[psutil.Process]:
        """Worker processes that run a cell now; Ray names them by the task."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                title = " ".join(process.cmdline())
                if title.startswith("ray::") and "study=on_ray" in title:
                    found.append(process)
        return found

    def stop(self) -> None:
        members = psutil.Process(self.process.pid).children(recursive=True)
        self.process.terminate()
        self.process.wait(60)
        for member in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()


@pytest.fixture
def head(tmp_path: Path) -> Any:
    pytest.importorskip("ray")
    head = RayHead(tmp_path)
    yield head
    head.stop()


def kill_a_worker(head: RayHead, study: Path, process: Any) -> str:
    """Kill the worker of a cell that has come to a stage; the name of the cell."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        for path in study.glob("*/.running.json"):
            for worker in head.workers():
                if path.exists() and not (path.parent / "result.json").exists():
                    os.kill(worker.pid, signal.SIGKILL)
                    return path.parent.name
        time.sleep(0.01)
    raise AssertionError(f"no cell was seen in a worker: {process.communicate(timeout=60)[1]}")


@pytest.mark.nightly  # starts a Ray and kills its workers twice: 60 s
@pytest.mark.timeout(900)
def test_dead_workers_lose_no_cell_and_run_none_twice(tmp_path: Path, head: RayHead) -> None:
    study = tmp_path / "multirun" / "on_ray"
    given = [*ON_RAY, *paths(tmp_path), "diversity_level=0,1", "seed=0,1", "hydra/launcher=ray"]
    given += [f"hydra.launcher.address={head.address}", "+hydra.launcher.resources.slot=1"]  # one cell at a time

    first = start_program(
        "sftdiv.run", *given, "hydra.launcher.max_retries=0", env=environment(**TOKEN), stdout=DEVNULL, stderr=PIPE
    )
    with first:
        lost = kill_a_worker(head, study, first)
        _, printed = first.communicate(timeout=400)
    assert first.returncode == 1 and "1 of 4 cells are not finished" in printed, printed[-3000:]
    assert re.search(rf"{re.escape(lost)} .*worker died", printed) and "max_retries=0" in printed
    finished = {path.parent.name: path.stat().st_mtime_ns for path in study.glob("*/result.json")}
    assert len(finished) == 3 and lost not in finished
    assert "worker died" in json.loads((study / lost / "failure.json").read_text())["message"]

    again = start_program("sftdiv.run", *given, env=environment(**TOKEN), stdout=DEVNULL, stderr=PIPE)
    with again:
        assert kill_a_worker(head, study, again) == lost
        _, printed = again.communicate(timeout=400)
    assert again.returncode == 0 and "3 already finished, 1 to run" in printed, printed[-3000:]
    rows = {path.parent.name: path.stat().st_mtime_ns for path in study.glob("*/result.json")}
    assert rows.keys() == finished.keys() | {lost} and finished.items() <= rows.items()
    assert not list(study.glob("*/failure.json"))
