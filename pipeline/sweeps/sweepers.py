"""Hydra's sweepers, with a parent run around them: hydra/sweeper=basic (a grid) and hydra/sweeper=optuna (a search)."""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from pipeline.console import quiet
from pipeline.errors import PipelineError


def register() -> None:
    """Make the sweepers known to Hydra, which takes registered classes only."""
    for sweeper in (Grid, Search):
        Plugins.instance().register(sweeper)


class Grid(BasicSweeper):
    """Every combination, as BasicSweeper makes them.

    BasicSweeper 1.4.0rc3 raises the first error of a batch, and knows nothing of jobs that were FINISHED before.
    """

    def sweep(self, arguments: list[str]) -> None:
        """Run every combination that is not FINISHED already."""
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        space = {
            item.get_key_element(): item.input_line.partition("=")[2]
            for item in overrides
            if item.is_sweep_override()
        }
        for item in overrides:
            if item.is_sweep_override() and not item.is_discrete_sweep():
                raise PipelineError(
                    f"{item.input_line} has no end of values to try one by one; add hydra/sweeper=optuna."
                )
        (lines,) = self.split_arguments(overrides, max_batch_size=None)
        if not lines:
            raise PipelineError(
                f"the search space is empty: {', '.join(f'{key}={values}' for key, values in space.items())}."
            )
        quiet.third_parties()
        from pipeline.sweeps.sweep import jobs_of, open_sweep

        def compose(line: Sequence[str]) -> DictConfig:
            return self.hydra_context.config_loader.load_sweep_config(self.config, list(line))

        jobs = jobs_of(compose, lines)
        with open_sweep(self.config, self.launcher, jobs, space, len(jobs)) as sweep:
            size = self.max_batch_size or len(jobs)
            for start in range(0, len(jobs), size):
                sweep.run(jobs[start : start + size])


class Search(Sweeper):
    """A search by Optuna: hydra-optuna-sweeper, subclassed in pipeline.sweeps.search.

    Args:
        options: hydra.sweeper's keys (conf/hydra/sweeper/optuna.yaml).
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._search: Any = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Make the plugin's sweeper; optuna takes half a second to import."""
        quiet.third_parties()
        from pipeline.sweeps.search import OptunaSearch

        self._search = OptunaSearch(**self._options)
        self._search.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> None:
        """Search."""
        self._search.sweep(arguments)
