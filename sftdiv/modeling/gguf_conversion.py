"""Converts a GGUF file, the format of llama.cpp, into a folder in the hub's format.

`transformers` dequantises the weights of the architectures it knows. What it returns is marked as quantised, which
training and saving refuse, so the weights are moved into a plain model of the same config. They are kept in float32:
a quantised weight is a product of a 16-bit scale and a small integer, which 16 bits do not hold exactly.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftdiv.modeling.checkpoint import save_checkpoint
from sftdiv.records import SftdivError
from sftdiv.storage.hashing import file_digest
from sftdiv.text.lines import first_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SUFFIX = ".gguf"
CARD = "README.md"
CARD_FIELDS = {"general.name": "model_name", "general.license": "license", "general.architecture": "architecture"}


def is_gguf(path: Path) -> bool:
    """Whether a path has the suffix of a GGUF file."""
    return path.suffix.lower() == SUFFIX


def check_installed(path: Path) -> None:
    """Raise an `SftdivError` if the package ``gguf``, which reads the file, is not installed."""
    if find_spec("gguf") is None:
        raise SftdivError(f"{path} is a GGUF file, which the package gguf reads: pip install 'sftdiv[gguf]'")


def convert_gguf(path: Path, folder: Path) -> None:
    """Write a GGUF file's model, tokenizer and model card as one folder.

    Args:
        path: GGUF file of a causal language model.
        folder: Output folder; its previous content is replaced.

    Raises:
        SftdivError: The package ``gguf`` is missing, the file is damaged, or `transformers` does not know its
            architecture.
    """
    metadata = read_metadata(path)
    model, tokenizer = _load(path)
    save_checkpoint(_plain(model), tokenizer, folder, files={CARD: _card(path, metadata)})


def read_metadata(path: Path) -> dict[str, Any]:
    """The scalar fields of a GGUF file's header, such as ``general.name``; arrays are left out.

    Raises:
        SftdivError: As `convert_gguf`.
    """
    check_installed(path)
    from gguf import GGUFReader, GGUFValueType

    try:
        fields = GGUFReader(path).fields
    except Exception as error:  # the reader raises whatever its parsing meets
        raise SftdivError(f"{path} is no readable GGUF file: {first_line(error) or type(error).__name__}") from error
    return {name: field.contents() for name, field in fields.items() if field.types[:1] != [GGUFValueType.ARRAY]}


def _load(path: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    source: dict[str, Any] = {"gguf_file": path.name, "trust_remote_code": False}
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(path.parent, **source)
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, **source)
    except Exception as error:  # an unknown architecture or tokenizer, a truncated tensor, a version of gguf too old
        raise SftdivError(
            f"transformers cannot convert {path}: {first_line(error) or type(error).__name__}; another form of the "
            "model is a folder in the hub's format: model.path=FOLDER"
        ) from error
    return model, tokenizer


def _plain(model: PreTrainedModel) -> PreTrainedModel:
    """The same model without the mark of quantised weights."""
    import torch
    from transformers import AutoModelForCausalLM

    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        plain: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    return plain


def _card(path: Path, metadata: dict[str, Any]) -> str:
    """Model card with what the file says about itself."""
    from huggingface_hub import ModelCard, ModelCardData

    known = {field: metadata[name] for name, field in CARD_FIELDS.items() if name in metadata}
    data = ModelCardData(license=known.get("license"), model_name=known.get("model_name"))
    text = (
        f"# {known.get('model_name', path.stem)}\n\n"
        f"Converted by sftdiv from `{path.name}` (BLAKE2b {file_digest(path)}); weights dequantised to float32.\n\n"
        + "".join(f"- {field.replace('_', ' ')}: {value}\n" for field, value in known.items())
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}"))
