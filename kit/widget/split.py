"""`SplitView`: two chats side by side, with one box whose message goes to both."""

from __future__ import annotations

import asyncio

from kit.app.hooks import ChatSource, HybridTask, MessageStreaming, TaskSocket
from kit.errors import KitError
from kit.widget.base import ChatWidget

__all__ = ["SplitView"]

_TITLES: list[tuple[type, str]] = [
    (TaskSocket, "Socket.IO"),
    (MessageStreaming, "Convex"),
    (HybridTask, "Convex, with Socket.IO"),
]


class SplitView(ChatWidget):
    """Two chats side by side: the same prompt over two ways, each with its figures.

        before = await use_task_socket(task_id, socket_url=stack.app.url)
        after = await use_message_streaming(convex_task_id, deployment=deployment)
        split = SplitView(before, after)
        split.show()
        await split.send_message("Hello, both of you")

    `left` and `right` are hooks, or whatever has their fields (`ChatSource`), and must
    not be the same task. What is written in the box goes to both at once; stopping
    stops both; sending again is for one side. If one side refuses a message, it says so
    and can be sent it again. In a narrow output the two are stacked.

    `titles` name the sides; by default what the source streams over. Everything else is
    as for `ChatView`.
    """

    def __init__(
        self,
        left: ChatSource,
        right: ChatSource,
        *,
        titles: tuple[str, str] | None = None,
        live: bool = True,
    ) -> None:
        self.left = left
        self.right = right
        self.titles = titles or (_title(left, "Left"), _title(right, "Right"))
        super().__init__(zip(self.titles, (left, right), strict=True), live=live)

    async def send_message(self, text: str) -> None:
        """Send a message to both at once; returns when both have taken it.

        Raises KitError, naming the side, if one refuses it; the other has it then.
        """
        done = await asyncio.gather(
            *(pane.say(text) for pane in self._panes), return_exceptions=True
        )
        failed = [
            f"{title}: {error}"
            for title, error in zip(self.titles, done, strict=True)
            if isinstance(error, BaseException)
        ]
        if failed:
            raise KitError("Not sent. " + " ".join(failed))

    def __repr__(self) -> str:
        sides = ", ".join(f"{pane.title} {pane.status.label}" for pane in self._panes)
        return f"<SplitView: {sides}{'' if self.live else ', static'}>"


def _title(source: ChatSource, otherwise: str) -> str:
    return next((name for kind, name in _TITLES if type(source) is kind), otherwise)
