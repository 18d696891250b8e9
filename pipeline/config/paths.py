"""Ask for paths that the user typed, in folders that may not be entered too.

Path.exists(), Path.is_dir() and Path.is_file() raise PermissionError there, and OSError for a name
that is too long; to the user such a path is not there.
"""

import glob
import os
from pathlib import Path


def with_home(path: str) -> str:
    """Write ~ and ~USER at the start of a path out, which a shell does not do within quotes.

    Args:
        path: path, pattern, URL or any other name; what exists as it is typed stays.
    """
    return path if exists(path) else os.path.expanduser(path)  # noqa: PTH111


def typed_path(text: str) -> Path:
    """Return the path that was typed behind an option: a shell leaves the ~ of --output=~/x."""
    return Path(with_home(text))


def exists(path: str | os.PathLike[str]) -> bool:
    """Tell whether there is a file or a directory that can be reached."""
    return os.path.exists(path)  # noqa: PTH110


def is_directory(path: str | os.PathLike[str]) -> bool:
    """Tell whether there is a directory that can be reached."""
    return os.path.isdir(path)  # noqa: PTH112


def is_file(path: str | os.PathLike[str]) -> bool:
    """Tell whether there is a file that can be reached."""
    return os.path.isfile(path)  # noqa: PTH113


def matching(path_or_pattern: str) -> list[str]:
    """Return the path, if there is such a file, else the files that match it as a pattern."""
    return [path_or_pattern] if exists(path_or_pattern) else glob.glob(path_or_pattern)  # noqa: PTH207
