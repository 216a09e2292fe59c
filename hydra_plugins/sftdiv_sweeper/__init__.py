"""The sweeper of sftdiv, ``hydra/sweeper=study``; Hydra looks for plugins in packages of this name.

It receives the swept overrides of a command and delegates to `sftdiv.sweep`, which leaves a result or a
failure record in the folder of every cell. Hydra imports this file at every start, so it imports nothing
heavy. It does so before the module is in `sys.modules`, so annotations must not be strings.
"""

from dataclasses import dataclass, field
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore


@dataclass
class StudySweeperConf:
    """Settings of the sweeper; ``params`` as in Hydra's basic sweeper."""

    _target_: str = "hydra_plugins.sftdiv_sweeper.StudySweeper"
    params: dict[str, str] | None = field(default_factory=dict)


class StudySweeper(BasicSweeper):  # type: ignore[misc]  # Hydra is untyped here
    """Plans all cells, launches the unfinished ones, and reports failures at the end."""

    def __init__(self, params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size=None, params=params)

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep. Results are on disk; the launcher's return value is not used."""
        from sftdiv.config.sweeper import sweep

        assert self.config is not None and self.hydra_context is not None and self.launcher is not None
        sweep(self.config, self.hydra_context.config_loader, self.launcher, [*self._parse_config(), *arguments])


ConfigStore.instance().store(group="hydra/sweeper", name="study", node=StudySweeperConf, provider="sftdiv")
