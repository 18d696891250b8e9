"""Write log records as the lines that people read, without secrets."""

import logging

from pipeline.errors import redacted


class RedactedFormatter(logging.Formatter):
    """Take passwords and tokens out of whatever a record quotes, such as the address of a file."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record's line."""
        return redacted(super().format(record))
