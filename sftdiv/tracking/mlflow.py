"""MLflow as a tracking service (``tracking=mlflow``): Lightning's ``MLFlowLogger``, one run per cell.

The default store is a SQLite database in the study's folder, which needs no server:
``mlflow ui --backend-store-uri sqlite:///multirun/STUDY/mlflow/mlflow.db`` shows it. A resumed cell, and a second
analysis, continue their run, which is found by its name.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from sftdiv.protocols import StudySummary, TrackedRun
from sftdiv.records import SftdivError
from sftdiv.storage.cell import flatten
from sftdiv.storage.redaction import redacted
from sftdiv.tracking.run_tracker import require_packages
from sftdiv.tracking.study_run import study_as_run

if TYPE_CHECKING:
    from sftdiv.tracking.lightning_loggers import MlflowRunLogger


@dataclass(frozen=True, kw_only=True)
class MlflowTracking:
    """Where runs go.

    Attributes:
        tracking_uri: MLflow's server or database; None: the variable MLFLOW_TRACKING_URI, else ``mlflow/mlflow.db`` in
            the study's folder. The variable is read here and not in the config, which is recorded with every run and
            must not hold a server's password.
        experiment: MLflow's experiment; None: the study's name.
    """

    tracking_uri: str | None = None
    experiment: str | None = None

    def __post_init__(self) -> None:
        if self.tracking_uri is not None and redacted(self.tracking_uri) != self.tracking_uri:
            raise SftdivError(
                "tracking.mlflow.tracking_uri holds a password or a query, which would be written to files and logs; "
                "give the address without it and set MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD or "
                "MLFLOW_TRACKING_TOKEN, or set the whole address as MLFLOW_TRACKING_URI"
            )
        require_packages("mlflow", ["mlflow"] if self._server else ["mlflow", "sqlalchemy", "alembic"])

    def start(self, run: TrackedRun) -> MlflowRunLogger:
        """Begin a run with its settings and tags, or continue the one of the same name."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow would report its use to its makers
        from sftdiv.tracking.lightning_loggers import MlflowRunLogger

        with self._lock(run.folder):
            experiment = self._experiment(run)
            run_id = self._run_id(run, experiment)
            logger = MlflowRunLogger(
                experiment_name=self.experiment or run.study,
                run_name=run.name,
                tracking_uri=self._uri(run.folder),
                tags={"study": run.study, "kind": run.kind, "tags": ", ".join(run.tags)},
                run_id=run_id,
            )
            if run_id is None:
                logger.log_hyperparams(flatten(run.config))
            else:
                logger.experiment.update_run(run_id, status="RUNNING")
        return logger

    def log_study(self, summary: StudySummary) -> None:
        """Record the summary as the run ``study``."""
        from sftdiv.tracking.lightning_loggers import log_study_to

        log_study_to(self.start(study_as_run(summary)), summary)

    @property
    def _server(self) -> str | None:
        return self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")

    def _uri(self, study: Path) -> str:
        return self._server or f"sqlite:///{study.absolute() / 'mlflow' / 'mlflow.db'}"

    def _lock(self, study: Path) -> AbstractContextManager[Any]:
        """Lets one process at a time create the local database."""
        if self._server:
            return nullcontext()
        (study / "mlflow").mkdir(parents=True, exist_ok=True)
        return FileLock(study / "mlflow" / ".lock")

    def _experiment(self, run: TrackedRun) -> str:
        """Id of the experiment, created where it is new; artifacts of the local store go beside its database."""
        from mlflow.tracking import MlflowClient

        client, name = MlflowClient(self._uri(run.folder)), self.experiment or run.study
        experiment = client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.experiment_id)
        artifacts = None if self._server else (run.folder.absolute() / "mlflow" / "artifacts").as_uri()
        return str(client.create_experiment(name, artifact_location=artifacts))

    def _run_id(self, run: TrackedRun, experiment: str) -> str | None:
        """Id of the study's run of this name; None where it is new."""
        from mlflow.tracking import MlflowClient

        client = MlflowClient(self._uri(run.folder))
        query = f"tags.`mlflow.runName` = '{run.name}' and tags.study = '{run.study}'"
        runs = client.search_runs([experiment], filter_string=query, max_results=1)
        return str(runs[0].info.run_id) if runs else None
