"""Markdown to HTML: what is understood, and how it is rendered.

Holds the one renderer that the live view, the static fallback and the tests share:
CommonMark with tables and strikethrough. Replies are written by a model that may have
read anything, so the result holds a closed set of elements: HTML in the source is
shown as text, links lead to http, https and mailto only, images are named but never
loaded. Reference links are left as text, since a definition at the end of a reply
would change blocks that are already on the screen.

`growing.py` renders text while it still grows; it relies on `parse_blocks`.
"""

from __future__ import annotations

import html
import re
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

from kit.widget.highlight import highlight_code

__all__ = [
    "CODE_DEPTH",
    "INLINE_LIMIT",
    "Block",
    "block_types",
    "parse_blocks",
    "render_code",
    "render_markdown",
    "render_tokens",
]

INLINE_LIMIT = 50_000
"""Characters of one paragraph beyond which emphasis, links etc. are left as text."""

CODE_DEPTH = 3
"""How many last elements to go down in a code block to where its text ends."""

_ALLOWED_LINK = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)

Env = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class Block:
    """One top-level block: its tokens and the lines `first` to `end` (excluded)."""

    tokens: list[Token]
    first: int
    end: int

    @property
    def kind(self) -> str:
        """markdown-it's word: `paragraph_open`, `fence`, `bullet_list_open`, ..."""
        return self.tokens[0].type

    def html(self, *, is_open: bool = False) -> str:
        """As HTML; code in a block that `is_open` is not yet coloured."""
        return render_tokens(self.tokens, is_open=is_open)


def render_markdown(text: str) -> str:
    """The whole of `text` as HTML. O(len(text))."""
    return render_tokens(_MARKDOWN.parse(text))


def parse_blocks(text: str) -> list[Block]:
    """The top-level blocks of `text`, in order."""
    blocks: list[Block] = []
    tokens: list[Token] = []
    for token in _MARKDOWN.parse(text):
        tokens.append(token)
        if token.level == 0 and token.nesting <= 0:
            first, end = tokens[0].map or (0, 0)
            blocks.append(Block(tokens, first, end))
            tokens = []
    return blocks


def block_types(text: str) -> list[str]:
    """The types of the block tokens of `text`; its inline content is not looked at."""
    tokens: list[Token] = []
    _MARKDOWN.block.parse(text, _MARKDOWN, {}, tokens)
    return [token.type for token in tokens]


def render_tokens(tokens: Sequence[Token], *, is_open: bool = False) -> str:
    rendered = _MARKDOWN.renderer.render(
        tokens, _MARKDOWN.options, {"is_open": is_open}
    )
    assert isinstance(rendered, str)
    return rendered


def render_code(code: str, language: str = "", *, is_open: bool = False) -> str:
    """A code block under a bar with its language, where a view adds a button."""
    language = language.lower()
    body = html.escape(code) if is_open else highlight_code(code, language)
    return (
        f'<div class="kit-code"><div class="kit-bar">{html.escape(language)}</div>'
        f"<pre><code>{body}</code></pre></div>\n"
    )


class _Renderer(RendererHTML):
    """The rules that differ from markdown-it's own; it finds them by name."""

    def fence(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        words = tokens[idx].info.split(maxsplit=1)
        language = words[0].strip("{}.") if words else ""
        return render_code(tokens[idx].content, language, is_open=env["is_open"])

    def code_block(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        return render_code(tokens[idx].content, is_open=env["is_open"])

    def image(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        named = self.renderInlineAsText(tokens[idx].children or [], options, env)
        return f'<span class="kit-image">[image: {html.escape(named)}]</span>'

    def link_open(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        href = html.escape(str(tokens[idx].attrGet("href") or ""))
        return f'<a href="{href}" target="_blank" rel="noopener noreferrer nofollow">'

    def table_open(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        return '<div class="kit-table"><table>\n'

    def table_close(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        return "</table></div>\n"


class _KitMarkdown(MarkdownIt):
    def validateLink(self, url: str) -> bool:
        return _ALLOWED_LINK.match(url) is not None


def _parse_inline(state: StateCore) -> None:
    """markdown-it's own step, except that very long content is left as text."""
    for token in state.tokens:
        if token.type != "inline":
            continue
        token.children = []
        if len(token.content) > INLINE_LIMIT:
            text = Token("text", "", 0)
            text.content = token.content
            token.children.append(text)
        else:
            state.md.inline.parse(token.content, state.md, state.env, token.children)


def _make() -> MarkdownIt:
    markdown = _KitMarkdown("commonmark", {"html": False}, renderer_cls=_Renderer)
    markdown.enable(["table", "strikethrough"]).disable("reference")
    markdown.core.ruler.at("inline", _parse_inline)
    return markdown


_MARKDOWN = _make()
