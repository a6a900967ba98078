"""Growing text: what is shown in the end, what is sent, and what each update costs."""

import random
import textwrap

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from screen import Screen, compact, visible

from kit.widget.growing import OPEN_LIMIT, GrowingMarkdown, GrowingPlain
from kit.widget.markdown import render_markdown
from kit.widget.patches import Append, Growing, Patch, Put


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
    *(
        "  - nested",
        "   continued",
        "1. one",
        "2. two",
        "10) ten",
        "  more",
        "    deep",
    ),
    *(
        "> quote",
        ">",
        "> - in quote",
        "```",
        "```py",
        "````",
        "~~~",
        "  ```",
        "def f():",
    ),
    *("| a | b |", "|---|---|", "| 1 | 2 |", "|:-:|", "| a |", "\\", "<b>&amp;", "a\\"),
    *(
        "[ref]: https://x.org",
        "[ref]",
        "![alt](https://x.org/i.png)",
        "    ```",
        "\x0b",
    ),
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


def test_text_that_continues_is_appended_and_nothing_else() -> None:
    growing = GrowingMarkdown()
    growing.feed("- one\n- **two** and")
    assert growing.feed(" more") == [Append(0, 2, " more")]
    assert growing.feed(" & < more") == [Append(0, 2, " & < more")]


def test_markup_replaces_only_what_follows_the_last_element() -> None:
    growing = GrowingMarkdown()
    growing.feed("A `code` and **bold")
    (patch,) = growing.feed("**!")
    expected = " and <strong>bold</strong>!"
    assert patch == Put(0, expected, depth=1, child=1)


def test_a_closed_block_is_never_touched_again() -> None:
    growing = GrowingMarkdown()
    growing.feed("# Head\n\nFirst paragraph.\n\nSecond")
    for closed in range(2, 20):
        patches = growing.feed(" and more.\n\nNext")
        assert {patch.block for patch in patches} == {closed, closed + 1}


def test_a_code_block_is_coloured_when_its_fence_is_closed() -> None:
    growing = GrowingMarkdown()
    growing.feed("```python\ndef f():\n")
    assert growing.feed("    return 1") == [Append(0, 3, "    return 1")]
    assert "<span" not in "".join(growing.blocks())
    growing.feed("\n```\n")
    assert '<span class="kit-k">return</span>' in growing.blocks()[0]


def test_a_fence_that_may_be_closing_is_held_back() -> None:
    growing = GrowingMarkdown()
    growing.feed("```\ncode\n")
    assert growing.feed("``") == []
    assert growing.feed("x") == [Append(0, 3, "``x")]


def test_items_of_an_open_list_are_frozen() -> None:
    growing = GrowingMarkdown()
    growing.feed("".join(f"- item number {number}\n" for number in range(50)))
    (patch,) = growing.feed("- the *last")
    assert patch == Put(0, "<li>the *last</li>\n", depth=1, child=50) or (
        isinstance(patch, Put) and patch.child >= 49
    )


def sizes(patches: list[Patch]) -> int:
    return sum(len(p.html if isinstance(p, Put) else p.text) for p in patches)


def words(count: int) -> str:
    """Prose with emphasis, code and links, the same on each call."""
    kinds = ["the", "quick", "**brown**", "fox", "`jumps`", "[over](https://x.org)"]
    chosen = random.Random(1)
    return " ".join(chosen.choice(kinds) for _ in range(count))


def long_texts(size: int) -> dict[str, str]:
    """Replies of about `size` characters that could make an update expensive."""
    prose = words(size // 8)
    lines, long_lines = textwrap.wrap(prose, 80), textwrap.wrap(prose, 3000)
    return {
        "paragraphs": "\n\n".join(
            "\n".join(lines[n : n + 8]) for n in range(0, len(lines), 8)
        ),
        "one line": prose,
        "one paragraph": "\n".join(lines),
        "list": "\n".join(f"- {line}" for line in lines),
        "loose list": "\n\n".join(f"1. {line}" for line in lines),
        "long items": "\n".join(f"- {line}" for line in long_lines),
        "nested list": "- top\n" + "\n".join(f"  - {line}" for line in lines),
        "code": "```python\n" + "\n".join(f"    {line}" for line in lines) + "\n```\n",
        "open code": "~~~\n" + "\n".join(lines),
        "table": "| a | b |\n|---|---|\n"
        + "".join(f"| {line} | b |\n" for line in lines),
        "quote": "\n".join(f"> {line}" for line in lines),
        "almost a table": "text\n" + "| a | b | c\n" * (size // 12),
        "lazy lines": "- item\n" + "\n".join(lines),
        "headings": "\n".join(f"# {line}" for line in lines),
        "newlines": "\n" * size,
        "spaces": " " * size,
    }


def total(text: str) -> int:
    growing = GrowingMarkdown()
    pieces = [text[start : start + 40] for start in range(0, len(text), 40)]
    return sum(sizes(growing.feed(piece)) for piece in pieces) + sizes(growing.finish())


@pytest.mark.parametrize("name", long_texts(100))
def test_what_is_sent_is_in_proportion_to_the_text(name: str) -> None:
    short, long = long_texts(20_000)[name], long_texts(40_000)[name]
    assert total(short) < 10 * len(short)
    assert total(long) < 2.3 * total(short) + OPEN_LIMIT


@pytest.mark.parametrize("name", long_texts(100))
def test_an_update_costs_the_same_at_the_end_as_at_the_beginning(name: str) -> None:
    """Apart from the few that close a long block, which is rendered once."""
    text = long_texts(40_000)[name]
    growing = GrowingMarkdown()
    sent = [
        sizes(growing.feed(text[start : start + 40]))
        for start in range(0, len(text), 40)
    ]
    usual = sorted(sent)[: int(len(sent) * 0.97)]
    assert max(usual) < 2 * OPEN_LIMIT


def test_plain_text_is_appended_as_it_is() -> None:
    growing = GrowingPlain()
    assert growing.feed("<a") == [Put(0, '<pre class="kit-plain">&lt;a</pre>')]
    assert growing.feed(" *b*") == [Append(0, 1, " *b*")]
    assert growing.feed("") == []
    assert growing.finish() == []
    assert growing.blocks() == ['<pre class="kit-plain">&lt;a *b*</pre>']


def test_plain_text_that_never_came_shows_nothing() -> None:
    assert GrowingPlain().blocks() == []
