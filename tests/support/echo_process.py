"""Shows what a program finds when it starts, as one line of JSON; then waits, fails or raises, as its first
argument says."""

import json
import os
import sys
import threading
import time


def main():
    seen = {
        "arguments": sys.argv[1:],
        "cwd": os.getcwd(),  # noqa: PTH109
        "variable": os.environ.get("ECHO"),
        "name": __name__,
        "stdin": sys.stdin.read(),
        "threads": threading.active_count(),
        "torch": "torch" in sys.modules,
        "main": sys.modules["__main__"].__spec__.name,
        "leads_its_group": os.getpgid(0) == os.getpid(),
    }
    print(json.dumps(seen), flush=True)
    if sys.argv[1] == "wait":
        time.sleep(60)
    if sys.argv[1] == "exit":
        sys.exit("no more")
    if sys.argv[1] == "raise":
        raise ValueError("wrong")


if __name__ == "__main__":
    main()
