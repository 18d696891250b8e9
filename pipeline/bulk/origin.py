"""Say what an output is made of, so that another start can tell whether it is the same."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pipeline.bulk.job import PART_ROWS, Job
from pipeline.data.streams import is_url, read_errors
from pipeline.inference.classifier import DECIMALS

FORMAT = 1  # of parts and outputs; to be raised when the same origin would give others


@dataclass(frozen=True)
class Origin:
    """What decides an output, each as a digest; it is the same on any engine.

    Args:
        input: names, sizes and times of the files.
        model: content of the model's directory.
        columns: columns that are read, their encoding, and which answers are added.
    """

    input: str
    model: str
    columns: str

    @classmethod
    def read(cls, text: str) -> "Origin | None":
        """Read what written() gave; None if it is something else."""
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError):
            return None

    def written(self) -> str:
        """Write it as JSON."""
        return json.dumps(asdict(self))

    def changes(self, before: "Origin | None") -> str:
        """Name what has changed since, such as "input and model"."""
        names = [each.name for each in fields(self)]
        return " and ".join(
            name for name in names if getattr(self, name) != getattr(before, name, None)
        )


def origin_of(job: Job) -> Origin:
    """Digest what decides the output of a job.

    Args:
        job: the table, the model and the output.

    Raises:
        PipelineError: a file cannot be reached.
    """
    columns = [job.encoding, job.columns.names, job.scores, DECIMALS, PART_ROWS, FORMAT]
    files = [_version(file) for file in job.files]
    return Origin(_digest(files), _model_digest(job.model), _digest(columns))


def _version(file: str) -> list[Any]:
    with read_errors(file):
        if not is_url(file):
            status = Path(file).stat()
            return [str(Path(file).absolute()), status.st_size, status.st_mtime_ns]
        import fsspec

        system, path = fsspec.core.url_to_fs(file)
        return [path, sorted((key, str(value)) for key, value in system.info(path).items())]


def _model_digest(directory: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path for path in directory.rglob("*") if path.is_file()):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(directory)} {content}\n".encode())
    return digest.hexdigest()


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
