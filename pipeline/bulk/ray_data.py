"""Classify rows on all machines of a Ray cluster, with Ray Data: one actor for each CPU.

Nothing but the installed package has to be on the other machines: rows go there and back through
Ray's object store, and so does the model's directory.
"""

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.bulk.answers import AnswerColumns, texts_of, with_answers
from pipeline.bulk.questions import Questions
from pipeline.console import interrupt
from pipeline.data.rows import Columns
from pipeline.data.streams import is_url
from pipeline.errors import PipelineError, reason_line
from pipeline.inference.classifier import WINDOW, TextClassifier, probabilities

# Bytes of a block of rows. Ray Data's default of 128 MB would be a million short texts, which is
# too much for a CPU to have left when the others are done.
BLOCK_BYTES = 1 << 20
STORE_BYTES = 1 << 29  # of the object store, where no cluster is running
ADDRESS = "RAY_ADDRESS"  # names a cluster
# Nobody reads the metrics of a cluster that ends with the command. With them, the processes of
# Ray 2.60 took 17 % of a CPU beside the actors, and take 13 % without.
WITHOUT_METRICS = {
    "RAY_enable_metrics_collection": "0",
    "RAY_enable_open_telemetry": "0",
    "RAY_task_events_report_interval_ms": "0",
}


def answered_by_ray(
    directory: Path, cpus: int, questions: Questions, columns: AnswerColumns
) -> Iterator[pa.RecordBatch]:
    """Classify rows on the cluster that is running, else on this machine's CPUs.

    Args:
        directory: directory of the deployed model.
        cpus: number of CPUs of this machine to use, if no cluster is running.
        questions: the rows.
        columns: names of the columns to add.

    Yields:
        The rows with their answers, in order.

    Raises:
        PipelineError: Ray is not installed, or a worker could not do its work.
    """
    with _cluster(cpus) as ray:
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.target_max_block_size = BLOCK_BYTES
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        model = ray.put(
            {file.name: file.read_bytes() for file in directory.iterdir() if file.is_file()}
        )
        answers = (
            ray.data.from_arrow(pa.table({"reader": [0]}))
            # The rows are read where the command was typed, by a task that needs no CPU of its own:
            # the actors have them all.
            .map_batches(
                _Read(_absolute(questions)), num_cpus=0, scheduling_strategy=here, batch_size=None
            )
            .map_batches(
                _Classifier,
                fn_constructor_args=(model, questions.table.columns, columns),
                batch_size=WINDOW,
                batch_format="pyarrow",
                num_cpus=1,
                compute=ray.data.ActorPoolStrategy(size=int(ray.cluster_resources()["CPU"])),
            )
        )
        try:
            for table in answers.iter_batches(batch_size=None, batch_format="pyarrow"):
                yield from table.combine_chunks().to_batches()
        except ray.exceptions.RayError as error:
            raise PipelineError(f"Ray has stopped: {_cause(error)}") from error


def _absolute(questions: Questions) -> Questions:
    """Name files from the root: a task of a cluster has another working folder."""
    files = [file if is_url(file) else str(Path(file).absolute()) for file in questions.table.files]
    return replace(questions, table=replace(questions.table, files=tuple(files)))


def _cause(error: BaseException) -> str:
    """Return the line of what was raised in a worker."""
    while (cause := getattr(error, "cause", None) or error.__cause__) is not None:
        error = cause
    return reason_line(error)


class _Read:
    """Read rows in a task of Ray's."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    def __call__(self, _: object) -> Iterator[pa.Table]:
        for batch in self._questions.batches():
            yield pa.Table.from_batches([batch])


class _Classifier:
    """Classify rows in an actor of Ray's."""

    def __init__(self, model: Any, columns: Columns, answers: AnswerColumns) -> None:
        import ray

        self._columns, self._answers = columns, answers
        with tempfile.TemporaryDirectory(prefix="pipeline-model-") as scratch:
            for name, content in ray.get(model).items():
                (Path(scratch) / name).write_bytes(content)
            self._classifier = TextClassifier(Path(scratch), threads=1)

    def __call__(self, table: pa.Table) -> pa.Table:
        (rows,) = table.combine_chunks().to_batches()
        scores = probabilities(self._classifier.logits(texts_of(rows, self._columns)))
        names = self._classifier.label_names
        return pa.Table.from_batches([with_answers(rows, scores, self._answers, names)])


@contextmanager
def _cluster(cpus: int) -> Iterator[Any]:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise PipelineError(
            "--engine ray needs Ray, which is not installed: pip install ray."
        ) from error
    quiet: Mapping[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    try:
        ray.init(address="auto", **quiet)
    except ConnectionError as error:
        if address := os.environ.get(ADDRESS):
            raise PipelineError(f"no Ray cluster answers at {ADDRESS}={address}.") from error
        for name, value in WITHOUT_METRICS.items():
            os.environ.setdefault(name, value)
        ray.init(
            address="local",
            num_cpus=cpus,
            object_store_memory=STORE_BYTES,
            include_dashboard=False,
            **quiet,
        )
    try:
        interrupt.listen()  # Ray has handlers of its own
        yield ray
    finally:
        ray.shutdown()
