"""Hydra finds its plugins in packages of this name: the sweeper of sftdiv, ``hydra/sweeper=study``.

In: the swept overrides of a command. Out: every cell of the study on disk, done or with its
failure. The work is done by `sftdiv.sweep`; Hydra imports this file at every start, so it imports
nothing heavy, and before it is in `sys.modules`, so annotations are not strings.
"""

from dataclasses import dataclass, field
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore


@dataclass
class StudySweeperConf:
    """Settings of the sweeper: ``params`` as of Hydra's basic one."""

    _target_: str = "hydra_plugins.sftdiv_sweeper.StudySweeper"
    params: dict[str, str] | None = field(default_factory=dict)


class StudySweeper(BasicSweeper):  # type: ignore[misc]  # Hydra is untyped here
    """Plans every cell first, launches those that are not done, and leaves failures to the end."""

    def __init__(self, params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size=None, params=params)

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep; results are on disk, whatever the launcher returns."""
        from sftdiv.config.sweeper import sweep

        assert self.config is not None and self.hydra_context is not None and self.launcher is not None
        sweep(self.config, self.hydra_context.config_loader, self.launcher, [*self._parse_config(), *arguments])


ConfigStore.instance().store(group="hydra/sweeper", name="study", node=StudySweeperConf, provider="sftdiv")
