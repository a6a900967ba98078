"""The smallest change from one HTML to another."""

from hypothesis import given, settings
from hypothesis import strategies as st
from screen import Screen, canonical

from kit.widget.markdown import render_markdown
from kit.widget.patches import Append, Patch, Put, change, insert_text, text_depth

SOURCES = st.lists(
    st.sampled_from(
        [
            *("word ", "**b** ", "`c` ", "[l](https://x.org) ", "\n", "\n\n", "- "),
            *("> ", "# ", "| a | b |\n|--|--|\n| c |", "```\n", "  ", "&", "<", "1. "),
        ]
    ),
    max_size=12,
).map("".join)


def shown(*patches: Patch) -> str:
    screen = Screen()
    screen.apply(patches)
    return screen.html()


@given(SOURCES, SOURCES, SOURCES)
@settings(max_examples=500, deadline=None)
def test_a_change_leads_from_the_one_to_the_other(same: str, a: str, b: str) -> None:
    old, new = render_markdown(same + a), render_markdown(same + b)
    if old != new:
        assert shown(Put(0, old), change(0, 0, 0, old, new)) == canonical(new)


def test_added_text_is_appended_where_it_belongs() -> None:
    old, new = "<ul>\n<li>a</li>\n</ul>\n", "<ul>\n<li>a &amp; b</li>\n</ul>\n"
    assert change(3, 1, 0, old, new) == Append(3, 3, " & b")


def test_elements_that_stay_are_kept() -> None:
    old = "<p>a <em>b</em> c <em>d</em> e</p>\n"
    new = "<p>a <em>b</em> c <em>d</em> e <strong>f</strong></p>\n"
    assert change(0, 0, 0, old, new) == Put(0, " e <strong>f</strong>", 1, 2)


def test_children_are_counted_from_those_that_came_before() -> None:
    old, new = "<li>a</li>\n", "<li>a</li>\n<li>b</li>\n"
    assert change(0, 1, 7, old, new) == Put(0, "\n<li>b</li>\n", 1, 8)


def test_text_continues_in_the_last_block_not_in_a_link() -> None:
    assert text_depth("<p>a <a href='x'>b</a></p>\n") == 1
    assert text_depth("<ul>\n<li>a\n<ul>\n<li>b</li>\n</ul>\n</li>\n</ul>\n") == 4
    assert text_depth('<div class="kit-code"><pre><code>x\n</code></pre></div>\n') == 3
    assert text_depth("<p>a <code>b</code></p>\n") == 1
    assert text_depth("text") == 0


@given(SOURCES, st.text("a<&\n ", min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_inserted_text_is_what_an_append_shows(source: str, text: str) -> None:
    rendered = render_markdown(source)
    depth = text_depth(rendered)
    expected = shown(Put(0, rendered), Append(0, depth, text))
    assert canonical(insert_text(rendered, depth, text)) == expected
