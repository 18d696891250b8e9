"""Write texts of others where they are shown as they are: in Markdown, on a terminal."""

import re

MARKUP = re.compile(r"[\\`*_{}\[\]<>#|~!]")


def escaped(text: str) -> str:
    """Escape what Markdown and HTML would not show, and put the text on one line.

    Args:
        text: text of a corpus, a config or a run.
    """
    return MARKUP.sub(r"\\\g<0>", " ".join(printable(text).split()))


def printable(text: str) -> str:
    """Put spaces in the place of what would steer a terminal, or break a line.

    Args:
        text: text of a corpus, a config or a run.
    """
    return "".join(letter if letter.isprintable() else " " for letter in text)
