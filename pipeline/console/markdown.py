"""Write texts of others into Markdown, where they are shown as they are."""

import re

MARKUP = re.compile(r"[\\`*_{}\[\]<>#|~!]")


def escaped(text: str) -> str:
    """Escape what Markdown and HTML would not show, and put the text on one line.

    Args:
        text: text of a corpus, a config or a run.
    """
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return MARKUP.sub(r"\\\g<0>", " ".join(printable.split()))
