"""The items of an open list, the rows of an open table: what of it can be frozen.

Holds how a list or table comes apart into the items that are complete and the one that
still grows. Pure; reads the tokens of `markdown.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markdown_it.token import Token

from kit.widget.markdown import Block, render_tokens

__all__ = ["Items", "is_loose", "loosened"]


@dataclass(frozen=True, slots=True)
class Items:
    """The items of a list or the rows of a table, as its tokens have them."""

    head: str
    foot: str
    depth: int
    frozen: list[Token]  # of the items that are complete
    open: list[Token]  # of the last item of a list
    count: int  # how many are complete
    prefix_lines: int  # lines that come before the first item and belong to all
    open_line: int  # the line of the block where its last item or next row starts

    @classmethod
    def of(cls, block: Block) -> Items | None:
        """None for a block that is neither a list nor a table with rows."""
        match block.kind:
            case "bullet_list_open" | "ordered_list_open":
                return cls._of_list(block)
            case "table_open":
                return cls._of_table(block)
            case _:
                return None

    @classmethod
    def _of_list(cls, block: Block) -> Items:
        tokens = block.tokens
        starts = [
            index
            for index, token in enumerate(tokens)
            if token.level == 1 and token.type == "list_item_open"
        ]
        last = starts[-1]
        lines = tokens[last].map
        assert lines is not None
        return cls(
            head=render_tokens(tokens[:1]),
            foot=render_tokens(tokens[-1:]),
            depth=1,
            frozen=tokens[1:last],
            open=tokens[last:-1],
            count=len(starts) - 1,
            prefix_lines=0,
            open_line=lines[0] - block.first,
        )

    @classmethod
    def _of_table(cls, block: Block) -> Items | None:
        tokens = block.tokens
        types = [token.type for token in tokens]
        if "tbody_open" not in types:
            return None
        start, end = types.index("tbody_open") + 1, types.index("tbody_close")
        rows = tokens[start:end]
        return cls(
            head=render_tokens(tokens[:start]),
            foot=render_tokens(tokens[end:]),
            depth=3,
            frozen=rows,
            open=[],
            count=sum(token.type == "tr_open" for token in rows),
            prefix_lines=2,
            open_line=block.end - block.first,
        )


def is_loose(tokens: Iterable[Token]) -> bool:
    """Whether the items have paragraphs, as those of a loose list do."""
    return any(_is_item_paragraph(token) and not token.hidden for token in tokens)


def loosened(tokens: list[Token], loose: bool) -> list[Token]:
    """`tokens` of items, with their paragraphs shown if the list is `loose`."""
    if loose:
        for token in tokens:
            if _is_item_paragraph(token):
                token.hidden = False
    return tokens


def _is_item_paragraph(token: Token) -> bool:
    return token.level == 2 and token.type in ("paragraph_open", "paragraph_close")
