"""How many lines of code each way of streaming takes, and where they are. Pure.

Counted are lines that hold code: no comments, no docstrings, no blank lines. What is
counted is listed, so that whoever disagrees can count something else.
"""

from __future__ import annotations

import importlib
import inspect
import io
import textwrap
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kit.bench.table import Table

__all__ = [
    "AFTER",
    "BEFORE",
    "COUNTED",
    "DEPLOYMENT",
    "SERVER",
    "Counted",
    "code_lines",
    "lines_table",
    "streaming_lines",
]

SERVER, VIEWER, DEPLOYMENT = "application server", "viewer", "on the deployment"
BEFORE, AFTER = "Socket.IO + SQL", "Convex, the kit"

COUNTED: Mapping[tuple[str, str], Sequence[str]] = {
    (BEFORE, SERVER): (
        "kit.app.chat:ChatService._before",
        "kit.app.chat:ChatService._over_socketio",
        "kit.app.chat:ChatService._emit_stream_chunk",
        "kit.app.reply",
        "kit.app.llm_service",
        "kit.app.history:History.add_message",
        "kit.app.history:History.update_message",
        "kit.app.history:History.messages",
    ),
    (BEFORE, VIEWER): (
        "kit.app.hooks.task_socket",
        "kit.app.hooks.socket_reply",
        "kit.app.hooks.stream_chunks",
        "kit.app.hooks.socket_connection",
    ),
    (AFTER, SERVER): (
        "kit.app.chat:ChatService._option_2",
        "kit.app.chat:ChatService._stream_in_convex",
        "kit.app.convex_chat",
    ),
    (AFTER, VIEWER): (
        "kit.app.hooks.message_streaming",
        "kit.app.hooks.stream_follower",
    ),
    (AFTER, DEPLOYMENT): (
        "kit.convex.streaming",
        "kit.convex.messages",
        "kit.convex._begin",
        "kit.convex._endings",
        "kit.convex._generate",
        "kit.convex._log",
        "kit.convex._messages",
        "kit.convex._streams",
        "kit.convex._sweeps",
        "kit.writer",
        "kit.agent.loop",
        "kit.agent.steps",
    ),
}
"""By way and place: modules, or a function of one as `module:Class.name`. Not counted
is what both ways need: SDK adapters, clients, the fold of chunks into parts."""


@dataclass(frozen=True)
class Counted:
    way: str
    place: str
    what: str
    lines: int


def streaming_lines() -> list[Counted]:
    """All that is counted, with its lines."""
    return [
        Counted(way, place, what, code_lines(_source(what)))
        for (way, place), counted in COUNTED.items()
        for what in counted
    ]


def lines_table() -> Table:
    """The lines by way and place, with what was counted."""
    found = streaming_lines()
    rows = []
    for way, place in COUNTED:
        here = [one for one in found if (one.way, one.place) == (way, place)]
        names = ", ".join(f"{_short(one.what)} {one.lines}" for one in here)
        rows.append((way, place, names, f"{sum(one.lines for one in here):,}"))
    columns = ("Way", "Place", "Counted", "lines of code")
    return Table("Code that streams", columns, rows, texts=3)


def _source(what: str) -> str:
    module_name, _, path = what.partition(":")
    found = importlib.import_module(module_name)
    for name in filter(None, path.split(".")):
        found = getattr(found, name)
    return textwrap.dedent(inspect.getsource(found))


def _short(what: str) -> str:
    module, _, path = what.partition(":")
    return path.rpartition(".")[2] if path else module.rpartition(".")[2] + ".py"


_NO_CODE = frozenset(
    (
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENCODING,
        tokenize.ENDMARKER,
    )
)


def code_lines(source: str) -> int:
    """Lines of Python that hold code: neither comments, nor strings that are nothing
    but documentation, nor blank ones."""
    lines: set[int] = set()
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    starts_statement = True
    for token, following in zip(tokens, [*tokens[1:], tokens[-1]], strict=True):
        if token.type in _NO_CODE:
            starts_statement = starts_statement or token.type == tokenize.NEWLINE
            continue
        alone = starts_statement and following.type in (
            tokenize.NEWLINE,
            tokenize.COMMENT,
        )
        starts_statement = False
        if not (alone and token.type == tokenize.STRING):
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines)
