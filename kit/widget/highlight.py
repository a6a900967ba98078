"""Code to HTML with a handful of colour classes, by pygments.

Holds which kinds of token get which class; the colours themselves are in `front/`
for the live view and in `static.py` for the fallback. Neighbouring tokens of one class
share one element, which keeps the HTML small enough to be sent to a browser.
"""

from __future__ import annotations

import functools
import html

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Token, _TokenType
from pygments.util import ClassNotFound

__all__ = ["HIGHLIGHT_LIMIT", "highlight_code"]

HIGHLIGHT_LIMIT = 20_000
"""Characters of code beyond which a block keeps one colour: lexers are slow."""

# The most specific entry that contains a token's type decides.
_CLASSES: dict[_TokenType, str] = {
    Token.Comment: "kit-c",
    Token.Comment.Preproc: "kit-k",
    Token.Keyword: "kit-k",
    Token.Keyword.Constant: "kit-m",
    Token.Keyword.Type: "kit-b",
    Token.Operator.Word: "kit-k",
    Token.Literal.String: "kit-s",
    Token.Literal.String.Doc: "kit-c",
    Token.Literal.Number: "kit-m",
    Token.Name.Function: "kit-f",
    Token.Name.Class: "kit-f",
    Token.Name.Decorator: "kit-f",
    Token.Name.Builtin: "kit-b",
    Token.Name.Exception: "kit-b",
    Token.Name.Tag: "kit-k",
    Token.Name.Attribute: "kit-f",
    Token.Generic.Deleted: "kit-del",
    Token.Generic.Inserted: "kit-ins",
    Token.Generic.Heading: "kit-c",
    Token.Generic.Subheading: "kit-c",
    Token.Generic.Prompt: "kit-c",
}


def highlight_code(code: str, language: str) -> str:
    """`code` as HTML to be put into a `<pre>`; escaped and uncoloured if need be.

    The text of the result is always exactly `code`. An unknown language, code beyond
    `HIGHLIGHT_LIMIT` and a lexer that fails or changes the text leave it uncoloured.
    """
    lexer = _lexer(language) if language else None
    if lexer is None or len(code) > HIGHLIGHT_LIMIT:
        return html.escape(code)
    runs: list[tuple[str, list[str]]] = []
    length = 0
    for token_type, text in lexer.get_tokens(code):
        length += len(text)
        css_class = _class(token_type)
        if runs and runs[-1][0] == css_class:
            runs[-1][1].append(text)
        else:
            runs.append((css_class, [text]))
    if length != len(code) or "".join(t for _, run in runs for t in run) != code:
        return html.escape(code)
    return "".join(_span(css_class, "".join(texts)) for css_class, texts in runs)


def _span(css_class: str, text: str) -> str:
    escaped = html.escape(text)
    return f'<span class="{css_class}">{escaped}</span>' if css_class else escaped


@functools.cache
def _class(token_type: _TokenType) -> str:
    kind: _TokenType | None = token_type
    while kind is not None:
        if kind in _CLASSES:
            return _CLASSES[kind]
        kind = kind.parent
    return ""


@functools.lru_cache(maxsize=64)
def _lexer(language: str) -> Lexer | None:
    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None
