"""Forwards to ``python -m sftdiv.analyze pair CELL_A CELL_B``."""

import sys

from sftdiv.reporting.paired_scores import main

sys.exit(main())
