"""What is on the Hugging Face Hub and what is not, and whether the Hub answers."""

import os
import urllib.error
import urllib.request
from pathlib import Path

from pipeline.config.schema import Config

OFFLINE = "HF_HUB_OFFLINE"
SECONDS = 5.0


def use_cache_if_silent(config: Config) -> None:
    """Let the Hub's libraries look in their local cache only, if the Hub is needed and does not answer.

    Without it, huggingface_hub 0.36 asks for a file six times, for 23 s, before it does the same. Call it before they are
    imported: they read the variable then.

    Args:
        config: of the run that is about to start.
    """
    if os.environ.get(OFFLINE) or not _needs_hub(config):
        return
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=SECONDS)  # noqa: S310
    except urllib.error.HTTPError:  # an answer, if not a friendly one
        return
    except OSError:
        os.environ[OFFLINE] = "1"


def looks_local(name_or_path: str) -> bool:
    """Tell a path from a Hub id: ids are `name` or `owner/name`, and an existing directory is always a path."""
    return (
        Path(name_or_path).exists()
        or name_or_path.startswith((".", "/", "~", "assets/"))
        or name_or_path.count("/") > 1
    )


def _needs_hub(config: Config) -> bool:
    local_data = config.dataset.data_dir or config.dataset.train_file
    return not local_data or not looks_local(config.model.name_or_path)
