"""Tables in a terminal."""

from rich.console import Console

from kit.bench.table import Table
from kit.bench.terminal import print_table


def test_titles_columns_and_cells_are_shown_as_they_are() -> None:
    console = Console(width=80, record=True)
    rows = [("[bold]a[/]", "1.0"), ("b", "20.0")]
    print_table(console, Table("In [ms]", ("Way", "ms"), rows))
    printed = console.export_text().splitlines()
    assert [line.rstrip() for line in printed if line.strip()] == [
        *("In [ms]", "Way           ms", "[bold]a[/]   1.0", "b           20.0")
    ]
