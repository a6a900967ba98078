"""Growing text: what is shown in the end, what is sent, and what each update costs."""

import html
import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kit.widget.growing import OPEN_LIMIT, GrowingMarkdown, GrowingPlain
from kit.widget.markdown import render_markdown
from kit.widget.patches import Append, Growing, Patch, Put

VOID = {"br", "hr"}


class Element:
    """As much of a DOM as the patches need."""

    def __init__(self, tag: str = "", start: str = "") -> None:
        self.tag = tag
        self.start = start
        self.nodes: list[Element | str] = []

    def elements(self) -> list["Element"]:
        return [node for node in self.nodes if isinstance(node, Element)]

    def inner(self) -> str:
        return "".join(
            html.escape(node)
            if isinstance(node, str)
            else f"{node.start}{node.inner()}{'' if node.tag in VOID else node.end()}"
            for node in self.nodes
        )

    def end(self) -> str:
        return f"</{self.tag}>"


class Fragment(HTMLParser):
    """Reads HTML into the element that it is given."""

    def __init__(self, parent: Element) -> None:
        super().__init__()
        self.path = [parent]

    def handle_starttag(self, tag: str, attrs: object) -> None:
        element = Element(tag, self.get_starttag_text() or "")
        self.path[-1].nodes.append(element)
        if tag not in VOID:
            self.path.append(element)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.path.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.path[-1].nodes.append(data)


class Screen:
    """Applies patches as the browser does."""

    def __init__(self) -> None:
        self.blocks: list[Element] = []

    def apply(self, patches: list[Patch]) -> None:
        for patch in patches:
            while len(self.blocks) <= patch.block:
                self.blocks.append(Element())
            target = self.blocks[patch.block]
            for _ in range(patch.depth):
                target = target.elements()[-1]
            match patch:
                case Append(text=text):
                    target.nodes.append(text)
                case Put(html=new, child=child):
                    last = target.elements()[child - 1] if child else None
                    end = target.nodes.index(last) + 1 if last else 0
                    target.nodes = target.nodes[:end]
                    parser = Fragment(target)
                    parser.feed(new)
                    parser.close()
                    assert parser.path == [target], "unbalanced HTML"

    def html(self) -> str:
        return "".join(block.inner() for block in self.blocks)


def canonical(rendered: str) -> str:
    """The same HTML through the parser, so that entities are written one way."""
    element = Element()
    parser = Fragment(element)
    parser.feed(rendered)
    parser.close()
    return element.inner()


def visible(rendered: str) -> str:
    """Without the newlines that markdown-it puts between elements."""
    return re.sub(r">\n+<", "><", canonical(rendered)).strip("\n")


def compact(rendered: str) -> str:
    """Without any space after an element: patches do not keep all of it."""
    return re.sub(r">\s+", ">", canonical(rendered))


def grow(growing: Growing, pieces: list[str]) -> Screen:
    """Feed `pieces`; after each, the screen and `blocks()` must show the same."""
    screen = Screen()
    for piece in pieces:
        screen.apply(growing.feed(piece))
        assert compact("".join(growing.blocks())) == compact(screen.html())
    screen.apply(growing.finish())
    assert visible("".join(growing.blocks())) == visible(screen.html())
    return screen


LINES = [
    *("", "  ", "\t", "text", "some *bold* and **more", "`code` [a](https://x.org)"),
    *("# heading", "===", "---", "***", "- item", "- ", "-", "* other", "+ third"),
    *("  - nested", "   continued", "1. one", "2. two", "10) ten", "  more", "    deep"),
    *("> quote", ">", "> - in quote", "```", "```py", "````", "~~~", "  ```", "def f():"),
    *("| a | b |", "|---|---|", "| 1 | 2 |", "|:-:|", "| a |", "\\", "<b>&amp;", "a\\"),
    *("[ref]: https://x.org", "[ref]", "![alt](https://x.org/i.png)", "    ```", "\x0b"),
]
markdown_texts = st.lists(
    st.sampled_from(LINES) | st.text("ab*_`[]()<>#-|:~ \\&!.\t1", max_size=8),
    max_size=14,
).map("\n".join)


@st.composite
def split_texts(draw: st.DrawFn) -> list[str]:
    text = draw(markdown_texts)
    newline = draw(st.sampled_from(["\n", "\n", "\n", "\r\n", "\r"]))
    text = text.replace("\n", newline)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


limits = st.sampled_from([OPEN_LIMIT, 0, 10, 30])


@given(split_texts(), limits)
@settings(max_examples=400, deadline=None)
@example(["- a\n\n-", "-", "-\n"], OPEN_LIMIT)
@example(["- a\n- b\n\n", "- c\n", "para"], OPEN_LIMIT)
@example(["| a |\n|--|\n", "| 1 |\n", "| 2", " |\n\ntext\n"], OPEN_LIMIT)
@example(["```\ncode\n``", "`\n", "text"], OPEN_LIMIT)
@example(["1. a\n   ```py\n   x\n   ```\n2.", " b\n"], OPEN_LIMIT)
@example(["text\r", "\n---\r"], OPEN_LIMIT)
def test_in_pieces_the_same_is_shown_as_at_once(pieces: list[str], limit: int) -> None:
    screen = grow(GrowingMarkdown(open_limit=limit), pieces)
    assert visible(screen.html()) == visible(render_markdown("".join(pieces)))


@given(markdown_texts, limits)
@settings(max_examples=150, deadline=None)
def test_letter_by_letter_the_same_is_shown_as_at_once(text: str, limit: int) -> None:
    screen = grow(GrowingMarkdown(open_limit=limit), list(text))
    assert visible(screen.html()) == visible(render_markdown(text))
