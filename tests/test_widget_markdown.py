"""Markdown to HTML: what is understood, and that nothing harmful comes out."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.widget.markdown import (
    INLINE_LIMIT,
    block_types,
    parse_blocks,
    render_code,
    render_markdown,
)

TAGS = frozenset(
    [
        *("a", "blockquote", "br", "code", "div", "em", "h1", "h2", "h3", "h4", "h5"),
        *("h6", "hr", "li", "ol", "p", "pre", "s", "span", "strong", "table", "tbody"),
        *("td", "th", "thead", "tr", "ul"),
    ]
)
ATTRIBUTES = frozenset({"class", "href", "rel", "start", "style", "target"})


class Inspector(HTMLParser):
    """Notes each element and attribute; refuses what a reply must not contain."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        for name, value in attrs:
            assert name in ATTRIBUTES
            if name == "href":
                assert re.match(r"(https?://|mailto:)", value or "", re.IGNORECASE)
            if name == "style":
                assert value in (
                    "text-align:left",
                    "text-align:right",
                    "text-align:center",
                )

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def inspect(rendered: str) -> str:
    inspector = Inspector()
    inspector.feed(rendered)
    inspector.close()
    return "".join(inspector.text)


HOSTILE = [
    *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<!-- x -->"),
    *("[a](javascript:alert(1))", "[a](JaVaScRiPt:alert(1))", "[a](data:text/html,x)"),
    *(
        "[a](//evil.example)",
        "[a](/lab)",
        "[a](#x)",
        "[a](vbscript:x)",
        "<javascript:x>",
    ),
    *("![a](https://evil.example/?q=secret)", "[![a](https://x.org/i)](https://x.org)"),
    *(
        '[a](https://x.org "\\" onmouseover=alert(1) x=\\"")',
        "&lt;script&gt;",
        "&#60;b>",
    ),
    *("```html\n<b>x</b>\n```", "```<script>\nx\n```", '```"><b>\nx\n```', "`<b>`"),
    *("[a](https://x.org/<b>)", "[a]( https://x.org )", "| <b> |\n|--|\n| <i> |"),
]


@given(st.lists(st.sampled_from(HOSTILE) | st.text(max_size=10), max_size=6))
@settings(max_examples=300, deadline=None)
def test_only_known_elements_and_harmless_links_come_out(pieces: list[str]) -> None:
    inspect(render_markdown("\n".join(pieces)))


@pytest.mark.parametrize("source", HOSTILE)
def test_html_in_the_source_is_shown_as_text(source: str) -> None:
    rendered = render_markdown(source)
    inspect(rendered)
    assert "<script" not in rendered
    assert "<b>" not in rendered
    assert "<img" not in rendered


@pytest.mark.parametrize(
    "link", ["https://x.org/a?b=c&d", "http://localhost:1", "mailto:a@b.org"]
)
def test_links_lead_out_and_tell_nobody_where_from(link: str) -> None:
    rendered = render_markdown(f"[text]({link})")
    assert f'href="{link}"'.replace("&", "&amp;") in rendered
    assert 'target="_blank" rel="noopener noreferrer nofollow"' in rendered


def test_an_image_is_named_and_never_loaded() -> None:
    rendered = render_markdown("![a *cat*](https://x.org/cat.png)")
    assert inspect(rendered).strip() == "[image: a cat]"
    assert "x.org" not in rendered


def test_what_replies_are_made_of_is_understood() -> None:
    rendered = render_markdown(
        "# Head\n\n*em* **strong** ~~struck~~ `code`\n\n1. one\n2. two\n\n> quote\n\n"
        "| a | b |\n|:--|--:|\n| 1 | 2 |\n\n---\n"
    )
    for tag in ("h1", "em", "strong", "s", "code", "ol", "blockquote", "table", "hr"):
        assert f"<{tag}" in rendered


def test_reference_links_stay_text() -> None:
    assert inspect(render_markdown("[a][b]\n\n[b]: https://x.org")).split() == [
        "[a][b]",
        "[b]:",
        "https://x.org",
    ]


def test_code_is_coloured_by_the_first_word_of_its_info() -> None:
    rendered = render_markdown('```{.Python} title="x"\ndef f(): pass\n```')
    assert '<div class="kit-bar">python</div>' in rendered
    assert '<span class="kit-k">def</span>' in rendered


def test_code_that_is_open_is_not_coloured() -> None:
    assert "<span" not in render_code("def f(): pass", "python", is_open=True)


def test_a_paragraph_beyond_the_limit_keeps_its_signs() -> None:
    """Emphasis costs time; a paragraph of this length is not written by anyone."""
    rendered = render_markdown("**a** " * (INLINE_LIMIT // 6 + 1))
    assert "<strong>" not in rendered
    assert "<strong>" in render_markdown("**a** " * 10)


def test_blocks_know_their_lines() -> None:
    blocks = parse_blocks("# a\n\nb\nc\n\n- d\n\n- e\n")
    assert [(block.kind, block.first, block.end) for block in blocks] == [
        ("heading_open", 0, 1),
        ("paragraph_open", 2, 4),
        ("bullet_list_open", 5, 8),
    ]


def test_block_types_are_those_of_the_blocks() -> None:
    assert block_types("x\n# y\n")[3] == "heading_open"
