"""Code to HTML: colours, and that the text is never changed."""

import html
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.widget.highlight import HIGHLIGHT_LIMIT, highlight_code


def text_of(rendered: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", rendered))


@given(
    st.text(max_size=200) | st.text("ab\n\t \"'#<>&/*{}()0=\r", max_size=200),
    st.sampled_from(["python", "typescript", "json", "bash", "html", "diff", "sql"]),
)
@settings(max_examples=200, deadline=None)
def test_the_text_is_the_code(code: str, language: str) -> None:
    assert text_of(highlight_code(code, language)) == code


def test_neighbours_of_one_colour_share_an_element() -> None:
    assert highlight_code('"a" # b', "python") == (
        '<span class="kit-s">&quot;a&quot;</span> <span class="kit-c"># b</span>'
    )


@pytest.mark.parametrize("language", ["", "no-such-language", "<b>", "../x"])
def test_an_unknown_language_has_no_colours(language: str) -> None:
    assert highlight_code("<a> = 1", language) == "&lt;a&gt; = 1"


def test_long_code_has_no_colours() -> None:
    assert "<span" not in highlight_code("x = 1\n" * HIGHLIGHT_LIMIT, "python")
