"""The parts of the GPU script and their checks, in order; nothing heavy is imported.

A check is a function by name, its settings, its time limit and what it needs. Limits are for one H100, where a fork of
the warm process starts in a second; compilations take up to 40 seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: Its name in the results.
        function: ``MODULE:FUNCTION`` in this folder.
        needs: ``cuda``, or packages that must be installed.
        limit: Seconds after which its process is killed.
        settings: Keyword arguments of the function.
    """

    name: str
    function: str
    needs: tuple[str, ...] = ()
    limit: float = 60
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A group of checks.

    Attributes:
        name: Its name.
        limit: Seconds after which no further check of the part starts.
        parallel: Checks that run at the same time on the GPU.
        checks: The checks, in order.
    """

    name: str
    limit: float
    parallel: int
    checks: tuple[Check, ...]


def _training(check: str, /, *needs: str, limit: float = 60, **settings: Any) -> Check:
    return Check(check, "smoke_training:training", needs, limit, settings)


def _losses(attention: str, *needs: str, packing: bool) -> Check:
    name = f"losses.{'packed' if packing else 'padded'}.{attention}"
    return Check(name, "smoke_losses:losses", needs, 90, {"attention": attention, "packing": packing})


FLEX, FLASH = "flex_attention", "flash_attention_2"
SMOKE = (
    _losses(FLEX, "cuda", packing=True),  # what compiles comes first, since it takes longest
    _training("compile", "cuda", limit=120, compile=True),
    _training("compile.packed", "cuda", limit=120, compile=True, packing=True, attention="sdpa"),
    _training("packed.flex", "cuda", limit=90, packing=True, attention=FLEX),
    Check("sweep.locks", "smoke_sweep:sweep", (), 110),
    _losses("eager", packing=False),
    _losses("sdpa", packing=False),
    _losses("sdpa", packing=True),
    _losses(FLASH, "cuda", "flash_attn", packing=True),
    _training("bf16-mixed"),
    _training("bf16-true", "cuda", precision="bf16-true"),
    Check("fp16.scaling", "smoke_training:half_precision_overflow", ("cuda",)),
    _training("packed.sdpa", packing=True, attention="sdpa"),
    _training("packed.auto", "cuda", limit=90, packing=True),
    _training("packed.flash", "cuda", "flash_attn", packing=True, attention=FLASH),
    _training("lora", adapter={}),
    _training("lora.bf16-true.checkpointing", precision="bf16-true", adapter={}, gradient_checkpointing=True),
    Check("lora.alone", "smoke_training:adapter_alone"),
    _training("qlora", "bitsandbytes", adapter={"quantize": "nf4"}),
    _training("qlora.packed", "cuda", "bitsandbytes", adapter={"quantize": "nf4"}, packing=True, attention="sdpa"),
    _training("adamw_8bit", "cuda", "bitsandbytes", name="adamw_8bit"),
    _training("checkpointing", gradient_checkpointing=True),
    _training("neftune", neftune=5.0),
    _training("validation", validation=0.2, patience=3),
    _training("liger", "cuda", "liger_kernel", liger=True),
    _training("liger.packed.lora", "cuda", "liger_kernel", liger=True, packing=True, attention="sdpa", adapter={}),
    Check("batch.auto", "smoke_training:automatic_batch"),
    Check("resume.bf16", "smoke_training:resumed"),
    Check("resume.fp16", "smoke_training:resumed", ("cuda",), settings={"precision": "16-mixed"}),
    Check("generate", "smoke_evaluation:generation"),
    Check("heldout", "smoke_evaluation:heldout"),
    Check("lm_eval", "smoke_evaluation:harness", ("lm_eval",)),
    Check("embeddings", "smoke_evaluation:embeddings"),
)
SPEED = (
    Check("135m", "speed:small", (), 60),
    Check("7b.lora", "speed:large", (), 45, {"adapter": True}),
    Check("7b.full", "speed:large", (), 45, {"adapter": False}),
)
PARTS = (Part("smoke", 120, 5, SMOKE), Part("speed", 130, 1, SPEED))
STUDY = "study"  # the last part: workers that take cell after cell until the time is over, see `study`
