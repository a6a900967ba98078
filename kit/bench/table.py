"""A table of texts, for a terminal, a page or a notebook. Pure."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Table", "as_html", "as_markdown"]


@dataclass(frozen=True)
class Table:
    """Text by rows; the first `texts` columns are words, the rest numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    note: str = ""
    is_detail: bool = False
    """Whether it is too long to be shown where there is little room."""

    def _repr_html_(self) -> str:
        return as_html([self])

    def __str__(self) -> str:
        return as_markdown(self)


def as_html(shown: Iterable[Table]) -> str:
    """The tables as HTML, to be put into a page or a notebook."""
    return "\n".join(map(_table_html, shown))


def _table_html(table: Table) -> str:
    def cell(tag: str, index: int, text: str) -> str:
        number = tag == "td" and index >= table.texts
        side = "left" if index < table.texts else "right"
        style = f"text-align:{side}" + (";white-space:nowrap" if number else "")
        return f'<{tag} style="{style}">{html.escape(text)}</{tag}>'

    def row(tag: str, texts: Sequence[str]) -> str:
        cells = "".join(cell(tag, index, text) for index, text in enumerate(texts))
        return f"<tr>{cells}</tr>"

    note = f"<p><small>{html.escape(table.note)}</small></p>" if table.note else ""
    return (
        f"<table><caption><b>{html.escape(table.title)}</b></caption>"
        f"<thead>{row('th', table.columns)}</thead>"
        f"<tbody>{''.join(row('td', texts) for texts in table.rows)}</tbody></table>"
        f"{note}"
    )


def as_markdown(table: Table) -> str:
    """The table in Markdown."""
    ruler = [
        "---" if index < table.texts else "---:" for index in range(len(table.columns))
    ]
    lines = [table.columns, ruler, *table.rows]
    rows = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([f"### {table.title}", "", *rows, "", table.note]).rstrip() + "\n"
