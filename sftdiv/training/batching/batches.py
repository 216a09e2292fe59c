"""What the optimizer sees at each step: examples of like length, in an order that the seed decides.

In: labelled examples. Out: one `Step` for each optimizer step, which holds this rank's
micro-batches and the label tokens of all ranks. The trade: examples are sorted by length only
within windows of some steps, which keeps the order random and most of the padding away.
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

WINDOW = 64  # steps among which examples are sorted by length: 1 to 4 % of padding is left on 2,000 examples in batches of 16

Plan = list[NDArray[np.int64]]


class Batch(NamedTuple):
    """One micro-batch: the names of its examples; their token ids and labels, each (rows, tokens); and the lengths in each row.

    ``position_ids`` (rows, tokens) begin again at 0 with every example of a packed row; None where
    each row holds one example.
    """

    names: list[str]
    input_ids: Tensor
    labels: Tensor
    position_ids: Tensor | None
    lengths: list[list[int]]


class Step(NamedTuple):
    """One optimizer step: this rank's micro-batches, and of all ranks the label tokens, by which the summed loss is divided.

    ``lengths`` are the tokens of each example of all ranks, from which the work of the step follows.
    """

    batches: list[Batch]
    label_tokens: int
    lengths: NDArray[np.int64]


def plan_steps(
    lengths: Sequence[int], *, epochs: int, batch_size: int, steps: int | None = None, rng: np.random.Generator
) -> Plan:
    """Which examples make up each optimizer step; every example comes once an epoch.

    Args:
        lengths: Tokens of each example.
        epochs: Passes over the examples.
        batch_size: Examples in a step; the last step of an epoch may hold fewer.
        steps: Plan so many steps, over as many epochs as they take, instead of ``epochs``.
        rng: Decides the order.
    """
    sizes = np.asarray(lengths)
    an_epoch = -(-len(sizes) // batch_size)
    passes = epochs if steps is None else -(-steps // an_epoch)
    plan: Plan = []
    for _ in range(passes):
        order = rng.permutation(len(sizes))
        windows = [order[start : start + WINDOW * batch_size] for start in range(0, len(order), WINDOW * batch_size)]
        by_length = np.concatenate([window[np.argsort(sizes[window], kind="stable")] for window in windows])
        portions = [by_length[start : start + batch_size] for start in range(0, len(by_length), batch_size)]
        plan += [portions[position] for position in rng.permutation(len(portions))]
    return plan[:steps]


class Steps(Dataset[Step]):
    """The steps of a plan for one rank, laid out and padded when they are asked for.

    Args:
        examples: Of the whole training.
        names: What errors call them.
        plan: From `plan_steps`.
        pad_id: The token that fills rows up.
        micro_batch: Rows that are computed at once.
        capacity: Tokens of a row, where several examples are packed into one; None packs nothing.
        flat: Put all packed rows of a micro-batch end to end into one, without padding: as varlen
            flash attention wants them.
        rank: This process, of ``ranks``.
        ranks: Processes that share each step.
        first: The steps before this one are done and left out.
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

    def __getitem__(self, position: int) -> Step:
        chosen = self.plan[self.first + position]
        batches = [self._batch(rows) for rows in self.layout(chosen)[self.rank]]
        return Step(batches, int(self.label_tokens[chosen].sum()), self.lengths[chosen])

    def layout(self, chosen: NDArray[np.int64]) -> list[list[MicroBatch]]:
        """The micro-batches of every rank."""
        return lay_out(
            chosen.tolist(), self.lengths, micro_batch=self.micro_batch, ranks=self.ranks, capacity=self.capacity
        )

    def positions(self, steps: int) -> int:
        """Tokens and padding that all ranks compute in the first steps of the plan."""
        count = 0
        for chosen in self.plan[:steps]:
            for rows in (rows for batches in self.layout(chosen) for rows in batches if rows):
                count += len(rows) * max(int(self.lengths[row].sum()) for row in rows)
        return count

    def heaviest(self, rows: int) -> Batch:
        """A micro-batch of so many rows of the longest examples, of which none takes more memory."""
        longest = np.argsort(-self.lengths, kind="stable")
        if self.capacity is None:
            return self._batch([[int(i)] for i in longest[:rows]])
        per_row = max(1, self.capacity // max(1, int(self.lengths.min())))
        return self._batch(pack_rows(longest[: rows * per_row].tolist(), self.lengths, capacity=self.capacity)[:rows])

    def _batch(self, rows: MicroBatch) -> Batch:
        if not rows:
            return self._nothing()
        if self.flat:
            rows = [[i for row in rows for i in row]]
        lengths = [[int(self.lengths[i]) for i in row] for row in rows]
        width = max(map(sum, lengths))
        input_ids = np.full((len(rows), width), self.pad_id, dtype=np.int64)
        labels = np.full((len(rows), width), IGNORED, dtype=np.int64)
        positions = np.zeros((len(rows), width), dtype=np.int64)
        for place, row in enumerate(rows):
            start = 0
            for i in row:
                example = self.examples[i]
                end = start + len(example)
                input_ids[place, start:end], labels[place, start:end] = example.input_ids, example.labels
                labels[place, start] = IGNORED  # nothing of its own stands before an example's first token
                positions[place, start:end] = np.arange(end - start)
                start = end
            positions[place, start:] = np.arange(width - start)
        names = [self.names[i] for row in rows for i in row]
        packed = None if self.capacity is None else torch.from_numpy(positions)
        return Batch(names, torch.from_numpy(input_ids), torch.from_numpy(labels), packed, lengths)

    def _nothing(self) -> Batch:
        """What a rank computes while the others have more than it: one token, of which nothing is learned."""
        return Batch([], torch.full((1, 2), self.pad_id), torch.full((1, 2), IGNORED), None, [[2]])


class StepsModule(LightningDataModule):
    """Serves steps to the trainer one by one, in their order."""

    def __init__(self, steps: Dataset[Step]) -> None:
        super().__init__()
        self.steps = steps

    def train_dataloader(self) -> DataLoader[Step]:
        """One item is one step, already a batch."""
        return DataLoader(self.steps, batch_size=None, shuffle=False)
