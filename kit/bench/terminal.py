"""Shows a table in the terminal."""

from __future__ import annotations

import rich.table
from rich.console import Console
from rich.markup import escape

from kit.bench.table import Table

__all__ = ["print_table"]


def print_table(console: Console, table: Table) -> None:
    """The table with its title, without its note."""
    shown = rich.table.Table(
        title=escape(table.title), title_justify="left", box=None, pad_edge=False
    )
    for index, name in enumerate(table.columns):
        shown.add_column(
            escape(name),
            justify="left" if index < table.texts else "right",
            overflow="fold",
        )
    for row in table.rows:
        shown.add_row(*map(escape, row))
    console.print()
    console.print(shown)
