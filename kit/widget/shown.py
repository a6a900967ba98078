"""One part on the screen: what it says and how it looks.

Holds a part's attributes, as the browser is told them, and its text as growing blocks
of HTML. Knows neither other parts, except the result of its own tool call, nor
messages; `transcript.py` does.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from typing import Any, Literal, assert_never

from kit.parts import Part, ToolCallPart, ToolResultPart
from kit.widget.growing import GrowingMarkdown, GrowingPlain
from kit.widget.markdown import render_code
from kit.widget.patches import Growing, Patch, Put

__all__ = ["SHOWN_LIMIT", "Attributes", "CallState", "ShownPart", "text_of"]

SHOWN_LIMIT = 20_000
"""Characters of a tool's arguments or result that are shown; the rest is counted."""

Attributes = dict[str, Any]
"""What the browser is told of something: JSON, replaced as a whole."""

CallState = Literal[
    "writing",  # the model is writing the arguments
    "running",  # the tool runs
    "done",  # it gave a result
    "failed",  # its result is an error
    "invalid",  # the arguments cannot be used
    "unanswered",  # the message has ended without a result
]


class ShownPart:
    """A part of a message on the screen.

    Its text changes by `append`, O(new text), and by `show`, O(text); what either
    means on the screen is asked with `patches`.
    """

    def __init__(
        self, kind: str, *, is_markdown: bool, clock: Callable[[], float] | None
    ) -> None:
        """`clock` tells how long things take; None for what happened long ago."""
        self.attributes: Attributes = {"type": kind}
        self._is_markdown = is_markdown
        self._clock = clock
        self._started: float | None = None
        self._pieces: list[str] = []
        self.length = 0
        """Characters of `text`."""
        self._growing: Growing
        self._waiting: list[str]  # text that is not in `_growing` yet
        self._patches: list[Patch]
        self.is_finished: bool
        self._clear()

    @property
    def text(self) -> str:
        """The source: Markdown, JSON text or plain text."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def append(self, text: str) -> None:
        text = _encodable(text)
        self._pieces.append(text)
        self.length += len(text)
        self._waiting.append(text)

    def show(
        self, part: Part, *, final: bool, result: ToolResultPart | None = None
    ) -> tuple[bool, bool]:
        """Show what `part` says; (are the attributes others, must it be cleared first).

        `final`: nothing will be added to its message. `result` is that of a tool call.
        """
        described = self._describe(part, final, result)
        cleared = self._replace(_encodable(text_of(part)))
        if final or _is_complete(part):
            self._finish()
        return described, cleared

    def patches(self) -> list[Patch]:
        """What is to be changed on the screen since the last call."""
        self._feed()
        patches, self._patches = self._patches, []
        return patches

    def blocks(self) -> list[str]:
        """The HTML of the text, as the screen shows it after `patches`."""
        return self._growing.blocks()

    # --- attributes -----------------------------------------------------------------

    def _describe(self, part: Part, final: bool, result: ToolResultPart | None) -> bool:
        attributes: Attributes = {"type": part["type"]}
        match part["type"]:
            case "text" | "redacted-reasoning":
                pass
            case "reasoning":
                done = final or part["state"] == "done"
                attributes["state"] = "done" if done else "streaming"
                self._time(attributes, running=not done)
            case "tool-call":
                state = _call_state(part, final, result)
                attributes |= {"tool": part["toolName"], "state": state}
                if "errorText" in part:
                    attributes["error"] = part["errorText"]
                self._time(attributes, running=state == "running")
            case "tool-result":
                attributes |= {"call": part["toolCallId"], "tool": part["toolName"]}
                attributes["isError"] = part["isError"]
            case "error":
                attributes["kind"] = part["kind"]
            case _:
                assert_never(part["type"])
        changed = attributes != self.attributes
        self.attributes = attributes
        return changed

    def _time(self, attributes: Attributes, *, running: bool) -> None:
        """Note how many seconds it ran, if both its start and its end were seen."""
        if running and self._started is None and self._clock is not None:
            self._started = self._clock()
        elif "seconds" in self.attributes:
            attributes["seconds"] = self.attributes["seconds"]
        elif not running and self._started is not None and self._clock is not None:
            attributes["seconds"] = round(self._clock() - self._started, 1)

    # --- text -----------------------------------------------------------------------

    def _replace(self, text: str) -> bool:
        old = self.text
        if text == old:
            return False
        cleared = self.is_finished or not text.startswith(old)
        if cleared:
            self._pieces, self.length = [], 0
            self._clear()
            old = ""
        self.append(text[len(old) :])
        return cleared

    def _clear(self) -> None:
        self._growing = GrowingMarkdown() if self._is_markdown else GrowingPlain()
        self._waiting = []
        self._patches = []
        self.is_finished = False

    def _finish(self) -> None:
        """No more text will come. Tool arguments and results are formatted now."""
        if self.is_finished:
            return
        self.is_finished = True
        if self.attributes["type"] in ("tool-call", "tool-result"):
            self._waiting, self._patches = [], []
            self._growing = _Whole(_formatted(self.text))
        self._feed()
        self._patches += self._growing.finish()

    def _feed(self) -> None:
        if self._waiting:
            text = "".join(self._waiting)
            self._waiting = []
            self._patches += self._growing.feed(text)


def text_of(part: Part) -> str:
    """The text that a part holds, streamed or whole."""
    match part["type"]:
        case "text" | "reasoning":
            return part["text"]
        case "tool-call":
            return part["argsText"]
        case "tool-result":
            return part["resultText"]
        case "error":
            return part["errorText"]
        case "redacted-reasoning":
            return ""
        case _:
            assert_never(part["type"])


_SURROGATES = re.compile("[\ud800-\udfff]")


def _encodable(text: str) -> str:
    """Half a character, as broken JSON may hold, cannot be sent to a browser."""
    return _SURROGATES.sub("\ufffd", text)


def _is_complete(part: Part) -> bool:
    """Whether the text of `part` will not grow any more."""
    return part.get("state") not in ("streaming", "input-streaming")


def _call_state(
    call: ToolCallPart, final: bool, result: ToolResultPart | None
) -> CallState:
    if result is not None:
        return "failed" if result["isError"] else "done"
    if call["state"] == "input-error":
        return "invalid"
    if final:
        return "unanswered"
    return "writing" if call["state"] == "input-streaming" else "running"


class _Whole:
    """Text that came at once: one block."""

    def __init__(self, rendered: str) -> None:
        self._rendered = rendered

    def feed(self, text: str) -> list[Patch]:
        raise AssertionError(f"nothing can be added to a formatted text: {text!r}")

    def finish(self) -> list[Patch]:
        return [Put(0, self._rendered)]

    def blocks(self) -> list[str]:
        return [self._rendered]


def _formatted(text: str) -> str:
    """JSON text, indented and coloured; other text as it is."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _shortened(text, "")
    if isinstance(value, str):
        return _shortened(value, "")
    return _shortened(json.dumps(value, indent=2, ensure_ascii=False), "json")


def _shortened(text: str, language: str) -> str:
    more = len(text) - SHOWN_LIMIT
    shown = text[:SHOWN_LIMIT]
    if language:
        rendered = render_code(shown, language)
    else:
        rendered = f'<pre class="kit-plain">{html.escape(shown)}</pre>'
    if more > 0:
        rendered += f'<p class="kit-note">{more:,} more characters are not shown.</p>'
    return rendered
