"""A language model as a folder in the hub's format: loaded here, saved here.

In: a local folder or a hub id. Out: a `transformers` model or tokenizer, ready for use; or a folder
that any other tool reads too. The trade: a folder is written under a temporary name beside its
place and renamed, so that a half-written model never has the name.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sftdiv.records import SftdivError

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

Loaded = TypeVar("Loaded")


def load_tokenizer(
    path: str | Path, *, revision: str | None = None, template: str | None = None, prefer_own: bool = False
) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, with a chat template and a token to pad with.

    Args:
        path: A folder or a hub id.
        revision: A branch, tag or commit of the hub; None is its main branch.
        template: A Jinja chat template that replaces the tokenizer's own; None keeps its own.
        prefer_own: Let the template replace none, but stand in where there is none.

    Raises:
        SftdivError: It cannot be loaded, has no template of its own and none is given, or has no
            end-of-sequence token.
    """
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = _load(
        path, lambda name: AutoTokenizer.from_pretrained(name, revision=revision)
    )
    if template is not None and not (prefer_own and tokenizer.chat_template):
        tokenizer.chat_template = template
    if tokenizer.chat_template is None:
        raise SftdivError(
            f"the tokenizer of {str(path)!r} has no chat template; give one: model/template=plain, alpaca or chatml"
        )
    if tokenizer.eos_token is None:
        raise SftdivError(f"the tokenizer of {str(path)!r} has no end-of-sequence token, so a response could never end")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(
    path: str | Path,
    *,
    dtype: torch.dtype | Literal["auto"],
    revision: str | None = None,
    device: str = "cpu",
    attention: str | None = None,
    quantization: Any = None,
) -> PreTrainedModel:
    """A causal language model from a folder or a hub id; of an adapter's folder, its base with the adapter.

    Args:
        path: A folder or a hub id.
        dtype: Its precision; "auto" is the one that it was saved in.
        revision: Of the hub.
        device: Where it is put.
        attention: One of `transformers`' implementations; None leaves it to the model.
        quantization: How weights are held, as `transformers` takes it; None holds them as they are.

    Raises:
        SftdivError: It cannot be found or reached.
    """
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    how: dict[str, Any] = {
        "revision": revision,
        "dtype": dtype,
        "attn_implementation": attention,
        "quantization_config": quantization,
    }
    how = {name: value for name, value in how.items() if value is not None}
    if quantization is not None:
        how["device_map"] = {"": device}
    elif device == "cuda" and torch.cuda.device_count() > 1:
        how["device_map"] = "sequential"  # what does not fit the first GPU goes on to the next
    with peft_is_late():
        model: PreTrainedModel = _load(path, lambda name: AutoModelForCausalLM.from_pretrained(name, **how))
    if (Path(path) / "adapter_config.json").exists() and (Path(path) / "generation_config.json").exists():
        model.generation_config = GenerationConfig.from_pretrained(
            path
        )  # not the base's, which ends with another token
    if "device_map" not in how:
        model.to(device)  # type: ignore[arg-type]
    return model.eval()


def load_config(path: str | Path, *, revision: str | None = None) -> PretrainedConfig:
    """What a model's folder or hub id says of its shape.

    Raises:
        SftdivError: It cannot be found or reached.
    """
    from transformers import AutoConfig

    config: PretrainedConfig = _load(path, lambda name: AutoConfig.from_pretrained(name, revision=revision))
    return config


def load_outline(
    path: str | Path, *, dtype: torch.dtype | None = None, revision: str | None = None, attention: str | None = None
) -> PreTrainedModel:
    """A model without its weights, on the meta device: its modules, shapes and names, in no memory.

    Args:
        path: A folder or a hub id, of which the config alone is read.
        dtype: Of its parameters; None is torch's default.
        revision: Of the hub.
        attention: As `load_model` takes it.

    Raises:
        SftdivError: It cannot be found or reached.
    """
    import torch
    from transformers import AutoModelForCausalLM

    config = load_config(path, revision=revision)
    with torch.device("meta"):
        how = {} if attention is None else {"attn_implementation": attention}
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype, **how)
    return model.eval()


def save_checkpoint(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, *, files: Mapping[str, str] | None = None
) -> None:
    """Write a model, its tokenizer and more text ``files`` as one folder, whole or not at all; what ``folder`` held before is replaced."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        for name, text in (files or {}).items():
            (temporary / name).write_text(text, encoding="utf-8")
        if getattr(model, "peft_config", None) and model.generation_config is not None:
            model.generation_config.save_pretrained(
                temporary
            )  # peft saves none, and the base's names another end token
        temporary.chmod(0o755)  # mkdtemp makes it private, safetensors its files: others shall read them too
        for path in temporary.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def peft_is_late() -> Iterator[None]:
    """Let peft 0.21 ask transformers 5.23 by names that it will lose, without a warning that no user can do anything about."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*_gradient_checkpointing.* is deprecated", category=FutureWarning)
        warnings.filterwarnings(
            "ignore", message=r".*gradient_checkpointing_enable.* is deprecated", category=FutureWarning
        )
        yield


def _load(path: str | Path, load: Callable[[str], Loaded]) -> Loaded:
    try:
        return load(str(path))
    except OSError as error:  # what transformers raises for a missing file, an unknown id, a gated one, and no network
        reason = str(error).strip().splitlines()[0]
        hint = "model.path takes a local folder in the hub's format, or a hub id (gated ones need a login: `hf auth login`)"
        raise SftdivError(f"cannot load {str(path)!r}: {reason} ({hint})") from error
