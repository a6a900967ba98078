"""What a widget needs of its kernel."""

import asyncio
import contextvars

import pytest

from kit.widget.kernel import apart, start_heartbeat


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
