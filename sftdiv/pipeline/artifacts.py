"""What the stages make of one configuration, each result through the artifact store and at most once a process.

In: a composed config and a store. Out: the corpus, token ids, embeddings, units, ladders, tokenizer
and base model it describes. Here the stages meet, so that the entry points read as the way of the
data; each key holds all that its result depends on, and nothing more, so that a change of the
learning rate tokenizes nothing again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

import sftdiv
from sftdiv.data.build_corpus import load_corpus
from sftdiv.pipeline.serialize import (
    load_embeddings,
    load_ladders,
    load_token_ids,
    load_units,
    save_embeddings,
    save_ladders,
    save_token_ids,
    save_units,
)
from sftdiv.protocols import CorpusSide, Embedder, EvalContext, Reader, UnitExtractor
from sftdiv.records import Corpus, Embeddings, Heldout, Ladder, SftdivError, Side, TokenIds, Units, Universe
from sftdiv.selection.choose import build_ladders
from sftdiv.selection.universe import group_share
from sftdiv.storage.cache import Store
from sftdiv.storage.cell import Cell
from sftdiv.storage.hashing import content_hash
from sftdiv.training.config import TrainerConfig
from sftdiv.units.encoding import encode, tokenizer_identity


def plain(node: Any) -> Any:
    """A config node as plain Python values, interpolations resolved."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _versions(*names: str) -> dict[str, str]:
    """Of this package and of the libraries that a result depends on."""
    return {"sftdiv": sftdiv.__version__} | {name: version(name) for name in names}


class Artifacts:
    """Results of the stages for one config; see the module's text."""

    def __init__(self, config: DictConfig, store: Store) -> None:
        self.config = config
        self.store = store
        self._token_ids: dict[tuple[Side, str], TokenIds] = {}
        self._vectors: dict[Side, Embeddings] = {}

    @cached_property
    def reader(self) -> Reader:
        """The corpus reader."""
        reader: Reader = instantiate(self.config.corpus.reader, _convert_="all")
        return reader

    @cached_property
    def corpus(self) -> Corpus:
        """Distinct examples in canonical order."""
        corpus = self.config.corpus
        return load_corpus(
            self.reader,
            self.store,
            heldout=corpus.heldout,
            seed=corpus.seed,
            on_bad_row=corpus.on_bad_row,
            dedup=corpus.dedup,
            near=instantiate(corpus.near) if corpus.dedup == "near" else None,
        )

    @cached_property
    def read_by_base(self) -> NDArray[np.bool_]:
        """Which examples the base model was pretrained on, shape (examples,): whole instruction groups, never held-out ones."""
        model = self.config.model
        if model.source != "scratch" or model.reads != "corpus":
            return np.zeros(len(self.corpus), dtype=bool)
        share = group_share(self.corpus.column("group"), model.pretrain_share, salt=f"pretrain:{model.seed}")
        return share & ~np.array(self.corpus.column("heldout"))

    @cached_property
    def tokenizer(self) -> str:
        """The model's tokenizer: a folder or a hub id."""
        model = self.config.model
        if model.source != "scratch":
            return str(model.path)
        from sftdiv.training.tokenizer import train_tokenizer

        key = {"texts": self._base_text_key(), "vocabulary": model.vocabulary, "tokenizers": version("tokenizers")}
        build = lambda folder: train_tokenizer(self._base_texts(), folder, vocab_size=model.vocabulary)  # noqa: E731
        return str(self.store.folder("tokenizer", key, build))

    def strategy_tokenizer(self, strategy: Mapping[str, Any]) -> str:
        """The tokenizer that a strategy's units are counted with."""
        name = str(strategy.get("tokenizer", "model"))
        return self.tokenizer if name == "model" else name

    def texts(self, side: Side) -> list[str]:
        """One side of every example."""
        return self.corpus.column(side)

    def token_ids(self, side: Side, tokenizer: str) -> TokenIds:
        """Token ids of one side of every example."""
        if (side, tokenizer) not in self._token_ids:
            key = self._tokens_key(side, tokenizer)
            make = lambda: encode(self.texts(side), tokenizer, self._revision(tokenizer))  # noqa: E731
            folder = self.store.folder("token_ids", key, lambda folder: save_token_ids(make(), folder))
            self._token_ids[side, tokenizer] = load_token_ids(folder)
        return self._token_ids[side, tokenizer]

    def embeddings(self, side: Side) -> NDArray[np.float32]:
        """Embeddings of one side of every example, memory-mapped, shape (examples, dimensions)."""
        return self.embedding_record(side).vectors

    def embedding_record(self, side: Side) -> Embeddings:
        """The same, with how they were made.

        Raises:
            SftdivError: With ``embedder=none``.
        """
        if not self.embeds:
            raise SftdivError(
                "embedder=none, but embeddings are needed here. Known: minilm, lsa (no model), or embedder.path=MODEL"
            )
        if side not in self._vectors:
            self._vectors[side] = load_embeddings(
                self._keep("embeddings", self._embeddings_key(side), partial(self._embed, side))
            )
        return self._vectors[side]

    @property
    def embeds(self) -> bool:
        """Whether there is an embedder; without one the metrics that need it are left out."""
        return "_target_" in self.config.embedder

    @cached_property
    def embedder(self) -> Embedder:
        """What turns texts into vectors."""
        embedder: Embedder = instantiate(self.config.embedder, _convert_="all")
        return embedder

    def _embed(self, side: Side, folder: Path, partial: Path) -> None:
        save_embeddings(self.embedder.embed(self.texts(side), partial), folder)

    def _keep(self, kind: str, key: Mapping[str, Any], build: Callable[[Path, Path], None]) -> Path:
        """`Store.folder` for a build that can go on where a killed one stopped."""
        return self.store.folder(kind, key, lambda folder: build(folder, self.store.partial(kind, key)))

    def units(self, strategy: Mapping[str, Any]) -> Units:
        """Units of diversity as a strategy finds them, on its side."""
        return load_units(
            self.store.folder(
                "units", self._units_key(strategy), lambda folder: save_units(self._find(strategy), folder)
            )
        )

    def ladders(
        self, strategy: Mapping[str, Any], units: Units, universe: Universe, *, prune: str, seed: int
    ) -> list[Ladder]:
        """The ladder of each stratum of the universe."""
        who = content_hash([universe.indices.tolist(), universe.strata.tolist()])
        key = {"units": self._units_key(strategy), "universe": who, "prune": prune, "seed": seed}
        build = lambda folder: save_ladders(build_ladders(units, universe, prune=prune, seed=seed), folder)  # noqa: E731
        return load_ladders(self.store.folder("ladders", key, build))

    @cached_property
    def hardware(self) -> TrainerConfig:
        """Where training and evaluation run."""
        hardware: TrainerConfig = instantiate(self.config.trainer)
        return hardware.resolved()

    def base(self) -> str:
        """The model that fine-tuning starts from: a folder or a hub id."""
        model = self.config.model
        if model.source != "scratch":
            return str(model.path)
        key = {
            "tokenizer": tokenizer_identity(self.tokenizer),
            "texts": self._base_text_key(),
            "settings": {name: plain(model[name]) for name in ("architecture", "pretrain", "seed")},
            "hardware": {name: getattr(self.hardware, name) for name in ("accelerator", "precision", "threads")},
            "versions": {name: version(name) for name in ("torch", "transformers")},
        }
        return str(self.store.folder("base", key, self._train_base))

    def _train_base(self, folder: Path) -> None:
        from sftdiv.training.pretrain import train_base

        model = self.config.model
        train_base(
            self._base_texts(),
            Path(self.tokenizer),
            folder,
            architecture=instantiate(model.architecture),
            **plain(model.pretrain),
            trainer=self.hardware,
            seed=model.seed,
        )

    def exam(self, cell: Cell) -> EvalContext:
        """What an evaluation may ask of this run."""
        return EvalContext(
            heldout=self._heldout,
            world_tasks=self._world_tasks,
            base=self.base,
            revision=self.config.model.revision,
            keep=self._keep,
            device=self.hardware.device,
            max_length=self.config.model.max_length,
            loss_turns=self.config.loss.turns,
            folder=cell.folder / "evaluation",
            study=cell.folder.parent,
            cell=cell.name,
            seed=self.config.seed,
        )

    def _heldout(self) -> Heldout:
        held = self.corpus.table.filter(lambda held: held, input_columns="heldout", keep_in_memory=True)
        return Heldout(held["messages"][:], held["source"][:], held["group"][:])

    def _world_tasks(self) -> Path:
        """The embedded world's benchmark as lm-eval tasks; they name their own folder, so a moved cache writes them again."""
        key = {**self.reader.identity(), "cache": str(self.store.root)}
        world, place = self.reader.world, self.store.place("world_tasks", key)  # type: ignore[attr-defined]
        return self.store.folder("world_tasks", key, lambda folder: world.write_tasks(folder, place=place))

    def _find(self, strategy: Mapping[str, Any]) -> Units:
        side: Side = strategy["side"]
        text = CorpusSide(
            texts=self.texts(side),
            token_ids=lambda: self.token_ids(side, self.strategy_tokenizer(strategy)),
            embeddings=lambda: self.embeddings(side),
            column=self.corpus.column,
            keep=lambda kind, key, build: self._keep(
                kind, {"corpus": self.corpus.fingerprint, "side": side, **key}, build
            ),
        )
        finder: UnitExtractor = instantiate(strategy["units"], _convert_="all")
        return finder.extract(text)

    def _units_key(self, strategy: Mapping[str, Any]) -> dict[str, Any]:
        """Corpus and side, what decides the finder's result, and what it needs (``strategy.needs``)."""
        side: Side = strategy["side"]
        inputs = {
            "token_ids": lambda: self._tokens_key(side, self.strategy_tokenizer(strategy)),
            "embeddings": lambda: self._embeddings_key(side),
            "column": dict,  # carried columns are part of the corpus's fingerprint
            "nothing": dict,
        }
        if strategy["needs"] not in inputs:
            raise SftdivError(
                f"strategy.needs={strategy['needs']!r} of {strategy['name']} is unknown. Known: {', '.join(inputs)}"
            )
        finder: UnitExtractor = instantiate(strategy["units"], _convert_="all")
        made = {"finder": dict(finder.identity()), "needs": inputs[strategy["needs"]](), "versions": _versions()}
        return {"corpus": self.corpus.fingerprint, "side": side, **made}

    def _tokens_key(self, side: Side, tokenizer: str) -> dict[str, Any]:
        tokenized_with = tokenizer_identity(tokenizer, self._revision(tokenizer))
        return {
            "corpus": self.corpus.fingerprint,
            "side": side,
            "tokenizer": tokenized_with,
            "versions": _versions("tokenizers"),
        }

    def _revision(self, tokenizer: str) -> str | None:
        """The hub revision of a tokenizer: the model's, if it is the model's."""
        revision: str | None = self.config.model.revision if tokenizer == self.tokenizer else None
        return revision

    def _embeddings_key(self, side: Side) -> dict[str, Any]:
        return {
            "corpus": self.corpus.fingerprint,
            "side": side,
            "embedder": dict(self.embedder.identity()),
            "versions": _versions(),
        }

    def _base_texts(self) -> Sequence[str]:
        """What the base model and its tokenizer read: the embedded world's statements, or the corpus's pretraining share as plain text."""
        if self.config.model.reads == "world":
            return self.reader.world.statements  # type: ignore[attr-defined]  # settings.check: the corpus is the embedded one
        rows = np.flatnonzero(self.read_by_base)
        instructions, responses = self.texts("instruction"), self.texts("response")
        return [f"{instructions[row]}\n{responses[row]}" for row in rows]

    def _base_text_key(self) -> dict[str, Any]:
        if self.config.model.reads == "world":
            identity = self.reader.identity()  # of which the size and skew of the corpus say nothing of its statements
            return {"world": identity["world"]["seed"], "code": identity["code"]}
        return {"corpus": self.corpus.fingerprint, "rows": content_hash(np.flatnonzero(self.read_by_base).tolist())}
