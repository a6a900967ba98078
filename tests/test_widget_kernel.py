"""What a widget needs of its kernel."""

import asyncio
import contextvars
from typing import Any, cast

import pytest
from IPython.core.events import EventManager, available_events

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


class Shell:
    """IPython, as far as its events go."""

    def __init__(self) -> None:
        self.events = EventManager(cast(Any, self), available_events)


def test_a_watch_knows_whether_a_cell_is_running() -> None:
    shell = Shell()
    starts: list[int] = []
    watch = CellWatch(shell, lambda: starts.append(1))
    assert watch.is_running
    shell.events.trigger("post_run_cell", None)
    assert not watch.is_running
    shell.events.trigger("pre_run_cell", None)
    assert watch.is_running
    assert len(starts) == 1
    watch.close()
    watch.close()
    shell.events.trigger("pre_run_cell", None)
    assert len(starts) == 1


def test_without_a_shell_a_cell_is_always_running() -> None:
    watch = CellWatch(None, lambda: None)
    assert watch.is_running
    watch.close()
