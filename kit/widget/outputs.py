"""The outputs that show a view, and how they are brought up to date.

Holds their display ids. What they show is handed in as a MIME bundle. Two things about
Jupyter are dealt with here: an output can be changed later only by its display id, and
nbclient takes up changes only while a cell runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IPython.display import DisplayHandle, display

from kit.widget.kernel import CellWatch

__all__ = ["Bundle", "Outputs"]

Bundle = tuple[dict[str, Any], dict[str, Any]]
"""Data and metadata by MIME type."""


class Outputs:
    """The outputs of one view. `bundle` gives what they are to show.

    `on_missed` is called, apart from refreshing them, in a cell that starts after they
    were refreshed while none was running. `shell` is IPython's, or None.
    """

    def __init__(
        self, shell: Any, bundle: Callable[[], Bundle], on_missed: Callable[[], None]
    ) -> None:
        self._bundle = bundle
        self._on_missed = on_missed
        self._handles: list[DisplayHandle] = []
        self._shown: Bundle | None = None
        self._missed = False
        self._cells = CellWatch(shell, self._cell_started)

    def add(self) -> None:
        """Display it here."""
        self.refresh()  # so that all of them show the same
        self._shown = data, metadata = self._bundle()
        handle = display(data, metadata=metadata, raw=True, display_id=True)
        if handle is not None:
            self._handles.append(handle)

    def refresh(self) -> None:
        """Bring all of them up to date. Front ends make their views anew for it."""
        if not self._handles:
            return
        bundle = self._bundle()
        if bundle != self._shown:
            self._show(bundle)

    def close(self) -> None:
        """Nothing will be missed any more."""
        self._cells.close()

    def _show(self, bundle: Bundle) -> None:
        self._shown = data, metadata = bundle
        for handle in self._handles:
            handle.update(data, metadata=metadata, raw=True)
        self._missed = not self._cells.is_running

    def _cell_started(self) -> None:
        if self._missed:
            self._show(self._bundle())
            self._on_missed()
