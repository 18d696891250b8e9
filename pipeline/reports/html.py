"""A page of pipeline/page/ filled in and written as one file."""

import re
from collections.abc import Mapping
from pathlib import Path

ASSETS = Path(__file__).with_name("templates")


def write_html(name: str, parts: Mapping[str, str], file: Path) -> None:
    """Write a page: page.html around NAME.html, with the style of NAME.css.

    Args:
        name: of the page.
        parts: HTML by the name that stands for it in the templates; `title` is among them.
        file: to write.
    """
    body = _filled((ASSETS / f"{name}.html").read_text(encoding="utf-8"), parts)
    around = {
        "title": parts["title"],
        "style": (ASSETS / f"{name}.css").read_text(encoding="utf-8"),
        "body": body,
    }
    file.write_text(
        _filled((ASSETS / "page.html").read_text(encoding="utf-8"), around), encoding="utf-8"
    )


def _filled(template: str, parts: Mapping[str, str]) -> str:
    # One pass: what is put in is not looked at again.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)
