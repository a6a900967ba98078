"""A viewer of the application: `use_hybrid_task`, and what it shows.

Its frames are those of replies that Convex has, as of the other viewers: what a
fallback streams has no message of its own until it has ended. More replies than there
are messages are written down, whoever wrote them.
"""

from __future__ import annotations

from collections.abc import Callable

from kit.app.hooks import HybridTask, use_hybrid_task
from kit.app.hooks.source import Hook
from kit.client import Deployment
from kit.drill.history import Row, ViewerSeen
from kit.drill.viewers import LIVE, HookViewer

__all__ = ["HybridViewer"]


class HybridViewer(HookViewer):
    """Sees what somebody sees who uses the application through the hybrid hook."""

    def __init__(
        self,
        seen: ViewerSeen,
        clock: Callable[[], float],
        socket_url: str,
        sent: Callable[[], int],
    ) -> None:
        """`sent`: how many messages have been sent in the task so far."""
        super().__init__(seen, clock)
        self._socket_url = socket_url
        self._sent = sent

    @property
    def hook(self) -> HybridTask:
        hook = super().hook
        assert isinstance(hook, HybridTask)
        return hook

    async def _join(self, task_id: str, deployment: Deployment) -> Hook:
        return await use_hybrid_task(
            task_id, deployment=deployment, socket_url=self._socket_url
        )

    def _read(self) -> None:
        super()._read()
        self._note_doubles()

    def _note_doubles(self) -> None:
        replies = [row for row in self.seen.rows if row["role"] == "ASSISTANT"]
        shown = len(replies)
        is_live = bool(replies) and replies[-1]["status"] in LIVE
        if not is_live and (self.hook.is_streaming or self.hook.streaming_parts_order):
            shown += 1
        if shown > self._sent():
            self.seen.doubles.append(
                f"{shown} replies to {self._sent()} messages at {self._clock():.2f} s"
            )

    def _newest(self) -> Row | None:
        rows = reversed(self.seen.rows)
        return next((row for row in rows if "streamId" in row), None)

    def _live(self, row: Row) -> tuple[str, list[str]]:
        assert self._model is not None
        is_live = row["_id"] == self.hook.streaming_message_id
        said = self._model.said() if row["_id"] == self._model.message_id else ""
        return said, self.hook.streaming_parts_order if is_live else []
