"""The server's part: the method that streams replies, and what it has at hand.

The method is the one whose body iterates over the LLM service's message stream, as
`for await (const chunk of this.llmService.createMessageStream(…))`, or over a variable
that holds such a stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tree_sitter import Node

from kit.repo.files import Repository
from kit.repo.places import Missing, Place
from kit.repo.settings import Names, Settings
from kit.repo.source import Source
from kit.repo.syntax import (
    FUNCTIONS,
    ancestors,
    callee_name,
    declared_names,
    enclosing_function,
    function_name,
    is_await,
    statement_of,
    text,
    walk,
)

__all__ = ["ACTION", "HELPERS", "Server", "StreamLoop", "find_server", "visible_names"]

ACTION = "streamChatWithTools"
HELPERS = (
    "tryConvexFirst",
    "streamInConvex",
)  # of templates/server/convex-streaming.ts


@dataclass(frozen=True)
class StreamLoop:
    """The loop over the model's stream; `names` are visible where its stream is made.

    `node` is the loop, `call` the call that makes the stream, `statement` what holds
    that call; `place` is the loop's.
    """

    source: Source
    place: Place
    method: str
    names: frozenset[str]
    node: Node = field(repr=False, compare=False)
    call: Node = field(repr=False, compare=False)
    statement: Node = field(repr=False, compare=False)
    function: Node = field(repr=False, compare=False)


@dataclass(frozen=True)
class Server:
    """What was found of the server's part.

    `convex_calls`: where Convex is asked for a reply, by the kit's helper or by hand.
    `stop`: the method that stops a reply; `client_file`: the module that exports the
    application's Convex client.
    """

    loop: StreamLoop | None
    source: Source | None
    convex_calls: tuple[Place, ...] = ()
    by_hand: tuple[Place, ...] = ()
    stop: Place | None = None
    stop_name: str | None = None
    client_file: str | None = None
    missing: tuple[Missing, ...] = ()


def find_server(repository: Repository, settings: Settings) -> Server:
    """Look for the loop, and around it. Never guesses between two."""
    names = settings.names
    files = None
    if settings.server_file is not None:
        files = [repository.inside(settings.server_file, "The server file")]
    needles = (f".{names.stream_method}(", ACTION, *HELPERS)
    sources = [
        source
        for source in repository.containing(*needles, files=files)
        if not source.file.endswith("convex-streaming.ts")
        and not _is_convex_function(source)
    ]
    loops = [loop for source in sources for loop in _loops(source, names)]
    if names.server_method is not None:
        loops = [loop for loop in loops if loop.method == names.server_method]
    calls, by_hand = [], []
    for source in sources:
        for node in walk(source.root, "call_expression"):
            if callee_name(node) in HELPERS:
                calls.append(source.place(node))
            elif _is_action_call(node):
                calls.append(source.place(node))
                by_hand.append(source.place(node))
    missing: list[Missing] = []
    loop = loops[0] if len(loops) == 1 else None
    if len(loops) > 1:
        missing.append(_ambiguous(loops, names))
    elif not loops and not calls:
        missing.append(_nowhere(names, files))
    own = loop.source if loop else None
    if own is None and not loops and len({place.file for place in calls}) == 1:
        own = repository.source(calls[0].file)
    stop, stop_name = (None, None) if own is None else _stop(own, names)
    return Server(
        loop=loop,
        source=own,
        convex_calls=tuple(calls),
        by_hand=tuple(by_hand),
        stop=stop,
        stop_name=stop_name,
        client_file=_client_file(repository, names),
        missing=tuple(missing),
    )


def _loops(source: Source, names: Names) -> Iterator[StreamLoop]:
    for call in walk(source.root, "call_expression"):
        if callee_name(call) != names.stream_method:
            continue
        function = enclosing_function(call)
        loop = _loop_over(call)
        statement = statement_of(call)
        if function is None or loop is None or statement is None:
            continue
        yield StreamLoop(
            source=source,
            place=source.place(loop),
            method=_named_function(function),
            names=visible_names(statement),
            node=loop,
            call=call,
            statement=statement,
            function=function,
        )


def _loop_over(call: Node) -> Node | None:
    """The `for await` whose stream this call makes, directly or through a variable."""
    below = call
    for above in ancestors(call):
        if above.type == "for_in_statement" and is_await(above):
            right = above.child_by_field_name("right")
            return above if right is not None and below == right else None
        if above.type == "variable_declarator":
            return _loop_over_variable(above)
        if above.type in FUNCTIONS or above.type.endswith("_statement"):
            return None
        below = above
    return None


def _loop_over_variable(declarator: Node) -> Node | None:
    name = declarator.child_by_field_name("name")
    function = enclosing_function(declarator)
    if name is None or name.type != "identifier" or function is None:
        return None
    for loop in walk(function, "for_in_statement"):
        right = loop.child_by_field_name("right")
        if is_await(loop) and right is not None and right.text == name.text:
            return loop
    return None


def _named_function(function: Node) -> str:
    for each in (function, *ancestors(function)):
        if each.type in FUNCTIONS and (name := function_name(each)):
            return name
    return "a function without a name"


def visible_names(statement: Node) -> frozenset[str]:
    """Parameters and local names that a statement can use, in its functions."""
    found: list[str] = []
    below = statement
    for above in ancestors(statement):
        for child in above.children:
            if child.start_byte >= below.start_byte or above.type == "program":
                break
            if child.type in ("lexical_declaration", "variable_declaration"):
                for declarator in child.named_children:
                    found += declared_names(declarator.child_by_field_name("name"))
        if above.type in FUNCTIONS:
            found += declared_names(above.child_by_field_name("parameters"))
            single = above.child_by_field_name("parameter")  # of `x => …`
            found += declared_names(single)
        elif above.type == "for_in_statement":
            found += declared_names(above.child_by_field_name("left"))
        below = above
    return frozenset(found)


def _is_action_call(call: Node) -> bool:
    """`convexClient.action(api.streaming.streamChatWithTools, …)`."""
    arguments = call.child_by_field_name("arguments")
    if arguments is None or not arguments.named_children:
        return False
    first = arguments.named_children[0]
    return callee_name(call) == "action" and text(first).endswith(f".{ACTION}")


def _is_convex_function(source: Source) -> bool:
    return b"_generated/server" in source.body


def _stop(source: Source, names: Names) -> tuple[Place | None, str | None]:
    """The method that stops a task's reply: by name, or by what it does."""
    named = {"stopStream", "stopTask"} if names.stop_method is None else set()
    if names.stop_method is not None:
        named = {names.stop_method}
    by_name, by_deed = [], []
    for node in walk(source.root, "method_definition", "function_declaration"):
        name = function_name(node) or ""
        body = text(node.child_by_field_name("body"))
        if name in named:
            by_name.append((source.place(node), name))
        elif names.stop_method is None and (
            "stopRequested.add(" in body or ".abort(" in body
        ):
            by_deed.append((source.place(node), name))
    found = by_name or by_deed
    return found[0] if len(found) == 1 else (None, None)


def _client_file(repository: Repository, names: Names) -> str | None:
    """The module that exports the application's way to get a Convex client."""
    for source in repository.containing(names.convex_client):
        for node in walk(source.root, "export_statement"):
            declaration = node.child_by_field_name("declaration")
            if declaration is None:
                continue
            if declaration.type == "function_declaration":
                declared = [text(declaration.child_by_field_name("name"))]
            else:
                declared = [
                    name
                    for each in declaration.named_children
                    for name in declared_names(each.child_by_field_name("name"))
                ]
            if names.convex_client in declared:
                return source.file
    return None


def _ambiguous(loops: list[StreamLoop], names: Names) -> Missing:
    files = {loop.source.file for loop in loops}
    if len(files) > 1:
        todo = "Say which file with --server-file (server_file in the TOML file)."
    else:
        methods = ", ".join(sorted({loop.method for loop in loops}))
        todo = (
            f"Say which method with `server_method` under [names]: {methods}. If one "
            "method has several, join them first."
        )
    return Missing(
        f"There are {len(loops)} loops over {names.stream_method}",
        todo,
        tuple(loop.place for loop in loops),
    )


def _nowhere(names: Names, files: list[str] | None) -> Missing:
    where = "" if files is None else f" in {files[0]}"
    return Missing(
        f"No loop `for await (… of ….{names.stream_method}(…))` was found{where}",
        "Say where it is with --server-file, or what is called there with "
        "`stream_method` under [names] in the TOML file.",
    )
