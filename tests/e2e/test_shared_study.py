"""Sweeps that search together: several processes, one study on PostgreSQL."""

from pathlib import Path

import optuna
from mlflow.tracking import MlflowClient
from optuna.trial import TrialState

from pipeline.tracking.postgresql import PostgreSQL
from tests.e2e.processes import PATIENCE_S, Started
from tests.e2e.servers import needs_postgresql

SWEEPS, TRIALS = 3, 6


@needs_postgresql
def test_sweeps_at_once_try_as_many_values_as_asked_for_and_none_twice(
    micro: list[str], store: str, database: PostgreSQL, tmp_path: Path
) -> None:
    typed = [
        "-m",
        *micro,
        "qat=none",
        "export=none",
        "benchmark=none",
        "trainer.max_steps=2",
        "hydra/sweeper=optuna",
        f"hydra.sweeper.n_trials={TRIALS}",
        "hydra.sweeper.study_name=shared",
        f"hydra.sweeper.storage='{database.address}'",
        "trainer.learning_rate=tag(log,interval(1e-5,1e-2))",
        "sweep.fresh=true",
    ]
    started = [Started(*typed, f"hydra.sweep.dir={tmp_path}/{n}") for n in range(SWEEPS)]
    for process in started:
        _, said = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, said
    study = optuna.load_study(study_name="shared", storage=database.address)
    trials = study.get_trials(states=[TrialState.COMPLETE])
    assert len(trials) == TRIALS
    assert len({trial.params["trainer.learning_rate"] for trial in trials}) == TRIALS
    assert len({trial.user_attrs["sweep_run_id"] for trial in trials}) == SWEEPS
    runs = MlflowClient(store).search_runs(["1"], "tags.`mlflow.parentRunId` LIKE '%'")
    assert {run.info.run_id for run in runs} == {trial.user_attrs["run_id"] for trial in trials}
