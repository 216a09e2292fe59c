"""The tracker of one run: passes its numbers on to every chosen tracking service.

Training and the pipeline see one `RunTracker`, whether no service is chosen or several. Tracking never fails a run: a
logger that raises is warned about once and dropped. Only a setting that cannot be right (a `SftdivError` when the run
begins) ends the run, before any work is done. Nothing heavy is imported where no service is chosen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from sftdiv.protocols import RunLogger, TrackedRun, Tracking
from sftdiv.records import SftdivError
from sftdiv.tracking.contents import numbers_of

log = logging.getLogger(__name__)
RESULT_PREFIX = "result/"  # of final numbers, which would else extend the curve of the steps' metric of the same name


@runtime_checkable
class LogsSummary(Protocol):
    """A logger with a place of its own for the final numbers of a run."""

    def log_summary(self, row: Mapping[str, Any]) -> None:
        """Record the result row; called once, before ``finalize``."""
        ...


@runtime_checkable
class LogsSamples(Protocol):
    """A logger that takes generated texts."""

    def log_samples(self, path: Path) -> None:
        """Record the generations of a JSON-lines file."""
        ...


class RunTracker:
    """Passes the numbers of one run on to its loggers; without any it does nothing."""

    def __init__(self, loggers: Sequence[RunLogger] = ()) -> None:
        self._loggers = list(loggers)
        self._step = 0

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record the metrics of one optimizer step."""
        self._step = step
        self._send(lambda logger: logger.log_metrics(dict(metrics), step))

    def samples(self, path: Path) -> None:
        """Record the generations of a JSON-lines file, where a logger takes texts."""

        def send(logger: RunLogger) -> None:
            if isinstance(logger, LogsSamples):
                logger.log_samples(path)

        self._send(send)

    def finish(self, row: Mapping[str, Any], exit_code: int) -> None:
        """Record the final numbers and close the run; a second call does nothing."""

        def send(logger: RunLogger) -> None:
            if isinstance(logger, LogsSummary):
                logger.log_summary(row)
            elif numbers := numbers_of(row):
                logger.log_metrics({f"{RESULT_PREFIX}{name}": value for name, value in numbers.items()}, self._step)
            logger.finalize("success" if exit_code == 0 else "failed")

        self._send(send)
        self._loggers.clear()

    def _send(self, action: Callable[[RunLogger], None]) -> None:
        """Apply an action to every logger, and drop those that raise."""
        for logger in list(self._loggers):
            try:
                action(logger)
            except Exception as error:  # services raise errors of many families, and none of them may end a training
                log.warning("%s failed (%s): it no longer tracks this run", type(logger).__name__, error)
                self._loggers.remove(logger)


def start_tracking(options: Sequence[Tracking], run: TrackedRun) -> RunTracker:
    """Open a run with every chosen service; one that cannot begin is warned about and left out.

    Args:
        options: The chosen services.
        run: Names, folder and settings of the run.

    Raises:
        SftdivError: A setting of a service cannot be right.
    """
    loggers = []
    for option in options:
        try:
            loggers.append(option.start(run))
        except SftdivError:
            raise
        except Exception as error:
            log.warning("%s could not start (%s): it does not track this run", type(option).__name__, error)
    return RunTracker(loggers)


def require_packages(option: str, packages: Sequence[str]) -> None:
    """Refuse a tracking option whose packages are not installed.

    Args:
        option: Name of the option, which is also the name of its extra.
        packages: Import names.

    Raises:
        SftdivError: With the missing packages and the command that installs them.
    """
    if missing := [package for package in packages if find_spec(package) is None]:
        raise SftdivError(
            f"tracking={option} needs {', '.join(missing)}, which is not installed: pip install 'sftdiv[{option}]'"
        )
