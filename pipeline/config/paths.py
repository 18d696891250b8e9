"""Ask for paths that the user typed, in folders that may not be entered too.

Path.exists(), Path.is_dir() and Path.is_file() raise PermissionError there, and OSError for a name
that is too long; to the user such a path is not there.
"""

import glob
import os


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
