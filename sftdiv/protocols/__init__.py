"""Swappable parts, each a Protocol with one method that does its work, and the inputs of these methods.

A Hydra config group holds the options of each part: ``corpus`` (`Reader`), ``strategy`` (`UnitExtractor`),
``strategy/tagger`` (`Tagger`), ``strategy/clusterer`` (`Clusterer`), ``selector`` (`Selector`), ``embedder``
(`Embedder`), ``eval`` (`Evaluator`), ``tracking`` (`Tracking`) and ``compute`` (`ShardExecutor`). A new option is one
Python file and one YAML file; no list is extended.

``components`` holds the parts that decide results, ``trackers`` those that record them, ``contexts`` the
inputs of extractors, selectors and evaluators, ``benchmarks`` what decontamination searches for, ``shard_work`` how
per-row work is spread over processes and machines, ``sharded_models`` the models that take part in it.
"""

from sftdiv.protocols.benchmarks import Benchmark, BenchmarkSource, HasBenchmarks
from sftdiv.protocols.components import (
    Clusterer,
    Embedder,
    Evaluator,
    Needs,
    Reader,
    Selector,
    Tagger,
    UnitExtractor,
)
from sftdiv.protocols.contexts import CorpusSide, EvalContext, Keep, SelectionProblem, build_uncached
from sftdiv.protocols.shard_work import ShardExecutor, ShardStep
from sftdiv.protocols.sharded_models import ShardedEmbedder, ShardedTagger, embed_by, tag_by
from sftdiv.protocols.trackers import RunLogger, StudySummary, TrackedRun, Tracker, Tracking

__all__ = [
    "Benchmark",
    "BenchmarkSource",
    "Clusterer",
    "CorpusSide",
    "Embedder",
    "EvalContext",
    "Evaluator",
    "HasBenchmarks",
    "Keep",
    "Needs",
    "Reader",
    "RunLogger",
    "SelectionProblem",
    "Selector",
    "ShardExecutor",
    "ShardStep",
    "ShardedEmbedder",
    "ShardedTagger",
    "StudySummary",
    "Tagger",
    "TrackedRun",
    "Tracker",
    "Tracking",
    "UnitExtractor",
    "build_uncached",
    "embed_by",
    "tag_by",
]
