"""Run Hydra's sweepers under a parent run: a grid (hydra/sweeper=basic) or a search (optuna)."""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

from pipeline.console import third_parties
from pipeline.errors import PipelineError
from pipeline.sweeps.composing import Composer
from pipeline.sweeps.late_plugin import LatePlugin
from pipeline.sweeps.launchers import RayLauncher


def register() -> None:
    """Register the sweepers and the launcher with Hydra, which refuses other classes."""
    for plugin in (Grid, Search, RayLauncher):
        Plugins.instance().register(plugin)


class Grid(BasicSweeper):
    """Run every combination, as BasicSweeper makes them.

    BasicSweeper 1.4.0rc3 itself raises the first error of a batch, and does not know which jobs
    were FINISHED before.
    """

    def sweep(self, arguments: list[str]) -> None:
        """Run every combination that is not FINISHED already.

        Args:
            arguments: overrides, as typed.

        Raises:
            PipelineError: the search space is empty or not discrete, or a job cannot run.
        """
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        space = _discrete_space(overrides)
        (lines,) = self.split_arguments(overrides, max_batch_size=None)
        if not lines:
            swept = ", ".join(f"{key}={values}" for key, values in space.items())
            raise PipelineError(f"the search space is empty: {swept}.")
        third_parties.prepare(computes=False)
        from pipeline.sweeps.jobs import jobs_of
        from pipeline.sweeps.sweep import open_sweep

        compose = Composer(self.hydra_context.config_loader, self.config)
        jobs = jobs_of(compose, lines)
        with open_sweep(self.config, self.launcher, jobs, space, len(jobs)) as sweep:
            size = self.max_batch_size or len(jobs)
            for start in range(0, len(jobs), size):
                sweep.run(jobs[start : start + size])


def _discrete_space(overrides: Sequence[Override]) -> dict[str, str]:
    """Return the values by swept key, as typed; refuse intervals."""
    swept = [override for override in overrides if override.is_sweep_override()]
    for override in swept:
        if not override.is_discrete_sweep():
            raise PipelineError(
                f"{override.input_line} has endless values, which a grid cannot try one by one; "
                "add hydra/sweeper=optuna."
            )
    return {
        override.get_key_element().lstrip("+"): override.input_line.partition("=")[2]
        for override in swept
    }


class Search(LatePlugin, Sweeper):
    """Search with Optuna: hydra-optuna-sweeper, subclassed in pipeline.sweeps.search.

    Args:
        options: keys of hydra.sweeper (conf/hydra/sweeper/optuna.yaml).
    """

    def _make(self) -> Any:
        third_parties.prepare(computes=False)
        # Optuna takes half a second to import.
        from pipeline.sweeps.search import OptunaSearch, SearchOptions

        return OptunaSearch(SearchOptions(**self._options))

    def sweep(self, arguments: list[str]) -> None:
        """Search until hydra.sweeper.n_trials jobs have ended.

        Args:
            arguments: overrides, as typed.
        """
        self._plugin.sweep(arguments)
