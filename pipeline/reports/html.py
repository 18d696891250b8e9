"""Render templates to HTML pages, each of which is one file that opens offline."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates"), encoding="utf-8"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


@dataclass(frozen=True)
class Cell:
    """A cell of a table on a page.

    Args:
        text: text that is shown.
        kind: CSS class, number or text; empty for neither.
        sort_value: value that a sortable table sorts by; empty comes last.
        tooltip: text that is shown while the mouse is over the cell's; empty for none.
        link: address that the text links to; empty for none.
    """

    text: str
    kind: str = ""
    sort_value: str = ""
    tooltip: str = ""
    link: str = ""


@dataclass(frozen=True)
class Line:
    """A line of a table on a page.

    Args:
        cells: cells from left to right.
        kind: CSS class, optimal; empty for none.
    """

    cells: Sequence[Cell]
    kind: str = ""


@dataclass(frozen=True)
class HtmlTable:
    """A table on a page, as macros.html writes it.

    Args:
        headings: heading of each column.
        lines: lines from top to bottom.
        sortable: whether the headings are buttons, by which comparison.js sorts the lines.
    """

    headings: Sequence[Cell]
    lines: Sequence[Line]
    sortable: bool = False


def write_html(template: str, file: Path, **values: object) -> None:
    """Render a page.

    Args:
        template: file name of the page's template.
        file: file to write.
        values: what the template shows, by name. It is escaped, but for Markup.
    """
    page = TEMPLATES.get_template(template).render(**values)
    file.write_text(page, encoding="utf-8")


def trusted(text: str) -> Markup:
    """Let templates write a text as it is, unescaped.

    Args:
        text: HTML, SVG or script that this package or a library wrote; nothing that a corpus, a
            config or a run contains, unless it was escaped.
    """
    return Markup(text)  # noqa: S704


def script_json(value: object) -> Markup:
    """Write a value as JSON that can stand in a script of a page.

    Args:
        value: anything that json writes.

    Returns:
        JSON in ASCII without <, > and &, so that no text in it ends the script, begins a comment
        or is taken for an entity.
    """
    text = json.dumps(value, ensure_ascii=True)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return trusted(text)
