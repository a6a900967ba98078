"""What nobody needs once the loop is gone: taken out, if that can have no effect.

Only names that the loop used are looked at; what else is unused is not ours to touch.
"""

from __future__ import annotations

from tree_sitter import Node

from kit.apply.edits import edited, prune_imports, removal
from kit.repo.source import Source
from kit.repo.syntax import FUNCTIONS, declared_names, function_name, text, walk

__all__ = ["without_leftovers"]

_LITERALS = frozenset(
    {"null", "undefined", "number", "string", "true", "false", "array", "object"}
)
_FALSY = frozenset({"null", "undefined", "false", "0", '""', "''"})
_NAMES = (
    "identifier",
    "type_identifier",
    "shorthand_property_identifier",
    "shorthand_property_identifier_pattern",
)
_ASSIGNMENTS = (
    "assignment_expression",
    "augmented_assignment_expression",
    "update_expression",
)


def without_leftovers(
    before: Source, after: Source, method: str
) -> tuple[bytes, list[str]]:
    """The changed file without leftovers; and the names of those that are left.

    An `if` whose variable is never set any more never runs; a variable or a type that
    nobody reads any more is not needed.
    """
    candidates = _shrunk(before, after)
    for _ in range(20):
        current = _one_round(after, method, candidates)
        if current is None:
            break
        after = current
        candidates |= _shrunk(before, after)
    result = Source(after.file, prune_imports(before, after))
    function = _function(result, method)
    unsure = []
    if function is not None:
        unsure = [
            name
            for declarator in walk(function, "variable_declarator")
            for name in declared_names(declarator.child_by_field_name("name"))
            if name in candidates and _count(function, name) == 1
        ]
    return result.data, unsure


def _one_round(source: Source, method: str, names: set[str]) -> Source | None:
    function = _function(source, method)
    if function is None:
        return None
    for node in walk(function, "if_statement"):
        if node.child_by_field_name("alternative") is None and _never(
            function, node.child_by_field_name("condition"), names
        ):
            return _less(source, node)
    for node in walk(function, "lexical_declaration"):
        if _is_unused(function, node, names):
            return _less(source, node)
    for node in source.root.named_children:
        if _is_unused(source.root, node, names):
            return _less(source, node)
    return None


def _less(source: Source, node: Node) -> Source:
    edit = removal(source, node, with_comment=True)
    return Source(source.file, edited(source, [edit]))


def _never(function: Node, condition: Node | None, names: set[str]) -> bool:
    """Whether a condition is a variable that starts out falsy and is never set."""
    if condition is None or len(condition.named_children) != 1:
        return False
    variable = condition.named_children[0]
    name = text(variable)
    if variable.type != "identifier" or name not in names:
        return False
    for node in walk(function, *_ASSIGNMENTS):
        target = node.child_by_field_name("left") or node.child_by_field_name(
            "argument"
        )
        if text(target) == name:
            return False
    declared = [
        node
        for node in walk(function, "variable_declarator")
        if text(node.child_by_field_name("name")) == name
    ]
    if len(declared) != 1:
        return False
    value = declared[0].child_by_field_name("value")
    return value is None or text(value) in _FALSY


def _is_unused(scope: Node, node: Node, names: set[str]) -> bool:
    """Whether a declaration only makes names that nobody reads."""
    if node.type in ("type_alias_declaration", "interface_declaration"):
        name = text(node.child_by_field_name("name"))
        return name in names and _count(scope, name) == 1
    if node.type != "lexical_declaration":
        return False
    for declarator in node.named_children:
        if declarator.type != "variable_declarator":
            continue
        target = declarator.child_by_field_name("name")
        if target is None or target.type != "identifier":
            return False
        if text(target) not in names or _count(scope, text(target)) != 1:
            return False
        if not _has_no_effect(declarator.child_by_field_name("value")):
            return False
    return True


def _has_no_effect(value: Node | None) -> bool:
    if value is None:
        return True
    if value.type == "new_expression":
        made = text(value.child_by_field_name("constructor"))
        return made in ("Map", "Set", "Array")
    return value.type in _LITERALS and not any(
        walk(value, "call_expression", "new_expression", "await_expression")
    )


def _function(source: Source, method: str) -> Node | None:
    return next(
        (n for n in walk(source.root, *FUNCTIONS) if function_name(n) == method), None
    )


def _count(scope: Node, name: str) -> int:
    return sum(text(node) == name for node in walk(scope, *_NAMES))


def _shrunk(before: Source, after: Source) -> set[str]:
    """The names that stand less often in a file than before."""
    counts: dict[str, int] = {}
    for sign, source in ((1, before), (-1, after)):
        for node in walk(source.root, *_NAMES):
            counts[text(node)] = counts.get(text(node), 0) + sign
    return {name for name, count in counts.items() if count > 0}
