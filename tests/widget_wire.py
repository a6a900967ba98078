"""The chat widgets without a browser: the kernel's end of a comm, and a view on it.

@pytest.fixture(autouse=True)
def wires(monkeypatch):
    yield from open_wires(monkeypatch)
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import comm
import ipywidgets
import pytest
from comm.base_comm import BaseComm
from screen import ChatScreen

from kit.widget.base import ChatWidget

__all__ = ["Browser", "Wire", "open_wires", "wire_of"]


class Wire(BaseComm):
    """The kernel's end of a comm: keeps what is sent, hands in what a view sends."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.sent: list[tuple[str, Any]] = []
        self._news = asyncio.Event()
        super().__init__(*args, **kwargs)

    def publish_msg(
        self,
        msg_type: str,
        data: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        buffers: list[bytes] | None = None,
        **keys: Any,
    ) -> None:
        self.sent.append((msg_type, json.loads(json.dumps(data))))
        self._news.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is sent that makes `condition()` true."""
        async with asyncio.timeout(5):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def receive(self, content: Any) -> None:
        """A message from a view."""
        data = {"method": "custom", "content": content}
        self.handle_msg({"content": {"data": data}, "buffers": []})

    def custom(self) -> list[dict[str, Any]]:
        """The custom messages that were sent."""
        return [
            data["content"]
            for kind, data in self.sent
            if kind == "comm_msg" and data["method"] == "custom"
        ]

    def snapshots(self, pane: int = 0) -> list[dict[str, Any]]:
        """The snapshots that were sent after the first."""
        return [
            data["state"]["snapshot"]["panes"][pane]
            for kind, data in self.sent
            if kind == "comm_msg" and "snapshot" in data.get("state", {})
        ]

    def answers(self) -> list[dict[str, Any]]:
        return [message for message in self.custom() if message["type"] == "answer"]


class Browser:
    """A view of one pane that follows the messages of a wire."""

    def __init__(self, wire: Wire, pane: int = 0) -> None:
        _, opened = wire.sent[0]
        self.wire = wire
        self.pane = pane
        self.seq = 0
        self.screen = ChatScreen()
        self.load(opened["state"]["snapshot"]["panes"][pane])
        self._read = 0

    def load(self, snapshot: dict[str, Any]) -> None:
        self.seq = snapshot["seq"]
        self.screen = ChatScreen()
        self.screen.apply([["status", snapshot["status"]]])
        for message in snapshot["messages"]:
            key = message["key"]
            self.screen.apply([["message", key, message["attributes"]]])
            for part in message["parts"]:
                self.screen.apply([["part", key, part["key"], part["attributes"]]])
                self.screen.apply(
                    ["put", key, part["key"], number, 0, 0, html]
                    for number, html in enumerate(part["blocks"])
                )

    def follow(self) -> None:
        """Apply all messages that have come; each has the next number."""
        messages = self.wire.custom()
        for message in messages[self._read :]:
            if message["type"] != "ops" or message["pane"] != self.pane:
                continue
            if message["seq"] > self.seq:
                assert message["seq"] == self.seq + 1
                self.seq = message["seq"]
                self.screen.apply(message["ops"])
        self._read = len(messages)


def open_wires(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Wire]]:
    """Every comm that is opened, in order; the package lets it be replaced."""
    opened: list[Wire] = []

    def create(*args: Any, **kwargs: Any) -> Wire:
        opened.append(Wire(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr(comm, "create_comm", create)
    yield opened
    ipywidgets.Widget.close_all()


def wire_of(view: ChatWidget) -> Wire:
    assert isinstance(view.comm, Wire)
    return view.comm
