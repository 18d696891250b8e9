"""Send this process a signal at a place that only the inside of a run knows.

`python -m tests.e2e.faulty PLACE:CALL:SIGNAL,... ARGUMENTS` runs the pipeline with such faults: at
the CALL-th call at a PLACE, the process sends itself the SIGNAL.
"""

import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

# Module, class and function of each place. The signal comes before the function, unless the place
# is in the middle of it or right after it.
PLACES = {
    "training": "pipeline.training.trainer:PhaseTrainer.training_step",
    "checkpoint": "transformers:Trainer._save_rng_state",  # weights and optimizer are written
    "export": "pipeline.training.artifacts:export",
    "logging": "mlflow.store.artifact.local_artifact_repo:shutil_copytree_without_file_permissions",
    "model": "mlflow.tracking:MlflowClient.log_model_artifacts",
    "closing": "pipeline.tracking.ending:reason_line",  # of a run that failed or was interrupted
}
SetAttribute = Callable[[Any, str, Any], None]


def arm(place: str, call: int, number: signal.Signals, set_attribute: SetAttribute) -> None:
    """Let a place send this process a signal.

    Args:
        place: name of the place.
        call: which call at the place does it, from 1.
        number: the signal.
        set_attribute: sets an attribute of an object, such as monkeypatch.setattr.
    """
    module, _, path = PLACES[place].partition(":")
    owner: Any = import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original, calls = getattr(owner, name), count(1)

    def faulty(*args: Any, **options: Any) -> Any:
        if next(calls) != call:
            return original(*args, **options)
        if place == "logging":
            source, target = args
            half = sorted(path for path in Path(source).iterdir() if path.is_file())[0]
            (Path(target) / half.name).write_bytes(half.read_bytes())
        if place == "export":
            original(*args, **options)
        os.kill(os.getpid(), number)
        return original(*args, **options)

    set_attribute(owner, name, faulty)


def arm_all(faults: str) -> None:
    """Let places send this process signals.

    Args:
        faults: PLACE:CALL:SIGNAL,..., or nothing.
    """
    for fault in filter(None, faults.split(",")):
        place, call, name = fault.split(":")
        arm(place, int(call), signal.Signals[name], setattr)


def main() -> int:
    faults, *arguments = sys.argv[1:]
    from pipeline import cli
    from pipeline.console import third_parties

    third_parties.prepare()
    arm_all(faults)
    sys.argv = ["pipeline", *arguments]
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
