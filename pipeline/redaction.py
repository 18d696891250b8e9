"""What may be shown of an address: no password, no token."""

import re

_CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")
_SECRET_PARAMETERS = re.compile(
    r"([?&][^=&\s]*(?:token|key|sig|secret|password)[^=&\s]*=)[^&\s'\"]+", re.IGNORECASE
)


def redacted(text: str) -> str:
    """Replace the credentials and the secret query parameters of every URL in a text by ***."""
    return _SECRET_PARAMETERS.sub(r"\1***", _CREDENTIALS.sub("***@", text))
