"""`ChatView`: a chat as a Jupyter widget that shows replies while they are written.

How it follows its source is in `pane.py`, how it reaches the browser in `base.py`, how
it looks there in `front/`, plain ES modules and style sheets.
"""

from __future__ import annotations

from kit.app.hooks import ChatSource
from kit.widget.base import ChatWidget

__all__ = ["ChatView"]


class ChatView(ChatWidget):
    """A chat, live in a notebook.

        view = ChatView(chat)
        view.show()

    `source` is one of the hooks, or whatever has their fields (`ChatSource`). Text is
    shown as Markdown while it grows, reasoning folded, tool calls as cards; there are
    buttons to stop, to send, to send again, to edit and to copy. Each output also holds
    a static face of the view, which is what readers without a kernel see; it is
    refreshed whenever a turn ends. `live=False` leaves only that, for reviewers and
    documentation.

    Belongs to the event loop that it is made in. Without one, as in a plain script, use
    `as_text` and `as_html`, which show the source as it is.
    """

    def __init__(
        self, source: ChatSource, *, live: bool = True, title: str | None = None
    ) -> None:
        self.source = source
        self.title = title or ""
        super().__init__([(self.title, source)], live=live)

    def __repr__(self) -> str:
        (pane,) = self._panes
        messages = list(pane.transcript.messages.values())
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
            f"<ChatView{title}: {pane.status.label}, {len(messages)} messages"
            f"{last}{kind}>"
        )
