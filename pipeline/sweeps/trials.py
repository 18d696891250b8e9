"""Tell whose the trials of a study are, which of them count, and which are to be run again.

Several sweeps may search in one study at once; each is known by the id of its run.
"""

import zlib
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from pipeline.sweeps.sweep import Sweep

# User attribute of a trial that counts for nothing: it was one too many, or its job never ended.
# Version 0.1.0 tried the values of the latter in another trial; the trial is run again now.
UNCOUNTED = "interrupted"
# User attribute of a trial that repeats one whose job failed: the number of that one.
REPEATS = "repeats"
# User attribute of a trial: id of the run of the sweep that tries it. Sweeps that were started on
# several machines may share a study (hydra.sweeper.study_name), which has an attribute for each.
SWEEP_ID = "sweep_run_id"
# Trials of a sweep have that attribute moments after they begin; those of version 0.1.0 never.
MARKED_WITHIN = timedelta(minutes=1)
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def interrupted_trials(study: optuna.Study, sweep: Sweep) -> list[Trial]:
    """Return the trials of the batch that an earlier start was killed in, or a sweep that is over.

    They have their values already and are run again as they are: a new trial would have another
    number, and samplers that draw by it (CMA-ES) would go on with other values.

    Args:
        study: the study.
        sweep: the sweep that takes them.
    """
    is_over = cache(sweep.is_over)
    free = [trial for trial in running_trials(study) if _is_free(trial, is_over)]
    for trial in free:
        marked(Trial(study, trial._trial_id), sweep.run_id)
    # Two sweeps may have found the same trial of a third one: who has marked it last takes it.
    taken = {trial.number for trial in free}
    return [
        Trial(study, trial._trial_id)
        for trial in (running_trials(study) if taken else ())
        if trial.number in taken and trial.user_attrs.get(SWEEP_ID) == sweep.run_id
    ]


def running_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials whose job has not ended."""
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def marked(trial: Trial, sweep_id: str) -> Trial:
    """Say in a trial which sweep tries it.

    Args:
        trial: the trial, which is returned.
        sweep_id: id of the sweep's run.
    """
    trial.set_user_attr(SWEEP_ID, sweep_id)
    return trial


def withdraw_surplus(study: optuna.Study, trial: Trial, most: int) -> bool:
    """Withdraw a trial if it is one too many; say whether it was.

    Another sweep may have asked at the same moment. Trials are numbered as they come into the
    study, so that each finds all with lower numbers.

    Args:
        study: the study.
        trial: a trial that was just asked for.
        most: trials that are to be tried.
    """
    repeated = _repeated(study)
    earlier = [each for each in study.get_trials(deepcopy=False) if each.number < trial.number]
    if sum(_counts(each, repeated) for each in earlier) < most:
        return False
    trial.set_user_attr(UNCOUNTED, True)
    study.tell(trial, state=TrialState.FAIL)
    return True


def _is_free(trial: FrozenTrial, is_over: Callable[[str], bool]) -> bool:
    """Tell whether no other sweep may be at work on a trial."""
    if SWEEP_ID in trial.user_attrs:
        return is_over(trial.user_attrs[SWEEP_ID])
    began = trial.datetime_start
    return began is None or datetime.now() - began > MARKED_WITHIN


def join_study(study: optuna.Study, sweep_id: str) -> None:
    """Let all others know of a sweep before it asks for its first trial.

    Args:
        study: the study.
        sweep_id: id of the sweep's run.
    """
    study.set_user_attr(f"{SWEEP_ID}={sweep_id}", True)


def seed_shift(study: optuna.Study, sweep_id: str) -> int:
    """Return what keeps two sweeps of one study from drawing the same values with one seed.

    Each sweep has joined before it looks for others, so that of sweeps that start at the same
    moment one at most finds itself alone.

    Args:
        study: the study.
        sweep_id: id of the sweep's run.
    """
    sweeps = [key for key in study.user_attrs if key.startswith(f"{SWEEP_ID}=")]
    return zlib.crc32(sweep_id.encode()) >> 1 if len(sweeps) > 1 else 0


def repeat_failed(study: optuna.Study, is_over: Callable[[str], bool]) -> None:
    """Let the values of each trial whose job failed in an earlier start be tried again first.

    Args:
        study: the study.
        is_over: tells of a sweep, by the id of its run, whether it works no more.
    """
    repeated, is_over = _repeated(study), cache(is_over)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.FAIL,)):
        unfinished = trial.number not in repeated and UNCOUNTED not in trial.user_attrs
        if unfinished and _is_free(trial, is_over):
            study.enqueue_trial(trial.params, user_attrs={REPEATS: trial.number})


def _repeated(study: optuna.Study) -> set[int]:
    """Return the numbers of the trials that others repeat."""
    trials = study.get_trials(deepcopy=False)
    return {trial.user_attrs[REPEATS] for trial in trials if REPEATS in trial.user_attrs}


def count_ended(study: optuna.Study) -> int:
    """Count the trials whose job has ended, those that are repeated once."""
    repeated = _repeated(study)
    ended = study.get_trials(deepcopy=False, states=ENDED)
    return sum(_counts(trial, repeated) for trial in ended)


def _counts(trial: FrozenTrial, repeated: set[int]) -> bool:
    """Tell whether a trial is one of those that n_trials counts; those repeated count once."""
    return UNCOUNTED not in trial.user_attrs and trial.number not in repeated
