"""The frontend's hooks: the one over Socket.IO, the one that merges, who uses them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tree_sitter import Node

from kit.repo.files import Repository
from kit.repo.places import Missing, Place
from kit.repo.settings import Settings
from kit.repo.source import Source
from kit.repo.syntax import (
    FUNCTIONS,
    callee_name,
    enclosing_function,
    function_name,
    object_keys,
    string_value,
    text,
    walk,
)

__all__ = [
    "KIT_FOLDER",
    "KIT_HOOK",
    "Consumer",
    "Hook",
    "Hooks",
    "consumers_of",
    "find_hooks",
]

# Where the kit's own hooks are, once applied, and what the application calls the one
# that it uses instead of the socket's.
KIT_FOLDER = "streaming-kit"
KIT_HOOK = "useConvexTask"


@dataclass(frozen=True)
class Hook:
    """A hook as it is defined. `fields` is None where they cannot be read off it."""

    name: str
    source: Source
    place: Place
    fields: frozenset[str] | None
    node: Node = field(repr=False, compare=False)


@dataclass(frozen=True)
class Consumer:
    """A call of the hook, and the fields that are used of it.

    `whole`: it is also handed on as a whole, so that any field may be used elsewhere.
    """

    place: Place
    fields: frozenset[str]
    whole: bool


@dataclass(frozen=True)
class Hooks:
    """`merging` is the hook to change; `consumers` are those of that hook."""

    socket: Hook | None
    merging: Hook | None
    consumers: tuple[Consumer, ...] = ()
    missing: tuple[Missing, ...] = ()

    @property
    def used(self) -> dict[str, list[Place]]:
        """Where each field is used."""
        found: dict[str, list[Place]] = {}
        for consumer in self.consumers:
            for name in consumer.fields:
                found.setdefault(name, []).append(consumer.place)
        return found


def find_hooks(repository: Repository, settings: Settings) -> Hooks:
    """Look for the hooks. Never guesses between two."""
    names = settings.names
    sources = [
        source
        for source in repository.containing(
            names.socket_hook, names.hybrid_hook, KIT_HOOK
        )
        if f"/{KIT_FOLDER}/" not in source.file
    ]
    socket = next(_hooks(sources, names.socket_hook), None)
    missing: list[Missing] = []
    if socket is None:
        missing.append(
            Missing(
                f"No hook {names.socket_hook} was found",
                "Say what it is called with `socket_hook` under [names] in the TOML "
                "file.",
            )
        )
    candidates = list(_hooks(sources, names.hybrid_hook))
    calls = (names.socket_hook, KIT_HOOK)
    if settings.hook_file is not None:
        file = repository.inside(settings.hook_file, "The hook file")
        given = repository.source(file)
        candidates = [] if given is None else _exported_hooks(given, calls)
    elif not candidates:
        candidates = [
            hook for source in sources for hook in _exported_hooks(source, calls)
        ]
    merging = candidates[0] if len(candidates) == 1 else None
    if merging is None:
        missing.append(_unclear(candidates, settings))
    consumers = () if merging is None else tuple(consumers_of(repository, merging))
    return Hooks(socket, merging, consumers, tuple(missing))


def _unclear(candidates: list[Hook], settings: Settings) -> Missing:
    names = settings.names
    if candidates:
        return Missing(
            f"{len(candidates)} hooks may be the one that merges socket data",
            "Say which with --hook-file (hook_file in the TOML file).",
            tuple(hook.place for hook in candidates),
        )
    where = f" in {settings.hook_file}" if settings.hook_file else ""
    return Missing(
        f"No hook {names.hybrid_hook}, and none that calls {names.socket_hook}, was "
        f"found{where}",
        "Say where it is with --hook-file, or what they are called under [names] in "
        "the TOML file.",
    )


def _hooks(sources: list[Source], name: str) -> Iterator[Hook]:
    """The definitions of a hook by its name."""
    for source in sources:
        if name.encode() not in source.body:
            continue
        for node in walk(source.root, *FUNCTIONS):
            if function_name(node) == name:
                yield _hook(name, source, node)


def _exported_hooks(source: Source, calls: tuple[str, ...]) -> list[Hook]:
    """The hooks of a file that call the socket's hook, or the kit's in its place."""
    found = {}
    for call in walk(source.root, "call_expression"):
        if callee_name(call) not in calls:
            continue
        function = enclosing_function(call)
        name = None if function is None else function_name(function)
        if function is not None and name and name.startswith("use"):
            found[name] = _hook(name, source, function)
    return list(found.values())


def _hook(name: str, source: Source, node: Node) -> Hook:
    return Hook(name, source, source.place(node), _returned(node), node)


def _returned(function: Node) -> frozenset[str] | None:
    """The fields of the object that a function returns, if all can be read."""
    body = function.child_by_field_name("body")
    if body is None:
        return None
    given: list[Node] = []
    if body.type != "statement_block":
        given = [body]
    else:
        for node in walk(body, "return_statement"):
            if enclosing_function(node) == function:
                given += node.named_children[:1]
    fields: set[str] = set()
    for value in given:
        while value.type in ("parenthesized_expression", "as_expression"):
            value = value.named_children[0]
        if value.type != "object":
            return None
        keys, spread = object_keys(value)
        if spread:
            return None
        fields.update(keys)
    return frozenset(fields) if given else None


def consumers_of(repository: Repository, hook: Hook) -> Iterator[Consumer]:
    """The calls of a hook, in all modules but tests."""
    for source in repository.containing(f"{hook.name}("):
        for call in walk(source.root, "call_expression"):
            function = call.child_by_field_name("function")
            if function is not None and text(function) == hook.name:
                fields, whole = _used(call)
                yield Consumer(source.place(call), frozenset(fields), whole)


def _used(call: Node) -> tuple[set[str], bool]:
    """The fields used of what a call gives, and whether it is handed on as a whole."""
    parent = call.parent
    if parent is None:
        return set(), False
    if parent.type == "member_expression":
        return {text(parent.child_by_field_name("property"))}, False
    if parent.type == "expression_statement":
        return set(), False
    if parent.type != "variable_declarator":
        return set(), True
    target = parent.child_by_field_name("name")
    if target is None:
        return set(), True
    if target.type == "object_pattern":
        return _taken(target)
    scope = enclosing_function(call) or call
    return _members(text(target), target, scope)


def _taken(pattern: Node) -> tuple[set[str], bool]:
    fields: set[str] = set()
    whole = False
    for child in pattern.named_children:
        match child.type:
            case "shorthand_property_identifier_pattern":
                fields.add(text(child))
            case "pair_pattern":
                key = child.child_by_field_name("key")
                fields.add(string_value(key) or text(key))
            case "object_assignment_pattern":
                fields.add(text(child.child_by_field_name("left")))
            case "rest_pattern":
                whole = True
    return fields, whole


def _members(name: str, declared: Node, scope: Node) -> tuple[set[str], bool]:
    fields: set[str] = set()
    whole = False
    for node in walk(scope, "identifier"):
        if text(node) != name or node == declared:
            continue
        parent = node.parent
        if parent is not None and parent.type == "member_expression":
            fields.add(text(parent.child_by_field_name("property")))
        elif (
            parent is not None
            and parent.type == "variable_declarator"
            and (target := parent.child_by_field_name("name")) is not None
            and target.type == "object_pattern"
        ):
            taken, rest = _taken(target)
            fields |= taken
            whole = whole or rest
        else:
            whole = True
    return fields, whole
