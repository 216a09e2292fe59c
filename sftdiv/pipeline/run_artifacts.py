"""Cached artifacts of one run: corpus, tokenizer and base model, and the inputs of its evaluators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.compute.local_shards import LOCAL
from sftdiv.config.spec import PretrainSpec, RunSpec
from sftdiv.modeling.gguf_conversion import check_installed, convert_gguf, is_gguf
from sftdiv.pipeline.artifacts import CorpusArtifacts
from sftdiv.protocols import Benchmark, EvalContext, Keep, ShardExecutor
from sftdiv.records import ModelRef, SftdivError, Universe
from sftdiv.selection.universe import group_share
from sftdiv.storage.cache import Store
from sftdiv.storage.cell import Cell
from sftdiv.storage.files import local_path
from sftdiv.storage.hashing import array_hash, arrays_hash, identity_of, library_versions
from sftdiv.training.config import TrainerConfig, TrainingConfig
from sftdiv.units.encoding import tokenizer_identity


class RunArtifacts:
    """Artifacts of one run.

    Attributes:
        spec: Specification of the run.
        data: Artifacts of its corpus.
        store: Artifact cache.
    """

    def __init__(self, spec: RunSpec, store: Store, *, compute: ShardExecutor = LOCAL) -> None:
        self.spec = spec
        self.store = store
        self.data = CorpusArtifacts(
            spec.corpus,
            store,
            embedder=spec.embedder,
            model_tokenizer=lambda: self.tokenizer,
            evaluated=self._evaluated_benchmarks,
            compute=compute,
        )
        strategies = filter(None, (spec.strategy, spec.selection.universe))
        self.data.whole_sides = {strategy.side for strategy in strategies if strategy.needs == "embeddings"}

    def _evaluated_benchmarks(self) -> list[Benchmark]:
        """The items that the evaluators score, as far as the corpus is searched for them."""
        parts = self.spec.corpus.decontamination.evaluators.values()
        return [benchmark for part in parts for benchmark in part.benchmarks(self.data.world_tasks)]

    @cached_property
    def read_by_base(self) -> NDArray[np.bool_]:
        """Mask of the examples used to pretrain the base model, shape (examples,).

        They are whole instruction groups without held-out examples, and without sources that are never trained on.
        """
        pretrain = self.spec.model.pretrain
        if pretrain is None or pretrain.reads != "corpus":
            return np.zeros(len(self.data.corpus), dtype=bool)
        read = group_share(self.data.strings("group"), pretrain.share, salt=f"pretrain:{pretrain.seed}")
        return read & ~np.logical_or.reduce(list(self.data.untrained.values()))

    @cached_property
    def tokenizer(self) -> ModelRef:
        """The model's tokenizer."""
        pretrain = self.spec.model.pretrain
        if pretrain is None:
            return self._pretrained()
        from sftdiv.training.tokenizer import train_tokenizer

        key = {
            "texts": self._pretraining_texts_key(pretrain),
            "vocabulary": pretrain.vocabulary,
            "tokenizers": library_versions(["tokenizers"])["tokenizers"],
        }
        folder = self.store.folder(
            "tokenizer",
            key,
            lambda folder: train_tokenizer(self._pretraining_texts(pretrain), folder, vocab_size=pretrain.vocabulary),
        )
        return ModelRef(str(folder))

    def base(self) -> ModelRef:
        """The model that fine-tuning starts from."""
        pretrain = self.spec.model.pretrain
        if pretrain is None:
            return self._pretrained()
        key = {
            "tokenizer": tokenizer_identity(self.tokenizer.path),
            "texts": self._pretraining_texts_key(pretrain),
            "settings": {
                "architecture": identity_of(pretrain.architecture),
                "pretrain": dict(pretrain.settings),
                "seed": pretrain.seed,
            },
            "trainer": {name: getattr(self.trainer, name) for name in ("accelerator", "precision", "threads")},
            "versions": library_versions(["torch", "transformers"]),
        }
        return ModelRef(str(self.store.folder("base", key, lambda folder: self._pretrain(pretrain, folder))))

    def _pretrained(self) -> ModelRef:
        """The pretrained model; a GGUF file as the folder that it is converted to, once."""
        model = self.spec.model.ref
        assert model is not None  # ModelSpec has either a reference or a pretraining
        file = local_path(model.path)
        if file is None or not is_gguf(file):
            return model
        check_installed(file)
        key = {"gguf": identity_of(model), "versions": library_versions(["gguf", "transformers"])}
        return ModelRef(str(self.store.folder("gguf", key, lambda folder: convert_gguf(file, folder))))

    def _pretrain(self, pretrain: PretrainSpec, folder: Path) -> None:
        from sftdiv.training.pretrain import train_base

        train_base(
            self._pretraining_texts(pretrain),
            Path(self.tokenizer.path),
            folder,
            architecture=pretrain.architecture,
            **pretrain.settings,
            trainer=self.trainer,
            seed=pretrain.seed,
        )

    def _pretraining_texts(self, pretrain: PretrainSpec) -> Sequence[str]:
        """Pretraining texts: the statements of the synthetic world, or a share of the corpus as plain text."""
        if pretrain.reads == "world":
            reader: Any = self.spec.corpus.reader  # the synthetic corpus's reader, as RunSpec checks
            statements: Sequence[str] = reader.world.statements
            return statements
        instructions, responses = self.data.texts("instruction"), self.data.texts("response")
        return [f"{instructions[row]}\n{responses[row]}" for row in np.flatnonzero(self.read_by_base).tolist()]

    def _pretraining_texts_key(self, pretrain: PretrainSpec) -> dict[str, Any]:
        if pretrain.reads == "world":
            reader: Any = self.spec.corpus.reader
            return {"world": reader.world.facts_identity()}
        rows = np.flatnonzero(self.read_by_base)
        return {"corpus": self.data.corpus.fingerprint, "rows": array_hash(rows)}

    @cached_property
    def trainer(self) -> TrainerConfig:
        """Trainer settings with every ``auto`` resolved on this machine."""
        return self.spec.training.trainer.resolved()

    @property
    def training(self) -> TrainingConfig:
        """Training settings with the trainer resolved on this machine."""
        return replace(self.spec.training, trainer=self.trainer)

    def keep_selection(self, universe: Universe) -> Keep:
        """Cache of what a selector derives from its problem, apart from level, size and seed.

        A selector's key adds the settings of its own that matter. Two selectors share nothing.
        """
        selector = identity_of(self.spec.selection.selector)
        shared = {
            "selector": [selector.get("kind"), selector.get("class")],
            "units": self.data.units_key(self.spec.strategy),
            "permuted": self.spec.seeds.ladder if self.spec.strategy.permuted else None,
            "universe": arrays_hash([universe.indices, universe.strata]),
            "embedder": identity_of(self.data.embedder),
            "tokenizer": tokenizer_identity(self.tokenizer.path, self.tokenizer.revision),
        }

        def keep(kind: str, key: Mapping[str, Any], build: Callable[[Path, Path], None]) -> Path:
            return self.data.keep(kind, {**shared, **key}, build)

        return keep

    def eval_context(self, cell: Cell) -> EvalContext:
        """Inputs for the evaluators of this run."""
        spec = self.spec
        return EvalContext(
            heldout=self.data.heldout,
            ood=self.data.ood,
            world_tasks=self.data.world_tasks,
            base=self.base,
            positions=self._positions,
            keep=self.data.keep,
            device=self.trainer.device,
            max_length=spec.model.max_length,
            loss_turns=spec.training.data.loss_turns,
            folder=cell.folder / "evaluation",
            study=cell.folder.parent,
            cell=cell.name,
            seed=spec.seeds.train,
            columns=spec.columns(),
        )

    def _positions(self) -> int | None:
        """Longest input of the model in tokens; None while its configuration cannot be read."""
        model = self.spec.model
        if model.pretrain is not None:
            return model.pretrain.architecture.positions
        from sftdiv.modeling.checkpoint import load_config
        from sftdiv.modeling.generate import positions_of

        try:
            return positions_of(load_config(self._pretrained()))
        except SftdivError:
            return None  # an adapter or an invalid path, which is reported when the model is loaded
