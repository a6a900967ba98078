"""The kit's tables in a schema of the repository's: added, never dropped or renamed.

A table that is in both gets the optional fields and indexes that it lacks. What cannot
be added without harm, as a field that existing documents lack, is named and left.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tree_sitter import Node

from kit.apply.edits import Edit, add_import, edited, indent_unit, insert
from kit.apply.steps import Draft, StepNotes
from kit.deploy.project import SOURCE
from kit.repo.functions import read_schema
from kit.repo.source import Source
from kit.repo.syntax import callee_name, object_keys, string_value, text, walk

__all__ = ["merge_schema"]

_NAME = "streamingSchema"  # what the kit's schema is called in theirs


@dataclass
class _Table:
    """A table as it is defined; `fields` is None where they cannot be read."""

    value: Node
    object: Node | None = None
    fields: dict[str, str] = field(default_factory=dict)
    indexes: dict[str, str] = field(default_factory=dict)
    spread: list[str] = field(default_factory=list)


def merge_schema(draft: Draft, file: str, folder: str, notes: StepNotes) -> None:
    """Add the tables to the schema module, or make one."""
    path = f"./{folder}/schema"
    source = draft.source(file)
    if source is None:
        draft.bring(file, f'export {{ default }} from "{path}";\n', notes)
        return
    if re.search(
        rf"export \{{ default \}} from ['\"]{re.escape(path)}['\"]", source.text
    ):
        return
    if source.first_error is not None:
        notes.blocked.append(f"{source.first_error}: the file does not parse here.")
        return
    schema = read_schema(source)
    if schema.node is None:
        notes.todo.append(
            f"{file}: no `defineSchema({{…}})` can be read there. Add the kit's tables "
            f'by hand: `...{_NAME}.tables`, with `import {_NAME} from "{path}"`.'
        )
        return
    own = Source("schema.ts", (SOURCE / "schema.ts").read_bytes())
    ours, theirs = _Reader(own), _Reader(source)
    edits: list[Edit] = []
    new = []
    for name, value in read_schema(own).values.items():
        if name not in schema.values:
            new.append(name)
        elif text(schema.values[name]) != f"{_NAME}.tables.{name}":
            table = theirs.table(schema.values[name])
            edits += _merged(source, name, ours.table(value), table, notes)
    if new:
        edits.append(_new_tables(source, schema.node, new))
        notes.found.append(f"{file}: tables to add: {', '.join(new)}.")
    if not edits:
        return
    if not re.search(rf"import {_NAME} from", source.text):
        edits.append(add_import(source, _NAME, path))
    draft.write(file, edited(source, edits))


def _new_tables(source: Source, node: Node, names: list[str]) -> Edit:
    children = node.named_children
    indent = indent_unit(source)
    if children:
        indent = source.indent_at(children[0].start_byte) or indent
    lines = "".join(f"\n{indent}{name}: {_NAME}.tables.{name}," for name in names)
    if not children:
        return insert(node.start_byte + 1, f"{lines}\n")
    last = children[-1]
    rest = source.body[last.end_byte : node.end_byte]
    comma = re.match(rb"\s*,", rest)
    if comma:
        return insert(last.end_byte + comma.end(), lines)
    return insert(last.end_byte, f",{lines}")


def _merged(
    source: Source, name: str, ours: _Table, theirs: _Table, notes: StepNotes
) -> list[Edit]:
    place = source.place(theirs.value)
    if theirs.object is None or theirs.spread:
        notes.todo.append(
            f"{place}: the fields of `{name}` cannot be read there. See that it has "
            f"those of the kit's table: {', '.join(ours.fields)}."
        )
        return []
    clashes = []
    lacking = []
    for each, validator in ours.fields.items():
        if each in theirs.fields:
            if theirs.fields[each] != validator:
                clashes.append(
                    f"`{each}` is {_short(theirs.fields[each])}, the kit needs "
                    f"{_short(validator)}"
                )
        elif validator.startswith("v.optional("):
            lacking.append(each)
        else:
            clashes.append(
                f"`{each}` is missing, which every document has to have: "
                f"{_short(validator)}"
            )
    clashes += [
        f"`{each}` is required, and the kit's functions do not set it"
        for each, validator in theirs.fields.items()
        if each not in ours.fields and not validator.startswith("v.optional(")
    ]
    edits = []
    if lacking:
        edits.append(_new_fields(source, theirs.object, name, lacking))
    for index, columns in ours.indexes.items():
        if index not in theirs.indexes:
            indent = source.indent_at(theirs.value.end_byte)
            line = f'\n{indent}.index("{index}", {columns})'
            edits.append(insert(theirs.value.end_byte, line))
        elif theirs.indexes[index] != columns:
            clashes.append(f"the index `{index}` has {theirs.indexes[index]}")
    if clashes:
        notes.todo.append(
            f"{place}: your table `{name}` and the kit's differ, and are left so: "
            f"{'; '.join(clashes)}. Settle this before you deploy."
        )
    return edits


def _new_fields(source: Source, node: Node, table: str, names: list[str]) -> Edit:
    values = [
        f"{name}: {_NAME}.tables.{table}.validator.fields.{name}" for name in names
    ]
    children = node.named_children
    if not children:
        return insert(node.start_byte + 1, f" {', '.join(values)} ")
    first = children[0]
    is_own_line = not source.body[: first.start_byte].rpartition(b"\n")[2].strip()
    between = f",\n{source.indent_at(first.start_byte)}" if is_own_line else ", "
    return insert(first.start_byte, between.join(values) + between)


class _Reader:
    """Reads tables of one schema module; looks through its constants."""

    def __init__(self, source: Source) -> None:
        self._constants = {
            text(node.child_by_field_name("name")): node.child_by_field_name("value")
            for node in walk(source.root, "variable_declarator")
        }
        self._read: dict[str, str] = {}

    def table(self, value: Node) -> _Table:
        """Read `defineTable({…}).index(…)`."""
        table = _Table(value)
        for call in walk(value, "call_expression"):
            arguments = call.child_by_field_name("arguments")
            given = [] if arguments is None else arguments.named_children
            if callee_name(call) == "index" and len(given) == 2:
                table.indexes[string_value(given[0]) or ""] = text(given[1])
            elif callee_name(call) == "defineTable" and given:
                table.object = self._object(given[0])
        if table.object is not None:
            table.spread = object_keys(table.object)[1]
            for pair in table.object.named_children:
                key = pair.child_by_field_name("key")
                validator = pair.child_by_field_name("value")
                if pair.type == "pair" and validator is not None:
                    table.fields[string_value(key) or text(key)] = self._plain(
                        validator
                    )
                elif pair.type == "shorthand_property_identifier":
                    table.fields[text(pair)] = self._constant(text(pair))
        return table

    def _object(self, node: Node) -> Node | None:
        if node.type == "identifier":
            found = self._constants.get(text(node))
            return None if found is None else self._object(found)
        if node.type == "call_expression" and text(node).startswith("v.object("):
            arguments = node.child_by_field_name("arguments")
            given = [] if arguments is None else arguments.named_children
            return self._object(given[0]) if given else None
        return node if node.type == "object" else None

    def _constant(self, name: str) -> str:
        if name not in self._read:
            self._read[name] = name  # one that is made of itself ends here
            found = self._constants.get(name)
            if found is not None:
                self._read[name] = self._plain(found)
        return self._read[name]

    def _plain(self, node: Node) -> str:
        """A validator as text to compare: constants put in, without white space."""
        if node.type in ("identifier", "shorthand_property_identifier"):
            return self._constant(text(node))
        if node.type == "comment":
            return ""
        if node.type == "string":
            return f'"{string_value(node)}"'
        children = node.children
        if not children:
            return text(node)
        joined = "".join(self._plain(child) for child in children)
        return re.sub(r",(?=[)}\]])", "", joined)


def _short(validator: str) -> str:
    return validator if len(validator) <= 80 else f"{validator[:77]}…"
