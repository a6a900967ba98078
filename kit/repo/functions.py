"""The repository's Convex functions: their folder, modules and schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tree_sitter import Node

from kit.repo.files import Repository
from kit.repo.places import Missing, Place
from kit.repo.settings import Settings
from kit.repo.source import Source
from kit.repo.syntax import callee_name, declared_names, string_value, text, walk

__all__ = ["Functions", "Schema", "exported_names", "find_functions"]


@dataclass(frozen=True)
class Schema:
    """A schema module. `tables`: the values in `defineSchema({…})` by table name.

    `node` is that object literal, None where there is none to be read.
    """

    source: Source
    tables: dict[str, Place]
    node: Node | None = field(repr=False, compare=False)
    values: dict[str, Node] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Functions:
    """The functions' folder, which need not be there yet, and its `package.json`."""

    folder: str
    exists: bool
    package: str | None
    schema: Schema | None
    modules: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()

    def file(self, name: str) -> str:
        return str(PurePosixPath(self.folder) / name)


def find_functions(repository: Repository, settings: Settings) -> Functions:
    """The `convex/` folder: that of the settings, of `convex.json`, or by content."""
    missing: tuple[Missing, ...] = ()
    if settings.convex is not None:
        folders = [repository.inside(settings.convex, "The functions")]
    else:
        folders = _named(repository) or sorted(set(_with_functions(repository)))
    if len(folders) > 1:
        listed = ", ".join(folders)
        todo = "Say which one is meant with `convex` in the TOML file."
        missing = (Missing(f"There are several Convex folders: {listed}", todo),)
    folder = folders[0] if len(folders) == 1 else "convex"
    modules = tuple(
        file
        for file in repository.typescript()
        if PurePosixPath(file).is_relative_to(folder)
    )
    source = repository.source(f"{folder}/schema.ts")
    return Functions(
        folder=folder,
        exists=bool(modules),
        package=_package(repository, folder),
        schema=None if source is None else read_schema(source),
        modules=modules,
        missing=missing,
    )


def read_schema(source: Source) -> Schema:
    """The tables that a schema module defines by name."""
    for call in walk(source.root, "call_expression"):
        arguments = call.child_by_field_name("arguments")
        if callee_name(call) != "defineSchema" or arguments is None:
            continue
        given = arguments.named_children
        if given and given[0].type == "object":
            values = {
                string_value(key) or text(key): value
                for pair in given[0].named_children
                if pair.type == "pair"
                and (key := pair.child_by_field_name("key")) is not None
                and (value := pair.child_by_field_name("value")) is not None
            }
            # `{ messages }` and `{ ...more }` name tables that stand elsewhere.
            for node in given[0].named_children:
                if node.type == "shorthand_property_identifier":
                    values[text(node)] = node
            places = {name: source.place(value) for name, value in values.items()}
            return Schema(source, places, given[0], values)
    return Schema(source, {}, None, {})


def exported_names(source: Source) -> frozenset[str]:
    """The names that a module exports, `default` among them."""
    return frozenset(_exports(source.root))


def _exports(root: Node) -> Iterator[str]:
    for node in root.named_children:
        if node.type != "export_statement":
            continue
        if any(child.type == "default" for child in node.children):
            yield "default"
        declaration = node.child_by_field_name("declaration")
        if declaration is not None:
            if name := declaration.child_by_field_name("name"):
                yield text(name)
            for each in declaration.named_children:
                if each.type == "variable_declarator":
                    yield from declared_names(each.child_by_field_name("name"))
        for specifier in walk(node, "export_specifier"):
            alias = specifier.child_by_field_name("alias")
            yield text(alias or specifier.child_by_field_name("name"))


def _named(repository: Repository) -> list[str]:
    """The folders that `convex.json` files name."""
    found = []
    for file in repository.files:
        path = PurePosixPath(file)
        source = repository.source(file) if path.name == "convex.json" else None
        if source is None:
            continue
        try:
            named = json.loads(source.text).get("functions", "convex/")
        except (ValueError, AttributeError):
            continue
        if isinstance(named, str):
            where = str(path.parent / named)
            found.append(repository.inside(where, f"`functions` in {file}"))
    return found


def _with_functions(repository: Repository) -> Iterator[str]:
    for file in repository.files:
        path = PurePosixPath(file)
        parts = path.parts[:-1]
        if "convex" in parts and _is_functions_file(repository, path):
            yield "/".join(parts[: parts.index("convex") + 1])


def _is_functions_file(repository: Repository, path: PurePosixPath) -> bool:
    """Whether a file is of functions; a folder of hooks may be called so, too."""
    if path.parent.name == "_generated":
        return True
    if path.suffix != ".ts" or path.parent.name != "convex":
        return False
    source = repository.source(str(path))
    return source is not None and (
        b"_generated/server" in source.body or b"convex/server" in source.body
    )


def _package(repository: Repository, folder: str) -> str | None:
    """The nearest package.json, from the folder upwards."""
    for above in (PurePosixPath(folder), *PurePosixPath(folder).parents):
        if repository.is_file(file := str(above / "package.json")):
            return file
    return None
