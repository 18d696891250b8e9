"""Search for the best configurations with Optuna, with one study for each sweep."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ParsedElementType, Quote, QuotedString, Transformer
from hydra.errors import OverrideParseException
from hydra.utils import instantiate
from hydra_plugins.hydra_optuna_sweeper._impl import OptunaSweeperImpl, create_params_from_overrides
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import Trial, TrialState

from pipeline.config.objectives import check_objectives, higher_is_better
from pipeline.cpus import available_cpus
from pipeline.errors import PipelineError, redacted
from pipeline.names import FAILED, PRUNED
from pipeline.sweeps.composing import Composer
from pipeline.sweeps.jobs import Compose, Outcome, jobs_of
from pipeline.sweeps.sweep import Sweep, open_sweep
from pipeline.sweeps.trials import (
    count_ended,
    interrupted_trials,
    join_study,
    marked,
    repeat_failed,
    running_trials,
    seed_shift,
    withdraw_surplus,
)
from pipeline.tracking.store import DEFAULT_TRACKING_URI, SQLITE

SAMPLERS = ("hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*")
# Samplers that draw one sequence, and go on in it by what is in the study. All others are seeded
# anew for each batch: with the same seed they would draw the same values in each.
SEEDED_ONCE = ("CmaEsSampler", "GridSampler", "QMCSampler")


@dataclass(frozen=True)
class SearchOptions:
    """The keys of hydra.sweeper (conf/hydra/sweeper/optuna.yaml).

    Args:
        sampler: config of an Optuna sampler; its seed makes the search repeatable.
        storage: SQLAlchemy URL of the studies; None takes optuna.db beside the tracking store.
        study_name: name of the study; None takes the id of the sweep's run, so that the same
            command line goes on with its own study.
        n_trials: number of jobs of the whole sweep, those before an interruption included.
        n_jobs: number of jobs that are launched at a time; None takes hydra.launcher.n_jobs of
            joblib, and 1 with every other launcher.
        params: search space by key, in Hydra's syntax for sweeps.
    """

    sampler: DictConfig
    storage: str | None
    study_name: str | None
    n_trials: int
    n_jobs: int | None
    params: DictConfig | None


@dataclass(frozen=True)
class SearchSpace:
    """What a search varies, and what it keeps.

    Args:
        distributions: distribution of each swept key.
        fixed: value of each key that is given once.
        deletions: overrides that delete a key, as typed.
    """

    distributions: Mapping[str, BaseDistribution]
    fixed: Mapping[str, Any]
    deletions: Sequence[str]

    def overrides(self, point: Mapping[str, Any]) -> tuple[str, ...]:
        """Return a job's overrides.

        Args:
            point: value of each swept key.
        """
        values = {**point, **self.fixed}
        return (*(f"{key}={value}" for key, value in values.items()), *self.deletions)

    def suggested(self, trial: Trial) -> tuple[str, ...]:
        """Let a trial draw a value for each swept key, and return its job's overrides.

        hydra-optuna-sweeper (1.4.0rc3) would store what is fixed with the trial as well, passwords
        in addresses included.
        """
        for key, distribution in self.distributions.items():
            try:
                trial._suggest(key, distribution)
            except ValueError as error:  # of a study that had other choices
                raise PipelineError(
                    f"{key} does not go on as its study began: {error}; sweep.fresh=true, or "
                    "another hydra.sweeper.study_name, searches anew."
                ) from error
        return self.overrides(trial.params)


class OptunaSearch(OptunaSweeperImpl):
    """hydra-optuna-sweeper's sweeper with a loop of its own.

    The loop of 1.4.0rc3 runs n_trials more whenever a stored study goes on, draws a seeded
    sampler's first values again then, takes a pruned job for a failed one, and ends with an error
    when no trial succeeds.

    Args:
        options: keys of hydra.sweeper.
    """

    def __init__(self, options: SearchOptions) -> None:
        super().__init__(
            sampler=options.sampler,
            direction=None,  # the objectives have their own
            storage=options.storage,
            study_name=options.study_name,
            n_trials=options.n_trials,
            n_jobs=options.n_jobs or 0,
            max_failure_rate=1.0,
            custom_search_space=None,
            params=options.params,
        )

    def sweep(self, arguments: list[str]) -> None:
        """Search until n_trials jobs have ended.

        Args:
            arguments: overrides, as typed.

        Raises:
            PipelineError: the search space is empty or inverted, or an objective is logged by no
                run.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        typed = _last_of_each([*self._parse_sweeper_params_config(), *arguments])
        space = _search_space(typed)
        objectives = list(self.config.objective)
        compose = self._composer()
        corners = jobs_of(compose, _corners(space))
        check_objectives(objectives, [job.config for job in corners])
        swept = {
            key.lstrip("+"): values
            for key, _, values in (line.partition("=") for line in typed)
            if key in space.distributions
        }
        with open_sweep(self.config, self.launcher, corners, swept, self.n_trials) as sweep:
            study = self._study(sweep, objectives)
            sweep.check_unchanged(corners)
            join_study(study, sweep.run_id)
            repeat_failed(study, sweep.is_over)
            sweep.skip(count_ended(study))
            while trials := interrupted_trials(study, sweep) or self._asked(study, sweep.run_id):
                jobs = [jobs_of(compose, [space.suggested(trial)])[0] for trial in trials]
                for trial, outcome in zip(trials, sweep.run(jobs), strict=True):
                    _tell(study, trial, outcome, objectives)

    def _composer(self) -> Compose:
        return Composer(self.hydra_context.config_loader, self.config)

    def _study(self, sweep: Sweep, objectives: Sequence[str]) -> optuna.Study:
        storage = self.storage or _default_storage(self.config.tracking.tracking_uri)
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
            line = f"hydra.sweeper.storage={storage} cannot be used: {error}".splitlines()[0]
            raise PipelineError(redacted(line)) from error

    def _asked(self, study: optuna.Study, sweep_id: str) -> list[Trial]:
        """Return the next batch: trials that repeat others, or as many new ones as are left.

        What another sweep of the same study tries at the moment is none of those that are left.
        """
        ended = count_ended(study)
        count = max(0, min(self.n_trials - ended - len(running_trials(study)), self._batch_size()))
        repeating = len(study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))
        study.sampler = self._seeded_sampler(ended + seed_shift(study, sweep_id))
        asked = [marked(study.ask(), sweep_id) for _ in range(min(count, repeating or count))]
        return [trial for trial in asked if not withdraw_surplus(study, trial, self.n_trials)]

    def _seeded_sampler(self, trials: int) -> optuna.samplers.BaseSampler:
        """Make the sampler; its seed moves on with the trials.

        An interruption therefore changes nothing in the search.

        Args:
            trials: number of trials before the next batch, without those that are run again.
        """
        reseeded: dict[str, Any] = {}
        seed = self.sampler.get("seed")
        if seed is not None and not self.sampler["_target_"].endswith(SEEDED_ONCE):
            reseeded["seed"] = seed + trials
        return instantiate(self.sampler, _execution_whitelist_=SAMPLERS, **reseeded)

    def _batch_size(self) -> int:
        if self.n_jobs:
            return self.n_jobs
        parallel = OmegaConf.select(self.config, "hydra.launcher.n_jobs", default=1)
        return int(parallel) if parallel > 0 else available_cpus()


def _last_of_each(lines: Sequence[str]) -> list[str]:
    """Keep the last override of each key, as every other command of Hydra does."""
    return list({line.partition("=")[0]: line for line in lines}.values())


def _search_space(typed: Sequence[str]) -> SearchSpace:
    try:
        distributions, fixed, deletions = create_params_from_overrides(list(typed))
    except (ValueError, NotImplementedError, AssertionError) as error:
        raise PipelineError(
            f"the search space cannot be used: {str(error).splitlines()[0]}"
        ) from error
    for override in OverridesParser.create().parse_overrides(list(typed)):
        if override.is_choice_sweep():
            choices = list(override.sweep_iterator(transformer=_as_typed))
            distributions[override.get_key_element()] = CategoricalDistribution(choices)
    if not distributions:
        raise PipelineError(
            "the search space is empty; give KEY='interval(a,b)', KEY='choice(a,b)' or sweep=NAME."
        )
    return SearchSpace(distributions, fixed, deletions)


def _as_typed(choice: ParsedElementType) -> ParsedElementType:
    """Put quotes around a text that is another value, or none, without them.

    Hydra's parser takes them away, and hydra-optuna-sweeper (1.4.0rc3) leaves it at that.
    """
    if not isinstance(choice, str):
        return Transformer.encode(choice)
    with contextlib.suppress(OverrideParseException):
        if OverridesParser.create().parse_override(f"key={choice}").value() == choice:
            return choice
    return QuotedString(choice, Quote.single).with_quotes()


def _corners(space: SearchSpace) -> list[tuple[str, ...]]:
    """List the jobs by which a search is checked before it starts, as overrides.

    The first has the lower end of every interval and the first choice of every list; each other
    differs from it in one key, by the upper end or another choice.
    """
    ends = {key: _ends(distribution) for key, distribution in space.distributions.items()}
    first = {key: values[0] for key, values in ends.items()}
    points = [first]
    for key, values in ends.items():
        points += [{**first, key: value} for value in values[1:]]
    return [space.overrides(point) for point in points]


def _ends(distribution: BaseDistribution) -> Sequence[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    return distribution.low, distribution.high  # type: ignore[attr-defined]


def _default_storage(tracking_uri: str) -> str:
    """Return the URL of optuna.db beside a SQLite store, or in mlruns/ if a server has the runs."""
    uri = tracking_uri if tracking_uri.startswith(SQLITE) else DEFAULT_TRACKING_URI
    file = Path(uri.removeprefix(SQLITE))
    file.parent.mkdir(parents=True, exist_ok=True)
    return f"{SQLITE}{file.absolute().with_name('optuna.db')}"


def _tell(study: optuna.Study, trial: Trial, outcome: Outcome, objectives: Sequence[str]) -> None:
    """Tell the study how a trial's job ended."""
    metrics = outcome.child.metrics if outcome.child is not None else {}
    if outcome.child is not None:
        trial.set_user_attr("run_id", outcome.child.run_id)
    if outcome.status == PRUNED:
        study.tell(trial, state=TrialState.PRUNED)
    elif outcome.status == FAILED or any(name not in metrics for name in objectives):
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, [metrics[name] for name in objectives])
