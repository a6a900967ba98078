"""The server's calls of Convex: before the loop, and beside what SQL keeps."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tree_sitter import Node

from kit.doctor.repository.findings import Found, found
from kit.doctor.repository.reading import (
    Reading,
    arguments,
    callee_path,
    field_of,
    inside,
    is_database_write,
)
from kit.repo.server import ACTION, StreamLoop
from kit.repo.syntax import (
    FUNCTIONS,
    ancestors,
    callee_name,
    enclosing_function,
    text,
    walk,
)

__all__ = ["fallbacks", "sql_writes"]

_LEAVES = ("return_statement", "throw_statement", "break_statement")
_MESSAGE = re.compile(r"message", re.IGNORECASE)


def fallbacks(reading: Reading) -> Iterator[Found]:
    """All of this module's rules about the call; each is described at its function."""
    repository = reading.repository
    for file in dict.fromkeys(place.file for place in reading.layout.server.by_hand):
        source = repository.source(file)
        if source is None:
            continue
        for call in walk(source.root, "call_expression"):
            if not _asks_convex(call):
                continue
            loop = reading.layout.server.loop
            if loop is not None and _runs_on(call, loop):
                seen = f"The loop in line {loop.place.line} runs after this call, too."
                yield found("answers-twice", source.place(call), seen)
            if _lacks_id(call):
                seen = f"`{ACTION}` is called without it."
                yield found("no-client-message-id", source.place(call), seen)


def _asks_convex(call: Node) -> bool:
    given = arguments(call)
    is_action = callee_name(call) == "action" and bool(given)
    return is_action and text(given[0]).endswith(f".{ACTION}")


def _runs_on(call: Node, loop: StreamLoop) -> bool:
    """`answers-twice`: nothing keeps the loop from running when Convex has answered.

    The call stands in the body of a `try` (or in no `try`) before the loop, in the same
    function; nothing behind the call leaves that body or the function; and the loop is
    not below an `if`, a `switch`, a `catch` or a conditional of its own, which may well
    ask whether Convex has answered. The guide's own sample is such a case.
    """
    function = enclosing_function(call)
    if function is None or loop.function != function:
        return False
    if call.end_byte > loop.node.start_byte or inside(call, loop.node):
        return False
    if _is_conditional(loop.node, call, function):
        return False
    area = _try_body(call, function) or function
    return not any(
        node.start_byte > call.end_byte
        and node.start_byte < loop.node.start_byte
        and enclosing_function(node) == function
        for node in walk(area, *_LEAVES)
    ) and not _is_returned(call)


def _is_conditional(node: Node, call: Node, function: Node) -> bool:
    """Whether something that does not hold the call decides if a node runs."""
    deciding = (
        "if_statement",
        "else_clause",
        "switch_statement",
        "catch_clause",
        "while_statement",
        "for_statement",
        "labeled_statement",
    )
    for above in ancestors(node):
        if above == function:
            return False
        if above.type in deciding and not inside(call, above):
            return True
    return False


def _try_body(node: Node, function: Node) -> Node | None:
    for above in ancestors(node):
        if above == function:
            return None
        if above.type == "try_statement":
            body = above.child_by_field_name("body")
            return body if inside(node, body) else None
    return None


def _is_returned(call: Node) -> bool:
    for above in ancestors(call):
        if above.type in FUNCTIONS:
            return False
        if above.type == "return_statement":
            return True
    return False


def _lacks_id(call: Node) -> bool:
    """`no-client-message-id`: the arguments are an object literal without it.

    With a spread in the object, it may be there.
    """
    given = arguments(call)
    if len(given) < 2 or given[1].type != "object":
        return False
    if any(child.type == "spread_element" for child in given[1].named_children):
        return False
    return field_of(given[1], "clientMessageId") is None


def sql_writes(reading: Reading) -> Iterator[Found]:
    """`sql-write`: after Option 2, the server writes messages to SQL.

    A write of Prisma whose model is called like a message, `prisma.chatMessage.create`,
    outside of the Convex functions.
    """
    if reading.state != "option-2":
        return
    for source in reading.repository.containing("essage."):
        if reading.is_function(source.file):
            continue
        for call in walk(source.root, "call_expression"):
            path = callee_path(call)
            if len(path) > 2 and is_database_write(call) and _MESSAGE.search(path[-2]):
                seen = f"`{'.'.join(path)}` writes a row."
                yield found("sql-write", source.place(call), seen)
