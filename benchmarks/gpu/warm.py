"""Imported once by the process that the checks and the study's workers are forked from, so that each starts at once.

What is missing or fails is left to the check that needs it. No GPU is used: a process that has used one cannot fork.
"""

from __future__ import annotations

import contextlib
import importlib

MODULES = (
    *("smoke_losses", "smoke_training", "smoke_evaluation", "speed", "study"),
    *("trl.trainer.sft_trainer", "lm_eval.evaluator", "lm_eval.models.huggingface"),
)

for name in MODULES:
    with contextlib.suppress(Exception):
        importlib.import_module(name)
