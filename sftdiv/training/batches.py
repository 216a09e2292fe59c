"""What the optimizer sees at each step: examples of like length, in an order that the seed decides.

In: labelled examples. Out: one `Step` for each optimizer step, which holds its micro-batches and the number of tokens they learn.
The trade: examples are sorted by length only within windows of some steps, which keeps the order random and most of the padding away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sftdiv.causal.labels import Labelled
from sftdiv.causal.loss import pad_batch

WINDOW = 64  # steps among which examples are sorted by length: 1 to 4 % of padding is left on 2,000 examples in batches of 16

Plan = list[list[NDArray[np.int64]]]


class Batch(NamedTuple):
    """One micro-batch: the names of its examples, and their token ids and labels, each (examples, tokens)."""

    names: list[str]
    input_ids: Tensor
    labels: Tensor


class Step(NamedTuple):
    """One optimizer step: its micro-batches, and the label tokens of all of them, by which their summed loss is divided."""

    batches: list[Batch]
    label_tokens: int


def plan_steps(lengths: Sequence[int], *, epochs: int, batch_size: int, accumulate: int, rng: np.random.Generator) -> Plan:
    """Which examples make up each micro-batch of each step; every example comes once an epoch.

    Args:
        lengths: Tokens of each example.
        epochs: Passes over the examples.
        batch_size: Examples in a micro-batch.
        accumulate: Micro-batches in a step.
        rng: Decides the order.
    """
    sizes, per_step = np.asarray(lengths), batch_size * accumulate
    plan: Plan = []
    for _ in range(epochs):
        order = rng.permutation(len(sizes))
        windows = [order[start : start + WINDOW * per_step] for start in range(0, len(order), WINDOW * per_step)]
        by_length = np.concatenate([window[np.argsort(sizes[window], kind="stable")] for window in windows])
        steps = [by_length[start : start + per_step] for start in range(0, len(by_length), per_step)]
        for position in rng.permutation(len(steps)):
            step = steps[position]
            plan.append([step[start : start + batch_size] for start in range(0, len(step), batch_size)])
    return plan


class Steps(Dataset[Step]):
    """The steps of a plan, padded when they are asked for."""

    def __init__(self, examples: Sequence[Labelled], names: Sequence[str], plan: Plan, *, pad_id: int) -> None:
        self.examples, self.names, self.plan, self.pad_id = examples, names, plan, pad_id

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, position: int) -> Step:
        batches = []
        for chosen in self.plan[position]:
            input_ids, labels = pad_batch([self.examples[i] for i in chosen], self.pad_id)
            batches.append(Batch([self.names[i] for i in chosen], input_ids, labels))
        return Step(batches, sum(self.examples[i].label_tokens for chosen in self.plan[position] for i in chosen))


class StepsModule(LightningDataModule):
    """Serves steps to the trainer one by one, in their order."""

    def __init__(self, steps: Dataset[Step]) -> None:
        super().__init__()
        self.steps = steps

    def train_dataloader(self) -> DataLoader[Step]:
        """One item is one step, already a batch."""
        return DataLoader(self.steps, batch_size=None, shuffle=False)
