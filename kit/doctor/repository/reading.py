"""What detectors look at: a repository's layout, how far it is, and a few questions.

A detector is a function that takes a Reading and yields findings. It looks at the
syntax tree, so that formatting does not matter, and says nothing where it cannot be
certain: a finding that is wrong costs more than one that is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from tree_sitter import Node

from kit.doctor.repository.findings import State
from kit.repo import Layout, Repository
from kit.repo.source import Source
from kit.repo.syntax import ancestors, callee_name, is_await, string_value, text, walk

__all__ = [
    "MODEL_KEY",
    "Reading",
    "arguments",
    "callee_path",
    "field_of",
    "inside",
    "is_database_update",
    "is_database_write",
    "named",
    "stream_loops",
]

MODEL_KEY = "apiKeys"
_SQL = frozenset({"prisma", "tx", "trx", "db", "database"})
_NEW = frozenset({"create", "createMany"})
_CHANGES = frozenset({"update", "updateMany", "upsert"})
_MUTATIONS = frozenset({"mutation", "runMutation"})


@dataclass(frozen=True)
class Reading:
    """A repository as it was found."""

    layout: Layout

    @property
    def repository(self) -> Repository:
        return self.layout.repository

    @cached_property
    def state(self) -> State:
        """How far the migration is: by the loop, and by the calls of Convex."""
        server = self.layout.server
        if server.loop is not None:
            return "option-1" if server.convex_calls else "before"
        # Where several loops were found, none is known to be the one.
        if server.convex_calls and not server.missing:
            return "option-2"
        return "unclear"

    def is_frontend(self, file: str) -> bool:
        frontend = self.layout.frontend
        return frontend is not None and _is_below(file, frontend.folder)

    def is_function(self, file: str) -> bool:
        """Whether a file is in the folder of the Convex functions."""
        return _is_below(file, self.layout.functions.folder)


def _is_below(file: str, folder: str) -> bool:
    return PurePosixPath(file).is_relative_to(folder)


def callee_path(call: Node) -> tuple[str, ...]:
    """`("this", "prisma", "task", "update")`; empty if it is no plain path."""
    node = call.child_by_field_name("function")
    names: list[str] = []
    while node is not None and node.type == "member_expression":
        names.append(text(node.child_by_field_name("property")))
        node = node.child_by_field_name("object")
        while node is not None and node.type == "non_null_expression":
            node = node.named_children[0]
    if node is None or node.type not in ("identifier", "this"):
        return ()
    return (text(node), *reversed(names))


def arguments(call: Node) -> list[Node]:
    given = call.child_by_field_name("arguments")
    if given is None or given.type != "arguments":
        return []
    return [node for node in given.named_children if node.type != "comment"]


def named(source: Source, name: str) -> Iterator[Node]:
    """The nodes of a file that are this name, without a walk over all of it."""
    for match in re.finditer(rf"\b{re.escape(name)}\b".encode(), source.body):
        node = source.root.descendant_for_byte_range(match.start(), match.end())
        if node is not None and text(node) == name:
            yield node


def field_of(value: Node | None, name: str) -> Node | None:
    """The value of a field of an object literal; its own node if it is shorthand."""
    if value is None or value.type != "object":
        return None
    for child in value.named_children:
        if child.type == "pair":
            key = child.child_by_field_name("key")
            if (string_value(key) or text(key)) == name:
                return child.child_by_field_name("value")
        elif child.type == "shorthand_property_identifier" and text(child) == name:
            return child
    return None


def inside(node: Node, container: Node | None) -> bool:
    """Whether the node is the container, or below it."""
    if container is None:
        return False
    return node == container or any(above == container for above in ancestors(node))


def stream_loops(root: Node) -> list[Node]:
    """The `for await` loops below a node."""
    return [loop for loop in walk(root, "for_in_statement") if is_await(loop)]


def is_database_write(call: Node) -> bool:
    """Whether a call writes rows or documents: an update, or a new one.

    New ones are made by `prisma.x.create(…)`, `ctx.db.insert(…)` and Drizzle's
    `db.insert(x).values(…)`.
    """
    return is_database_update(call) or _is_write(call, _NEW, "insert", "values")


def is_database_update(call: Node) -> bool:
    """Whether a call changes rows or documents, or may: Prisma, `ctx.db`, a mutation.

    `prisma.x.update(…)`, `tx.x.upsert(…)`, `ctx.db.patch(…)`, `ctx.runMutation(…)`,
    `client.mutation(…)`, and Drizzle's `db.update(x).set(…)`.
    """
    if callee_name(call) in _MUTATIONS:
        return len(callee_path(call)) > 1
    if callee_path(call)[-2:] in (("db", "patch"), ("db", "replace")):
        return True
    return _is_write(call, _CHANGES, "update", "set")


def _is_write(call: Node, methods: frozenset[str], made_by: str, ends: str) -> bool:
    name, path = callee_name(call), callee_path(call)
    if name == made_by == "insert" and path[-2:-1] == ("db",):
        return True
    if name in methods:
        return len(path) > 2 and not _SQL.isdisjoint(path[:-1])
    function = call.child_by_field_name("function")
    made = None if function is None else function.child_by_field_name("object")
    if name != ends or made is None or made.type != "call_expression":
        return False
    return callee_path(made)[-1:] == (made_by,) and not _SQL.isdisjoint(
        callee_path(made)[:-1]
    )
