"""Measure what a sweep does around its jobs when it has 10, 1,000 and 5,000 of them already.

python benchmarks/sweep_bookkeeping.py [--store URI] [--children N ...]

The FINISHED runs of earlier jobs are written straight into the database, each with all parameters,
figures, tags and inputs that a run has. Then the sweep goes on with jobs that only write a run of
themselves; what they take is left out. --store is the address of an empty database
(postgresql://...), whose driver has to be installed; without it, a SQLite file is made.
"""

import argparse
import contextlib
import io
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

from pipeline.console import third_parties

third_parties.prepare(computes=False)

from _process import measure
from _promises import Promise, print_promises
from _written_sweep import SweptConfig, WritingLauncher, write_children, write_inputs
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from mlflow.tracking import MlflowClient
from omegaconf import DictConfig, open_dict

from pipeline.config import schema
from pipeline.config.identity import Ingredients
from pipeline.config.resolve import resolve
from pipeline.data.corpus import load_corpus
from pipeline.models.source import model_version
from pipeline.sweeps import sweepers
from pipeline.sweeps.composing import Composer
from pipeline.sweeps.jobs import jobs_of
from pipeline.sweeps.sweep import open_sweep
from pipeline.tracking.store import URI_VARIABLE

CONF = Path(__file__).resolve().parents[1] / "conf"
JOBS = 20  # further jobs that are launched one by one, as by a search, and then at once
COMPOSED = 200  # jobs whose configs are composed and checked, as of a grid
# That a job lasts. Each second, the jobs that run are read, which is no cost of a job.
PAUSE_S = 0.5
MOST_MS = 50.0


@dataclass(frozen=True)
class Took:
    """What something took, without what its jobs did.

    Args:
        wall_ms: milliseconds of wall time.
        cpu_ms: milliseconds of this process's CPU time, which other processes change little.
    """

    wall_ms: float
    cpu_ms: float

    def __str__(self) -> str:
        return f"{self.wall_ms:,.1f} ({self.cpu_ms:,.1f})"


@dataclass(frozen=True)
class Figures:
    """What a sweep took for each of its jobs.

    Args:
        children: number of runs of earlier jobs.
        opening: to open the sweep, which reads those runs; for each of them.
        resuming: to find that an earlier job need not run again; for each of them.
        alone: around a job that is launched by itself.
        together: around each of the jobs that are launched together, the progress line included.
        concluding: to compare all runs and to store the comparison; for each of them.
        comparing_s: seconds of `python -m pipeline.compare`, its start included.
        comparing_mb: peak memory of that command, in MB.
    """

    children: int
    opening: Took
    resuming: Took
    alone: Took
    together: Took
    concluding: Took
    comparing_s: float
    comparing_mb: float

    @property
    def line(self) -> str:
        """The figures as a row of a table in Markdown."""
        each = [getattr(self, field.name) for field in fields(self)]
        return (
            f"| {' | '.join(f'{x:,.0f}' if isinstance(x, int | float) else str(x) for x in each)} |"
        )


def main() -> int:
    """Measure each number of jobs, print a table, and hold the CPU times against their promise.

    Returns:
        The exit code: 1 if a promise is broken.
    """
    options = parser().parse_args()
    schema.register()
    sweepers.register()
    with tempfile.TemporaryDirectory() as scratch:
        uri = options.store or f"sqlite:///{scratch}/mlflow.db"
        os.environ[URI_VARIABLE] = uri
        overrides = [
            *write_inputs(Path(scratch)),
            f"tracking.tracking_uri='{uri}'",
            f"tracking.artifact_location={scratch}/artifacts",
        ]
        with initialize_config_dir(str(CONF)):
            print(f"composing and checking a job: {composing(overrides)} ms")
            print("milliseconds of wall time (CPU time) a job:")
            print(f"| {' | '.join(field.name for field in fields(Figures))} |")
            print("|" + "---|" * len(fields(Figures)), flush=True)
            rows = []
            for children in options.children:
                rows.append(measured(overrides, uri, children, options.jobs))
                print(rows[-1].line, flush=True)
    return print_promises(list(promises(rows)))


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("--store", metavar="URI", help="address of an empty database")
    command.add_argument(
        "--children",
        metavar="N",
        type=int,
        nargs="+",
        default=[10, 1000, 5000],
        help="numbers of earlier jobs (default: %(default)s)",
    )
    command.add_argument(
        "--jobs",
        metavar="N",
        type=int,
        default=JOBS,
        help="further jobs, one by one and then at once (default: %(default)s)",
    )
    return command


def promises(rows: Sequence[Figures]) -> Iterator[Promise]:
    """Put the CPU time of each job beside what was promised of it.

    Args:
        rows: the figures, in the order of their number of jobs.
    """
    for row in rows:
        for field in fields(row):
            took = getattr(row, field.name)
            # Of ten jobs, what is read and imported once is most.
            once = field.name in ("opening", "resuming", "concluding")
            if isinstance(took, Took) and (row.children >= 1000 or not once):
                name = f"{field.name}, a job at {row.children:,}"
                yield Promise(name, took.cpu_ms, MOST_MS, " ms")


def measured(overrides: Sequence[str], uri: str, children: int, count: int) -> Figures:
    """Write the runs of earlier jobs, and go on with the sweep.

    Args:
        overrides: overrides of each job.
        uri: address of the store.
        children: number of earlier jobs.
        count: number of further jobs, one by one and then at once.
    """
    config = compose("config", list(overrides), return_hydra_config=True)
    swept = swept_config(config)
    launcher = WritingLauncher(MlflowClient(uri), swept, PAUSE_S)
    jobs = [swept.job(seed) for seed in range(children + 2 * count)]
    earlier, alone, together = jobs[:children], jobs[children:-count], jobs[-count:]
    opened = partial(
        open_sweep, config, launcher, jobs, {"trainer.seed": f"range({len(jobs)})"}, len(jobs)
    )
    with silence(), opened() as sweep:
        parent_id = sweep.run_id
    write_children(uri, parent_id, swept, range(children))
    watch = Stopwatch(launcher)
    with silence(), contextlib.ExitStack() as stack:
        with watch.measuring("opening", children):
            sweep = stack.enter_context(opened())
        with watch.measuring("resuming", children):
            sweep.run(earlier)
        with watch.measuring("alone", count):
            for job in alone:
                sweep.run([job])
        with watch.measuring("together", count):
            sweep.run(together)
        with watch.measuring("concluding", len(jobs)):
            stack.close()
    # Without its table, which is as long as the sweep.
    compare = measure("-m", "pipeline.compare", "--sweep", parent_id, "--output", os.devnull)
    return Figures(children, **watch.took, comparing_s=compare.wall_s, comparing_mb=compare.peak_mb)


class Stopwatch:
    """Measure what a sweep does, without what its jobs do.

    Args:
        launcher: launcher of the jobs.
    """

    def __init__(self, launcher: WritingLauncher) -> None:
        self.took: dict[str, Took] = {}
        self._launcher = launcher

    @contextlib.contextmanager
    def measuring(self, name: str, jobs: int) -> Iterator[None]:
        """Measure a block.

        Args:
            name: name of the figure.
            jobs: number of jobs that share what it takes.
        """
        self._launcher.wall_s = self._launcher.cpu_s = 0.0
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        wall_s = time.perf_counter() - wall - self._launcher.wall_s
        cpu_s = time.process_time() - cpu - self._launcher.cpu_s
        self.took[name] = Took(1000 * wall_s / jobs, 1000 * cpu_s / jobs)


def swept_config(config: DictConfig) -> SweptConfig:
    """Resolve a config, and read what its figures depend on.

    Args:
        config: Hydra's config.
    """
    own = config.copy()
    with open_dict(own):
        own.pop("hydra")
    resolved = resolve(own)
    corpus = load_corpus(resolved.dataset)
    model = model_version(resolved.model)
    return SweptConfig(resolved, Ingredients(corpus.digests, corpus.label_names, model))


def composing(overrides: Sequence[str]) -> Took:
    """Measure in which time Hydra composes a job's config, and in which it is checked.

    Args:
        overrides: overrides of each job.
    """
    loader = GlobalHydra.instance().config_loader()
    config = loader.load_configuration("config", list(overrides), RunMode.MULTIRUN)
    lines = [[*overrides, f"trainer.seed={seed}"] for seed in range(COMPOSED)]
    wall, cpu = time.perf_counter(), time.process_time()
    jobs_of(Composer(loader, config), lines)
    wall_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
    return Took(1000 * wall_s / COMPOSED, 1000 * cpu_s / COMPOSED)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep tables and progress lines of a sweep from the terminal."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


if __name__ == "__main__":
    sys.exit(main())
