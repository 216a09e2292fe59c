"""Hands an interpreter that would import the heavy libraries over to the server of warm processes (`warm_process`).

Python imports this module when it starts, since the folder is on the ``PYTHONPATH`` of the programs that tests
start. Where `HAND_OVER` is set, `multiprocessing`'s fork server, torchrun and its ranks are not run here but in
a fork of the warm server, with the same arguments, environment and open files; this process passes signals on
and ends with the same exit code, and its fork is killed if it is.
"""

import os
import sys

HAND_OVER = "SFTDIV_TEST_HAND_OVER"  # the server's socket
MODULES = ("torch.distributed.run", "sftdiv.training.distributed.worker")


def request():
    """What this interpreter was started to run, if it is to be handed over: its part of a request to the server."""
    words = sys.orig_argv[1:]
    if words[-2:-1] == ["-c"] and words[-1].startswith("from multiprocessing.forkserver import main"):
        return {"code": words[-1], "arguments": []}
    for module in MODULES:
        if module in words and words[words.index(module) - 1] == "-m":
            return {"module": module, "arguments": words[words.index(module) + 1 :]}
    return None


if HAND_OVER in os.environ and (asked := request()):
    from warm_process import hand_over

    hand_over(asked, os.environ[HAND_OVER])
