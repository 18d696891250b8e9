import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pytest

from pipeline.errors import PipelineError
from tests.data.tables import read, written

CONTENT = "text,label\nüber,x\nnaïve,y\n"
ROWS = [("über", "x"), ("naïve", "y")]


def zipped(content: bytes, *names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names or ("rows.csv",):
            archive.writestr(name, content)
    return file.getvalue()


def zstd(content: bytes) -> bytes:
    file = pa.BufferOutputStream()
    with pa.CompressedOutputStream(file, "zstd") as stream:
        stream.write(content)
    return file.getvalue().to_pybytes()


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"]
)
def test_an_encoding_is_recognized(tmp_path: Path, encoding: str) -> None:
    assert read(written(tmp_path / "rows.csv", CONTENT, encoding)) == ROWS


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16-le", "utf-8"])
def test_any_other_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    assert read(written(tmp_path / "rows.csv", CONTENT, encoding), encoding) == ROWS


def test_a_mark_is_no_part_of_the_text_when_the_encoding_is_named(tmp_path: Path) -> None:
    assert read(written(tmp_path / "rows.csv", CONTENT, "utf-8-sig"), "utf-8") == ROWS
    assert (
        read(written(tmp_path / "rows.csv", "\ufeff" + CONTENT, "utf-16-le"), "utf-16-le") == ROWS
    )


def test_another_encoding_is_refused_by_its_line(tmp_path: Path) -> None:
    line = "line 2, is not utf-8: byte 0xfc at position 1; set dataset.encoding to its own"
    with pytest.raises(PipelineError, match=line):
        read(written(tmp_path / "rows.csv", CONTENT, "cp1252"))


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
        (".zip", zipped),
        (".zst", zstd),
    ],
)
def test_compressed_files_are_read_whole_or_refused(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    packed = compress(CONTENT.encode())
    assert read(written(tmp_path / f"rows.csv{suffix}", packed)) == ROWS
    with pytest.raises(PipelineError, match=f"rows.csv{suffix} cannot be read: "):
        read(written(tmp_path / f"rows.csv{suffix}", packed[: len(packed) * 2 // 3]))
    with pytest.raises(PipelineError, match=f"rows.csv{suffix} cannot be read: "):
        read(written(tmp_path / f"rows.csv{suffix}", CONTENT))


def test_a_zip_file_of_two_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path / "rows.csv.zip", zipped(CONTENT.encode(), "a.csv", "b.csv"))
    with pytest.raises(PipelineError, match="it holds 2 files, where one is expected"):
        read(file)


def test_a_url_is_read_and_one_that_is_not_there_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "rows.csv.gz", gzip.compress(CONTENT.encode()))
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        try:
            assert read(f"{address}/rows.csv.gz?version=2") == ROWS  # type: ignore[arg-type]
            with pytest.raises(PipelineError, match=r"/other.csv cannot be read: "):
                read(f"{address}/other.csv")  # type: ignore[arg-type]
        finally:
            server.shutdown()


@pytest.mark.parametrize("url", ["s3://bucket/rows.csv", "nothing://host/rows.csv"])
def test_a_protocol_that_is_not_installed_is_one_line(url: str) -> None:
    with pytest.raises(PipelineError, match="rows.csv cannot be read: ") as caught:
        read(url)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
