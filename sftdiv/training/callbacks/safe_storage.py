"""Storage of torch's distributed checkpoints as safetensors and JSON, so that loading one never runs code.

Torch's own storage pickles its metadata and every value that is no tensor; whoever can write such a
checkpoint runs code when it is loaded. Here each rank writes one safetensors file with its parts of
the tensors, and the first rank a JSON file that says where each part lies. Another number of ranks can
read them. Values that are no tensors are refused; `split_values` takes them out beforehand.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import (
    LoadItemType,
    LoadPlan,
    LoadPlanner,
    SavePlan,
    SavePlanner,
    WriteItemType,
)
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

METADATA = "metadata.json"


class SafetensorsWriter(StorageWriter):
    """Writes the parts of each rank into ``parts-RANK.safetensors``, and ``metadata.json``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rank = 0

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Do nothing: a writer writes one checkpoint."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Remember the rank, which names the file."""
        self._rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """The plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """The plans as they are."""
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Write this rank's parts."""
        name = f"parts-{self._rank}.safetensors"
        tensors: dict[str, Tensor] = {}
        results = []
        for number, item in enumerate(plan.items):
            if item.type == WriteItemType.BYTE_IO:
                raise TypeError(f"{item.index.fqn} is no tensor, and a checkpoint holds no pickled values")
            data: Any = planner.resolve_data(item)  # bytes only for BYTE_IO
            tensors[str(number)] = data.detach().cpu().clone(memory_format=torch.contiguous_format)
            size = tensors[str(number)].nbytes
            results.append(WriteResult(item.index, size, {"file": name, "key": str(number)}))
        save_file(tensors, self.folder / name)
        return _done(results)

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Write the metadata, on the first rank."""
        tensors = {name: _tensor_as_json(value) for name, value in metadata.state_dict_metadata.items()}
        parts = [
            {"name": result.index.fqn, "offset": list(result.index.offset or ()), **result.storage_data}
            for of_rank in results
            for result in of_rank
        ]
        (self.folder / METADATA).write_text(json.dumps({"tensors": tensors, "parts": parts}), encoding="utf-8")

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Whether the folder can be written; torch asks only where it chooses the storage itself."""
        return True


class SafetensorsReader(StorageReader):
    """Reads what `SafetensorsWriter` has written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parts: Mapping[MetadataIndex, Mapping[str, str]] = {}

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Do nothing: a reader reads one checkpoint."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Shapes and types of all tensors, and where their parts lie."""
        stored = json.loads((self.folder / METADATA).read_text(encoding="utf-8"))
        parts = {MetadataIndex(part["name"], part["offset"]): part for part in stored["parts"]}
        return Metadata(
            {name: _tensor_from_json(value) for name, value in stored["tensors"].items()}, storage_data=parts
        )

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Remember where the parts lie."""
        self._parts = metadata.storage_data

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """The plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """The plans as they are."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Copy the stored parts into the tensors of this rank."""
        by_file: dict[str, list[tuple[Any, str]]] = {}
        for item in plan.items:
            if item.type == LoadItemType.BYTE_IO:
                raise TypeError(f"{item.storage_index.fqn} is no tensor, and a checkpoint holds no pickled values")
            part = self._parts[item.storage_index]
            by_file.setdefault(Path(part["file"]).name, []).append((item, part["key"]))
        for name, items in by_file.items():
            with safe_open(self.folder / name, framework="pt") as stored:
                for item, key in items:
                    tensor: Tensor = stored.get_tensor(key)
                    for dimension, (start, length) in enumerate(zip(item.storage_offsets, item.lengths, strict=True)):
                        tensor = tensor.narrow(dimension, start, length)
                    target = planner.resolve_tensor(item).detach()
                    target.copy_(tensor)
                    planner.commit_tensor(item, target)
        return _done(None)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Whether the folder can be read; torch asks only where it chooses the storage itself."""
        return True


def split_values(state: Any) -> tuple[Any, Any]:
    """The tensors of a nested state, and its other values, each with the structure of dictionaries and lists.

    Returns:
        The state with nothing but tensors (None where there is none), and with None for each tensor.
    """
    if isinstance(state, Tensor):
        return state, None
    if isinstance(state, Mapping):
        parts = {key: split_values(value) for key, value in state.items()}
        tensors = {key: part[0] for key, part in parts.items() if part[0] is not None}
        return tensors or None, {str(key): part[1] for key, part in parts.items()}
    if isinstance(state, (list, tuple)):
        if any(split_values(value)[0] is not None for value in state):
            as_mapping = {str(number): value for number, value in enumerate(state)}
            return split_values(as_mapping)
        return None, list(state)
    return None, state


def restore_values(state: Any, values: Any) -> Any:
    """A nested state with its tensors kept and its other values replaced by stored ones."""
    if isinstance(state, Tensor):
        return state
    if isinstance(state, Mapping):
        return {key: restore_values(value, values[str(key)]) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        stored = list(values.values()) if isinstance(values, Mapping) else values
        if len(stored) != len(state):
            return stored
        return type(state)(restore_values(value, part) for value, part in zip(state, stored, strict=True))
    return values


def _tensor_as_json(value: Any) -> dict[str, Any]:
    if not isinstance(value, TensorStorageMetadata):
        raise TypeError("a checkpoint holds nothing but tensors")
    chunks = [[list(chunk.offsets), list(chunk.sizes)] for chunk in value.chunks]
    dtype = str(value.properties.dtype).removeprefix("torch.")
    return {"dtype": dtype, "size": list(value.size), "chunks": chunks}


def _tensor_from_json(value: Mapping[str, Any]) -> TensorStorageMetadata:
    dtype = getattr(torch, value["dtype"])
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"{value['dtype']!r} is no type of tensors")
    chunks = [ChunkStorageMetadata(torch.Size(offsets), torch.Size(sizes)) for offsets, sizes in value["chunks"]]
    return TensorStorageMetadata(TensorProperties(dtype=dtype), torch.Size(value["size"]), chunks)


def _done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future
