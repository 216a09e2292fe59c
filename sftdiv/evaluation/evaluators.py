"""The options of the config group ``eval``, each one way to score a checkpoint.

In: a checkpoint folder and what may be asked of the run (``Exam``). Out: named scores. The settings
are those of the YAML files; the work is done by `harness` and `heldout`, which know nothing of a
run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sftdiv.protocols import EvalContext
from sftdiv.records import Score, SftdivError


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """lm-eval tasks: the embedded world's (``needs_world``), those of a folder (``include_path``), or the harness's own.

    Attributes:
        primary: The score that a study uses, ``TASK.METRIC`` or ``NAME.mean``; None leaves it to
            ``eval.primary``.
        higher_is_better: Of the primary score, where the task does not say.
        mean: Scores whose mean is ``NAME.mean``, each task's counted once whatever its number of
            items; of tasks that are not among ``tasks`` none is taken.
        num_fewshot: Of all tasks, or by task; None leaves it to the task.
        batch_size: Items at once, or "auto".
        cache_requests: Keep the prompts for the next model.
    """

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
        if not (self.batch_size == "auto" or (isinstance(self.batch_size, int) and self.batch_size > 0)):
            raise SftdivError(f"eval.batch_size={self.batch_size!r} must be a whole number of at least 1, or auto")
        from sftdiv.evaluation.lm_eval_model import check_backend

        check_backend(self.backend)

    def check(self, exam: EvalContext) -> dict[str, bool | None]:
        """Load the tasks and their data, before anything is trained; gives the names of the scores."""
        from sftdiv.evaluation.harness import score_names
        from sftdiv.evaluation.loading import load_tasks

        names = score_names(load_tasks(self.tasks, self._folder(exam)))
        for score in self._averaged():
            if score not in names and not score.startswith(tuple(name for name in names if name.endswith("."))):
                raise SftdivError(
                    f"eval.{self.name}.mean names {score!r}, which is none of the scores: {', '.join(names)}"
                )
        return names | ({f"{self.name}.mean": self.higher_is_better} if self._averaged() else {})

    def score(self, checkpoint: Path, exam: EvalContext) -> dict[str, Score]:
        """Every metric of every task, as ``TASK.METRIC``; what the model did with each item goes to the cell's folder."""
        from sftdiv.evaluation.harness import mean_score, run_tasks

        scores = run_tasks(
            checkpoint,
            self.tasks,
            include_path=self._folder(exam),
            num_fewshot=self.num_fewshot,
            limit=self.limit,
            batch_size=self.batch_size,
            chat_template=self.chat_template,
            device=exam.device,
            seed=self.seed,
            backend=self.backend,
            samples=exam.folder / self.name,
            keep=exam.keep if self.cache_requests else None,
        )
        averaged = [scores[score] for score in self._averaged()]
        return scores | ({f"{self.name}.mean": mean_score(averaged)} if averaged else {})

    def _averaged(self) -> list[str]:
        return [score for score in self.mean if score.startswith(tuple(f"{task}." for task in self.tasks))]

    def _folder(self, exam: EvalContext) -> Path | None:
        if self.needs_world:
            return exam.world_tasks()
        return Path(self.include_path).expanduser().absolute() if self.include_path else None


@dataclass(frozen=True, kw_only=True)
class HeldoutLoss:
    """The loss on held-out responses, overall and by source."""

    name: str
    primary: str
    higher_is_better: bool
    batch_size: int

    def check(self, exam: EvalContext) -> dict[str, bool | None]:
        """Refuse a corpus of which nothing is held out; gives the names of the scores."""
        held = exam.heldout()
        if not held.messages:
            raise SftdivError(
                f"eval={self.name} needs held-out examples and the corpus holds out none; raise corpus.heldout, or take eval=none"
            )
        sources = set(held.sources)
        parts = ["heldout", *(f"heldout.{source or 'unnamed'}" for source in sources if len(sources) > 1)]
        return {f"{part}.{loss}": False for part in parts for loss in ("loss_token", "loss_sample")}

    def score(self, checkpoint: Path, exam: EvalContext) -> dict[str, Score]:
        """Mean loss a token and a sample, in nats."""
        from sftdiv.evaluation.heldout import response_loss

        held = exam.heldout()
        return response_loss(
            checkpoint,
            held.messages,
            held.sources,
            held.groups,
            batch_size=self.batch_size,
            max_length=exam.max_length,
            loss_turns=exam.loss_turns,
            device=exam.device,
        )
