"""Text that grows, shown with as few changes as possible.

Holds the two ways to show it: `GrowingMarkdown` for replies and reasoning,
`GrowingPlain` for tool arguments and the like. Pure: knows neither Jupyter nor parts.

How Markdown is kept cheap, whatever the length of the reply:

* A top-level block is *closed* as soon as no later line can belong to it, most often
  by a blank line or the start of another block. A closed block is rendered once more,
  with its code coloured, and never looked at again.
* In an open list or table, items and rows that are followed by another are *frozen*:
  they stay on the screen and only the last one is rendered anew. The list is rendered
  as a whole when it is closed: only then it is known whether it is a loose one.
* Text in an open code fence is appended without being parsed.
* Other open text beyond `OPEN_LIMIT` is appended as it was written, and rendered when
  it is closed. Whether a line may close it is asked of that line alone.

So one update costs O(new text + OPEN_LIMIT), and all updates together O(text). What is
shown in the end is exactly `render_markdown` of the whole text: a block depends on its
own lines only, since reference links, CommonMark's one exception, are not supported.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from kit.widget.fences import OPENING_FENCE, OpenFence, is_closed_fence
from kit.widget.items import Items, is_loose, loosened
from kit.widget.markdown import (
    CODE_DEPTH,
    Block,
    block_types,
    parse_blocks,
    render_tokens,
)
from kit.widget.patches import Append, Patch, Put, change, insert_text, text_depth

__all__ = ["OPEN_LIMIT", "GrowingMarkdown", "GrowingPlain"]

OPEN_LIMIT = 2_000
"""Characters of an open block up to which it is parsed anew on each update."""

RETRY_FACTOR = 1.25
"""How much a long open block must grow after it was parsed in vain."""

Key = tuple[int, int, int]
"""A region of the screen: the block, depth and child of a `Put`."""


class GrowingPlain:
    """Text that is shown as it is: one `<pre>`."""

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def feed(self, text: str) -> list[Patch]:
        if not text:
            return []
        self._pieces.append(text)
        if len(self._pieces) == 1:
            return [Put(0, self.blocks()[0])]
        return [Append(0, 1, text)]

    def finish(self) -> list[Patch]:
        return []

    def blocks(self) -> list[str]:
        text = "".join(self._pieces)
        return [f'<pre class="kit-plain">{html.escape(text)}</pre>'] if text else []


@dataclass(slots=True)
class _Container:
    """An open list or table of which some items or rows are frozen."""

    head: str  # HTML before its items
    foot: str  # HTML after its items
    depth: int  # how deep its items are
    prefix: str = ""  # lines without which the rest cannot be parsed: a table's head
    loose: bool = False
    source: list[str] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)
    count: int = 0


class GrowingMarkdown:
    """Markdown that grows. Open text beyond `open_limit` is parsed when it closes."""

    def __init__(self, *, open_limit: int = OPEN_LIMIT) -> None:
        self._open_limit = open_limit
        self._closed: list[str] = []  # HTML of the closed blocks
        self._open: list[str] = []  # source of the open block, in pieces
        self._length = 0  # of that source
        self._examined = 0  # of that source: complete lines that closed nothing
        self._carriage_return = False  # the text so far ends in one
        self._container: _Container | None = None
        # What the screen shows of the open text. None: not what was last put there.
        self._regions: dict[Key, str | None] = {}
        # While text is appended without being parsed:
        self._fence: OpenFence | None = None
        self._appending = False
        self._append_at = (0, 0)  # block and depth
        self._appended: list[str] = []
        self._line: list[str] = []  # the last, incomplete line
        self._line_before = ""
        self._retry_at = 0

    def feed(self, text: str) -> list[Patch]:
        text = self._with_unix_newlines(text)
        if not text:
            return []
        self._open.append(text)
        self._length += len(text)
        if self._fence is not None:
            return self._feed_fence(self._fence, text)
        if self._appending:
            return self._feed_appending(text)
        return self._advance()

    def finish(self) -> list[Patch]:
        if self._carriage_return:
            self._carriage_return = False
            self._open.append("\n")
        patches: list[Patch] = []
        text = self._prefix() + self._stop_appending()
        self._close(parse_blocks(text), text, patches)
        self._set_open("")
        self._drop_regions(self._regions, patches)
        return patches

    def blocks(self) -> list[str]:
        shown = {key[0]: rendered or "" for key, rendered in self._regions.items()}
        if self._container is not None:
            shown[len(self._closed)] = self._shown_container() or ""
        if self._appended:
            block, depth = self._append_at
            shown[block] = insert_text(shown[block], depth, "".join(self._appended))
        return [*self._closed, *(shown[block] for block in sorted(shown))]

    # --- closing and freezing -------------------------------------------------------

    def _advance(self) -> list[Patch]:
        """Close what complete lines prove to be closed, show the rest as it looks."""
        patches: list[Patch] = []
        source = self._stop_appending()
        end = source.rfind("\n") + 1
        if end > self._examined:
            source = self._examine(source[:end], patches) + source[end:]
        self._set_open(source)
        opening = None if self._container else OPENING_FENCE.match(source)
        if opening is not None:
            self._show_fence(source, opening, patches)
        else:
            self._show(source, patches)
            if len(source) > self._open_limit:
                self._start_appending(source)
        return patches

    def _examine(self, complete: str, patches: list[Patch]) -> str:
        """Close and freeze what can be of `complete` lines; those that stay open."""
        text = self._prefix() + complete
        blocks = parse_blocks(text)
        if not blocks:
            return ""
        last = blocks[-1]
        if _is_closed(last, text):
            self._close(blocks, text, patches)
            return _lines(text, last.end)
        if len(blocks) > 1:
            self._close(blocks[:-1], text, patches)
        if self._container is None:
            text = _lines(text, last.first)
        return self._freeze(last, text, patches)

    def _close(self, blocks: list[Block], text: str, patches: list[Patch]) -> None:
        """Close `blocks` of `text`; the first is the container, if there is one."""
        if self._container is not None:
            first, *blocks = blocks
            container, shown = self._container, self._shown_container()
            self._container = None
            rest = _lines(text, container.prefix.count("\n"), first.end)
            whole = parse_blocks("".join([*container.source, rest]))
            self._close_one(_render(whole), shown, patches)
        for block in blocks:
            shown = self._regions.get((len(self._closed), 0, 0))
            self._close_one(block.html(), shown, patches)

    def _close_one(
        self, rendered: str, shown: str | None, patches: list[Patch]
    ) -> None:
        number = len(self._closed)
        self._closed.append(rendered)
        if shown != rendered:
            patches.append(Put(number, rendered))
        for key in [key for key in self._regions if key[0] == number]:
            del self._regions[key]

    def _shown_container(self) -> str | None:
        """What the screen shows of the open list or table; None if that is unknown."""
        container = self._container
        assert container is not None
        open_html = self._regions[len(self._closed), container.depth, container.count]
        if open_html is None:
            return None
        return "".join([container.head, *container.frozen, open_html, container.foot])

    def _freeze(self, block: Block, text: str, patches: list[Patch]) -> str:
        """Freeze items of `block`, the only one of `text`; the lines that stay open."""
        prefix = self._prefix()
        items = Items.of(block)
        if items is None or not items.count:
            return text.removeprefix(prefix)
        number = len(self._closed)
        container = self._container
        if container is None:
            prefix_lines = items.prefix_lines
            container = _Container(items.head, items.foot, items.depth)
            container.prefix = _lines(text, 0, prefix_lines)
            container.source.append(container.prefix)
            rendered = render_tokens(items.frozen)
            self._update((number, 0, 0), items.head + rendered + items.foot, patches)
        else:
            prefix_lines = items.prefix_lines
            rendered = render_tokens(loosened(items.frozen, container.loose))
            self._update((number, container.depth, container.count), rendered, patches)
        container.source.append(_lines(text, prefix_lines, items.open_line))
        container.frozen.append(rendered)
        container.count += items.count
        container.loose = container.loose or is_loose(items.frozen)
        for key in [key for key in self._regions if key[0] == number]:
            del self._regions[key]
        self._regions[number, container.depth, container.count] = ""
        self._container = container
        return _lines(text, items.open_line)

    # --- showing --------------------------------------------------------------------

    def _show(self, source: str, patches: list[Patch]) -> None:
        """Make the screen show the open text as it looks so far."""
        number = len(self._closed)
        container = self._container
        blocks = parse_blocks(self._prefix() + source)
        wanted: dict[Key, str] = {}
        if container is not None:
            items = Items.of(blocks.pop(0))
            tokens = [*items.frozen, *items.open] if items is not None else []
            tokens = loosened(tokens, container.loose)
            key = (number, container.depth, container.count)
            wanted[key] = render_tokens(tokens, is_open=True)
            number += 1
        wanted[number, 0, 0] = _render(blocks, is_open=True)
        for key, rendered in wanted.items():
            if rendered or key in self._regions:
                self._update(key, rendered, patches)
        self._drop_regions([key for key in self._regions if key not in wanted], patches)

    def _show_fence(
        self, source: str, opening: re.Match[str], patches: list[Patch]
    ) -> None:
        """Show an open fence; from now on its code is appended as it comes."""
        number = len(self._closed)
        self._fence = OpenFence(mark=opening[2], indent=len(opening[1]))
        code, _ = self._fence.read(source[opening.end() :])
        empty = _render(parse_blocks(opening[0]), is_open=True)
        self._update((number, 0, 0), insert_text(empty, CODE_DEPTH, code), patches)
        self._drop_regions([key for key in self._regions if key[0] > number], patches)
        self._append_at = (number, CODE_DEPTH)

    def _update(self, key: Key, rendered: str, patches: list[Patch]) -> None:
        block, depth, child = key
        old = self._regions.get(key)
        self._regions[key] = rendered
        if not old:
            patches.append(Put(block, rendered, depth, child))
        elif old != rendered:
            patches.append(change(block, depth, child, old, rendered))

    def _drop_regions(self, keys: Iterable[Key], patches: list[Patch]) -> None:
        for key in list(keys):
            patches.append(Put(key[0], ""))
            del self._regions[key]

    # --- appending without parsing --------------------------------------------------

    def _feed_fence(self, fence: OpenFence, text: str) -> list[Patch]:
        code, closed = fence.read(text)
        if closed:
            return self._advance()
        return self._append(code) if code else []

    def _start_appending(self, source: str) -> None:
        if not self._regions:  # nothing to be seen so far: a long run of spaces
            self._regions[len(self._closed), 0, 0] = ""
        key = max(self._regions)
        self._appending = True
        self._append_at = (key[0], key[1] + text_depth(self._regions[key] or ""))
        before, _, line = source.rpartition("\n")
        self._line = [line]
        self._line_before = before.rpartition("\n")[2]

    def _feed_appending(self, text: str) -> list[Patch]:
        start, *lines = text.split("\n")
        self._line.append(start)
        may_close = False
        for line in lines:
            complete = "".join(self._line)
            may_close = may_close or self._may_close(complete)
            self._line_before, self._line = complete, [line]
        if not may_close:
            return self._append(text)
        closed, length = len(self._closed), self._length
        patches = self._advance()
        in_vain = self._appending and len(self._closed) == closed
        self._retry_at = int(length * RETRY_FACTOR) if in_vain else 0
        return patches

    def _may_close(self, line: str) -> bool:
        """Whether the open block may end before `line`, by a look at that line alone.

        What is missed is put right when a later line closes the block; what is found
        in vain costs a parse, which `RETRY_FACTOR` makes rare.
        """
        if self._length < self._retry_at or not line.strip() or line[0] in " \t":
            return False
        if not self._line_before.strip():
            return True
        if line[0] == ">" and self._line_before[0] == ">":
            return False  # one more line of a quote
        paragraph = ["paragraph_open", "inline", "paragraph_close"]
        return block_types(f"x\n{self._line_before}\n{line}\n") != paragraph

    def _append(self, text: str) -> list[Patch]:
        block, depth = self._append_at
        self._appended.append(text)
        return [Append(block, depth, text)]

    def _stop_appending(self) -> str:
        """Go back to parsing; the source of the open block."""
        if self._appended:
            self._regions[max(self._regions)] = None
        self._fence = None
        self._appending = False
        self._appended = []
        self._line = []
        return "".join(self._open)

    # --- the open source ------------------------------------------------------------

    def _prefix(self) -> str:
        return self._container.prefix if self._container is not None else ""

    def _set_open(self, source: str) -> None:
        self._open = [source] if source else []
        self._length = len(source)
        self._examined = source.rfind("\n") + 1

    def _with_unix_newlines(self, text: str) -> str:
        """`text` with `\\n` for each newline; a `\\r` at its end waits for the rest."""
        if self._carriage_return:
            text = "\r" + text
        self._carriage_return = text.endswith("\r")
        if self._carriage_return:
            text = text[:-1]
        return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


# --- blocks and lines -------------------------------------------------------------


def _is_closed(block: Block, text: str) -> bool:
    """Whether no line after those of `text` can belong to its last block."""
    match block.kind:
        case "heading_open" | "hr":
            return True
        case "fence":
            return is_closed_fence(_lines(text, block.first, block.end))
        case "paragraph_open" | "table_open" | "blockquote_open":
            return block.end < text.count("\n")  # a blank line follows
        case _:
            return False


def _render(blocks: Iterable[Block], *, is_open: bool = False) -> str:
    return "".join(block.html(is_open=is_open) for block in blocks)


def _lines(text: str, first: int, end: int | None = None) -> str:
    """The lines of `text` numbered `first` to `end` (excluded, default all)."""
    lines = text.split("\n")
    if end is None or end >= len(lines):
        return "\n".join(lines[first:])
    return "".join(f"{line}\n" for line in lines[first:end])
