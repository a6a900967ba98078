"""What the widgets of chats share: comm, outputs, static face, and their panes.

Two ways lead to a view, and either is enough:

* numbered custom messages with what is new, at most 30 a second and pane. A view that
  finds a number missing asks for the snapshot;
* the trait `snapshot`: everything, and the number of the last message in it. It is put
  together whenever it is asked for, as by a page that is reloaded, and is sent at the
  end of a turn and now and then during a long one.

An executed notebook keeps no custom messages; it keeps the snapshot and the static face
of the view, which is refreshed at the end of each turn.

JupyterLab forgets widgets when a notebook is closed, and then shows an error instead of
the face. So a page that can put views into HTML says so (`places`), and from then on
the output is the face alone, with the view in its place while the kernel lives: see
`front/place.js`. Other front ends keep the widget in their outputs.

Messages between a view and the kernel, beside the numbered ones, each with the number
of its `pane`, 0 where a view leaves that out:

    view -> kernel   {"type": "snapshot"}               a number was missing
                     {"type": "check", "seq": n}        nothing came for a while
                     {"type": "stop" | "send" | "retry" | "copy", "id": ..., ...}
                     {"type": "places"}                 outputs may be HTML alone
    kernel -> view   {"type": "received", "id": ...}    at once
                     {"type": "answer", "id": ..., "error"?: ..., "text"?: ...}
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import uuid
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from IPython.core.getipython import get_ipython

from kit.app.hooks import ChatSource
from kit.widget.kernel import start_heartbeat
from kit.widget.outlet import ANSWER_INTERVAL, Timer
from kit.widget.outputs import Bundle, Outputs
from kit.widget.pane import Pane
from kit.widget.script import join_modules, join_styles
from kit.widget.static import FACE_LIMIT, Face, to_html, to_text

__all__ = ["ChatWidget", "Done"]

logger = logging.getLogger("kit.widget")

_FRONT = Path(__file__).parent / "front"
_PLACE = '<kit-chat-place data-widget="{}" style="display:block">'
_STYLES = ("frame", "messages", "text", "code", "cards", "composer")


class ChatWidget(anywidget.AnyWidget):
    """Chats in one widget: a pane for each of `sources`, each with its title.

    Belongs to the event loop that it is made in. Without one, as in a plain script, use
    `as_text` and `as_html`, which show the sources as they are.
    """

    _esm = join_modules(_FRONT / "widget.js")
    _css = join_styles(_FRONT / f"{name}.css" for name in _STYLES)

    snapshot = traitlets.Dict(read_only=True).tag(
        sync=True, to_json=lambda _, widget: widget._take_snapshot()
    )
    """For the views: everything that is shown. Put together when it is sent."""

    place = traitlets.Unicode(read_only=True).tag(sync=True)
    """For the views: which places in outputs are for them, see `front/place.js`."""

    @traitlets.default("place")
    def _name_place(self) -> str:
        return uuid.uuid4().hex

    _closed = True  # until it is made

    def __init__(
        self, sources: Iterable[tuple[str, ChatSource]], *, live: bool
    ) -> None:
        self.live = live
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
        self._answer_timer = Timer(self._send_snapshot, ANSWER_INTERVAL, self._loop)
        self._outputs = Outputs(
            get_ipython(), self._repr_mimebundle_, on_missed=self._send_snapshot
        )
        self._panes = [
            self._make_pane(number, title, source)
            for number, (title, source) in enumerate(sources)
        ]
        self._closed = False
        self._has_places = False  # whether a page shows outputs that are places
        super().__init__()
        self.on_msg(self._receive)
        if live and self._loop is not None and get_ipython() is not None:
            start_heartbeat()

    def _make_pane(self, number: int, title: str, source: ChatSource) -> Pane:
        return Pane(
            source,
            title,
            loop=self._loop,
            send=lambda message: self.send({"pane": number, **message}),
            publish=self._publish,
            give_snapshot=self._answer_timer.soon,
            send_snapshot=self._send_snapshot,
        )

    # --- for people -----------------------------------------------------------------

    def show(self) -> Done:
        """Show it here. Each call makes one more view; all of them stay up to date.

        May be awaited, and need not be.
        """
        self._ipython_display_()
        return Done()

    def as_html(self) -> str:
        """All that is shown, as HTML that needs no script, style sheet or network."""
        return to_html(self._faces())

    def as_text(self) -> str:
        """All that is shown, as plain text; replies stay Markdown."""
        return to_text(self._faces())

    def close(self) -> Done:
        """Stop following the source. What is shown stays, as its static face.

        The source itself is not closed. May be awaited, and need not be; may be called
        again.
        """
        if not self._closed:
            self._closed = True
            for pane in self._panes:
                pane.close()
            self._answer_timer.cancel()
            self.live = False  # from now on outputs hold the static face only
            self._outputs.refresh()
            self._outputs.close()
            super().close()
            # ipywidgets takes the method away when the comm is closed.
            self.__dict__.pop("_repr_mimebundle_", None)
        return Done()

    # --- for Jupyter ----------------------------------------------------------------

    def open(self) -> None:
        """Open the comm, unless the view is a static one. Called by ipywidgets."""
        if self.live:
            super().open()

    def _repr_mimebundle_(self, **kwargs: Any) -> Bundle:
        data: dict[str, Any] = {}
        metadata: dict[str, Any] = {}
        if self.live and not self._has_places:
            data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        faces = self._faces()
        face = to_html(faces, limit=FACE_LIMIT)
        if self.live:
            face = f"{_PLACE.format(self.place)}{face}</kit-chat-place>"
        data["text/plain"] = to_text(faces, limit=FACE_LIMIT)
        data["text/html"] = face
        return data, metadata

    def _ipython_display_(self, **_: Any) -> None:
        """Display, and remember where: an output can be refreshed only by its id."""
        if get_ipython() is None:
            sys.stdout.write(self.as_text() + "\n")
        else:
            self._outputs.add()

    def _faces(self) -> list[Face]:
        return [_face(pane) for pane in self._panes]

    # --- to the views ---------------------------------------------------------------

    def _publish(self) -> None:
        """Leave everything in the notebook, once no reply is being written."""
        if not any(pane.status.active for pane in self._panes):
            for pane in self._panes:
                pane.send_snapshot()
            self._outputs.refresh()

    def _take_snapshot(self) -> dict[str, Any]:
        return {"panes": [pane.take_snapshot() for pane in self._panes]}

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
        if content == {"type": "places"}:
            self._has_places = True
            self._outputs.refresh()
            return
        number = content.get("pane", 0) if isinstance(content, dict) else None
        if not isinstance(number, int) or not 0 <= number < len(self._panes):
            logger.warning("A view sent something unknown: %.200r", content)
        else:
            self._panes[number].handle(content)


def _face(pane: Pane) -> Face:
    pane.drain()
    messages = list(pane.transcript.messages.values())
    return Face(pane.title, pane.status.text(), messages)


class Done:
    """What may be awaited and need not be; a cell that ends in it shows nothing."""

    def __await__(self) -> Generator[None, None, None]:
        return
        yield

    def _ipython_display_(self) -> None:
        pass
