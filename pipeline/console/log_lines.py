"""Write log records as the lines that people read, without secrets."""

import logging

from pipeline.errors import redacted


class RedactedFormatter(logging.Formatter):
    """Take passwords and tokens out of whatever a record quotes, such as the address of a file.

    Args:
        formatter: what writes the record's line; None writes its message.
    """

    def __init__(self, formatter: logging.Formatter | None) -> None:
        super().__init__()
        self._formatter = formatter or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        """Return a record's line."""
        return redacted(self._formatter.format(record))


def hide_secrets() -> None:
    """Let the handlers that Hydra has set up write redacted lines, in the format that they have.

    Hydra 1.4 warns of a class of ours in conf/hydra/job_logging, where it would stand by itself.
    """
    for handler in logging.getLogger().handlers:
        if not isinstance(handler.formatter, RedactedFormatter):
            handler.setFormatter(RedactedFormatter(handler.formatter))
