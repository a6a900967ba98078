"""What a widget needs of its kernel."""

import asyncio
import contextvars

import pytest
from IPython.core.interactiveshell import InteractiveShell

from kit.widget.kernel import CellWatch, apart, start_heartbeat


async def test_there_is_one_heartbeat_in_a_loop() -> None:
    first = start_heartbeat()
    assert start_heartbeat() is first
    first.cancel()
    await asyncio.wait([first])
    second = start_heartbeat()
    assert second is not first
    second.cancel()
    await asyncio.wait([second])


def test_a_heartbeat_needs_a_loop() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        start_heartbeat()


def test_apart_from_a_cell_nothing_is_known_of_it() -> None:
    cell: contextvars.ContextVar[str] = contextvars.ContextVar("cell", default="none")
    cell.set("3")
    assert apart(cell.get) == "none"
    assert cell.get() == "3"


def test_a_watch_knows_whether_a_cell_is_running() -> None:
    shell = InteractiveShell()
    starts: list[int] = []
    watch = CellWatch(shell, lambda: starts.append(1))
    assert watch.is_running
    shell.run_cell("1")
    assert not watch.is_running
    shell.user_ns["watch"] = watch
    shell.run_cell("seen = watch.is_running")
    assert shell.user_ns["seen"] is True
    assert len(starts) == 2
    watch.close()
    watch.close()
    shell.run_cell("1")
    assert len(starts) == 2


def test_without_a_shell_a_cell_is_always_running() -> None:
    watch = CellWatch(None, lambda: None)
    assert watch.is_running
    watch.close()
