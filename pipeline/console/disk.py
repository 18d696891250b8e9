"""Tell a full disk in one line, whatever library met it."""

import contextlib
import errno
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import DiskFullError, PipelineError, reason_line

FULL = (errno.ENOSPC, errno.EDQUOT)
LITTLE_ROOM = 1 << 20  # bytes; with less, an error of a library is taken to come from it
SAYS_FULL = "No space left on device"


@contextlib.contextmanager
def disk_errors(folder: Path | None = None) -> Iterator[None]:
    """Turn what is raised while a disk is full into one line.

    safetensors and pyarrow have errors of their own for it, and torch 2.13 says "unexpected pos":
    the disk itself is asked as well.

    Args:
        folder: folder that the block writes to; None is that of scratch files.

    Raises:
        DiskFullError: the disk is full.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        place = folder or Path(tempfile.gettempdir())
        if _says_full(error) or shutil.disk_usage(place).free < LITTLE_ROOM:
            line = f"a disk is full, perhaps that of {place}: {reason_line(error)}"
            raise DiskFullError(line) from error
        raise


def _says_full(error: Exception) -> bool:
    is_errno = isinstance(error, OSError) and error.errno in FULL
    return is_errno or SAYS_FULL in str(error)
