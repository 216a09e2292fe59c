"""Batches of the optimizer steps: examples of similar length, in an order that the seed decides.

Input is labelled examples. Output is one `Step` per optimizer step, with this rank's micro-batches
and the number of label tokens over all ranks. The trade-off: examples are sorted by length only
within windows of some steps, which keeps the order random and avoids most of the padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sftdiv.modeling.chat_labels import IGNORED, Labelled
from sftdiv.training.batching.packing import MicroBatch, lay_out, pack_rows

# Steps within which examples are sorted by length: 1 to 4 % padding with 2,000 examples in batches of 16
WINDOW = 64

Plan = list[NDArray[np.int64]]


class Batch(NamedTuple):
    """One micro-batch.

    Attributes:
        names: Names of the examples.
        input_ids: Token ids, shape (rows, tokens).
        labels: Labels, shape (rows, tokens).
        position_ids: Positions that restart at 0 with every packed example, shape (rows, tokens);
            None if every row is one example.
        lengths: Tokens of each example of each row.
    """

    names: list[str]
    input_ids: Tensor
    labels: Tensor
    position_ids: Tensor | None
    lengths: list[list[int]]


class Step(NamedTuple):
    """One optimizer step.

    Attributes:
        batches: Micro-batches of this rank.
        label_tokens: Label tokens over all ranks, by which the summed loss is divided.
        lengths: Tokens of each example over all ranks, from which the FLOPs of the step follow.
    """

    batches: list[Batch]
    label_tokens: int
    lengths: NDArray[np.int64]


def plan_steps(
    lengths: Sequence[int], *, epochs: int, batch_size: int, steps: int | None = None, rng: np.random.Generator
) -> Plan:
    """Example indices of each optimizer step; every example occurs once per epoch.

    Args:
        lengths: Tokens of each example.
        epochs: Passes over the examples.
        batch_size: Examples per step; the last step of an epoch may have fewer.
        steps: Number of steps, over as many epochs as they take; overrides ``epochs`` unless None.
        rng: Generator that decides the order.
    """
    sizes = np.asarray(lengths)
    steps_per_epoch = -(-len(sizes) // batch_size)
    passes = epochs if steps is None else -(-steps // steps_per_epoch)
    plan: Plan = []
    for _ in range(passes):
        order = rng.permutation(len(sizes))
        windows = [order[start : start + WINDOW * batch_size] for start in range(0, len(order), WINDOW * batch_size)]
        by_length = np.concatenate([window[np.argsort(sizes[window], kind="stable")] for window in windows])
        batches = [by_length[start : start + batch_size] for start in range(0, len(by_length), batch_size)]
        plan += [batches[index] for index in rng.permutation(len(batches))]
    return plan[:steps]


class StepDataset(Dataset[Step]):
    """Steps of a plan for one rank, laid out and padded on access.

    Args:
        examples: All training examples.
        names: Names of the examples, for errors.
        plan: Plan from `plan_steps`.
        pad_id: Padding token.
        micro_batch: Rows per forward pass.
        capacity: Tokens of a packed sequence; None packs nothing.
        flat: Whether to concatenate the packed sequences of a micro-batch into one row without padding,
            as varlen flash attention requires.
        rank: Number of this process.
        ranks: Processes that share each step.
        first: Number of completed steps, which are skipped.
    """

    def __init__(
        self,
        examples: Sequence[Labelled],
        names: Sequence[str],
        plan: Plan,
        *,
        pad_id: int,
        micro_batch: int,
        capacity: int | None = None,
        flat: bool = False,
        rank: int = 0,
        ranks: int = 1,
        first: int = 0,
    ) -> None:
        self.examples, self.names, self.plan, self.pad_id = examples, names, plan, pad_id
        self.micro_batch, self.capacity, self.flat = micro_batch, capacity, flat and capacity is not None
        self.rank, self.ranks, self.first = rank, ranks, first
        self.lengths = np.array([len(example) for example in examples], dtype=np.int64)
        self.label_tokens = np.array([example.label_tokens for example in examples], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.plan) - self.first

    def __getitem__(self, index: int) -> Step:
        chosen = self.plan[self.first + index]
        batches = [self._batch(rows) for rows in self.layout(chosen)[self.rank]]
        return Step(batches, int(self.label_tokens[chosen].sum()), self.lengths[chosen])

    def layout(self, chosen: NDArray[np.int64]) -> list[list[MicroBatch]]:
        """Micro-batches of every rank for the examples of a step."""
        return lay_out(
            chosen.tolist(), self.lengths, micro_batch=self.micro_batch, ranks=self.ranks, capacity=self.capacity
        )

    def positions(self, steps: int) -> int:
        """Tokens and padding that all ranks compute in the first steps of the plan."""
        count = 0
        for chosen in self.plan[:steps]:
            for batches in self.layout(chosen):
                for rows in batches:
                    count += len(rows) * max((int(self.lengths[row].sum()) for row in rows), default=0)
        return count

    def longest_batch(self, rows: int) -> Batch:
        """A micro-batch of the longest examples: none with as many rows takes more memory."""
        longest = np.argsort(-self.lengths, kind="stable")
        if self.capacity is None:
            return self._batch([[int(index)] for index in longest[:rows]])
        per_row = max(1, self.capacity // max(1, int(self.lengths.min())))
        return self._batch(pack_rows(longest[: rows * per_row].tolist(), self.lengths, capacity=self.capacity)[:rows])

    def _batch(self, rows: MicroBatch) -> Batch:
        if not rows:
            return self._empty_batch()
        if self.flat:
            rows = [[index for row in rows for index in row]]
        lengths = [[int(self.lengths[index]) for index in row] for row in rows]
        width = max(map(sum, lengths))
        input_ids = np.full((len(rows), width), self.pad_id, dtype=np.int64)
        labels = np.full((len(rows), width), IGNORED, dtype=np.int64)
        positions = np.zeros((len(rows), width), dtype=np.int64)
        for number, row in enumerate(rows):
            start = 0
            for index in row:
                example = self.examples[index]
                end = start + len(example)
                input_ids[number, start:end], labels[number, start:end] = example.input_ids, example.labels
                labels[number, start] = IGNORED  # an example's first token has no context of its own
                positions[number, start:end] = np.arange(end - start)
                start = end
            positions[number, start:] = np.arange(width - start)
        names = [self.names[index] for row in rows for index in row]
        position_ids = None if self.capacity is None else torch.from_numpy(positions)
        return Batch(names, torch.from_numpy(input_ids), torch.from_numpy(labels), position_ids, lengths)

    def _empty_batch(self) -> Batch:
        """Two tokens without a label, for a rank that has fewer micro-batches than the others."""
        return Batch([], torch.full((1, 2), self.pad_id), torch.full((1, 2), IGNORED), None, [[2]])


class StepDataModule(LightningDataModule):
    """Serves steps to Lightning's Trainer one by one, in their order."""

    def __init__(self, steps: Dataset[Step]) -> None:
        super().__init__()
        self.steps = steps

    def train_dataloader(self) -> DataLoader[Step]:
        """A loader whose items are steps, which are batched already."""
        return DataLoader(self.steps, batch_size=None, shuffle=False)
