"""Open a file of a corpus: local or remote, compressed or not, in whatever encoding."""

import bz2
import codecs
import contextlib
import csv
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import IO, Any, cast

import pyarrow as pa

from pipeline.errors import PipelineError

UTF_8 = "utf-8"
MARK = "\ufeff"
# The longest first: UTF-16's mark is the beginning of UTF-32's.
ENCODINGS_BY_MARK: Mapping[bytes, str] = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: UTF_8,
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
LOOKED_AT = 8  # bytes from the start that tell the encoding


def _zip_member(file: IO[bytes]) -> IO[bytes]:
    archive = zipfile.ZipFile(file)
    members = [name for name in archive.namelist() if not name.endswith("/")]
    if len(members) != 1:
        raise zipfile.BadZipFile(f"it holds {len(members)} files, where one is expected")
    return archive.open(members[0])


DECOMPRESS: Mapping[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": lambda file: pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd"),
    ".zip": _zip_member,
}
# What opening, decompressing or parsing a file raises; pyarrow's are ValueErrors and OSErrors.
READ_ERRORS = (
    OSError,
    ValueError,
    EOFError,
    ImportError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    csv.Error,
    NotImplementedError,  # a zip file with a compression that zipfile does not know
    RuntimeError,  # an encrypted one
)


def suffixes(file: str) -> tuple[str, str]:
    """Tell the format and the compression of a file by its name.

    Args:
        file: path or URL.

    Returns:
        Two endings in lower case, such as .csv and .gz; the second is empty if it is none.
    """
    path = PurePosixPath(file.partition("?")[0].lower() if is_url(file) else file.lower())
    if path.suffix in DECOMPRESS:
        return PurePosixPath(path.stem).suffix, path.suffix
    return path.suffix, ""


def is_url(file: str) -> bool:
    """Tell a URL from a path."""
    return "://" in file


@contextlib.contextmanager
def read_errors(file: str) -> Iterator[None]:
    """Put what a file's reader raises into one line; what is no fault of the file stays.

    Args:
        file: path or URL that the block reads.

    Raises:
        PipelineError: the file cannot be read.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        # Each protocol of a URL has a library with errors of its own.
        if not (is_url(file) or isinstance(error, READ_ERRORS)):
            raise
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise PipelineError(f"{file} cannot be read: {reason or type(error).__name__}.") from error


@contextlib.contextmanager
def open_bytes(file: str) -> Iterator[IO[bytes]]:
    """Open a file, decompressed.

    Args:
        file: path or URL.
    """
    with contextlib.ExitStack() as stack:
        if is_url(file):
            import fsspec

            opened: IO[bytes] = stack.enter_context(fsspec.open(file, "rb"))
        else:
            opened = stack.enter_context(open(file, "rb"))  # noqa: PTH123
        decompress = DECOMPRESS.get(suffixes(file)[1])
        if decompress is not None:
            opened = stack.enter_context(contextlib.closing(decompress(opened)))
        yield opened


@contextlib.contextmanager
def open_text(file: str, encoding: str | None) -> Iterator[Iterator[str]]:
    r"""Open a file as lines, each with its own end (\n, \r\n or \r).

    Args:
        file: path or URL.
        encoding: encoding of the file; None takes that of its byte order mark, else UTF-16 if its
            bytes look so, else UTF-8.

    Raises:
        PipelineError: it is in another encoding.
    """
    with open_bytes(file) as opened, io.BufferedReader(cast(Any, opened)) as buffered:
        found = encoding or _encoding(buffered)
        # An empty newline keeps the line ends: those within a quoted field are part of it.
        with io.TextIOWrapper(buffered, encoding=found, newline="") as text:
            yield _lines(text, file, found)


def _encoding(buffered: io.BufferedReader) -> str:
    start = buffered.peek(LOOKED_AT)[:LOOKED_AT]
    for mark, name in ENCODINGS_BY_MARK.items():
        if start.startswith(mark):
            return name
    # A header in ASCII has a NUL in each second byte of UTF-16.
    even, odd = start[0::2], start[1::2]
    if len(start) == LOOKED_AT and 0 in (max(even), max(odd)):
        return "utf-16-le" if max(odd) == 0 else "utf-16-be"
    return UTF_8


def _lines(text: io.TextIOWrapper, file: str, encoding: str) -> Iterator[str]:
    try:
        first = next(text, "")
        yield first.removeprefix(MARK)
        yield from text
    except UnicodeError as error:
        raise PipelineError(_encoding_line(file, encoding)) from error


def _encoding_line(file: str, encoding: str) -> str:
    """Name the first line that is not in the encoding."""
    where, byte = file, ""
    # A line of UTF-16 does not end with the byte that ends one of UTF-8 and its like.
    if not encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32")):
        with open_bytes(file) as opened:
            for number, line in enumerate(opened, start=1):
                try:
                    line.decode(encoding)
                except UnicodeDecodeError as error:
                    where = f"{file}, line {number},"
                    byte = f": byte 0x{line[error.start]:02x} at position {error.start + 1}"
                    break
    remedy = "its own" if encoding != UTF_8 else "its own, such as cp1252 (Windows) or latin-1"
    setting = f"set dataset.encoding to {remedy} (--encoding of predict)"
    return f"{where} is not {encoding}{byte}; {setting}."
