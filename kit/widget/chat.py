"""`ChatView`: a chat as a Jupyter widget that shows replies while they are written.

Holds the widget: it follows a source, tells its views what is new, and does what their
buttons ask for. What is shown is found out in `transcript.py`; how it looks is in
`front/`, plain ES modules and style sheets.

Two ways lead to a view, and either is enough:

* numbered custom messages with what is new, at most 30 a second. A view that finds a
  number missing asks for the snapshot;
* the trait `snapshot`: everything, and the number of the last message in it. It is put
  together whenever it is asked for, as by a page that is reloaded, and is sent at the
  end of a turn and now and then during a long one.

An executed notebook keeps no custom messages; it keeps the snapshot and the static face
of the view, which is refreshed at the end of each turn.

Messages between a view and the kernel, beside the numbered ones:

    view -> kernel   {"type": "snapshot"}               a number was missing
                     {"type": "check", "seq": n}        nothing came for a while
                     {"type": "stop" | "send" | "copy", "id": ..., ...}
    kernel -> view   {"type": "received", "id": ...}    at once
                     {"type": "answer", "id": ..., "error"?: ..., "text"?: ...}
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import Any, assert_never

import anywidget
import traitlets
from IPython.core.getipython import get_ipython

from kit.app.hooks import (
    ChatSource,
    HookChange,
    MessagesChanged,
    PartsChanged,
    PartsReset,
    StateChanged,
)
from kit.client.background import spawn
from kit.errors import KitError
from kit.widget.kernel import apart, start_heartbeat
from kit.widget.outlet import ANSWER_INTERVAL, FLUSH_INTERVAL, Outlet, Timer
from kit.widget.outputs import Bundle, Outputs
from kit.widget.script import join_modules, join_styles
from kit.widget.static import FACE_LIMIT, to_html, to_text
from kit.widget.status import Status, Turn
from kit.widget.transcript import Op, Transcript

__all__ = ["ChatView"]

logger = logging.getLogger("kit.widget")

LIVE_KEY = "streaming"
"""The message that live parts belong to while the source has no row for it."""

_FRONT = Path(__file__).parent / "front"
_STYLES = ("frame", "messages", "text", "code", "cards", "composer")


class ChatView(anywidget.AnyWidget):
    """A chat, live in a notebook.

        view = ChatView(chat)
        view.show()

    `source` is one of the hooks, or whatever has their fields (`ChatSource`). Text is
    shown as Markdown while it grows, reasoning folded, tool calls as cards; there are
    buttons to stop, to send and to copy. Each output also holds a static face of the
    view, which is what readers without a kernel see; it is refreshed whenever a turn
    ends. `live=False` leaves only that, for reviewers and documentation.

    Belongs to the event loop that it is made in. Without one, as in a plain script, use
    `as_text` and `as_html`, which show the source as it is.
    """

    _esm = join_modules(_FRONT / "widget.js")
    _css = join_styles(_FRONT / f"{name}.css" for name in _STYLES)

    snapshot = traitlets.Dict(read_only=True).tag(
        sync=True, to_json=lambda _, view: view._take_snapshot()
    )
    """For the views: everything that is shown. Put together when it is sent."""

    _closed = True  # until it is made

    def __init__(
        self, source: ChatSource, *, live: bool = True, title: str | None = None
    ) -> None:
        self.source = source
        self.live = live
        self.title = title or ""
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
        clock = time.monotonic
        self._transcript = Transcript(clock)
        self._turn = Turn(clock)
        self._outlet = Outlet(self.send, self._send_snapshot, clock)
        self._flush_timer = Timer(self._flush, FLUSH_INTERVAL, self._loop)
        self._answer_timer = Timer(self._send_snapshot, ANSWER_INTERVAL, self._loop)
        self._notice = ""
        self._told: dict[str, Any] = {}  # the status that the views know
        self._published = 0  # number of the last message when all was published
        self._outputs = Outputs(
            get_ipython(), self._repr_mimebundle_, on_missed=self._send_snapshot
        )
        self._requests: set[asyncio.Task[None]] = set()
        self._transcript.show_messages(source.messages)
        self._read_live()
        self._status = self._read_status()
        self._stop_observing = source.observe(self._on_change)
        self._closed = False
        super().__init__()
        self.on_msg(self._receive)
        if live and self._loop is not None and get_ipython() is not None:
            start_heartbeat()

    def __repr__(self) -> str:
        messages = list(self._transcript.messages.values())
        said = messages[-1].source() if messages else ""
        shown = said if len(said) <= 40 else said[:40] + "…"
        last = (
            f", the last {messages[-1].attributes['role']} {shown!r}"
            if messages
            else ""
        )
        title = f" {self.title!r}" if self.title else ""
        kind = "" if self.live else ", static"
        return (
            f"<ChatView{title}: {self._status.label}, {len(messages)} messages"
            f"{last}{kind}>"
        )

    # --- for people -----------------------------------------------------------------

    def show(self) -> _Done:
        """Show it here. Each call makes one more view; all of them stay up to date.

        May be awaited, and need not be.
        """
        self._ipython_display_()
        return _Done()

    def as_html(self) -> str:
        """All that is shown, as HTML that needs no script, style sheet or network."""
        return self._face(to_html)

    def as_text(self) -> str:
        """All that is shown, as plain text; replies stay Markdown."""
        return self._face(to_text)

    def _face(self, render: Callable[..., str], limit: int | None = None) -> str:
        self._drain()
        messages = self._transcript.messages.values()
        return render(self.title, self._status.text(), messages, limit=limit)

    def close(self) -> _Done:
        """Stop following the source. What is shown stays, as its static face.

        The source itself is not closed. May be awaited, and need not be; may be called
        again.
        """
        if not self._closed:
            self._closed = True
            self._stop_observing()
            self._answer_timer.cancel()
            self._flush_timer.cancel()
            self.live = False  # from now on outputs hold the static face only
            self._outputs.refresh()
            self._outputs.close()
            super().close()
            # ipywidgets takes the method away when the comm is closed.
            self.__dict__.pop("_repr_mimebundle_", None)
        return _Done()

    # --- for Jupyter ----------------------------------------------------------------

    def open(self) -> None:
        """Open the comm, unless the view is a static one. Called by ipywidgets."""
        if self.live:
            super().open()

    def _repr_mimebundle_(self, **kwargs: Any) -> Bundle:
        data: dict[str, Any] = {}
        metadata: dict[str, Any] = {}
        if self.live:
            data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        data["text/plain"] = self._face(to_text, FACE_LIMIT)
        data["text/html"] = self._face(to_html, FACE_LIMIT)
        return data, metadata

    def _ipython_display_(self, **_: Any) -> None:
        """Display, and remember where: an output can be refreshed only by its id."""
        if get_ipython() is None:
            sys.stdout.write(self.as_text() + "\n")
        else:
            self._outputs.add()

    # --- from the source ------------------------------------------------------------

    def _on_change(self, change: HookChange) -> None:
        match change:
            case PartsChanged(message_id, changes):
                parts = self.source.streaming_parts_map
                self._transcript.grow_live(message_id, changes, parts)
            case PartsReset():
                self._read_live()
            case MessagesChanged():
                self._transcript.show_messages(self.source.messages)
            case StateChanged():
                pass
            case _:
                assert_never(change)
        self._status = self._read_status()
        if self._status.active or isinstance(change, PartsChanged | PartsReset):
            self._flush_timer.soon()
        else:
            # At once: whoever waits for the end of a turn may be the last cell, and
            # after that nothing reaches an executed notebook any more.
            apart(self._flush)

    def _read_live(self) -> None:
        """Show the live parts that the source has now."""
        parts = self.source.streaming_parts_map
        order = self.source.streaming_parts_order
        if not order:
            self._transcript.drop_live()
            return
        rows = reversed(self.source.messages)
        live = (
            row["_id"] for row in rows if row["status"] in ("streaming", "stopping")
        )
        key = self._transcript.live_key or next(live, LIVE_KEY)
        self._transcript.show_live(key, [parts[part_id] for part_id in order])

    def _read_status(self) -> Status:
        return self._turn.read(
            messages=self.source.messages,
            is_streaming=self.source.is_streaming,
            has_live_parts=self._transcript.has_live_parts,
            connection=self.source.connection,
        )

    # --- to the views ---------------------------------------------------------------

    def _flush(self) -> None:
        """Send what is new; when no reply is being written, publish all of it."""
        self._flush_timer.ran()
        self._drain()
        if not self._status.active and self._published != self._outlet.seq:
            self._outlet.send_snapshot()
            self._published = self._outlet.seq
            self._outputs.refresh()

    def _drain(self) -> None:
        self._status = self._read_status()
        self._outlet.send([*self._transcript.take_ops(), *self._status_ops()])

    def _status_ops(self) -> list[Op]:
        status = self._describe_status()
        known = {**self._told, "elapsed": status["elapsed"]}
        if status == known:
            return []  # the views count the seconds themselves
        self._told = status
        return [["status", status]]

    def _describe_status(self) -> dict[str, Any]:
        status = self._status
        notice = self._notice or getattr(self.source, "error", None) or ""
        return {
            "state": status.state,
            "label": status.label,
            "active": status.active,
            "canStop": status.can_stop and not self._closed,
            "canSend": not status.active and not self._closed,
            "first": status.first,
            "elapsed": status.elapsed,
            "notice": notice,
            "title": self.title,
        }

    def _take_snapshot(self) -> dict[str, Any]:
        self._drain()
        messages = self._transcript.snapshot()
        blocks = (part["blocks"] for message in messages for part in message["parts"])
        self._outlet.took_snapshot(sum(len(html) for each in blocks for html in each))
        status = self._describe_status()
        return {"seq": self._outlet.seq, "status": status, "messages": messages}

    def _send_snapshot(self) -> None:
        self.send_state("snapshot")

    # --- from the views -------------------------------------------------------------

    def _receive(self, _: object, content: Any, buffers: object) -> None:
        """May run in another thread or event loop: only hands over to ours."""
        if self._loop is not None and not self._loop.is_closed():
            context = contextvars.Context()
            self._loop.call_soon_threadsafe(self._handle, content, context=context)

    def _handle(self, content: Any) -> None:
        if self._closed:
            return
        match content:
            case {"type": "snapshot"}:
                self._answer_timer.soon()
            case {"type": "check", "seq": int(seq)}:
                if seq != self._outlet.seq:
                    self._answer_timer.soon()
            case {"type": "stop", "id": str(request)}:
                self._answer(request, self._stop)
            case {"type": "send", "id": str(request), "text": str(text)}:
                self._answer(request, functools.partial(self._say, text))
            case {"type": "copy", "id": str(request), "message": str(key)}:
                self._answer(request, functools.partial(self._copy, key))
            case _:
                logger.warning("A view sent something unknown: %.200r", content)

    def _answer(self, request: str, work: Callable[[], Awaitable[str]]) -> None:
        async def answer() -> None:
            message = {"type": "answer", "id": request}
            try:
                message["text"] = await work()
                self._notice = ""
            except Exception as error:
                logger.warning("A request of a view failed", exc_info=error)
                text = str(error) if isinstance(error, KitError) else repr(error)
                self._notice = message["error"] = text
            self._flush()
            self.send(message)

        self.send({"type": "received", "id": request})
        task = spawn(answer(), "request of a chat view")
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _stop(self) -> str:
        self._turn.stop_asked = True
        self._flush()
        try:
            await self.source.stop_stream()
        except BaseException:
            self._turn.stop_asked = False
            raise
        return ""

    async def _say(self, text: str) -> str:
        if self._status.active:
            raise KitError("A reply is being written. Stop it first, or wait.")
        if not text.strip():
            raise KitError("There is nothing to send.")
        await self.source.send_message(text)
        return ""

    async def _copy(self, key: str) -> str:
        """The Markdown of a message; a view holds only its HTML."""
        message = self._transcript.messages.get(key)
        if message is None:
            raise KitError("That message is not shown any more.")
        return message.source()


class _Done:
    """What may be awaited and need not be; a cell that ends in it shows nothing."""

    def __await__(self) -> Generator[None, None, None]:
        return
        yield

    def _ipython_display_(self) -> None:
        pass
