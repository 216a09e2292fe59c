"""Forwards to ``python -m sftdiv.analyze pair CELL_A CELL_B``."""

import sys

from sftdiv.analyze import main

main(["pair", *sys.argv[1:]])
