"""Evaluators of the config group ``eval`` that need no judge: lm-eval tasks and the held-out loss.

An evaluator receives a checkpoint folder and an ``EvalContext`` and returns named scores. Its fields
are the settings of one YAML file in ``conf/eval``. The computation is in `harness` and `heldout`,
which know nothing of runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sftdiv.evaluation.backends import check_backend, check_batch_size
from sftdiv.protocols import Benchmark, EvalContext
from sftdiv.records import Score, SftdivError
from sftdiv.storage.folders import user_path
from sftdiv.storage.hashing import path_identity, settings_identity


@dataclass(frozen=True, kw_only=True)
class LmEvalTasks:
    """Scores of lm-eval tasks.

    The tasks come from the synthetic corpus (``needs_world``), from a folder (``include_path``), or
    from the harness itself.

    Attributes:
        name: Name of the option; it prefixes ``NAME.mean`` and names the folder of the samples.
        primary: Score that a study uses, ``TASK.METRIC`` or ``NAME.mean``; None for ``eval.primary``.
        higher_is_better: Direction of the primary score, where the task does not state it.
        needs_world: Whether the tasks are the benchmark of the synthetic corpus.
        tasks: Names of tasks, groups or tags.
        mean: Scores whose unweighted mean is ``NAME.mean``; those of tasks that are not in ``tasks``
            are left out.
        include_path: Folder of task files; None for the harness's own tasks.
        num_fewshot: Number of few-shot examples, for all tasks or by task; None for each task's own.
        limit: Maximum number of items per task; None for all.
        batch_size: Number of items per batch, or ``auto``.
        backend: ``hf`` or ``vllm``.
        chat_template: Whether prompts are put in the model's chat format.
        cache_requests: Whether prompts are cached for the next model.
        seed: Seed of the choice of few-shot examples.
    """

    performance_only: ClassVar[frozenset[str]] = frozenset({"batch_size", "cache_requests"})
    libraries: ClassVar[tuple[str, ...]] = ("lm-eval", "torch", "transformers")

    name: str
    primary: str | None
    higher_is_better: bool
    needs_world: bool
    tasks: Sequence[str]
    mean: Sequence[str]
    include_path: str | None
    num_fewshot: int | Mapping[str, int] | None
    limit: int | None
    batch_size: int | str
    backend: str
    chat_template: bool
    cache_requests: bool
    seed: int

    def __post_init__(self) -> None:
        setting = "eval.tasks" if self.name == "custom" else f"eval.{self.name}.tasks"
        if not self.tasks:
            raise SftdivError(f"eval={self.name} needs tasks: {setting}=[arc_easy,piqa], or eval=none")
        if isinstance(self.tasks, str):
            raise SftdivError(f"{setting}={self.tasks} must be a list: {setting}=[{self.tasks}]")
        check_batch_size("eval.batch_size", self.batch_size)
        check_backend(self.backend)

    def identity(self) -> dict[str, Any]:
        """Settings that decide the scores; task files by content."""
        settings = settings_identity(self)
        if self.include_path:
            settings["include_path"] = path_identity(self.include_path)
        return {"kind": "lm_eval", **settings}

    def check(self, context: EvalContext) -> dict[str, bool | None]:
        """Load the tasks and their data, before training starts.

        Returns:
            The names of the scores, and whether higher is better.

        Raises:
            SftdivError: If a task cannot be loaded or has too few examples, or ``mean`` names an unknown
                score.
        """
        from sftdiv.evaluation.fewshot_check import check_fewshot
        from sftdiv.evaluation.harness import score_names
        from sftdiv.evaluation.loading import load_tasks

        loaded = load_tasks(self.tasks, self._task_folder(context))
        check_fewshot(loaded, self.num_fewshot)
        names = score_names(loaded)
        prefixes = tuple(name for name in names if name.endswith("."))
        for score in self._averaged():
            if score not in names and not score.startswith(prefixes):
                raise SftdivError(
                    f"eval.{self.name}.mean names {score!r}, which is none of the scores: {', '.join(names)}"
                )
        return names | ({f"{self.name}.mean": self.higher_is_better} if self._averaged() else {})

    def score(self, checkpoint: Path, context: EvalContext) -> dict[str, Score]:
        """Every metric of every task, as ``TASK.METRIC``; results per item are written to the cell's folder."""
        from sftdiv.evaluation.harness import mean_score, run_tasks

        scores = run_tasks(
            checkpoint,
            self.tasks,
            include_path=self._task_folder(context),
            num_fewshot=self.num_fewshot,
            limit=self.limit,
            batch_size=self.batch_size,
            chat_template=self.chat_template,
            device=context.device,
            seed=self.seed,
            backend=self.backend,
            samples=context.folder / self.name,
            keep=context.keep if self.cache_requests else None,
        )
        averaged = [scores[score] for score in self._averaged()]
        return scores | ({f"{self.name}.mean": mean_score(averaged)} if averaged else {})

    @property
    def is_public(self) -> bool:
        """Whether the items exist outside this run; those of the synthetic corpus are written with it."""
        return not self.needs_world

    def benchmarks_identity(self) -> dict[str, Any]:
        """Settings that decide the items; task files by content."""
        from sftdiv.evaluation.task_items import tasks_identity

        return tasks_identity(self.tasks, self.include_path, self.limit)

    def benchmarks(self, world_tasks: Callable[[], Path]) -> list[Benchmark]:
        """The scored items, one benchmark per requested name."""
        from sftdiv.evaluation.task_items import task_benchmarks

        return task_benchmarks(self.tasks, self._folder(world_tasks), limit=self.limit)

    def clean_scores(
        self, folder: Path, touched: Mapping[str, frozenset[int]], scores: Mapping[str, Score]
    ) -> dict[str, Score]:
        """Scores on the untouched items, as ``TASK.METRIC.clean``; ``NAME.mean.clean`` is the mean with them."""
        from sftdiv.evaluation.harness import mean_score
        from sftdiv.evaluation.task_items import CLEAN, clean_task_scores

        clean = clean_task_scores(folder / self.name, touched, scores)
        averaged = self._averaged()
        if any(score + CLEAN in clean for score in averaged):
            clean[f"{self.name}.mean{CLEAN}"] = mean_score(
                [clean.get(score + CLEAN, scores[score]) for score in averaged]
            )
        return clean

    def _averaged(self) -> list[str]:
        """The scores of ``mean`` whose task is evaluated."""
        return [score for score in self.mean if score.startswith(tuple(f"{task}." for task in self.tasks))]

    def _task_folder(self, context: EvalContext) -> Path | None:
        return self._folder(context.world_tasks)

    def _folder(self, world_tasks: Callable[[], Path]) -> Path | None:
        if self.needs_world:
            return world_tasks()
        return user_path(self.include_path, name="eval.include_path").absolute() if self.include_path else None


@dataclass(frozen=True, kw_only=True)
class HeldoutLoss:
    """Loss on held-out responses, overall and by source, and on sources that are never trained on.

    Attributes:
        name: Name of the option.
        primary: Score that a study uses.
        higher_is_better: Direction of the primary score.
        batch_size: Number of conversations per batch.
    """

    performance_only: ClassVar[frozenset[str]] = frozenset({"batch_size"})
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    name: str
    primary: str
    higher_is_better: bool
    batch_size: int

    def identity(self) -> dict[str, Any]:
        """Settings that decide the scores."""
        return {"kind": "heldout_loss", **settings_identity(self)}

    def check(self, context: EvalContext) -> dict[str, bool | None]:
        """Refuse a corpus without held-out examples.

        Returns:
            The names of the scores, and whether higher is better.
        """
        heldout = context.heldout()
        if not heldout.messages:
            raise SftdivError(
                f"eval={self.name} needs held-out examples and the corpus has none; raise corpus.heldout, or use "
                "eval=none"
            )
        sources = set(heldout.sources) if len(set(heldout.sources)) > 1 else set()
        groups = ["heldout", *(f"heldout.{source or 'unnamed'}" for source in sources)]
        names = [f"{group}.{loss}" for group in groups for loss in ("loss_token", "loss_sample", "loss_macro")]
        ood = {f"heldout.ood.{source or 'unnamed'}" for source in context.ood().sources}
        return dict.fromkeys([*names, *sorted(ood)], False)

    def score(self, checkpoint: Path, context: EvalContext) -> dict[str, Score]:
        """Mean loss in nats, see `heldout.response_loss`; losses per example are written to the cell's folder."""
        from sftdiv.evaluation.heldout import response_loss

        return response_loss(
            checkpoint,
            context.heldout(),
            ood=context.ood(),
            batch_size=self.batch_size,
            max_length=context.max_length,
            loss_turns=context.loss_turns,
            device=context.device,
            samples=context.folder / self.name,
        )
