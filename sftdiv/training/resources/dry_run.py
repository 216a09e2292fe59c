"""What a training holds in memory, found by a training step on tensors that have a shape and no content.

In: a model's config and how it is trained. Out: the bytes of its weights, and the peak of what the
two passes of a micro-batch add to them. The step is the code of `transformers`, `peft` and autograd
itself under torch's fake tensors, so that every architecture, precision, adapter and checkpointing
counts as it is. The usual formula (Korthikanti et al. 2022, arXiv 2205.05198, equation 2 without
its attention term: 34 bytes x tokens x width x layers) gives 34 GiB where a 7B Llama in bf16 keeps
48 at 4 x 2,048 tokens. The trade: it takes a second or two, and what only a GPU has (flash
attention, Liger, torch.compile) counts as torch's plain kernels, which take as much or more.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sftdiv.training.adapters import add_adapter
from sftdiv.training.config import AdapterConfig
from sftdiv.training.distributed.shard import decoder_layers

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

DTYPES = {
    "32-true": torch.float32,
    "64-true": torch.float64,
    "bf16-mixed": torch.float32,
    "16-mixed": torch.float32,
    "bf16-true": torch.bfloat16,
}
DEPTHS = (2, 4)  # layers that are run of a deeper model: what each further layer takes is the same
UNMASKED = (
    "sftdiv_unmasked"  # sdpa, for which transformers makes no mask; of fake tensors it cannot see that none is needed
)
NF4 = (
    0.5 + (1 + 4 / 256) / 64
)  # bytes a weight: 4 bits, and for each 64 a scale of 8 bits, of which 256 share one of 32 (arXiv 2305.14314)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Bytes of a model's parameters, and the number of those that are trained.

    ``largest_layer`` and what lies ``outside`` of the layers (embeddings, head, last norm) are what
    a sharded model gathers.
    """

    frozen: float
    trained: float
    trained_count: int
    largest_layer: float
    largest_layer_trained: float
    outside: float
    outside_trained: float


def weigh(config: PretrainedConfig, *, dtype: torch.dtype, adapter: AdapterConfig | None) -> Weights:
    """The parameters of a model as it is trained.

    Args:
        config: Of the model.
        dtype: Of its weights.
        adapter: LoRA, or None where all weights are trained.
    """
    model = _build(config, dtype, adapter=adapter, attention=UNMASKED)
    layers = [list(layer.parameters()) for layer in decoder_layers(model)]
    inside = {id(parameter) for layer in layers for parameter in layer}
    outside = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    four_bit = {id(weight) for weight in _linear_weights(model)} if adapter is not None and adapter.quantize else set()

    def held(parameters: Iterable[Tensor], *, trained: bool | None = None) -> float:
        chosen = [each for each in parameters if trained is None or each.requires_grad is trained]
        return sum(each.numel() * (NF4 if id(each) in four_bit else each.element_size()) for each in chosen)

    return Weights(
        frozen=held(model.parameters(), trained=False),
        trained=held(model.parameters(), trained=True),
        trained_count=sum(each.numel() for each in model.parameters() if each.requires_grad),
        largest_layer=max(held(layer) for layer in layers),
        largest_layer_trained=max(held(layer, trained=True) for layer in layers),
        outside=held(outside),
        outside_trained=held(outside, trained=True),
    )


def peak_activations(
    config: PretrainedConfig,
    *,
    dtype: torch.dtype,
    autocast: bool,
    adapter: AdapterConfig | None,
    attention: str,
    gradient_checkpointing: bool,
    rows: int,
    length: int,
    labels: int,
) -> float:
    """Peak bytes of one micro-batch beside weights and gradients: what the backward pass needs, logits, casts, and what comes and goes.

    Args:
        config: Of the model.
        dtype: Of its weights.
        autocast: Whether torch casts operation by operation to 16 bits; it keeps a copy of each
            trained weight while it does.
        adapter: LoRA, or None where all weights are trained.
        attention: ``eager`` keeps the attention matrix; any other does not.
        gradient_checkpointing: Whether the layers are computed again in the backward pass.
        rows: Conversations in the micro-batch.
        length: Tokens of each.
        labels: Label tokens of each; logits are computed at these alone.
    """
    depth = int(config.get_text_config().num_hidden_layers)
    depths = DEPTHS if depth > DEPTHS[1] else (depth,)
    peaks = []
    for layers in depths:
        model = _build(
            config, dtype, adapter=adapter, attention="eager" if attention == "eager" else UNMASKED, layers=layers
        )
        if gradient_checkpointing:
            _checkpoint_layers(model)
        with _fake_mode():
            _to_fake(model)
            peaks.append(_peak(model, lambda: _loss(model, rows, length, labels), autocast=autocast))  # noqa: B023
    a_layer = (peaks[-1] - peaks[0]) / max(1, depths[-1] - depths[0])
    return peaks[-1] + a_layer * (depth - depths[-1])


class _Live(TorchDispatchMode):
    """Counts the bytes of the storages that operations make, as long as anything holds them."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self.bytes, self.peak = 0, 0
        self.sizes = {tensor.untyped_storage()._cdata: 0 for tensor in known}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._hold(tensor.untyped_storage())
        return made

    def _hold(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self.sizes:
            self.sizes[key] = storage.nbytes()
            self.bytes += self.sizes[key]
            self.peak = max(self.peak, self.bytes)
            weakref.finalize(storage, self._let_go, key)

    def _let_go(self, key: int) -> None:
        self.bytes -= self.sizes.pop(key)


def _peak(model: nn.Module, loss: Callable[[], Tensor], *, autocast: bool) -> float:
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.empty_like(parameter)  # of the micro-batches before, to which a new one is added
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    with (
        _Live([*model.parameters(), *model.buffers(), *gradients]) as live,
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        loss().backward()  # within autocast, as Lightning has a module that steps its optimizer itself
    return float(live.peak)


def _loss(model: nn.Module, rows: int, length: int, labels: int) -> Tensor:
    """As `sftdiv.modeling.loss.token_losses`, with the labels at the end of each row: what a mask picks has no shape without content."""
    input_ids, targets = torch.zeros(rows, length, dtype=torch.long), torch.zeros(rows * labels, dtype=torch.long)
    logits = model(input_ids=input_ids, logits_to_keep=labels, use_cache=False).logits.flatten(0, 1)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return functional.cross_entropy(logits, targets, reduction="none").sum()


def _build(
    config: PretrainedConfig,
    dtype: torch.dtype,
    *,
    adapter: AdapterConfig | None,
    attention: str,
    layers: int | None = None,
) -> nn.Module:
    """A model on the meta device, as it is trained."""
    from transformers import AttentionInterface, AutoModelForCausalLM
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    AttentionInterface.register(UNMASKED, sdpa_attention_forward)
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that is going out of use
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            config, dtype=dtype, attn_implementation=attention
        ).train()
        if layers is not None:
            whole = max((each for each in model.modules() if isinstance(each, nn.ModuleList)), key=len)
            del whole[layers:]
        if adapter is None:
            return model
        if adapter.quantize is not None:
            linear = {id(weight) for weight in _linear_weights(model)}
            for parameter in model.parameters():  # as `peft.prepare_model_for_kbit_training` leaves them
                parameter.data = parameter.data.to(torch.bfloat16 if id(parameter) in linear else torch.float32)
        adapted = add_adapter(model, replace(adapter, quantize=None), seed=0)
        for (
            parameter
        ) in adapted.parameters():  # on other devices peft gives them their base's type, where that is not in 4 bits
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.float32 if adapter.quantize else dtype)
        return adapted


def _linear_weights(model: nn.Module) -> list[Tensor]:
    """What is held in 4 bits: the weights of linear layers, but for the head and for adapters."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    named = [
        (name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head
    ]
    return [module.weight for name, module in named if "lora_" not in name]


def _checkpoint_layers(model: nn.Module) -> None:
    whole: Any = model
    inner = whole.get_base_model() if hasattr(model, "get_base_model") else whole
    how = {"use_reentrant": False}
    if hasattr(inner, "activation_checkpointing_enable"):  # its name since transformers 5.23 or so
        inner.activation_checkpointing_enable(activation_checkpointing_kwargs=how)
    else:
        inner.gradient_checkpointing_enable(gradient_checkpointing_kwargs=how)


def _fake_mode() -> Any:
    """Tensors made within have a shape, a type and a device, and no content."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode()


def _to_fake(model: nn.Module) -> None:
    """Move a model from the meta device, which knows neither autocast nor the choice of an attention kernel, to fake tensors of the CPU."""
    made: dict[int, Any] = {}
    for module in model.modules():
        for held in (module._parameters, module._buffers):
            for name, tensor in held.items():
                if tensor is not None:
                    held[name] = made.setdefault(id(tensor), _fake(tensor))


def _fake(tensor: Tensor) -> Tensor:
    empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
    return nn.Parameter(empty, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
