"""Names that users of other programs try, the flags of Hydra's commands, and the groups of each command."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

# Groups that a command may choose from; None: those of conf/. Subgroups go with their first part.
COMMANDS: Mapping[str, Sequence[str] | None] = {
    "config": None,
    "measure": ("corpus", "embedder", "compute"),
    "regenerate": ("corpus",),
}

FLAGS_WITH_VALUE = (
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"),
    *("--shell-completion", "-sc", "--experimental-rerun"),
)
INFORMATION = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")  # values of --info
FLAGS = (
    *("--help", "--hydra-help", "--version", "--resolve", "--run", "--multirun", "--info"),
    *(flag for flag in FLAGS_WITH_VALUE if flag.startswith("--")),
)

FREE = re.compile(  # settings that take several kinds of values and are checked where they are used; null is not one
    r"seed|size\.(n|label_tokens)|diversity_level|sweep\.(isolate|baselines(\..+)?)|eval\.num_fewshot|"
    r"diversity\.metrics|metrics|matched\.size|eval\.\w+\.mean|selection\.k_min|units(\..+)?|sampling\.extra(\..+)?|"
    r"(eval\.judge\.)?judge\.(baseline|extra)(\..+)?|strategy\.tokenizer|tokenizer|corpus\.mix|"
    r"hydra\.launcher\.(resources|runtime_env|init)(\..+)?"
)

# What a name stands for in other programs: settings of this one, the likeliest first.
MEANT: Mapping[str, Sequence[str]] = {
    "lr": ("model.finetune.learning_rate",),
    "learning_rate": ("model.finetune.learning_rate",),
    "epochs": ("model.finetune.epochs",),
    "epoch": ("model.finetune.epochs",),
    "num_epochs": ("model.finetune.epochs",),
    "num_train_epochs": ("model.finetune.epochs",),
    "max_steps": ("train.steps",),
    "batch": ("model.finetune.batch_size",),
    "bs": ("model.finetune.batch_size",),
    "batch_size": ("model.finetune.batch_size",),
    "micro_batch_size": ("train.batch",),
    "max_length": ("model.max_length",),
    "max_len": ("model.max_length",),
    "max_seq_length": ("model.max_length",),
    "max_seq_len": ("model.max_length",),
    "cutoff_len": ("model.max_length",),
    "n": ("size.n", "matched.size"),
    "num_samples": ("size.n", "matched.size"),
    "k": ("size.n", "matched.size"),
    "level": ("diversity_level",),
    "diversity": ("diversity_level",),
    "side": ("strategy.side",),
    "match": ("selection.match",),
    "format": ("export.format", "corpus.format"),
    "output": ("paths.outputs",),
    "out": ("paths.outputs",),
    "output_dir": ("paths.outputs",),
    "outputs": ("paths.outputs",),
    "cache": ("paths.cache",),
    "cache_dir": ("paths.cache",),
    "path": ("corpus=files corpus.path",),
    "data": ("corpus=files corpus.path",),
    "data_path": ("corpus=files corpus.path",),
    "dataset": ("corpus=files corpus.path",),
    "dataset_path": ("corpus=files corpus.path",),
    "file": ("corpus=files corpus.path",),
    "input": ("corpus=files corpus.path",),
    "train_file": ("corpus=files corpus.path",),
    "tasks": ("eval=custom eval.tasks",),
    "limit": ("eval.limit",),
    "model_name": ("model.path",),
    "model_name_or_path": ("model.path",),
    "pretrained": ("model.path",),
    "base_url": ("endpoint.base_url", "eval=judge judge.endpoint.base_url"),
    "api_key": ("endpoint.api_key_env", "eval=judge judge.endpoint.api_key_env"),
    "gpus": ("trainer.devices",),
    "devices": ("trainer.devices",),
    "precision": ("trainer.precision",),
    "dedup": ("corpus.dedup",),
    "columns": ("corpus.columns",),
    "report_to": ("tracking",),
    "push_to_hub": ("train.push_to_hub",),
    "text_column": ("corpus.mapping.response",),
}


def in_terms_of_measure(message: str, strategy: str = "NAME") -> str:
    """A message of code that ``run`` and ``measure`` share, with the settings that ``measure`` has.

    Args:
        message: Message that names settings of ``run``.
        strategy: Strategy that the message is about, a key of ``units``.
    """
    message = message.replace("model.path, or by strategy.tokenizer: model, words", "tokenizer: words")
    message = message.replace("strategy.tokenizer", f"tokenizer, or units.{strategy}.tokenizer")
    return re.sub(r"\bstrategy[./](?=\w)", f"units.{strategy}.", message)
