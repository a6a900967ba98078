"""What the chat view shows, and the operations that bring a screen up to date.

Holds the messages and parts on the screen, finds out what is new in those of a source,
and says it as operations for `front/`. Pure, apart from a clock that is handed in.

Operations are JSON arrays; `m` is a message's key, `p` a part's:

    ["message", m, attributes]        change it, or add it at the end
    ["move", m]                       to the end
    ["part", m, p, attributes]        change it, or add it at the end of its message
    ["put", m, p, block, depth, child, html]
    ["append", m, p, block, depth, text]      both as in `patches.py`
    ["clear", m, p]                   remove the blocks of a part
    ["drop", m] and ["drop", m, p]

A message that is being written shows the live parts; once its row is final it shows the
row's. Parts that say the same are kept, so that the swap at the end of a reply changes
nothing on the screen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

from kit.parts import Part, PartChange, ToolResultPart, result_id
from kit.widget.patches import Append, Patch, Put
from kit.widget.shown import Attributes, ShownPart

__all__ = ["Op", "ShownMessage", "Transcript"]

Op = list[Any]
Row = Mapping[str, Any]
"""A message as `messages:byTask` gives it."""

_LIVE = ("streaming", "stopping")


@dataclass(slots=True)
class ShownMessage:
    """A message on the screen, its parts in order."""

    attributes: Attributes
    parts: dict[str, ShownPart] = field(default_factory=dict)
    row: Row | None = None  # None: it has live parts and no row yet

    @property
    def is_live(self) -> bool:
        """Whether it is still being written."""
        return self.row is None or self.row["status"] in _LIVE

    def source(self) -> str:
        """Its text as it was written, for a clipboard."""
        if self.row is not None and self.attributes["role"] == "user":
            return str(self.row["content"])
        texts = (
            part.text
            for part in self.parts.values()
            if part.attributes["type"] in ("text", "error")
        )
        return "\n\n".join(text.strip("\n") for text in texts if text)


class Transcript:
    """All that is shown of a task."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: seconds, for how long live parts take."""
        self.messages: dict[str, ShownMessage] = {}
        self._clock = clock
        self._live_key: str | None = None
        self._ops: list[Op] = []
        self._touched: dict[tuple[str, str], ShownPart] = {}

    @property
    def live_key(self) -> str | None:
        """The message that has the live parts; None without any."""
        return self._live_key

    @property
    def has_live_parts(self) -> bool:
        return self._live_key is not None and bool(self.messages[self._live_key].parts)

    @property
    def live_length(self) -> int:
        """How many characters the live parts have. O(parts)."""
        if self._live_key is None:
            return 0
        return sum(part.length for part in self.messages[self._live_key].parts.values())

    def last_question(self) -> str | None:
        """The text of the newest message of the user; None if there is none."""
        for message in reversed(self.messages.values()):
            if message.attributes["role"] == "user":
                return message.source()
        return None

    # --- what a source says ---------------------------------------------------------

    def show_messages(self, rows: Sequence[Row]) -> None:
        """Show these messages in this order, then the live one if it is none of them.

        Costs little for a message that has not changed.
        """
        keys = [row["_id"] for row in rows]
        if self._live_key is not None and self._live_key not in keys:
            keys.append(self._live_key)
        for key in [key for key in self.messages if key not in set(keys)]:
            self._drop_message(key)
        for row in rows:
            self._show_row(row["_id"], row)
        if keys != list(self.messages):
            self.messages = {key: self.messages[key] for key in keys}
            self._ops += [["move", key] for key in keys]

    def show_live(self, key: str, parts: Iterable[Part]) -> None:
        """Show these parts, and no others, as those being written in message `key`."""
        if self._live_key not in (key, None):
            self.drop_live()
        message = self.messages.get(key)
        if message is None:
            self._add_message(key, {"role": "assistant", "status": "streaming"})
        elif not message.is_live:
            return  # its row is final, and that is what is shown
        self._live_key = key
        self._show_parts(key, list(parts), final=False)

    def grow_live(
        self, key: str, changes: Sequence[PartChange], parts: Mapping[str, Part]
    ) -> None:
        """Take over `changes` of the live parts, which are `parts` by now.

        O(new text) for text that was appended; a part that was added or updated is read
        anew, in O(its text).
        """
        if key != self._live_key:
            self.show_live(key, parts.values())
            return
        shown = self.messages[key].parts
        anew: dict[str, None] = {}
        for change in changes:
            part_shown = shown.get(change.part_id)
            grew = change.kind == "appended"
            if not grew or part_shown is None or part_shown.is_finished:
                anew[change.part_id] = None
        for change in changes:
            # What is read anew has this text already.
            if change.part_id not in anew:
                shown[change.part_id].append(change.text)
                self._touched[key, change.part_id] = shown[change.part_id]
        for part_id in anew:
            part = parts[part_id]
            self._show_part(key, part, parts, final=False)
            if part["type"] == "tool-result" and part["toolCallId"] in parts:
                self._show_part(key, parts[part["toolCallId"]], parts, final=False)

    def drop_live(self) -> None:
        """There are no live parts any more."""
        key, self._live_key = self._live_key, None
        if key is None:
            return
        row = self.messages[key].row
        if row is None:
            self._drop_message(key)
        else:
            self._show_parts(key, _parts_of(row), final=False)

    # --- what a screen needs --------------------------------------------------------

    def take_ops(self) -> list[Op]:
        """What is to be done on a screen since the last call. O(what is new)."""
        touched, self._touched = self._touched, {}
        for (key, part_id), part in touched.items():
            self._ops += [_op(key, part_id, patch) for patch in part.patches()]
        ops, self._ops = self._ops, []
        return ops

    def snapshot(self) -> list[dict[str, Any]]:
        """All messages as a screen shows them after `take_ops`. O(what is shown)."""
        return [
            {
                "key": key,
                "attributes": message.attributes,
                "parts": [
                    {
                        "key": part_id,
                        "attributes": part.attributes,
                        "blocks": part.blocks(),
                    }
                    for part_id, part in message.parts.items()
                ],
            }
            for key, message in self.messages.items()
        ]

    # --- messages -------------------------------------------------------------------

    def _show_row(self, key: str, row: Row) -> None:
        message = self.messages.get(key)
        attributes = _describe(row)
        if message is None:
            message = self._add_message(key, attributes)
        elif message.row == row:
            return
        elif message.attributes != attributes:
            message.attributes = attributes
            self._ops.append(["message", key, attributes])
        message.row = row
        if key == self._live_key and not message.is_live:
            self._live_key = None
        if key != self._live_key:
            self._show_parts(key, _parts_of(row), final=not message.is_live)

    def _add_message(self, key: str, attributes: Attributes) -> ShownMessage:
        message = self.messages[key] = ShownMessage(attributes)
        self._ops.append(["message", key, attributes])
        return message

    def _drop_message(self, key: str) -> None:
        for part_id in self.messages.pop(key).parts:
            self._touched.pop((key, part_id), None)
        self._ops.append(["drop", key])

    # --- parts ----------------------------------------------------------------------

    def _show_parts(self, key: str, parts: list[Part], *, final: bool) -> None:
        """Show these parts and no others, keeping those that are shown already."""
        shown = self.messages[key].parts
        by_id = {part["id"]: part for part in parts}
        if list(shown) != list(by_id)[: len(shown)]:
            for part_id in list(shown):
                self._drop_part(key, part_id)
        for part in by_id.values():
            self._show_part(key, part, by_id, final=final)

    def _show_part(
        self, key: str, part: Part, parts: Mapping[str, Part], *, final: bool
    ) -> None:
        """Show `part`; `parts` are all parts of its message."""
        message, part_id = self.messages[key], part["id"]
        shown = message.parts.get(part_id)
        if shown is not None and shown.attributes["type"] != part["type"]:
            self._drop_part(key, part_id)
            shown = None
        is_new = shown is None
        if shown is None:
            is_markdown = part["type"] in ("text", "reasoning") and (
                message.attributes["role"] != "user"
            )
            clock = None if final else self._clock
            shown = ShownPart(part["type"], is_markdown=is_markdown, clock=clock)
            message.parts[part_id] = shown
        changed, cleared = shown.show(part, final=final, result=_result(part, parts))
        if changed or is_new:
            self._ops.append(["part", key, part_id, shown.attributes])
        if cleared:
            self._ops.append(["clear", key, part_id])
        self._touched[key, part_id] = shown

    def _drop_part(self, key: str, part_id: str) -> None:
        del self.messages[key].parts[part_id]
        self._touched.pop((key, part_id), None)
        self._ops.append(["drop", key, part_id])


def _op(key: str, part_id: str, patch: Patch) -> Op:
    match patch:
        case Append(block, depth, text):
            return ["append", key, part_id, block, depth, text]
        case Put(block, html, depth, child):
            return ["put", key, part_id, block, depth, child, html]
        case _:
            assert_never(patch)


def _result(part: Part, parts: Mapping[str, Part]) -> ToolResultPart | None:
    """The result of a tool call, if it is there."""
    if part["type"] != "tool-call":
        return None
    result = parts.get(result_id(part["toolCallId"]))
    return result if result is not None and result["type"] == "tool-result" else None


def _describe(row: Row) -> Attributes:
    attributes: Attributes = {"role": row["role"].lower(), "status": row["status"]}
    if row.get("llmModel") and row["role"] != "USER":  # which wrote nothing of it
        attributes["model"] = row["llmModel"]
    if tokens := (row.get("usage") or {}).get("completionTokens"):
        attributes["tokens"] = int(tokens)
    return attributes


def _parts_of(row: Row) -> list[Part]:
    """The parts of a stored message; older ones have plain content only."""
    parts: list[Part] = list(row.get("parts") or [])
    if not parts and row["content"]:
        parts.append(
            {"id": "content", "type": "text", "text": row["content"], "state": "done"}
        )
    if row.get("error") and not any(part["type"] == "error" for part in parts):
        parts.append(
            {
                "id": "message-error",
                "type": "error",
                "errorText": str(row["error"]),
                "kind": row.get("errorKind", "internal"),
            }
        )
    return parts
