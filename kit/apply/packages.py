"""The packages that the functions need, in the `package.json` above them."""

from __future__ import annotations

import json

from tree_sitter import Node

from kit.apply.edits import Edit, edited, insert
from kit.apply.steps import Draft, StepNotes
from kit.deploy.project import SOURCE
from kit.repo.layout import Layout
from kit.repo.source import Source
from kit.repo.syntax import parse, string_value, walk

__all__ = ["add_packages", "needed_packages"]


def needed_packages() -> dict[str, str]:
    """Name and version of each, as the functions are tested with them."""
    package = json.loads((SOURCE / "package.json").read_text(encoding="utf-8"))
    return dict(package["dependencies"])


def add_packages(draft: Draft, layout: Layout, notes: StepNotes) -> None:
    """Add what is not there; what is there in another version is left."""
    file = layout.functions.package
    listed = ", ".join(
        f"{name}@{version}" for name, version in needed_packages().items()
    )
    source = None if file is None else draft.source(file)
    if file is None or source is None:
        notes.todo.append(f"No package.json was found. Install {listed}.")
        return
    try:
        package = json.loads(source.text)
        known = {
            **package.get("devDependencies", {}),
            **package.get("dependencies", {}),
        }
    except (ValueError, AttributeError, TypeError):
        notes.blocked.append(f"{file} cannot be read as a package.json. Mend it first.")
        return
    new = {k: v for k, v in needed_packages().items() if k not in known}
    for name, version in needed_packages().items():
        if name in known and _major(known[name]) != _major(version):
            notes.todo.append(
                f"{file} has {name} {known[name]}; the functions are tested with "
                f"{version}. It is left as it is."
            )
    if not new:
        return
    edit = _added(source, new)
    if edit is None:
        notes.todo.append(f"{file}: add {listed} to its dependencies.")
        return
    draft.write(file, edited(source, [edit]))
    notes.todo.append(f"Install the packages: {', '.join(new)} are new in {file}.")


def _major(version: object) -> str:
    return str(version).lstrip("^~>=v ").partition(".")[0]


def _added(source: Source, packages: dict[str, str]) -> Edit | None:
    """The new ones, at the end of `dependencies`, which is made if there is none."""
    # As an expression, JSON is TypeScript; one byte for the bracket in front.
    root = parse(b"(" + source.body + b")").root_node
    whole = next(walk(root, "object"), None)
    if whole is None:
        return None
    items = [f'"{name}": "{version}"' for name, version in packages.items()]
    dependencies = _value(whole, "dependencies")
    target = dependencies or whole
    if not target.named_children:
        return None
    last = target.named_children[-1]
    indent = source.indent_at(last.start_byte - 1)
    unit = source.indent_at(whole.named_children[0].start_byte - 1)
    if dependencies is None:
        inner = f",\n{indent}{unit}".join(items)
        items = [f'"dependencies": {{\n{indent}{unit}{inner}\n{indent}}}']
    return insert(last.end_byte - 1, "".join(f",\n{indent}{item}" for item in items))


def _value(node: Node, key: str) -> Node | None:
    for pair in node.named_children:
        if string_value(pair.child_by_field_name("key")) == key:
            return pair.child_by_field_name("value")
    return None
