"""One chat in a widget: it follows a source and does what a view asks for.

Holds what `ChatView` has once and `SplitView` twice. What is shown is found out in
`transcript.py`, what can be measured in `status.py`, the pace is that of `outlet.py`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, assert_never

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
from kit.widget.figures import elapsed_tip
from kit.widget.kernel import apart
from kit.widget.outlet import FLUSH_INTERVAL, Outlet, Timer
from kit.widget.status import Status, Turn
from kit.widget.transcript import Op, Transcript

__all__ = ["LIVE_KEY", "Pane"]

logger = logging.getLogger("kit.widget")

LIVE_KEY = "streaming"
"""The message that live parts belong to while the source has no row for it."""

FIGURES_INTERVAL = 0.25
"""Seconds between two changes of the figures: nobody reads them faster."""


class Pane:
    """A source on the screen.

    `send(message)` sends to all views. `publish()` is called when no reply is being
    written and something is new; `give_snapshot()` when a view has missed something;
    `send_snapshot()` now and then during a long reply.
    """

    def __init__(
        self,
        source: ChatSource,
        title: str,
        *,
        loop: asyncio.AbstractEventLoop | None,
        send: Callable[[dict[str, Any]], None],
        publish: Callable[[], None],
        give_snapshot: Callable[[], None],
        send_snapshot: Callable[[], None],
    ) -> None:
        clock = time.monotonic
        self.source = source
        self.title = title
        self.transcript = Transcript(clock)
        self._clock = clock
        self._send = send
        self._publish = publish
        self._give_snapshot = give_snapshot
        self._turn = Turn(clock)
        self._outlet = Outlet(send, send_snapshot, clock)
        self._flush_timer = Timer(self.flush, FLUSH_INTERVAL, loop)
        self._notice = ""
        self._told: dict[str, Any] = {}  # the status that the views know
        self._told_at = float("-inf")
        self._published = 0  # number of the last message when all was published
        self._requests: set[asyncio.Task[None]] = set()
        self._saying = False
        self._closed = False
        self.transcript.show_messages(source.messages)
        self._read_live()
        self.status = self._read_status()
        self._stop_observing = source.observe(self._on_change)

    def close(self) -> None:
        """Stop following the source; what it shows stays."""
        self._closed = True
        self._stop_observing()
        self._flush_timer.cancel()

    # --- from the source ------------------------------------------------------------

    def _on_change(self, change: HookChange) -> None:
        match change:
            case PartsChanged(message_id, changes):
                parts = self.source.streaming_parts_map
                self.transcript.grow_live(message_id, changes, parts)
            case PartsReset():
                self._read_live()
            case MessagesChanged():
                self.transcript.show_messages(self.source.messages)
            case StateChanged():
                pass
            case _:
                assert_never(change)
        self.status = self._read_status()
        if self.status.active or isinstance(change, PartsChanged | PartsReset):
            self._flush_timer.soon()
        else:
            # At once: whoever waits for the end of a turn may be the last cell, and
            # after that nothing reaches an executed notebook any more.
            apart(self.flush)

    def _read_live(self) -> None:
        """Show the live parts that the source has now."""
        parts = self.source.streaming_parts_map
        order = self.source.streaming_parts_order
        if not order:
            self.transcript.drop_live()
            return
        rows = reversed(self.source.messages)
        live = (
            row["_id"] for row in rows if row["status"] in ("streaming", "stopping")
        )
        key = self.transcript.live_key or next(live, LIVE_KEY)
        self.transcript.show_live(key, [parts[part_id] for part_id in order])

    def _read_status(self) -> Status:
        return self._turn.read(
            messages=self.source.messages,
            is_streaming=self.source.is_streaming,
            has_live_parts=self.transcript.has_live_parts,
            connection=self.source.connection,
            written=self.transcript.live_length,
        )

    # --- to the views ---------------------------------------------------------------

    def flush(self) -> None:
        """Send what is new; when no reply is being written, publish all of it."""
        self._flush_timer.ran()
        self.drain()
        if not self.status.active and self._published != self._outlet.seq:
            self._published = self._outlet.seq
            self._publish()

    def drain(self) -> None:
        """Send what is new."""
        self.status = self._read_status()
        self._outlet.send([*self.transcript.take_ops(), *self._status_ops()])

    def send_snapshot(self) -> None:
        """Have everything sent, unless nothing is new since that was done last."""
        self._outlet.send_snapshot()

    def take_snapshot(self) -> dict[str, Any]:
        """Everything that is shown, and the number of the last message in it."""
        self.drain()
        messages = self.transcript.snapshot()
        blocks = (part["blocks"] for message in messages for part in message["parts"])
        self._outlet.took_snapshot(sum(len(html) for each in blocks for html in each))
        status = self._describe_status()
        return {"seq": self._outlet.seq, "status": status, "messages": messages}

    def _status_ops(self) -> list[Op]:
        status = self._describe_status()
        known = {**self._told, "elapsed": status["elapsed"]}
        if status == known:
            return []  # the views count the seconds themselves
        measured = {name: status[name] for name in ("figures", "delivery")}
        is_early = self._clock() < self._told_at + FIGURES_INTERVAL
        if status == {**known, **measured} and status["active"] and is_early:
            return []
        self._told, self._told_at = status, self._clock()
        return [["status", status]]

    def _describe_delivery(self) -> list[float] | None:
        """Seconds to here, and when that was; a view adds its own way."""
        delivery = getattr(self.source, "delivery", None)
        return [delivery.seconds, delivery.arrived] if delivery is not None else None

    def _source_error(self) -> str:
        """What is wrong with the source, unless its newest message says the same."""
        error: str = getattr(self.source, "error", None) or ""
        said = [row.get("error") for row in self.source.messages[-1:]]
        return "" if error in said else error

    def _describe_status(self) -> dict[str, Any]:
        status = self.status
        return {
            "state": status.state,
            "label": status.label,
            "active": status.active,
            "canStop": status.can_stop and not self._closed,
            "canSend": not (status.active or self._saying or self._closed),
            "elapsed": status.elapsed,
            "elapsedTip": elapsed_tip(sent_here=status.sent_here),
            "figures": [[figure.text, figure.tip] for figure in status.figures()],
            "delivery": self._describe_delivery(),
            "notice": self._notice or self._source_error(),
            "title": self.title,
        }

    # --- from the views -------------------------------------------------------------

    def handle(self, content: Any) -> None:
        """Do what a view asks for; errors become the notice."""
        match content:
            case {"type": "snapshot"}:
                self._give_snapshot()
            case {"type": "check", "seq": int(seq)}:
                if seq != self._outlet.seq:
                    self._give_snapshot()
            case {"type": "stop", "id": str(request)}:
                self._answer(request, self._stop)
            case {"type": "send", "id": str(request), "text": str(text)}:
                self._answer(request, functools.partial(self.say, text))
            case {"type": "retry", "id": str(request)}:
                self._answer(request, self._retry)
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
            self.flush()
            self._send(message)

        self._send({"type": "received", "id": request})
        task = spawn(answer(), "request of a chat view")
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _stop(self) -> str:
        self._turn.stop_asked = True
        self.flush()
        try:
            await self.source.stop_stream()
        except BaseException:
            self._turn.stop_asked = False
            raise
        return ""

    async def say(self, text: str) -> str:
        """Send a message. Raises KitError while a reply is being written."""
        if self.status.active:
            raise KitError("A reply is being written. Stop it first, or wait.")
        if self._saying:
            raise KitError("Another message is just being sent.")
        if not text.strip():
            raise KitError("There is nothing to send.")
        self._saying = True
        self._turn.sending()
        self.flush()
        try:
            await self.source.send_message(text)
        except BaseException:
            self._turn.not_sent()
            raise
        finally:
            self._saying = False
        return ""

    async def _retry(self) -> str:
        """Send the last message once more, as another one: none is ever changed."""
        question = self.transcript.last_question()
        if question is None:
            raise KitError("There is no message that could be sent again.")
        return await self.say(question)

    async def _copy(self, key: str) -> str:
        """The Markdown of a message; a view holds only its HTML."""
        message = self.transcript.messages.get(key)
        if message is None:
            raise KitError("That message is not shown any more.")
        return message.source()
