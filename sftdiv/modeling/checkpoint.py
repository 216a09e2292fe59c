"""Loads language models and tokenizers, and saves them as folders in the hub's format.

A model is given by a `ModelRef`, or by the path of a local folder. A folder is written under a
temporary name beside its target and renamed, so that an incomplete model never has the final name. It holds the
digests of its files (`sftdiv.storage.file_digests`), which are compared when it is loaded.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sftdiv.modeling.packaged_models import install_hint
from sftdiv.records import ModelRef, SftdivError
from sftdiv.storage.file_digests import DamagedFileError, check_folder_files, seal_folder
from sftdiv.storage.files import local_path
from sftdiv.storage.folders import disk_errors_explained
from sftdiv.text.lines import first_line

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

Loaded = TypeVar("Loaded")
ModelSource = ModelRef | str | Path  # a path is a local folder


def as_model_ref(source: ModelSource) -> ModelRef:
    """The reference itself, or that of a local folder."""
    return source if isinstance(source, ModelRef) else ModelRef(str(source))


def load_tokenizer(
    source: ModelSource, *, template: str | None = None, prefer_own: bool = False
) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, with a chat template and a padding token.

    Args:
        source: Model or tokenizer.
        template: Jinja chat template that replaces the tokenizer's own; None keeps its own.
        prefer_own: Whether the tokenizer's own template, if it has one, takes precedence.

    Raises:
        SftdivError: The tokenizer cannot be loaded, or has no chat template or end-of-sequence token.
    """
    from transformers import AutoTokenizer

    model = as_model_ref(source)
    tokenizer: PreTrainedTokenizerBase = _load(
        model, lambda path: AutoTokenizer.from_pretrained(path, revision=model.revision, trust_remote_code=False)
    )
    if template is not None and not (prefer_own and tokenizer.chat_template):
        tokenizer.chat_template = template
    if tokenizer.chat_template is None:
        raise SftdivError(
            f"the tokenizer of {model.path!r} has no chat template; give one: model/template=plain, alpaca or chatml"
        )
    if tokenizer.eos_token is None:
        raise SftdivError(f"the tokenizer of {model.path!r} has no end-of-sequence token, so a response would not end")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(
    source: ModelSource,
    *,
    dtype: torch.dtype | Literal["auto"],
    device: str = "cpu",
    attention: str | None = None,
    quantization: Any = None,
) -> PreTrainedModel:
    """A causal language model in evaluation mode; for an adapter's folder, its base with the adapter.

    Args:
        source: Model.
        dtype: Type of the weights; "auto" is the one that they were saved in.
        device: Torch's name of the device.
        attention: Attention implementation of `transformers`; None for the model's default.
        quantization: Quantization config of `transformers`; None for none.

    Raises:
        SftdivError: The model cannot be found or reached, or its files changed since they were written.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    reference = as_model_ref(source)
    settings: dict[str, Any] = {
        "revision": reference.revision,
        "dtype": dtype,
        "attn_implementation": attention,
        "quantization_config": quantization,
        "trust_remote_code": False,  # None would ask on a terminal
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    if quantization is not None:
        settings["device_map"] = {"": device}
    elif device == "cuda" and torch.cuda.device_count() > 1:
        settings["device_map"] = "sequential"  # what does not fit on the first GPU goes to the next
    with peft_warnings_ignored():
        model: PreTrainedModel = _load(
            reference, lambda path: AutoModelForCausalLM.from_pretrained(path, **settings), weights=True
        )
    _check_generation_config(model, Path(reference.path))
    if "device_map" not in settings:
        model.to(device)
    return model.eval()


def _check_generation_config(model: PreTrainedModel, folder: Path) -> None:
    """Refuse a damaged generation config, which transformers ignores, and use an adapter's own.

    The generation config of an adapter's base has another end token.
    """
    from transformers import GenerationConfig

    if (folder / "generation_config.json").exists():
        config = _load(ModelRef(str(folder)), GenerationConfig.from_pretrained)
        if (folder / "adapter_config.json").exists():
            model.generation_config = config


def load_config(source: ModelSource) -> PretrainedConfig:
    """The config of a model; raises as `load_model` does."""
    from transformers import AutoConfig

    model = as_model_ref(source)
    return _load(model, lambda path: AutoConfig.from_pretrained(path, revision=model.revision, trust_remote_code=False))


def load_meta_model(
    source: ModelSource, *, dtype: torch.dtype | None = None, attention: str | None = None
) -> PreTrainedModel:
    """A model without its weights, on the meta device: its modules, shapes and names, in no memory.

    Args:
        source: Model, of which only the config is read.
        dtype: Type of the parameters; None for torch's default.
        attention: Attention implementation of `transformers`; None for the model's default.

    Raises:
        SftdivError: The model cannot be found or reached.
    """
    import torch
    from transformers import AutoModelForCausalLM

    config = load_config(source)
    settings: dict[str, Any] = {"dtype": dtype, "trust_remote_code": False}
    settings |= {} if attention is None else {"attn_implementation": attention}
    with torch.device("meta"):
        model: PreTrainedModel = _load(
            as_model_ref(source), lambda path: AutoModelForCausalLM.from_config(config, **settings)
        )
    return model.eval()


def save_checkpoint(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, *, files: Mapping[str, str] | None = None
) -> None:
    """Write a model, its tokenizer and further text files as one folder, completely or not at all.

    Args:
        model: Model.
        tokenizer: Its tokenizer.
        folder: Output folder; its previous content is replaced.
        files: Content of further files, by name.

    Raises:
        SftdivError: The disk is full or cannot be written.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        with peft_warnings_ignored(), disk_errors_explained(folder):
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
            for name, text in (files or {}).items():
                (temporary / name).write_text(text, encoding="utf-8")
            if getattr(model, "peft_config", None) and model.generation_config is not None:
                model.generation_config.save_pretrained(temporary)  # peft saves none; the base's has another end token
        temporary.chmod(0o755)  # mkdtemp and safetensors make files private; others may read these
        for path in temporary.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        seal_folder(temporary)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def peft_warnings_ignored() -> Iterator[None]:
    """Ignore peft 0.21's use of names that transformers 5.23 deprecates, and its advice on tied embeddings.

    Adapted modules are untied before an adapter is merged (`sftdiv.training.merge`).
    """
    with warnings.catch_warnings():
        for advice in (r"Model (has|with) `tie_word_embeddings=True`", "Setting `save_embedding_layers`"):
            warnings.filterwarnings("ignore", message=advice)
        for name in ("_gradient_checkpointing", "gradient_checkpointing_enable"):
            warnings.filterwarnings("ignore", message=rf".*{name}.* is deprecated", category=FutureWarning)
        yield


def check_model_files(model: ModelRef, *, weights: bool) -> None:
    """Compare the files of a local model that `save_checkpoint` wrote with their digests.

    Args:
        model: Model; one from elsewhere has no digests and is not checked.
        weights: Whether the weights are compared too, at about 1 GB/s.

    Raises:
        SftdivError: A file changed since it was written.
    """
    if (folder := local_path(model.path)) is not None and folder.is_dir():
        check_folder_files(folder, weights=weights)


def _load(model: ModelRef, load: Callable[[str], Loaded], *, weights: bool = False) -> Loaded:
    import torch

    try:
        check_model_files(model, weights=weights)
        return load(model.path)
    except (torch.OutOfMemoryError, MemoryError, ImportError, DamagedFileError):
        raise
    except Exception as error:  # a damaged file may raise anything, such as tokenizers' plain Exception
        reason = first_line(error) or type(error).__name__
        if "trust_remote_code" in str(error):
            raise SftdivError(
                f"{model.path!r} has model code of its own, which sftdiv does not run; use a model whose architecture "
                "transformers has"
            ) from error
        raise SftdivError(
            f"cannot load {model.path!r}: {reason} (model.path is a local folder in the hub's format, a GGUF file, or "
            f"a hub id; gated ones need a login: `hf auth login`{install_hint(model.path)})"
        ) from error
