"""`isStreaming` that stays: in a view's state, and in a stored message."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tree_sitter import Node

from kit.doctor.repository.findings import Found, found
from kit.doctor.repository.reading import (
    Reading,
    arguments,
    field_of,
    inside,
    is_database_write,
    named,
    stream_loops,
)
from kit.repo.source import Source
from kit.repo.syntax import ancestors, callee_name, enclosing_function, text, walk

__all__ = ["rows_left_streaming", "states_left_streaming"]

_NAME = re.compile(r"^(?:is|are)?[A-Z]?\w*[sS]treaming$")
_IDENTIFIERS = ("identifier", "shorthand_property_identifier")


def states_left_streaming(reading: Reading) -> Iterator[Found]:
    """`streaming-not-cleared`: a `useState` flag that is only ever set to true.

    The flag is called isStreaming, or ends so. Its setter must be called with `true`,
    never with anything else, and never be handed on (returned, passed, put into an
    object): elsewhere it may be cleared.
    """
    for source in reading.repository.containing("useState"):
        for declarator in walk(source.root, "variable_declarator"):
            setter = _setter(declarator)
            if setter is not None:
                yield from _never_cleared(source, setter)


def _setter(declarator: Node) -> Node | None:
    """`setIsStreaming` of `const [isStreaming, setIsStreaming] = useState(…)`."""
    value = declarator.child_by_field_name("value")
    target = declarator.child_by_field_name("name")
    if value is None or target is None or target.type != "array_pattern":
        return None
    names = target.named_children
    if value.type != "call_expression" or callee_name(value) != "useState":
        return None
    if len(names) != 2 or not _NAME.match(text(names[0])):
        return None
    return names[1] if names[1].type == "identifier" else None


def _never_cleared(source: Source, setter: Node) -> Iterator[Found]:
    name = text(setter)
    first: Node | None = None
    for node in named(source, name):
        if node.type not in _IDENTIFIERS or node == setter:
            continue
        call = node.parent
        if call is None or call.type != "call_expression":
            if not _is_dependency(node):
                return
        elif [text(argument) for argument in arguments(call)] == ["true"]:
            first = first or call
        else:
            return
    if first is not None:
        seen = f"`{name}(true)`, and nowhere else is `{name}` called."
        yield found("streaming-not-cleared", source.place(first), seen)


def _is_dependency(node: Node) -> bool:
    """Whether a setter stands in the dependencies of an effect or a callback."""
    array = node.parent
    if array is None or array.type != "array" or array.parent is None:
        return False
    call = array.parent.parent
    names = ("useEffect", "useCallback", "useMemo", "useLayoutEffect")
    return call is not None and callee_name(call) in names


def rows_left_streaming(reading: Reading) -> Iterator[Found]:
    """`streaming-row-left`: a row is marked as streaming, and an error leaves it so.

    A `for await` loop in a `try` stores `isStreaming: true` with a database write; and
    `isStreaming` is written otherwise in no other place of the file than the body of
    this `try`, which an error leaves.
    """
    for source in reading.repository.containing(
        "isStreaming: true", "isStreaming:true"
    ):
        marks = [
            (call, value)
            for call in walk(source.root, "call_expression")
            if is_database_write(call)
            for value in _marks(call)
        ]
        set_ = [call for call, value in marks if value == "true"]
        cleared = [call for call, value in marks if value != "true"]
        for loop in stream_loops(source.root):
            body = _try_body(loop)
            inner = [call for call in set_ if inside(call, loop)]
            if body is None or not inner:
                continue
            if all(inside(call, body) for call in cleared):
                seen = (
                    "`isStreaming: true` is stored in the loop; where the error is "
                    "caught, nothing is."
                )
                yield found("streaming-row-left", source.place(inner[0]), seen)


def _marks(call: Node) -> Iterator[str]:
    """The values that a write gives to `isStreaming`."""
    for argument in arguments(call):
        for node in walk(argument, "object"):
            value = field_of(node, "isStreaming")
            if value is not None:
                yield text(value)


def _try_body(loop: Node) -> Node | None:
    """The body of the innermost `try` around a loop, in its own function."""
    function = enclosing_function(loop)
    for above in ancestors(loop):
        if above == function:
            return None
        if above.type == "try_statement":
            body = above.child_by_field_name("body")
            return body if inside(loop, body) else None
    return None
