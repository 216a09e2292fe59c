"""The options of the config group ``eval``, each one way to score a checkpoint.

In: a checkpoint folder and what may be asked of the run (``Exam``). Out: named scores. The settings are those of the YAML files; the work
is done by `harness` and `heldout`, which know nothing of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sftdiv.records import Exam, Score, SftdivError


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """lm-eval tasks: the embedded world's (``needs_world``), those of a folder (``include_path``), or the harness's own."""

    name: str
    primary: str
    higher_is_better: bool
    needs_world: bool
    tasks: Sequence[str]
    include_path: str | None
    num_fewshot: int | None
    limit: int | None
    batch_size: int
    chat_template: bool
    seed: int

    def __post_init__(self) -> None:
        if isinstance(self.tasks, str):
            raise SftdivError(f"eval.tasks={self.tasks} must be a list: eval.tasks=[{self.tasks}]")

    def check(self, exam: Exam) -> None:
        """Refuse unknown tasks and a primary score that none of them gives, before anything is trained."""
        from sftdiv.evaluation.harness import load_tasks

        loaded = load_tasks(self.tasks, self._folder(exam))["tasks"]
        known = [f"{name}.{metric}" for name, task in loaded.items() for metric in task.aggregation()]
        of_group = [f"{group}." for group in self.tasks if group not in loaded]  # a group's own metrics are known when it is scored
        if not any(self.primary == name or self.primary.startswith((f"{name}.", *of_group)) for name in known):
            raise SftdivError(f"eval.primary={self.primary!r} is none of the scores: {', '.join(known)}")

    def score(self, checkpoint: Path, exam: Exam) -> dict[str, Score]:
        """Every metric of every task, as ``TASK.METRIC``."""
        from sftdiv.evaluation.harness import run_tasks

        return run_tasks(
            checkpoint,
            self.tasks,
            include_path=self._folder(exam),
            num_fewshot=self.num_fewshot,
            limit=self.limit,
            batch_size=self.batch_size,
            chat_template=self.chat_template,
            device=exam.device,
            seed=self.seed,
        )

    def _folder(self, exam: Exam) -> Path | None:
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

    def check(self, exam: Exam) -> None:
        """Refuse a corpus of which nothing is held out."""
        if not exam.heldout().messages:
            raise SftdivError(
                f"eval={self.name} needs held-out examples and the corpus holds out none; raise corpus.heldout, or take eval=none"
            )

    def score(self, checkpoint: Path, exam: Exam) -> dict[str, Score]:
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


@dataclass(frozen=True, kw_only=True)
class NoScores:
    """No evaluation: the model is the result."""

    name: str
    primary: None
    higher_is_better: None

    def check(self, exam: Exam) -> None:
        """Nothing can be wrong."""

    def score(self, checkpoint: Path, exam: Exam) -> dict[str, Score]:
        """No scores."""
        return {}
