"""A search for the best configurations by Optuna, with one study for each sweep."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from hydra.utils import instantiate
from hydra_plugins.hydra_optuna_sweeper._impl import OptunaSweeperImpl, create_params_from_overrides
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from pipeline.config.objectives import check_objectives, higher_is_better
from pipeline.errors import PipelineError
from pipeline.redaction import redacted
from pipeline.sweeps.sweep import Outcome, Sweep, jobs_of, open_sweep
from pipeline.tracking.connection import SQLITE

INTERRUPTED = "interrupted"  # user attribute of a trial whose job never ended
SAMPLERS = ("hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*")
RESEEDED = (
    "TPESampler",
    "RandomSampler",
)  # the others keep their state in the study, or draw one sequence
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class OptunaSearch(OptunaSweeperImpl):
    """hydra-optuna-sweeper's sweeper with a loop of its own.

    The loop of 1.4.0rc3 runs n_trials more whenever a stored study goes on, draws a seeded sampler's first values again
    then, takes a pruned job for a failed one, and ends with an error when no trial succeeds.

    Args:
        sampler: config of an Optuna sampler; its seed makes the search repeatable.
        storage: SQLAlchemy URL of the studies; None takes optuna.db beside the tracking store.
        study_name: None takes the id of the sweep's run, so that the same command line goes on with its own study.
        n_trials: jobs of the whole sweep, those before an interruption included.
        n_jobs: jobs that are launched at a time; None takes as many as the launcher runs in parallel.
        params: search space by key, in Hydra's syntax for sweeps.
    """

    def __init__(
        self,
        sampler: DictConfig,
        storage: str | None,
        study_name: str | None,
        n_trials: int,
        n_jobs: int | None,
        params: DictConfig | None,
    ) -> None:
        super().__init__(
            sampler=sampler,
            direction=None,  # told by the objectives
            storage=storage,
            study_name=study_name,
            n_trials=n_trials,
            n_jobs=n_jobs or 0,
            max_failure_rate=1.0,
            custom_search_space=None,
            params=params,
        )

    def sweep(self, arguments: list[str]) -> None:
        """Search until n_trials have ended.

        Raises:
            PipelineError: the search space is empty or inverted, or an objective is logged by no run.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        typed = _last_of_each([*self._parse_sweeper_params_config(), *arguments])
        space, fixed, fixed_lines = _distributions(typed)
        objectives = list(self.config.objective)
        corners = jobs_of(self._compose, _corners(space, fixed, fixed_lines))
        check_objectives(objectives, [job.config for job in corners])
        written = {
            key: text for key, _, text in (line.partition("=") for line in typed) if key in space
        }
        with open_sweep(self.config, self.launcher, corners, written, self.n_trials) as sweep:
            study = self._study(sweep, objectives)
            _retry_interrupted(study)
            sweep.skip(_ended(study))
            while (left := self.n_trials - _ended(study)) > 0:
                study.sampler = self._sampler(len(study.trials))
                trials = [study.ask() for _ in range(min(left, self._batch()))]
                lines = self._configure_trials(trials, space, fixed, fixed_lines)
                jobs = [jobs_of(self._compose, [line])[0] for line in lines]
                for trial, outcome in zip(trials, sweep.run(jobs), strict=True):
                    _tell(study, trial, outcome, objectives)

    def _compose(self, line: Sequence[str]) -> DictConfig:
        return self.hydra_context.config_loader.load_sweep_config(self.config, list(line))

    def _study(self, sweep: Sweep, objectives: Sequence[str]) -> optuna.Study:
        storage = self.storage or _beside(self.config.tracking.tracking_uri)
        directions = [
            StudyDirection.MAXIMIZE if higher_is_better(name) else StudyDirection.MINIMIZE
            for name in objectives
        ]
        try:
            return optuna.create_study(
                study_name=self.study_name or sweep.run_id,
                storage=storage,
                directions=directions,
                load_if_exists=True,
            )
        except Exception as error:
            raise PipelineError(
                redacted(f"hydra.sweeper.storage={storage} cannot be used: {error}".splitlines()[0])
            ) from error

    def _sampler(self, trials: int) -> optuna.samplers.BaseSampler:
        """Make the sampler; its seed moves on with the trials, so that an interruption changes nothing in the search."""
        own: dict[str, Any] = {}
        seed = self.sampler.get("seed")
        if seed is not None and self.sampler["_target_"].endswith(RESEEDED):
            own["seed"] = seed + trials
        return instantiate(self.sampler, _execution_whitelist_=SAMPLERS, **own)

    def _batch(self) -> int:
        if self.n_jobs:
            return self.n_jobs
        parallel = OmegaConf.select(self.config, "hydra.launcher.n_jobs", default=1)
        return int(parallel) if parallel > 0 else os.cpu_count() or 1


def _last_of_each(lines: Sequence[str]) -> list[str]:
    """Let a key that is given twice mean what was given last, as in every other command of Hydra."""
    return list({line.partition("=")[0]: line for line in lines}.values())


def _distributions(
    typed: Sequence[str],
) -> tuple[dict[str, BaseDistribution], dict[str, Any], list[str]]:
    try:
        space, fixed, fixed_lines = create_params_from_overrides(list(typed))
    except (ValueError, NotImplementedError, AssertionError) as error:
        raise PipelineError(
            f"the search space cannot be used: {str(error).splitlines()[0]}"
        ) from error
    if not space:
        raise PipelineError(
            "the search space is empty; give KEY='interval(a,b)', KEY='choice(a,b)' or sweep=NAME."
        )
    return space, fixed, fixed_lines


def _corners(
    space: Mapping[str, BaseDistribution], fixed: Mapping[str, Any], fixed_lines: Sequence[str]
) -> list[tuple[str, ...]]:
    """List jobs that show before the search what can be known of it: the lower end of everything, and each choice once."""
    first = {
        name: one.choices[0] if isinstance(one, CategoricalDistribution) else one.low  # type: ignore[attr-defined]
        for name, one in space.items()
    }
    points = [first]
    for name, one in space.items():
        points += [
            {**first, name: value}
            for value in (
                one.choices[1:] if isinstance(one, CategoricalDistribution) else [one.high]
            )  # type: ignore[attr-defined]
        ]
    return [
        (*(f"{key}={value}" for key, value in {**point, **fixed}.items()), *fixed_lines)
        for point in points
    ]


def _beside(tracking_uri: str) -> str:
    """Return the URL of optuna.db in the folder of a SQLite tracking store, or in mlruns/ if a server has the runs."""
    file = (
        Path(tracking_uri.removeprefix(SQLITE))
        if tracking_uri.startswith(SQLITE)
        else Path("mlruns/mlflow.db")
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    return f"{SQLITE}{file.absolute().with_name('optuna.db')}"


def _retry_interrupted(study: optuna.Study) -> None:
    """Close trials whose sweep was killed, and put their values first in the queue."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study._storage.set_trial_user_attr(trial._trial_id, INTERRUPTED, True)
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)


def _ended(study: optuna.Study) -> int:
    def counts(trial: FrozenTrial) -> bool:
        return INTERRUPTED not in trial.user_attrs

    return sum(counts(trial) for trial in study.get_trials(states=ENDED))


def _tell(study: optuna.Study, trial: Trial, outcome: Outcome, objectives: Sequence[str]) -> None:
    metrics = outcome.child.metrics if outcome.child is not None else {}
    if outcome.child is not None:
        trial.set_user_attr("run_id", outcome.child.run_id)
    if outcome.status == "PRUNED":
        study.tell(trial, state=TrialState.PRUNED)
    elif outcome.status == "FAILED" or any(name not in metrics for name in objectives):
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, [metrics[name] for name in objectives])
