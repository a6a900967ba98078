"""TypeScript's syntax trees, through tree-sitter: parse, walk, ask simple questions.

Knows TypeScript, not what a repository means by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import tree_sitter_typescript
from tree_sitter import Language, Node, Parser, Tree

__all__ = [
    "FUNCTIONS",
    "ancestors",
    "callee_name",
    "declared_names",
    "enclosing_function",
    "first_error",
    "function_name",
    "is_await",
    "object_keys",
    "parse",
    "statement_of",
    "string_value",
    "text",
    "walk",
]

FUNCTIONS = frozenset(
    {
        "method_definition",
        "function_declaration",
        "function_expression",
        "generator_function_declaration",
        "generator_function",
        "arrow_function",
    }
)
_BLOCKS = frozenset({"statement_block", "program", "switch_case", "switch_default"})
_NAMES = frozenset({"identifier", "shorthand_property_identifier_pattern"})


@cache
def _language(tsx: bool) -> Language:
    module = tree_sitter_typescript
    return Language(module.language_tsx() if tsx else module.language_typescript())


def parse(body: bytes, *, tsx: bool = False) -> Tree:
    """The syntax tree of a file; what cannot be read becomes ERROR nodes in it."""
    return Parser(_language(tsx)).parse(body)


def walk(node: Node, *types: str) -> Iterator[Node]:
    """The node and all below it, in the order of the text; only of these types."""
    pending = [node]
    while pending:
        current = pending.pop()
        if not types or current.type in types:
            yield current
        pending.extend(reversed(current.children))


def first_error(root: Node) -> Node | None:
    """The first node that is wrong or missing, None if the file parses."""
    if not root.has_error:
        return None
    return next((node for node in walk(root) if node.is_error or node.is_missing), root)


def text(node: Node | None) -> str:
    """The node as it is written; nothing for no node."""
    return "" if node is None or node.text is None else node.text.decode("utf-8")


def string_value(node: Node | None) -> str | None:
    """What a plain string literal says, as it is written between its quotes."""
    if node is None or node.type not in ("string", "template_string"):
        return None
    if any(child.type == "template_substitution" for child in node.children):
        return None
    return text(node)[1:-1]


def ancestors(node: Node) -> Iterator[Node]:
    parent = node.parent
    while parent is not None:
        yield parent
        parent = parent.parent


def enclosing_function(node: Node) -> Node | None:
    return next((above for above in ancestors(node) if above.type in FUNCTIONS), None)


def function_name(function: Node) -> str | None:
    """Its own name, or that of the variable or property that it is given to."""
    name = function.child_by_field_name("name")
    parent = function.parent
    if name is None and parent is not None:
        if parent.type in ("variable_declarator", "public_field_definition"):
            name = parent.child_by_field_name("name")
        elif parent.type == "pair":
            name = parent.child_by_field_name("key")
    return text(name) or None


def statement_of(node: Node) -> Node | None:
    """The statement that holds the node and stands in a block itself."""
    current = node
    for above in ancestors(node):
        if above.type in _BLOCKS:
            return current
        current = above
    return None


def callee_name(call: Node) -> str:
    """`emit` of `io.to(room).emit(…)`, `useTask` of `useTask(…)`."""
    function = call.child_by_field_name("function")
    if function is not None and function.type == "member_expression":
        function = function.child_by_field_name("property")
    if function is None or function.type not in ("identifier", "property_identifier"):
        return ""
    return text(function)


def is_await(loop: Node) -> bool:
    """Whether a `for … of` is a `for await`."""
    return any(child.type == "await" for child in loop.children)


def declared_names(pattern: Node | None) -> list[str]:
    """The names that a parameter or a declaration makes, of any pattern."""
    if pattern is None:
        return []
    if pattern.type in _NAMES:
        return [text(pattern)]
    match pattern.type:
        case "required_parameter" | "optional_parameter":
            return declared_names(pattern.child_by_field_name("pattern"))
        case "pair_pattern":
            return declared_names(pattern.child_by_field_name("value"))
        case "assignment_pattern" | "object_assignment_pattern":
            return declared_names(pattern.child_by_field_name("left"))
        case "formal_parameters" | "object_pattern" | "array_pattern" | "rest_pattern":
            return [
                name for child in pattern.children for name in declared_names(child)
            ]
    return []


def object_keys(node: Node) -> tuple[list[str], list[str]]:
    """The keys of an object literal, and what is spread into it, as written."""
    keys: list[str] = []
    spread: list[str] = []
    for child in node.named_children:
        match child.type:
            case "shorthand_property_identifier":
                keys.append(text(child))
            case "pair":
                key = child.child_by_field_name("key")
                keys.append(string_value(key) or text(key))
            case "method_definition":
                keys.append(text(child.child_by_field_name("name")))
            case "spread_element":
                spread.append(text(child.named_children[0]))
    return keys, spread
