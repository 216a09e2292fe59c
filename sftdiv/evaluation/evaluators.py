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
    primary: str | None
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
        setting = "eval.tasks" if self.name == "custom" else f"eval.{self.name}.tasks"
        if not self.tasks:
            raise SftdivError(f"eval={self.name} needs tasks: {setting}=[arc_easy,piqa], or eval=none")
        if isinstance(self.tasks, str):
            raise SftdivError(f"{setting}={self.tasks} must be a list: {setting}=[{self.tasks}]")

    def check(self, exam: Exam) -> dict[str, bool | None]:
        """Load the tasks and their data, before anything is trained; gives the names of the scores."""
        from sftdiv.evaluation.harness import load_tasks, score_names

        return score_names(self.tasks, load_tasks(self.tasks, self._folder(exam)))

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

    def check(self, exam: Exam) -> dict[str, bool | None]:
        """Refuse a corpus of which nothing is held out; gives the names of the scores."""
        held = exam.heldout()
        if not held.messages:
            raise SftdivError(
                f"eval={self.name} needs held-out examples and the corpus holds out none; raise corpus.heldout, or take eval=none"
            )
        parts = ["heldout", *(f"heldout.{source or 'unnamed'}" for source in set(held.sources))]
        return {f"{part}.{loss}": False for part in parts for loss in ("loss_token", "loss_sample")}

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
