"""Memory of a process that trains SmolLM2-135M on a CPU, beside the estimate of its tensors.

    python benchmarks/training/memory_135m.py FOLDER ROWS LENGTH [THRESHOLD]

FOLDER is the model in the hub's format, ROWS x LENGTH the tokens of a pass, all of them labels. THRESHOLD in bytes
fixes glibc's M_MMAP_THRESHOLD. Prints resident memory and CPU time of three optimizer steps.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from pathlib import Path

import torch

from sftdiv.config.from_python import compose_run
from sftdiv.modeling.checkpoint import load_config, load_model
from sftdiv.modeling.loss import token_losses
from sftdiv.training.resources.dry_run import MicroBatchShape, peak_activations
from sftdiv.training.resources.heap import M_MMAP_THRESHOLD

GIB = 2**30
PAGE = 4096


class Peak(threading.Thread):
    """Samples the resident memory of this process every 5 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes = 0

    def run(self) -> None:
        """Sample until the process ends."""
        while True:
            self.bytes = max(self.bytes, resident())
            time.sleep(0.005)


def resident() -> int:
    """Resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def main(folder: str, rows: int, length: int, threshold: int | None) -> None:
    """Print the estimate, then what each step took."""
    if threshold is not None:
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, threshold)
    before = resident()
    model = load_model(folder, dtype=torch.float32).train()
    weights = 4 * model.num_parameters()
    shape = MicroBatchShape(rows, length, length)
    plain = compose_run(["train=full"]).spec.training.fine_tuning
    activations = peak_activations(load_config(folder), shape, dtype=torch.float32, autocast=False, fine_tuning=plain)
    print(f"tensors, estimated: {(4 * weights + activations) / GIB:.2f} GiB; imports {before / GIB:.2f} GiB")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    peak = Peak()
    peak.start()
    for step in range(3):
        input_ids = torch.randint(0, model.config.vocab_size, (rows, length))
        peak.bytes, started = 0, time.process_time()
        (token_losses(model, input_ids, input_ids.clone()).sum() / (rows * length)).backward()
        optimizer.step()
        optimizer.zero_grad()
        print(f"step {step}: {peak.bytes / GIB:.2f} GiB, {time.process_time() - started:.1f} s of CPU", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else None)
