"""Calls of Convex functions, against the functions that the repository has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tree_sitter import Node

from kit.doctor.repository.findings import Found, found
from kit.doctor.repository.reading import Reading, arguments, named
from kit.repo.functions import exported_names
from kit.repo.source import Source
from kit.repo.syntax import (
    ancestors,
    callee_name,
    declared_names,
    object_keys,
    string_value,
    text,
    walk,
)

__all__ = ["function_calls"]

# What a caller may do with a function of each kind.
_CALLED_AS: Mapping[str, str] = {
    "query": "query",
    "mutation": "mutation",
    "action": "action",
    "useQuery": "query",
    "useMutation": "mutation",
    "useAction": "action",
    "fetchQuery": "query",
    "fetchMutation": "mutation",
    "fetchAction": "action",
}
_GENERATED = "_generated/api"
_STATEMENTS = frozenset(
    {"statement_block", "expression_statement", "lexical_declaration", "program"}
)
_WITH_ARGS = frozenset({"query", "mutation", "action", "useQuery"})
_KINDS = frozenset({"query", "mutation", "action"})


@dataclass(frozen=True)
class _Function:
    """A function as it is exported; `kind`, `required`, `known`: None if unreadable."""

    kind: str | None = None
    required: frozenset[str] | None = None
    known: frozenset[str] | None = None


def function_calls(reading: Reading) -> Iterator[Found]:
    """References `api.module.name`, where `api` comes from `_generated/api`.

    `function-unknown`: the Convex folder has no such module, or the module exports no
    such name and passes on nobody else's exports (`export *`). `function-kind`: it is
    called as another kind than Convex's own builder made it. `function-args`: the
    call's arguments are an object literal without spreads, the function's `args` are
    one, too, and a required field is missing or a field is unknown.
    """
    if not reading.layout.functions.exists:
        return
    modules = _modules(reading)
    for source in reading.repository.containing(_GENERATED):
        if not _imports_api(source):
            continue
        for name in named(source, "api"):
            node, path = _path(name)
            if path is None:
                continue
            module, member = "/".join(path[:-1]), path[-1]
            exports = modules.get(module, {})
            if exports is None:
                continue
            function = exports.get(member)
            if function is None:
                seen = f"`api.{'.'.join(path)}`: "
                seen += f"`{module}.ts` does not export `{member}`."
                if module not in modules:
                    seen = f"`api.{'.'.join(path)}`: there is no module `{module}.ts`."
                yield found("function-unknown", source.place(node), seen)
            else:
                yield from _misused(source, node, function, ".".join(path))


def _imports_api(source: Source) -> bool:
    """Whether `api` in a module is the generated one, and nothing else."""
    generated = False
    for name in named(source, "api"):
        for above in ancestors(name):
            if above.type == "import_specifier":
                generated = generated or _is_generated(source, above)
            elif above.type == "variable_declarator":
                if "api" in declared_names(above.child_by_field_name("name")):
                    # `const { api } = await import("…/_generated/api")`
                    if _GENERATED not in text(above.child_by_field_name("value")):
                        return False
                    generated = True
            else:
                continue
            break
    return generated


def _is_generated(source: Source, specifier: Node) -> bool:
    """Whether an import is that of the generated module, under its own name."""
    if text(specifier) != "api":
        return False
    statement = next(n for n in ancestors(specifier) if n.type == "import_statement")
    where = string_value(statement.child_by_field_name("source")) or ""
    return where.removesuffix(".js").endswith(_GENERATED)


def _path(api: Node) -> tuple[Node, list[str] | None]:
    """`["streaming", "send"]` of `api.streaming.send`, and the node of all of it."""
    node, names = api, []
    for above in ancestors(api):
        if above.type == "type_query":
            return node, None  # `typeof api.…` calls nothing, and tsc checks it
        inner = above.child_by_field_name("object")
        if above.type == "member_expression" and inner == node:
            names.append(text(above.child_by_field_name("property")))
            node = above
        elif above.type in _STATEMENTS:
            break
    is_whole = api.type == "identifier" and len(names) > 1
    return node, names if is_whole else None


def _modules(reading: Reading) -> dict[str, dict[str, _Function] | None]:
    """The functions by module; None for a module that passes on others' exports."""
    folder = reading.layout.functions.folder
    found: dict[str, dict[str, _Function] | None] = {}
    for file in reading.repository.files:
        if not file.startswith(f"{folder}/") or "_generated/" in file:
            continue
        name, _, suffix = file.removeprefix(f"{folder}/").rpartition(".")
        if suffix in ("js", "jsx", "mjs"):
            found[name] = None
        elif suffix in ("ts", "tsx"):
            source = reading.repository.source(file)
            found[name] = None if source is None else _functions(source)
    return found


def _functions(source: Source) -> dict[str, _Function] | None:
    if source.first_error is not None:
        return None
    for node in source.root.named_children:
        if node.type == "export_statement" and any(
            child.type == "*" for child in node.children
        ):
            return None
    functions = {name: _Function() for name in exported_names(source)}
    for node in source.root.named_children:
        declaration = node.child_by_field_name("declaration")
        if node.type != "export_statement" or declaration is None:
            continue
        for each in walk(declaration, "variable_declarator"):
            name = text(each.child_by_field_name("name"))
            value = each.child_by_field_name("value")
            if name in functions and value is not None:
                functions[name] = _function(value)
    return functions


def _function(value: Node) -> _Function:
    """What can be read off `action({ args: {…}, … })`."""
    builder = callee_name(value) if value.type == "call_expression" else ""
    if builder not in _KINDS:
        return _Function()
    given = arguments(value)
    if not given or given[0].type != "object":
        return _Function(builder)
    for pair in given[0].named_children:
        if pair.type != "pair" or text(pair.child_by_field_name("key")) != "args":
            continue
        args = pair.child_by_field_name("value")
        if args is None or args.type != "object":
            break
        known, spread = object_keys(args)
        if spread or any(
            n.type == "shorthand_property_identifier" for n in args.named_children
        ):
            break
        required = [
            text(field.child_by_field_name("key"))
            for field in args.named_children
            if field.type == "pair"
            and text(field.child_by_field_name("value")).startswith("v.")
            and not text(field.child_by_field_name("value")).startswith("v.optional(")
        ]
        return _Function(builder, frozenset(required), frozenset(known))
    return _Function(builder)


def _misused(
    source: Source, node: Node, function: _Function, path: str
) -> Iterator[Found]:
    call = next(iter(ancestors(node)), None)
    if call is not None and call.type == "arguments":
        call = call.parent
    if call is None or call.type != "call_expression":
        return
    given = arguments(call)
    called = callee_name(call)
    if not given or given[0] != node or called not in _CALLED_AS:
        return
    if function.kind is not None and _CALLED_AS[called] != function.kind:
        seen = f"`api.{path}` is called with `{called}`; it is a {function.kind}."
        yield found("function-kind", source.place(call), seen)
    elif function.known is not None and called in _WITH_ARGS:
        yield from _wrong_args(source, call, function, path)


def _wrong_args(
    source: Source, call: Node, function: _Function, path: str
) -> Iterator[Found]:
    given = arguments(call)
    if len(given) < 2 or given[1].type != "object":
        return
    keys, spread = object_keys(given[1])
    required, known = function.required or frozenset(), function.known or frozenset()
    told = [f"unknown: `{key}`" for key in keys if key not in known]
    if not spread:
        told += [f"missing: `{key}`" for key in sorted(required - set(keys))]
    if told:
        seen = f"`api.{path}`: {', '.join(told)}."
        yield found("function-args", source.place(call), seen)
