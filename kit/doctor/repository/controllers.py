"""Abort controllers that only one process knows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tree_sitter import Node

from kit.doctor.repository.findings import Found, found
from kit.doctor.repository.reading import Reading, arguments, callee_path
from kit.repo.source import Source
from kit.repo.syntax import callee_name, enclosing_function, text, walk

__all__ = ["abort_controllers"]

_KEPT = re.compile(r"\b(?:Weak)?(?:Map|Record)\s*<[^;]*\bAbortController\b")
_STOPS_IN_CONVEX = (b"stopInConvex(", b".stopTask", b".cancelStream")


def abort_controllers(reading: Reading) -> Iterator[Found]:
    """`abort-in-memory`: a server keeps AbortControllers by key in its memory.

    A field or variable is a `Map` or `Record` whose type names AbortController; or, if
    the type does not say, `x.set(key, c)` with `const c = new AbortController()` in the
    same function. Not in the frontend, where each page stops its own; and not in a
    file that also stops replies in Convex.
    """
    for source in reading.repository.containing("AbortController"):
        if reading.is_frontend(source.file) or source.file.endswith(".tsx"):
            continue
        if any(mark in source.body for mark in _STOPS_IN_CONVEX):
            continue
        typed = list(_typed(source))
        for node, name in typed or _kept(source):
            seen = f"`{name}` keeps AbortControllers in this process's memory."
            yield found("abort-in-memory", source.place(node), seen)


def _typed(source: Source) -> Iterator[tuple[Node, str]]:
    for node in walk(source.root, "public_field_definition", "variable_declarator"):
        value = node.child_by_field_name("value")
        declared = text(node.child_by_field_name("type"))
        if value is not None and value.type == "new_expression":
            made = text(value.child_by_field_name("constructor"))
            declared += f" {made}{text(value.child_by_field_name('type_arguments'))}"
        if _KEPT.search(declared):
            yield node, text(node.child_by_field_name("name"))


def _kept(source: Source) -> Iterator[tuple[Node, str]]:
    found: dict[str, Node] = {}
    for call in walk(source.root, "call_expression"):
        given, path = arguments(call), callee_path(call)
        if callee_name(call) != "set" or len(given) != 2 or len(path) < 2:
            continue
        function = enclosing_function(call)
        if function is not None and text(given[1]) in _made(function):
            found.setdefault(".".join(path[:-1]), call)
    yield from ((node, name) for name, node in found.items())


def _made(function: Node) -> set[str]:
    """The variables of a function that hold a new AbortController."""
    return {
        text(node.child_by_field_name("name"))
        for node in walk(function, "variable_declarator")
        if (value := node.child_by_field_name("value")) is not None
        and value.type == "new_expression"
        and text(value.child_by_field_name("constructor")) == "AbortController"
    }
