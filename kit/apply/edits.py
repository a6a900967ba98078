"""Edits of one source file: spans replaced, line ends, indents and a BOM kept."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from tree_sitter import Node

from kit.repo.source import Source
from kit.repo.syntax import string_value, text, walk

__all__ = [
    "Edit",
    "add_import",
    "edited",
    "import_path",
    "indent_unit",
    "insert",
    "prune_imports",
    "removal",
]


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """Replace the bytes from `start` to `end` of a source's body by `text`."""

    start: int
    end: int
    text: str


def insert(position: int, text: str) -> Edit:
    return Edit(position, position, text)


def edited(source: Source, edits: Iterable[Edit]) -> bytes:
    """The file with edits that do not overlap. `\\n` becomes its line end."""
    body = source.body
    pieces = []
    position = 0
    for edit in sorted(edits):
        assert edit.start >= position, f"overlapping edits in {source.file}"
        new = edit.text.replace("\n", source.newline)
        pieces += [body[position : edit.start], new.encode()]
        position = edit.end
    return source.bom + b"".join([*pieces, body[position:]])


def removal(source: Source, node: Node, *, with_comment: bool = False) -> Edit:
    """Take out a statement with its lines, and the comment right above it if asked."""
    start_node = node
    while (
        with_comment
        and (above := start_node.prev_sibling) is not None
        and above.type == "comment"
        and above.end_point.row == start_node.start_point.row - 1
        and _is_alone(source, above)
    ):
        start_node = above
    body = source.body
    start, end = start_node.start_byte, node.end_byte
    line_start = body.rfind(b"\n", 0, start) + 1
    line_end = body.find(b"\n", end)
    line_end = len(body) if line_end < 0 else line_end + 1
    if body[line_start:start].strip() or body[end:line_end].strip(b" \t\r\n;"):
        return Edit(start, end, "")
    # Of two blank lines, around what is taken out, one is enough.
    if _is_blank_before(body, line_start) and _is_blank_after(body, line_end):
        line_end = body.find(b"\n", line_end) + 1
    return Edit(line_start, line_end, "")


def _is_alone(source: Source, node: Node) -> bool:
    start = source.body.rfind(b"\n", 0, node.start_byte) + 1
    return not source.body[start : node.start_byte].strip()


def _is_blank_before(body: bytes, position: int) -> bool:
    above = body[:position].rstrip(b" \t\r")
    before = above[:-1].rstrip(b" \t\r")
    return before.endswith((b"\n", b"{")) or not before


def _is_blank_after(body: bytes, position: int) -> bool:
    line, newline, _ = body[position:].partition(b"\n")
    return bool(newline) and not line.strip()


def indent_unit(source: Source) -> str:
    """What one level of indentation is in this file: a tab, two spaces or four."""
    indents = re.findall(rb"^([ \t]+)(?=[^\s*])", source.body, re.MULTILINE)
    if any(indent.startswith(b"\t") for indent in indents):
        return "\t"
    widths = [len(indent) for indent in indents]
    return " " * min((width for width in widths if width > 1), default=2)


# --- imports ------------------------------------------------------------------------


def import_path(source: Source, target: str) -> str:
    """How a module names another one: `../lib/x`, with `.js` where it writes that."""
    folder = PurePosixPath(source.file).parent
    path = PurePosixPath(os.path.relpath(target, folder)).as_posix()
    path = re.sub(r"(\.d)?\.[mc]?tsx?$", "", path)
    if not path.startswith("."):
        path = f"./{path}"
    return f"{path}.js" if _writes_js(source) else path


def _writes_js(source: Source) -> bool:
    found = [
        value
        for node in source.root.named_children
        if node.type == "import_statement"
        and (value := string_value(node.child_by_field_name("source"))) is not None
        and value.startswith(".")
    ]
    return bool(found) and all(value.endswith(".js") for value in found)


def add_import(source: Source, names: str, path: str) -> Edit:
    """`import { names } from "path";`, after the imports that there are."""
    line = f'import {names} from "{path}";'
    if _quote(source) == "'":
        line = line.replace('"', "'")
    imports = [n for n in source.root.named_children if n.type == "import_statement"]
    if imports:
        return insert(imports[-1].end_byte, f"\n{line}")
    for node in source.root.named_children:
        # After directives and the comment at the top.
        is_directive = (
            node.type == "expression_statement"
            and node.named_children[0].type == "string"
        )
        if node.type != "comment" and not is_directive:
            return insert(node.start_byte, f"{line}\n\n")
    return insert(len(source.body), f"{line}\n")


def _quote(source: Source) -> str:
    for node in source.root.named_children:
        if node.type == "import_statement":
            return text(node.child_by_field_name("source"))[0]
    return '"'


def prune_imports(before: Source, after: Source) -> bytes:
    """The file without imports of names that were used before and no longer are."""
    used = _references(before) - _references(after)
    edits: list[Edit] = []
    for node in after.root.named_children:
        if node.type != "import_statement":
            continue
        clause = next((c for c in node.children if c.type == "import_clause"), None)
        if clause is None:
            continue
        specifiers = list(walk(clause, "import_specifier"))
        unused = [n for n in specifiers if _local_name(n) in used]
        others = [n for n in clause.named_children if n.type != "named_imports"]
        gone = [n for n in others if n.type == "identifier" and text(n) in used]
        if not unused and not gone:
            continue
        if len(unused) == len(specifiers) and len(gone) == len(others):
            edits.append(removal(after, node))
        elif len(unused) < len(specifiers):
            kept = [each for each in specifiers if each not in unused]
            edits.append(_listing(after, kept))
    return edited(after, edits)


def _listing(source: Source, specifiers: list[Node]) -> Edit:
    """The braces of an import with only these names, laid out as they were."""
    braces = specifiers[0].parent
    assert braces is not None
    names = [text(each) for each in specifiers]
    if b"\n" in source.body[braces.start_byte : braces.end_byte]:
        indent = source.indent_at(specifiers[0].start_byte)
        listed = "".join(f"{indent}{name},\n" for name in names)
        return Edit(braces.start_byte, braces.end_byte, f"{{\n{listed}}}")
    return Edit(braces.start_byte, braces.end_byte, f"{{ {', '.join(names)} }}")


def _local_name(specifier: Node) -> str:
    alias = specifier.child_by_field_name("alias")
    return text(alias or specifier.child_by_field_name("name"))


def _references(source: Source) -> set[str]:
    """The names that are used anywhere but in imports."""
    return {
        text(name)
        for node in source.root.named_children
        if node.type != "import_statement"
        for name in walk(
            node, "identifier", "type_identifier", "shorthand_property_identifier"
        )
    }
