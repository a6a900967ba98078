"""As much of a browser as the chat view's operations need.

`Element` is a DOM in small, `Screen` applies the patches of a growing text to it,
`ChatScreen` the operations of a transcript. They do what `front/` does, so that tests
can compare what a reader sees with what the kernel believes to be shown.
"""

import html
import re
from collections.abc import Iterable
from html.parser import HTMLParser
from typing import Any

from kit.widget.patches import Append, Patch, Put

__all__ = ["ChatScreen", "Element", "Screen", "canonical", "compact", "visible"]

VOID = {"br", "hr"}


class Element:
    def __init__(self, tag: str = "", start: str = "") -> None:
        self.tag = tag
        self.start = start
        self.nodes: list[Element | str] = []

    def elements(self) -> list["Element"]:
        return [node for node in self.nodes if isinstance(node, Element)]

    def inner(self) -> str:
        return "".join(
            html.escape(node) if isinstance(node, str) else node.outer()
            for node in self.nodes
        )

    def outer(self) -> str:
        end = "" if self.tag in VOID else f"</{self.tag}>"
        return f"{self.start}{self.inner()}{end}"


class _Reader(HTMLParser):
    """Reads HTML into the element that it is given; refuses what is not balanced."""

    def __init__(self, parent: Element) -> None:
        super().__init__()
        self.path = [parent]

    def handle_starttag(self, tag: str, attrs: object) -> None:
        element = Element(tag, self.get_starttag_text() or "")
        self.path[-1].nodes.append(element)
        if tag not in VOID:
            self.path.append(element)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.path.pop().tag == tag, "unbalanced HTML"

    def handle_data(self, data: str) -> None:
        self.path[-1].nodes.append(data)


def _read(rendered: str, parent: Element) -> None:
    reader = _Reader(parent)
    reader.feed(rendered)
    reader.close()
    assert reader.path == [parent], "unbalanced HTML"


class Screen:
    """The blocks of one growing text."""

    def __init__(self) -> None:
        self.blocks: list[Element] = []

    def apply(self, patches: Iterable[Patch]) -> None:
        for patch in patches:
            match patch:
                case Append(block, depth, text):
                    self.append(block, depth, text)
                case Put(block, rendered, depth, child):
                    self.put(block, depth, child, rendered)

    def append(self, block: int, depth: int, text: str) -> None:
        self._descend(block, depth).nodes.append(text)

    def put(self, block: int, depth: int, child: int, rendered: str) -> None:
        target = self._descend(block, depth)
        last = target.elements()[child - 1] if child else None
        end = target.nodes.index(last) + 1 if last is not None else 0
        target.nodes = target.nodes[:end]
        _read(rendered, target)

    def html(self) -> str:
        return "".join(block.inner() for block in self.blocks)

    def _descend(self, block: int, depth: int) -> Element:
        while len(self.blocks) <= block:
            self.blocks.append(Element())
        target = self.blocks[block]
        for _ in range(depth):
            target = target.elements()[-1]
        return target


class ChatScreen:
    """Messages and parts, as the operations leave them."""

    def __init__(self) -> None:
        self.messages: dict[str, dict[str, Any]] = {}
        self.attributes: dict[str, Any] = {}
        self.parts: dict[tuple[str, str], Screen] = {}

    def apply(self, ops: Iterable[list[Any]]) -> None:
        for name, *args in ops:
            getattr(self, f"_{name}")(*args)

    def html(self) -> dict[str, dict[str, str]]:
        """What each part of each message shows."""
        return {
            key: {part: compact(self.parts[key, part].html()) for part in parts}
            for key, parts in self.messages.items()
        }

    def _message(self, key: str, attributes: Any) -> None:
        self.messages.setdefault(key, {})
        self.attributes[key] = attributes

    def _move(self, key: str) -> None:
        self.messages[key] = self.messages.pop(key)

    def _part(self, key: str, part: str, attributes: Any) -> None:
        self.messages[key][part] = attributes
        self.parts.setdefault((key, part), Screen())

    def _put(self, key: str, part: str, *args: Any) -> None:
        self.parts[key, part].put(*args)

    def _append(self, key: str, part: str, *args: Any) -> None:
        self.parts[key, part].append(*args)

    def _clear(self, key: str, part: str) -> None:
        self.parts[key, part] = Screen()

    def _drop(self, key: str, part: str | None = None) -> None:
        if part is not None:
            del self.messages[key][part], self.parts[key, part]
            return
        for each in self.messages.pop(key):
            del self.parts[key, each]

    def _status(self, status: Any) -> None:
        self.status = status


def canonical(rendered: str) -> str:
    """The same HTML with entities written one way."""
    element = Element()
    _read(rendered, element)
    return element.inner()


def visible(rendered: str) -> str:
    """Without the newlines that markdown-it puts between elements."""
    return re.sub(r">\n+<", "><", canonical(rendered)).strip("\n")


def compact(rendered: str) -> str:
    """Without any space after an element: patches do not keep all of it."""
    return re.sub(r">\s+", ">", canonical(rendered))
