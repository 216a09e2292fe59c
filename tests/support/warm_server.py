"""The process behind `warm_process`: it imports the heavy libraries once and forks a child for each request.

Run as ``python warm_server.py SOCKET``. A request is one message with the child's open files; the answers
are the child's process id and, at its end, its exit code. A client that goes takes its child with it; when
no pytest process is connected any more the server ends.
"""

import atexit
import contextlib
import json
import multiprocessing.process
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
import weakref
from pathlib import Path

MESSAGE, DESCRIPTORS = 1 << 20, 64  # bytes and file descriptors of a request, at most
PRELOADED = [
    "datasets",
    "lm_eval.models.huggingface",
    "matplotlib.figure",
    "numba.np.npyimpl",
    "numba.typed",
    "plotly",
    "sklearn.cluster",
    "sftdiv.analyze",
    "sftdiv.evaluation.harness",
    "sftdiv.evaluation.heldout",
    "sftdiv.measure",
    "sftdiv.modeling.generate",
    "sftdiv.pipeline.run_cell",
    "sftdiv.training.fine_tune",
    "sftdiv.training.pretrain",
    "torch.distributed.run",
    "wandb",
]


def main():
    """Import, listen, and serve until the end of the test session."""
    path = Path(sys.argv[1])
    for name in PRELOADED:
        __import__(name)
    from wandb.sdk.data_types._private import MEDIA_TMP

    compose_configs()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(f"{path}.new")
    listener.listen(64)
    Path(f"{path}.new").rename(path)
    if os.fork():
        os._exit(0)  # whoever started this process waited until the server answers
    os.setsid()
    request = serve(listener)
    if request is None:
        MEDIA_TMP.cleanup()
        os.kill(os.getpid(), signal.SIGKILL)  # at once, without a coverage file that nobody would collect any more
    run_to_exit(lambda: become(request))


def compose_configs():
    """Let Hydra find its plugins and the grammars fill their caches, which takes seconds in each new interpreter."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.plugins import Plugins

    from sftdiv.config.app import conf_dir, register_resolvers

    register_resolvers()
    Plugins.instance()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        for name in ("config", "measure"):
            compose(name, return_hydra_config=True)
    GlobalHydra.instance().clear()


def serve(listener):
    """Fork a child for each request.

    Returns:
        In each child its request; in the server None, once no pytest process is connected.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(wake_read, selectors.EVENT_READ)
    processes, children = set(), {}  # connections of pytest processes; child's process id -> its client's connection
    while True:
        for key, _ in selector.select():
            if key.fileobj == wake_read:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake_read, 1 << 16)
                reap(children, selector)
            elif key.fileobj is listener:
                selector.register(listener.accept()[0], selectors.EVENT_READ)
            else:
                connection = key.fileobj
                if connection.fileno() < 0:  # closed in this round
                    continue
                message, descriptors, _, _ = socket.recv_fds(connection, MESSAGE, DESCRIPTORS)
                if not message:
                    forget(connection, children, selector)
                    processes.discard(connection)
                    if not processes:
                        return None
                elif message == b"{}":
                    processes.add(connection)
                else:
                    pid = os.fork()
                    if pid == 0:
                        signal.set_wakeup_fd(-1)
                        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                        signal.signal(signal.SIGINT, signal.default_int_handler)
                        for other in [listener, *(item.fileobj for item in selector.get_map().values())]:
                            other.close() if isinstance(other, socket.socket) else os.close(other)
                        selector.close()
                        os.close(wake_write)
                        os.setsid()
                        return {**json.loads(message), "descriptors": descriptors}
                    for descriptor in descriptors:
                        os.close(descriptor)
                    children[pid] = connection
                    connection.send(json.dumps({"pid": pid}).encode())


def reap(children, selector):
    """Tell the clients of all ended children their exit codes."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        connection = children.pop(pid, None)
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.send(json.dumps({"returncode": os.waitstatus_to_exitcode(status)}).encode())
            selector.unregister(connection)
            connection.close()


def forget(connection, children, selector):
    """Close a connection whose client has gone, and kill that client's child."""
    selector.unregister(connection)
    connection.close()
    for pid in [pid for pid, client in children.items() if client is connection]:
        del children[pid]
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def run_to_exit(program):
    """Run a program and end this process like an interpreter, but without the second that taking torch apart needs."""
    try:
        program()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if code and not isinstance(stop.code, int):
            print(stop.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):  # a reader that has gone
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code & 0xFF)


def become(request):
    """Be the process that the request describes: in a child, on its main thread."""
    leave_temporary_folders()
    take_place(request, dict(zip(request["numbers"], request["descriptors"], strict=True)))
    if "code" in request:
        sys.argv = ["-c", *request["arguments"]]
        exec(request["code"], {"__name__": "__main__"})
    else:
        sys.argv = [request["module"], *request["arguments"]]
        sys.modules.pop(request["module"], None)  # as in a new interpreter, where nobody has imported it yet
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


def leave_temporary_folders():
    """Folders that imported modules have made for as long as their process runs are the server's to remove."""
    from wandb.sdk.data_types._private import MEDIA_TMP

    atexit.unregister(MEDIA_TMP.cleanup)
    for finalizer in weakref.finalize._registry.values():
        finalizer.atexit = False


def take_place(request, descriptors):
    """Take over file descriptors (number here -> received one), working directory, environment and import path."""
    high = {number: os.dup(received) for number, received in descriptors.items()}
    while any(descriptor <= max(descriptors) for descriptor in high.values()):
        high = {number: os.dup(descriptor) for number, descriptor in high.items()}
    for number, descriptor in high.items():
        os.dup2(descriptor, number, inheritable=number < 3)
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if number not in descriptors:
            with contextlib.suppress(OSError):  # the one that listed them
                os.close(number)
    os.chdir(request["cwd"])
    multiprocessing.process.ORIGINAL_DIR = request["cwd"]
    os.environ.clear()
    os.environ.update(request["env"])
    added = [request["cwd"], *filter(None, request["env"].get("PYTHONPATH", "").split(os.pathsep))]
    sys.path[:0] = [entry for entry in added if entry not in sys.path]


if __name__ == "__main__":
    main()
