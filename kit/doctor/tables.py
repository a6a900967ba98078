"""Tables of findings in HTML, for notebooks and reports."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

__all__ = ["html_aside", "html_path", "html_table", "html_text"]

_CODE = re.compile(r"`([^`]+)`")


def html_text(text: str) -> str:
    """Plain text as HTML; what stands in backquotes as code."""
    return _CODE.sub(r"<code>\1</code>", html.escape(text))


def html_aside(text: str) -> str:
    """A place or a reference: grey, and broken where it is too long."""
    style = "color:#777;word-break:break-word"
    return f'<span style="{style}">{html.escape(text)}</span>'


def html_path(path: str) -> str:
    """A path that is broken between its folders where there is no room for it."""
    style = "color:#777;overflow-wrap:anywhere"
    parts = html.escape(path).replace("/", "/<wbr>")
    return f'<span style="{style}">{parts}</span>'


def html_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    left = ' style="text-align:left;vertical-align:top"'
    head = "".join(f"<th{left}>{name}</th>" for name in heads)
    body = "".join(
        "<tr>" + "".join(f"<td{left}>{cell}</td>" for cell in cells) + "</tr>"
        for cells in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
