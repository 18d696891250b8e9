"""Provide the models that the benchmarks share, and keep their runs out of the user's store."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

# The quickstart's inputs, which `make assets` fetches.
ENCODER = "assets/minilm"
CORPUS = "assets/reviews"
SHAPE = (
    "vocab_size",
    "type_vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "layer_norm_eps",
    "pad_token_id",
)
POSITIONS = "embeddings.position_embeddings.weight"


def tracking_overrides(folder: str) -> list[str]:
    """List the overrides that store a benchmark's runs in a folder.

    Args:
        folder: folder for the database and the artifacts.
    """
    return [
        f"tracking.tracking_uri=sqlite:///{folder}/mlflow.db",
        f"tracking.artifact_location={folder}/artifacts",
    ]


def tracking_client(folder: str) -> "MlflowClient":
    """Open the store that tracking_overrides() names.

    Args:
        folder: folder with the database and the artifacts.
    """
    from mlflow.tracking import MlflowClient

    return MlflowClient(f"sqlite:///{folder}/mlflow.db")


def artifacts_of(run: "Run") -> Path:
    """Return the folder with a run's artifacts, in a store on this machine.

    Args:
        run: run in MLflow.
    """
    return Path(run.info.artifact_uri.removeprefix("file://"))


def newest_artifacts() -> Path:
    """Return the artifacts of the user's newest finished run that shipped a model.

    Raises:
        PipelineError: there is none; `make quickstart` makes one.
    """
    from mlflow.tracking import MlflowClient

    from pipeline.tracking.lookup import newest_shipped
    from pipeline.tracking.store import tracking_uri

    client = MlflowClient(tracking_uri())
    return artifacts_of(client.get_run(newest_shipped(client)))


def write_bert_tiny(folder: str) -> str:
    """Write a model of prajjwal1/bert-tiny's shape with random weights and the packaged tokenizer.

    Args:
        folder: folder to write to.

    Returns:
        The folder.
    """
    from transformers import AutoTokenizer, BertConfig, BertModel, set_seed

    set_seed(0)
    shape = BertConfig(
        hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512
    )
    BertModel(shape).save_pretrained(folder)
    AutoTokenizer.from_pretrained(ENCODER).save_pretrained(folder)
    return folder


def write_as(model_type: str) -> str:
    """Write the packaged encoder as one of another architecture, which computes the same.

    ELECTRA's and RoBERTa's layers have BERT's weights under BERT's names. What follows them, the
    classification head, is their own and has to be learned.

    Args:
        model_type: electra or roberta.

    Returns:
        The folder, beside the packaged encoder.
    """
    import torch
    from transformers import AutoTokenizer, BertModel, ElectraModel, RobertaModel

    pretrained = BertModel.from_pretrained(ENCODER)
    shape = pretrained.config
    weights = {
        name: weight
        for name, weight in pretrained.state_dict().items()
        if not name.startswith("pooler.")
    }
    if model_type == "roberta":  # counts positions from the one after the padding token's id
        unused = torch.zeros(shape.pad_token_id + 1, shape.hidden_size)
        weights[POSITIONS] = torch.cat([unused, weights[POSITIONS]])
    architecture, config_options, options = {
        "electra": (ElectraModel, {"embedding_size": shape.hidden_size}, {}),
        "roberta": (RobertaModel, {}, {"add_pooling_layer": False}),
    }[model_type]
    config = architecture.config_class(
        **{name: getattr(shape, name) for name in SHAPE},
        max_position_embeddings=len(weights[POSITIONS]),
        **config_options,
    )
    encoder = architecture(config, **options)
    encoder.load_state_dict(weights)
    folder = f"{ENCODER}_{model_type}"
    encoder.save_pretrained(folder)
    AutoTokenizer.from_pretrained(ENCODER).save_pretrained(folder)
    return folder
