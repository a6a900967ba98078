"""Option 2: the events that streamed text are no longer emitted; the others are.

Taken out are emits that stand as statements, and functions that did nothing else, with
their calls. What also carries something else, as a `stream-chunk` of another type, is
left and named.
"""

from __future__ import annotations

from collections.abc import Iterator

from tree_sitter import Node

from kit.apply.edits import edited, prune_imports, removal
from kit.apply.steps import Draft, StepNotes
from kit.repo.layout import Layout
from kit.repo.places import Place
from kit.repo.socket_events import STREAMED, emits_in
from kit.repo.source import Source
from kit.repo.syntax import (
    enclosing_function,
    string_value,
    text,
    walk,
)

__all__ = ["remove_events"]

# What a stream-chunk carries of a reply; a type that is not here is something else.
_OF_A_REPLY = frozenset(
    {
        "content", "text", "text-delta", "reasoning", "reasoning-signature",
        "redacted-reasoning", "thinking", "tool-call", "tool-call-start",
        "tool-call-delta", "tool-result", "usage", "complete", "error",
    }
)  # fmt: skip


def remove_events(draft: Draft, layout: Layout, notes: StepNotes) -> None:
    """Take out what emits the three events on the server."""
    frontend = layout.frontend
    folder = None if frontend is None else f"{frontend.folder}/"
    sources = {
        source.file: source
        for source in draft.sources(*STREAMED)
        if folder is None or not source.file.startswith(folder)
    }
    emits = [emit for each in sources.values() for emit in emits_in(each, each.root)]
    if emits:
        notes.found.append(f"Emitted at {', '.join(str(e.place) for e in emits)}.")
    else:
        notes.found.append("The server emits none of the three events.")
    broken = [each.first_error for each in sources.values() if each.first_error]
    for place in broken:
        notes.blocked.append(f"{place}: the file does not parse here. Mend it first.")
    if not broken:
        _Removal(draft, sources, notes).run()
    heard = [place for event in STREAMED for place in layout.events.handled[event]]
    if heard:
        files = ", ".join(dict.fromkeys(place.file for place in heard))
        notes.todo.append(
            f"{files}: listeners of these events are left. They hear nothing any more; "
            "take them out when you no longer want to roll back."
        )


class _Removal:
    """Rounds of taking out, until a round finds nothing: a function that is empty then
    goes, and so do its calls in the next one.
    """

    def __init__(
        self, draft: Draft, sources: dict[str, Source], notes: StepNotes
    ) -> None:
        self._draft = draft
        self._before = sources
        self._notes = notes
        self._left: dict[str, Place] = {}
        self._kept: set[str] = set()

    def run(self) -> None:
        for file in list(self._before):
            self._emits(file)
        while (wrapper := self._empty_function()) is not None:
            self._remove_function(*wrapper)
        for file, before in self._before.items():
            after = self._draft.source(file)
            if after is not None and after.data != before.data:
                self._draft.write(file, prune_imports(before, after))
        for why, place in self._left.items():
            self._notes.todo.append(f"{place}: left, {why}")

    def _source(self, file: str) -> Source:
        source = self._draft.source(file)
        assert source is not None
        return source

    def _emits(self, file: str) -> None:
        """One at a time: positions change with each."""
        while True:
            source = self._source(file)
            for emit in emits_in(source, source.root):
                if (node := self._removable(source, emit.node)) is not None:
                    self._take_out(source, node)
                    break
            else:
                return

    def _removable(self, source: Source, call: Node) -> Node | None:
        """The statement that goes with a call, None if the call has to stay."""
        place = source.place(call)
        if (kind := _foreign_type(call)) is not None:
            self._left[f"it carries `{kind}`, which is no part of a reply."] = place
            return None
        if (other := self._carried_through(call, set())) is not None:
            self._left[other] = place
            return None
        statement = _statement(call)
        if statement is None:
            self._left["it is part of an expression: take it out by hand."] = place
        return statement

    def _carried_through(self, call: Node, seen: set[str]) -> str | None:
        """What is not of a reply and comes this way too, through functions; or None."""
        wrapper = enclosing_function(call)
        if wrapper is None or wrapper.type != "function_declaration":
            return None
        name = text(wrapper.child_by_field_name("name"))
        if name in seen:
            return None
        seen.add(name)
        for caller, user in self._uses(name):
            if (kind := _foreign_type(user)) is not None:
                return f"because {name} also carries `{kind}`: {caller}."
            if (other := self._carried_through(user, seen)) is not None:
                return other
        return None

    def _uses(self, name: str) -> Iterator[tuple[Place, Node]]:
        """Each call of a function, or the name where it is not called."""
        for source in self._draft.sources(name):
            if source.file not in self._before:
                self._before[source.file] = source
            for node in walk(source.root, "identifier"):
                if text(node) != name or node.parent is None:
                    continue
                parent = node.parent
                if parent.type in (
                    "import_specifier",
                    "export_specifier",
                    "function_declaration",
                ):
                    continue
                called = parent.child_by_field_name("function")
                user = parent if called == node else node
                yield source.place(user), user

    def _take_out(self, source: Source, node: Node) -> None:
        while True:
            edit = removal(source, node, with_comment=True)
            data = edited(source, [edit])
            self._draft.write(source.file, data)
            source = self._source(source.file)
            emptied = _emptied_if(source, edit.start)
            if emptied is None:
                return
            node = emptied

    def _empty_function(self) -> tuple[str, str] | None:
        for file, before in self._before.items():
            had = {
                text(n.child_by_field_name("name"))
                for n in walk(before.root, "function_declaration")
                if not _is_empty(n)
            }
            for node in walk(self._source(file).root, "function_declaration"):
                name = text(node.child_by_field_name("name"))
                if _is_empty(node) and name in had and name not in self._kept:
                    return file, name
        return None

    def _remove_function(self, file: str, name: str) -> None:
        for place, user in list(self._uses(name)):
            if user.type != "call_expression" or _statement(user) is None:
                why = f"{name} does nothing any more: take it out by hand."
                self._left[why] = place
                self._kept.add(name)
                return
        for caller in list(self._before):
            self._calls_out(caller, name)
        source = self._source(file)
        for node in walk(source.root, "function_declaration"):
            if text(node.child_by_field_name("name")) == name:
                parent = node.parent
                is_exported = parent is not None and parent.type == "export_statement"
                self._take_out(source, parent if is_exported and parent else node)
                return

    def _calls_out(self, file: str, name: str) -> None:
        while True:
            source = self._source(file)
            for call in walk(source.root, "call_expression"):
                function = call.child_by_field_name("function")
                statement = _statement(call)
                if text(function) == name and statement is not None:
                    self._take_out(source, statement)
                    break
            else:
                return


def _foreign_type(call: Node) -> str | None:
    """The type of what a call carries, if it is written there and not a reply's."""
    arguments = call.child_by_field_name("arguments")
    if arguments is None:
        return None
    for given in arguments.named_children:
        for pair in given.named_children if given.type == "object" else ():
            if pair.type == "pair" and text(pair.child_by_field_name("key")) == "type":
                kind = string_value(pair.child_by_field_name("value"))
                if kind is not None and kind not in _OF_A_REPLY:
                    return kind
    return None


def _statement(call: Node) -> Node | None:
    """The statement that is nothing but this call, if it stands in a block."""
    node = call
    parent = node.parent
    while parent is not None and (
        parent.type == "await_expression"
        or (parent.type == "unary_expression" and text(parent).startswith("void"))
    ):
        node, parent = parent, parent.parent
    if parent is None or parent.type != "expression_statement":
        return None
    block = parent.parent
    if block is not None and block.type == "if_statement":
        has_effect = any(walk(block.named_children[0], "call_expression"))
        has_else = block.child_by_field_name("alternative") is not None
        return None if has_effect or has_else else block
    blocks = ("statement_block", "program", "switch_case", "switch_default")
    return parent if block is not None and block.type in blocks else None


def _emptied_if(source: Source, position: int) -> Node | None:
    """An `if` around a position that has nothing left in it."""
    node = source.root.descendant_for_byte_range(max(position - 1, 0), position)
    while node is not None and node.type != "if_statement":
        if node.type == "function_declaration":
            return None
        node = node.parent
    if node is None or node.child_by_field_name("alternative") is not None:
        return None
    body = node.child_by_field_name("consequence")
    condition = node.child_by_field_name("condition")
    if body is None or condition is None or body.type != "statement_block":
        return None
    if any(child.type != "comment" for child in body.named_children):
        return None
    return None if any(walk(condition, "call_expression")) else node


def _is_empty(function: Node) -> bool:
    body = function.child_by_field_name("body")
    return body is not None and all(n.type == "comment" for n in body.named_children)
