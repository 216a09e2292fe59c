"""One measurement in a separate process: a side trains a case for one epoch; prints a line of JSON.

    python one.py SIDE FOLDER --seed 0 --threads 2 --spawned SECONDS [--only-start]

Asserts that the batches which the side has computed contain exactly the case's samples, each once, with
the ids and labels of `data.py`. The held-out loss is computed afterwards by the same code for every side.
``spawned`` is the start time of the process in seconds since the epoch. Peak memory is the kernel's
high-water mark of this process before the held-out loss.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipe import Case, Clock, Started

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SIDES = {
    "ours": ("ours", "train"),
    "ours_packed": ("ours", "train_packed"),
    "plain": ("plain", "train"),
    "plain_at_labels": ("plain", "train_at_labels"),
    "trl": ("with_trl", "train"),
    "trl_grouped": ("with_trl", "train_grouped"),
    "trl_packed": ("with_trl", "train_packed"),
}
IGNORED = -100


def peak() -> float:
    """Peak resident memory of this process in GiB; getrusage would include that of its parent before the fork."""
    (line,) = (
        line for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM")
    )
    return int(line.split()[1]) / 2**20


def samples_of(
    ids: list[int], labels: list[int], positions: list[int] | None
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The samples of a row: packed rows are cut where positions restart; padding after the last label is dropped."""
    starts = [0] if positions is None else [place for place, position in enumerate(positions) if position == 0]
    for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
        learned = [place for place in range(start, end) if labels[place] != IGNORED]
        if learned:
            stop = learned[-1] + 1
            yield tuple(ids[start:stop]), tuple(labels[start:stop])


def check(case: Case, clock: Clock) -> int:
    """Compare what was computed with what was given; the number of positions that were computed, padding included.

    Raises:
        SystemExit: They differ.
    """
    given: Counter[Any] = Counter()
    for row in case.conversations("train"):
        whole = (*row["prompt_ids"], *row["response_ids"])
        given[whole, (*[IGNORED] * len(row["prompt_ids"]), *row["response_ids"])] += 1
    computed: Counter[Any] = Counter()
    for ids_of, labels_of, positions_of in clock.seen:
        positions = [None] * len(ids_of) if positions_of is None else positions_of.tolist()
        for row_of in zip(ids_of.tolist(), labels_of.tolist(), positions, strict=True):
            computed.update(samples_of(*row_of))
    if computed != given:
        missing, more = given - computed, computed - given
        raise SystemExit(
            f"{missing.total()} samples were not computed as given, {more.total()} others were; "
            f"one: {next(iter(more), None)}"
        )
    return sum(ids.numel() for ids, _, _ in clock.seen)


def held_out_loss(model: PreTrainedModel, case: Case) -> float:
    """Mean loss per response token of the held-out conversations, in nats."""
    import torch
    from torch.nn.functional import cross_entropy

    model.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for row in case.conversations("held"):
            ids, first = torch.tensor([row["prompt_ids"] + row["response_ids"]]), len(row["prompt_ids"])
            hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0, first - 1 : -1]
            total += float(
                cross_entropy(model.get_output_embeddings()(hidden).double(), ids[0, first:], reduction="sum")
            )
            count += len(row["response_ids"])
    return total / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--spawned", type=float, default=time.time())
    parser.add_argument("--only-start", action="store_true")
    arguments = parser.parse_args()
    case, clock = Case.read(arguments.folder, threads=arguments.threads), Clock(arguments.spawned, arguments.only_start)
    import torch

    torch.set_num_threads(arguments.threads)
    module, function = SIDES[arguments.side]
    result: dict[str, Any] = {"side": arguments.side, "seed": arguments.seed}
    try:
        model = getattr(importlib.import_module(module), function)(case, clock, seed=arguments.seed)
    except Started:
        print(json.dumps(result | {"start": clock.start, "peak_gib": peak()}))
        sys.stdout.flush()
        os._exit(0)  # trainers that were broken off need not tidy up
    result |= {
        "start": clock.start,
        "seconds": clock.seconds,
        "cpu": clock.busy,
        "steps": clock.steps,
        "peak_gib": peak(),
    }
    if torch.get_num_threads() != arguments.threads:
        raise SystemExit(
            f"{arguments.side} has changed the number of threads from {arguments.threads} to {torch.get_num_threads()}"
        )
    tokens, positions = case.settings["tokens"], check(case, clock)
    result |= {
        "tokens_per_second": tokens / clock.seconds,
        "tokens_per_cpu_second": tokens / clock.busy,
        "padding": 1 - tokens / positions,
    }
    print(json.dumps(result | {"held_out_loss": held_out_loss(model, case)}))


if __name__ == "__main__":
    main()
