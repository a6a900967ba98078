"""Whole messages that are written again and again while they stream."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tree_sitter import Node

from kit.doctor.repository.findings import Found, found
from kit.doctor.repository.reading import (
    Reading,
    arguments,
    inside,
    is_database_update,
    stream_loops,
)
from kit.doctor.repository.rules import Level
from kit.repo.syntax import ancestors, callee_name, string_value, text, walk

__all__ = ["whole_rewrites"]

_TEXT = re.compile(
    r"content|text|message|parts|chunks|body|reply|response|output|answer|buffer",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"tokens?$|count$|length$|size$|index$|id$", re.IGNORECASE)
_NOW = re.compile(r"\b(?:Date|performance)\.now\(\)")


def whole_rewrites(reading: Reading) -> Iterator[Found]:
    """`whole-rewrite`: a `for await` loop stores what the same loop lets grow.

    What grows is a variable with `+=`, `x = x + …`, or `.push(…)` in the loop, and
    nothing there empties it: a buffer that is written and emptied is no rewrite. It
    counts if it is called like text (content, parts, …), or written to such a field.
    Stored means an update by Prisma, Drizzle or `ctx.db`, or a Convex mutation, in the
    loop itself. If a clock decides about the write, it is less often: a note.
    """
    for source in reading.repository.containing("for await"):
        for loop in stream_loops(source.root):
            body = loop.child_by_field_name("body")
            grown = set() if body is None else _grown(body)
            if body is None or not grown:
                continue
            for call in walk(body, "call_expression"):
                if not is_database_update(call) or _loop_of(call) != loop:
                    continue
                if written := _written(call, grown):
                    seen = f"The loop writes all of `{written}` with each chunk."
                    if timed := _is_timed(call, loop):
                        seen = f"The loop writes all of `{written}` at intervals."
                    place = source.place(call)
                    level: Level = "note" if timed else "warning"
                    yield found("whole-rewrite", place, seen, level=level)


def _loop_of(node: Node) -> Node | None:
    loops = ("for_in_statement", "for_statement", "while_statement", "do_statement")
    return next((above for above in ancestors(node) if above.type in loops), None)


def _grown(body: Node) -> set[str]:
    """The variables that only grow in a loop."""
    grown: set[str] = set()
    emptied: set[str] = set()
    for node in walk(body, "augmented_assignment_expression", "assignment_expression"):
        left, right = (node.child_by_field_name(name) for name in ("left", "right"))
        if left is None or right is None:
            continue
        name = text(left)
        if node.type == "augmented_assignment_expression":
            is_text = text(node.child_by_field_name("operator")) == "+="
            if is_text and right.type != "number":
                grown.add(name)
        elif name.endswith(".length"):
            emptied.add(name.removesuffix(".length"))
        elif any(text(used) == name for used in walk(right, left.type)):
            grown.add(name)
        else:
            emptied.add(name)
    for call in walk(body, "call_expression"):
        function = call.child_by_field_name("function")
        held = None if function is None else function.child_by_field_name("object")
        match callee_name(call):
            case "push":
                grown.add(text(held))
            case "splice" | "shift" | "pop":
                emptied.add(text(held))
    for declarator in walk(body, "variable_declarator"):
        emptied.add(text(declarator.child_by_field_name("name")))
    return grown - emptied


def _written(call: Node, grown: set[str]) -> str | None:
    """What grows, if a write stores it as text."""
    for argument in arguments(call):
        for node in walk(argument, "identifier", "shorthand_property_identifier"):
            name = text(node)
            parent = node.parent
            if name not in grown or parent is None:
                continue
            if parent.type in ("member_expression", "subscript_expression"):
                continue  # `content.length` is not the content
            key = parent.child_by_field_name("key") if parent.type == "pair" else None
            names = (name, string_value(key) or text(key))
            if any(_TEXT.search(n) and not _NUMBER.search(n) for n in names if n):
                return name
    return None


def _is_timed(call: Node, loop: Node) -> bool:
    return any(
        above.type == "if_statement"
        and inside(above, loop)
        and _NOW.search(text(above.child_by_field_name("condition")))
        for above in ancestors(call)
    )
