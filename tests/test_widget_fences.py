"""Open code fences: which line closes them, and what can be shown before."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.widget.fences import OPENING_FENCE, OpenFence, is_closed_fence
from kit.widget.markdown import parse_blocks

LINES = [
    "code",
    "",
    "  ",
    "```",
    "````",
    "~~~",
    "   ```",
    "    ```",
    "``` ",
    "```x",
    "``",
]


@given(
    st.sampled_from(["```\n", "```py\n", "````\n", "~~~ a\n", "  ```\n"]),
    st.lists(st.sampled_from(LINES), max_size=6).map("\n".join),
    st.integers(1, 5),
)
@settings(max_examples=400, deadline=None)
def test_it_is_read_as_the_parser_reads_it(opening: str, body: str, size: int) -> None:
    match = OPENING_FENCE.fullmatch(opening)
    assert match is not None
    fence = OpenFence(mark=match[2], indent=len(match[1]))
    shown, closed = "", False
    for start in range(0, len(body), size):
        code, closed = fence.read(body[start : start + size])
        shown += code
        if closed:
            break
    # The parser sees complete lines only: the last one may still change.
    complete = opening + body[: body.rfind("\n") + 1]
    (block, *_) = parse_blocks(complete)
    source = "".join(complete.splitlines(keepends=True)[: block.end])
    assert closed == is_closed_fence(source)
    content = block.tokens[0].content
    if closed:
        assert content.startswith(shown)
        assert content[len(shown) :].strip(" `~\n") == ""
    else:
        assert shown.startswith(content)


def test_a_line_that_may_close_the_fence_is_held_back() -> None:
    fence = OpenFence("```", 0)
    assert fence.read("a\n``") == ("a\n", False)
    assert fence.read("`") == ("", False)
    assert fence.read("x") == ("```x", False)
    assert fence.read("\n```") == ("\n", False)
    assert fence.read("\n") == ("", True)


def test_the_indent_of_the_opening_line_is_taken_off() -> None:
    assert OpenFence("```", 2).read("  a\n   b\nc\nd") == ("a\n b\nc\n", False)


@pytest.mark.parametrize(
    ("line", "opens"),
    [("```\n", True), ("~~~ x `\n", True), ("``` x `\n", False), ("    ```\n", False)],
)
def test_what_opens_a_fence(line: str, opens: bool) -> None:
    assert (OPENING_FENCE.match(line) is not None) == opens


def test_a_line_that_is_not_complete_opens_nothing() -> None:
    assert OPENING_FENCE.match("```py") is None
