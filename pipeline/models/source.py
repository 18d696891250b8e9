"""Tell versions of a pretrained model apart: by its files, or by its commit on the Hub."""

import hashlib
from pathlib import Path

from pipeline.config.hub import is_run_id, looks_local
from pipeline.config.schema import DistillationConfig, ModelConfig

SAFETENSORS_FILES = ("model.safetensors", "model.safetensors.index.json")
OTHER_SUFFIXES = frozenset({".json", ".txt", ".model"})  # config and tokenizer
SNAPSHOTS = "snapshots"  # folder of the Hub's cache, with a folder for each commit
READ_BLOCK = 1 << 20  # bytes


def model_version(config: ModelConfig) -> str:
    """Identify the weights, config and tokenizer that a model group names.

    Args:
        config: the model group.

    Returns:
        16 hex digits of a directory's files, or the Hub's commit (40 hex digits); empty if neither
        is to be had, so that loading will tell why.
    """
    if looks_local(config.name_or_path):
        return _digest_of(Path(config.name_or_path))
    return _commit_of(config.name_or_path, config.revision)


def teacher_version(config: DistillationConfig | None) -> str:
    """Identify a teacher's model; a run's model never changes, so that its id will do.

    Args:
        config: the distillation group; None without a teacher, which gives an empty text.
    """
    if config is None or is_run_id(config.teacher):
        return config.teacher if config else ""
    return model_version(ModelConfig(config.teacher))


def is_commit(model: str) -> bool:
    """Tell a commit of the Hub from the digest of a directory."""
    return len(model) == len(hashlib.sha1(usedforsecurity=False).hexdigest())


def _digest_of(folder: Path) -> str:
    """Hash the names and contents of the files that decide what is loaded.

    Of weights in two formats, transformers 4.57 loads safetensors by these names.
    """
    is_safe = any((folder / name).is_file() for name in SAFETENSORS_FILES)
    weights = sorted(folder.glob("*.safetensors" if is_safe else "*.bin"))
    others = sorted(path for path in folder.glob("*") if path.suffix in OTHER_SUFFIXES)
    if not weights:
        return ""
    sha = hashlib.sha256()
    for file in [*weights, *others]:
        with file.open("rb") as opened:
            sha.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            while block := opened.read(READ_BLOCK):
                sha.update(block)
    return sha.hexdigest()[:16]


def _commit_of(name: str, revision: str | None) -> str:
    """Ask the Hub, or its cache if it does not answer, for the commit of a model's config."""
    from huggingface_hub import hf_hub_download

    try:
        file = Path(hf_hub_download(name, "config.json", revision=revision or "main"))
    except (OSError, ValueError):  # huggingface_hub's errors are both or one of them
        return ""
    return file.parent.name if file.parent.parent.name == SNAPSHOTS else ""
