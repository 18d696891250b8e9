"""Make one micro BERT, one micro corpus and one migrated tracking store for a whole session.

Nothing comes from a network.
"""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

# What a developer has set for real runs is not for the tests.
os.environ.pop("MLFLOW_TRACKING_URI", None)
os.environ.pop("MLFLOW_REGISTRY_URI", None)
os.environ.pop("HYDRA_FULL_ERROR", None)
os.environ.pop("PIPELINE_FULL_ERROR", None)
os.environ.pop("PIPELINE_CACHE_GB", None)
os.environ.pop("WORLD_SIZE", None)
if "PYTEST_XDIST_WORKER" in os.environ:  # one core for each worker
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_DATASETS_CACHE"] = tempfile.mkdtemp(prefix="test-datasets-")

import pandas as pd
import psutil
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from pipeline.config.schema import register
from pipeline.console import interrupt, third_parties

third_parties.prepare()

if TYPE_CHECKING:
    from transformers import BertForSequenceClassification

CONF = Path(__file__).parents[1] / "conf"
NOBODY = 65534  # the user that Linux has for those who own nothing
CLASSES = {
    "cold": ["snow", "ice", "frost", "winter", "freezing"],
    "hot": ["sun", "fire", "summer", "desert", "burning"],
    "wet": ["rain", "river", "flood", "ocean", "soaking"],
}
FILLER = [
    "the",
    "day",
    "was",
    "full",
    "of",
    "and",
    "we",
    "walked",
    "home",
    "slowly",
    "again",
    "today",
]


def micro_rows(count: int, seed: int) -> pd.DataFrame:
    """Make texts whose class shows in one or two words of five; each class is equally frequent."""
    rng = random.Random(seed)
    rows = []
    for index in range(count):
        label = list(CLASSES)[index % len(CLASSES)]
        words = rng.choices(FILLER, k=rng.randint(3, 12)) + rng.choices(
            CLASSES[label], k=rng.randint(1, 2)
        )
        rng.shuffle(words)
        rows.append({"text": " ".join(words), "label": label})
    return pd.DataFrame(rows)


def pytest_unconfigure() -> None:
    """Remove what this process has cached."""
    shutil.rmtree(os.environ["HF_DATASETS_CACHE"], ignore_errors=True)


def micro_bert(**options: object) -> "BertForSequenceClassification":
    """Make a random BERT of two narrow layers for three classes."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        num_labels=3,
        **options,
    )
    config._attn_implementation = "eager"
    return BertForSequenceClassification(config)


def listened_on(port: int) -> set[str]:
    """Return the addresses of this machine that someone listens on at a port."""
    connections = psutil.net_connections("inet")
    listening = [each.laddr for each in connections if each.status == psutil.CONN_LISTEN]
    return {address.ip for address in listening if address.port == port}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with the assets that some config files name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "assets/minilm").mkdir(parents=True)
    (tmp_path / "assets/reviews").mkdir()
    return tmp_path


@pytest.fixture
def closed() -> Iterator[Path]:
    """Be a user who may neither enter nor list this folder, which is never root."""
    above = Path(tempfile.mkdtemp())
    folder = above / "closed"
    folder.mkdir()
    above.chmod(0o755)
    folder.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        os.seteuid(user)
        folder.chmod(0o700)
        shutil.rmtree(above)


def composed(*overrides: str) -> DictConfig:
    register()
    with initialize_config_dir(str(CONF)):
        return compose("config", list(overrides))


@pytest.fixture(scope="session")
def micro_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write train.csv (240 rows), validation.csv and test.csv (60 each) of three named classes."""
    folder = tmp_path_factory.mktemp("corpus")
    for seed, (split, count) in enumerate({"train": 240, "validation": 60, "test": 60}.items()):
        micro_rows(count, seed).to_csv(folder / f"{split}.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def micro_model(tmp_path_factory: pytest.TempPathFactory, micro_corpus: Path) -> Path:
    """Save a BERT of 2 layers and hidden 32, and a WordPiece tokenizer of the corpus.

    The encoder has seen such texts, as a pretrained one has: the few steps of a test's run are
    enough for it on any machine.
    """
    import torch
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    tokenizer = BertWordPieceTokenizer(lowercase=True)
    texts = pd.read_csv(micro_corpus / "train.csv")["text"]
    tokenizer.train_from_iterator(texts, vocab_size=200, min_frequency=1, show_progress=False)
    tokenizer.save_model(str(folder))
    fast = BertTokenizerFast(vocab_file=str(folder / "vocab.txt"), model_max_length=64)
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(fast),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.1,
    )
    encoder, head = BertModel(config), torch.nn.Linear(config.hidden_size, len(CLASSES))
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=3e-3)
    for seed in range(100, 200):
        rows = micro_rows(32, seed)
        tokens = fast(list(rows["text"]), padding=True, return_tensors="pt")
        labels = torch.tensor([list(CLASSES).index(label) for label in rows["label"]])
        logits = head(encoder(**tokens).pooler_output)
        torch.nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    config.initializer_range = 0.02  # of the head that a run adds
    encoder.save_pretrained(folder)
    return folder


@pytest.fixture
def micro_classifier(tmp_path: Path, micro_model: Path) -> Path:
    """Save the micro model under a random head, whose labels are in the order of CLASSES."""
    import torch
    from transformers import BertForSequenceClassification

    folder = tmp_path / "classifier"
    shutil.copytree(micro_model, folder)
    torch.manual_seed(0)
    names = dict(enumerate(CLASSES))
    model = BertForSequenceClassification.from_pretrained(
        micro_model, id2label=names, label2id={name: index for index, name in names.items()}
    )
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def armed_classifier(micro_classifier: Path) -> Path:
    """Let its files name code, which leaves the file `proof` beside them if it runs."""
    proof = micro_classifier / "proof"
    (micro_classifier / "evil.py").write_text(f"open({str(proof)!r}, 'w')")
    model = {"AutoConfig": "evil.Config", "AutoModelForSequenceClassification": "evil.Model"}
    tokenizer = {"AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]}
    for name, classes in (("config.json", model), ("tokenizer_config.json", tokenizer)):
        file = micro_classifier / name
        file.write_text(json.dumps(json.loads(file.read_text()) | {"auto_map": classes}))
    return micro_classifier


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create an empty SQLite store: its migrations take seconds, a copy of it does not."""
    from mlflow.tracking import MlflowClient

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def store(tmp_path: Path, migrated_store: Path) -> str:
    """Return the URI of an empty tracking store for this test."""
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def own_handlers() -> Iterator[None]:
    """Listen to signals; give the process its handlers and its hook back."""
    hook = sys.unraisablehook
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    interrupt.listen()
    yield
    interrupt.listen()  # forget what came
    sys.unraisablehook = hook
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def micro(tmp_path: Path, store: str, micro_model: Path, micro_corpus: Path) -> list[str]:
    """Return overrides that make a run small and put all of it into this test's folder."""
    return [
        f"model.name_or_path={micro_model}",
        "dataset=files",
        f"dataset.data_dir={micro_corpus}",
        "dataset.max_length=32",
        "trainer.learning_rate=5e-3",
        "trainer.num_train_epochs=2",
        "trainer.load_best_model_at_end=false",
        "trainer.save_strategy=no",
        "model.head_learning_rate_factor=1",
        "baseline=none",
        "export=none",
        "export.calibration_samples=20",
        "benchmark=none",
        f"tracking.tracking_uri={store}",
        f"tracking.artifact_location={tmp_path / 'artifacts'}",
        "tracking.keep=all",
    ]


@dataclass(frozen=True)
class Output:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of an error."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Output]:
    """Type `python -m pipeline ...` in this process: a new one would import for ten seconds."""
    from pipeline import cli

    def type_command(*arguments: str) -> Output:
        monkeypatch.setattr(sys, "argv", ["pipeline", *arguments])
        # Set rather than deleted: what cli.main then sets is undone after the test.
        monkeypatch.setenv("PIPELINE_FULL_ERROR", "0")
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        capfd.readouterr()
        try:
            code = cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capfd.readouterr()
        return Output(code, captured.out, captured.err)

    return type_command
