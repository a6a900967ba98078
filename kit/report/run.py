"""What one executed notebook came to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kit.checks import Check
from kit.report.executed import Executed

__all__ = ["NotebookRun"]


@dataclass(frozen=True, slots=True)
class NotebookRun:
    """What one executed notebook showed; `error` is that of the failing cell.

    `failed_cell` counts all cells from 1, `failed_cell_id` is its id in the notebook.
    """

    name: str
    executed: Path
    shown: Executed
    seconds: float
    error: str | None = None
    failed_cell: int | None = None
    failed_cell_id: str | None = None

    @property
    def title(self) -> str:
        return self.shown.title

    @property
    def checks(self) -> list[Check]:
        return self.shown.checks

    @property
    def broken(self) -> list[Check]:
        return [check for check in self.checks if not check.held]

    @property
    def passed(self) -> bool:
        return self.error is None and not self.broken

    def anchor(self, check: Check) -> str:
        """The id of the element of the report that shows the cell of a check."""
        cell_id = self.shown.cells.get(check.cell or 0)
        return self.name if cell_id is None else f"cell-id={cell_id}"

    @property
    def failure_anchor(self) -> str:
        cell_id = self.failed_cell_id
        return self.name if cell_id is None else f"cell-id={cell_id}"
