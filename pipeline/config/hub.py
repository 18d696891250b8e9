"""Tell what comes from the Hugging Face Hub, and do without a Hub that does not answer."""

import os
import re
import ssl
import urllib.error
import urllib.request

from pipeline.config.paths import exists
from pipeline.config.schema import Config

RUN_ID = re.compile(r"(?:runs:/)?([0-9a-f]{32})")
OFFLINE = "HF_HUB_OFFLINE"
ANSWER_SECONDS = 5.0
# What an error adds when the Hub cannot be reached.
LOCAL_HINT = "python -m pipeline model.name_or_path=DIR dataset=files dataset.data_dir=DIR"


def use_cache_if_silent(config: Config) -> None:
    """Make the Hub's libraries use their local cache only, if the Hub is needed but silent.

    Otherwise huggingface_hub 0.36 asks for a file six times, for 23 s, before it does the same.
    Call this before those libraries are imported: they read the variable then.

    Args:
        config: resolved config of the run that is about to start.
    """
    if os.environ.get(OFFLINE) or not _needs_hub(config):
        return
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    request = urllib.request.Request(endpoint, method="HEAD")  # noqa: S310
    try:
        urllib.request.urlopen(request, timeout=ANSWER_SECONDS)  # noqa: S310
    except urllib.error.HTTPError:  # it answers, if only with an error
        return
    except OSError as error:
        # A certificate that this question does not know may be one that the Hub's client was told.
        if not isinstance(getattr(error, "reason", None), ssl.SSLError):
            os.environ[OFFLINE] = "1"


def looks_local(name_or_path: str) -> bool:
    """Tell a path from a Hub id, which is `name` or `owner/name`.

    Args:
        name_or_path: path or Hub id; whatever exists on this machine is a path.
    """
    return (
        exists(name_or_path)
        or name_or_path.startswith((".", "/", "~", "assets/"))
        or name_or_path.count("/") > 1
    )


def is_run_id(name: str) -> bool:
    """Tell the id of a run in MLflow, 32 hex digits, from a path or Hub id."""
    return RUN_ID.fullmatch(name) is not None


def _needs_hub(config: Config) -> bool:
    local_data = config.dataset.data_dir or config.dataset.train_file
    return not local_data or not looks_local(config.model.name_or_path)
