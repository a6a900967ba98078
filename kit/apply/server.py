"""The server's method: Convex is asked first (Option 1), or alone (Option 2).

The change is the guide's, made right. On success the Socket.IO loop is skipped: its
stream becomes an empty one. Whether anything was begun is looked up by the message's
id before anything else generates; that, and what may be logged, is in the kit's
module `convex-streaming.ts`, which is put beside the application's Convex client.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from tree_sitter import Node

from kit.apply.edits import (
    Edit,
    add_import,
    edited,
    import_path,
    indent_unit,
    insert,
    removal,
)
from kit.apply.leftovers import without_leftovers
from kit.apply.request import parameters, request_fields
from kit.apply.steps import Draft, StepNotes
from kit.repo.layout import Layout
from kit.repo.server import ACTION, HELPERS, StreamLoop
from kit.repo.source import Source
from kit.repo.syntax import (
    ancestors,
    callee_name,
    statement_of,
    text,
    walk,
)

__all__ = ["TEMPLATES", "convex_alone", "convex_first"]

TEMPLATES = Path(__file__).parent.parent / "templates"
_TRY, _ALONE = HELPERS
_MODULE = "convex-streaming.ts"
_CLIENT = "convex-client.ts"


def convex_first(draft: Draft, layout: Layout, notes: StepNotes) -> None:
    """Option 1: the reply comes from Convex, or from the loop if none was begun."""
    loop = _loop(draft, layout, notes)
    if loop is None:
        return
    if _calls(loop.function, _TRY):
        notes.found.append(f"{loop.place}: Convex is asked first already.")
        _bring_module(draft, layout, notes, loop.source.file)
        return
    request = request_fields(layout, loop, notes)
    by_hand = _by_hand(loop, notes)
    if notes.blocked or request is None:
        return
    source = loop.source
    indent = source.indent_at(loop.statement.start_byte)
    name = _unused_name("convexReply", loop.names)
    lines = [
        "// Convex first. The loop runs only if no reply was begun there.",
        f"const {name} = await {_TRY}({{",
        *(f"{indent_unit(source)}{line}," for line in request),
        "});",
    ]
    call = loop.call
    if call.parent is not None and call.parent.type == "await_expression":
        call = call.parent
    edits = [
        insert(loop.statement.start_byte, "".join(f"{x}\n{indent}" for x in lines)),
        insert(call.start_byte, f"{name} ? [] : "),
        *by_hand,
    ]
    names = [_TRY, *_stop(source, layout, edits, notes)]
    module = _bring_module(draft, layout, notes, source.file)
    path = import_path(source, module)
    edits.append(add_import(source, f"{{ {', '.join(sorted(names))} }}", path))
    draft.write(source.file, edited(source, edits))
    _say_what_follows(loop, notes)


def convex_alone(draft: Draft, layout: Layout, notes: StepNotes) -> None:
    """Option 2: the loop is replaced; also after Option 1."""
    server = layout.server
    if server.loop is None and server.source and _calls(server.source.root, _ALONE):
        notes.found.append(f"{server.source.file}: the loop is replaced already.")
        _bring_module(draft, layout, notes, server.source.file)
        return
    loop = _loop(draft, layout, notes)
    if loop is None:
        return
    source = loop.source
    given = next(iter(_calls(loop.function, _TRY)), None)
    if given is None:
        request = request_fields(layout, loop, notes)
        by_hand = _by_hand(loop, notes)
        if notes.blocked or request is None:
            return
        indent = source.indent_at(loop.statement.start_byte)
        lines = [
            f"await {_ALONE}({{",
            *(f"{indent_unit(source)}{line}," for line in request),
            "});",
        ]
        edits = [*by_hand, insert(loop.statement.start_byte, f"\n{indent}".join(lines))]
        first = edits[-1]
        # What stood here is taken out, but for the place where the call now stands.
        edits[-1] = Edit(loop.statement.start_byte, loop.statement.end_byte, first.text)
        names = [_ALONE, *_stop(source, layout, edits, notes)]
        module = _bring_module(draft, layout, notes, source.file)
        imported = f"{{ {', '.join(sorted(names))} }}"
        edits.append(add_import(source, imported, import_path(source, module)))
    else:
        _bring_module(draft, layout, notes, source.file)
        edits = _from_option_1(source, loop, given)
    outer = statement_of(loop.node)
    if outer is not None and outer != loop.statement:
        edits.append(removal(source, outer))  # the stream was in a variable
    changed = Source(source.file, edited(source, edits))
    result, unsure = without_leftovers(source, changed, loop.method)
    draft.write(source.file, result)
    if unsure:
        notes.todo.append(
            f"{source.file}: no longer used: {', '.join(unsure)}. What they are made "
            "from may have effects, so they are left: take out what is not needed."
        )


def _from_option_1(source: Source, loop: StreamLoop, call: Node) -> list[Edit]:
    """Our call without its variable, no loop, and the import of the other name."""
    declaration = statement_of(call)
    assert declaration is not None
    arguments = text(call.child_by_field_name("arguments"))
    start = declaration.start_byte
    above = declaration.prev_sibling
    if above is not None and text(above).startswith("// Convex first."):
        start = above.start_byte
    edits = [
        Edit(start, declaration.end_byte, f"await {_ALONE}{arguments};"),
        removal(source, loop.statement),
    ]
    return edits + [
        Edit(node.start_byte, node.end_byte, _ALONE)
        for node in walk(source.root, "import_specifier")
        if text(node) == _TRY
    ]


# --- what is found ------------------------------------------------------------------


def _loop(draft: Draft, layout: Layout, notes: StepNotes) -> StreamLoop | None:
    server = layout.server
    loop = server.loop
    if loop is None:
        if server.source is not None and _calls(server.source.root, _ALONE):
            file = server.source.file
            notes.found.append(f"{file}: Option 2 is applied, the loop is gone.")
        else:
            notes.missing(*server.missing)
        return None
    notes.found.append(
        f"{loop.place}: the loop over the model's stream, in {loop.method}."
    )
    if loop.source.first_error is not None:
        notes.blocked.append(
            f"{loop.source.first_error}: the file does not parse here. Mend it first."
        )
        return None
    return loop


def _calls(root: Node, name: str) -> list[Node]:
    return [n for n in walk(root, "call_expression") if callee_name(n) == name]


def _by_hand(loop: StreamLoop, notes: StepNotes) -> list[Edit]:
    """Take out the guide's sample, where somebody has put it before the loop."""
    edits = []
    for call in _calls(loop.function, "action"):
        if f".{ACTION}" not in text(call.child_by_field_name("arguments")):
            continue
        block = next((a for a in ancestors(call) if a.type == "try_statement"), None)
        line = call.start_point.row + 1
        if block is None or block.end_byte > loop.node.start_byte:
            notes.blocked.append(
                f"{loop.source.file}:{line}: Convex is asked by hand, in a form that "
                "is not the guide's. Take that call out, then apply again."
            )
            continue
        notes.found.append(
            f"{loop.source.file}:{line}: the guide's sample, put in by hand. It does "
            "not skip the loop, so each message is answered twice: it is replaced."
        )
        edits.append(removal(loop.source, block, with_comment=True))
    return edits


def _unused_name(name: str, taken: frozenset[str]) -> str:
    return next(
        each
        for number in range(1, 100)
        if (each := name if number == 1 else f"{name}{number}") not in taken
    )


# --- what is changed around it --------------------------------------------------------


def _stop(
    source: Source, layout: Layout, edits: list[Edit], notes: StepNotes
) -> list[str]:
    """Have a stop reach Convex too; the names to import for it."""
    place = layout.server.stop
    if place is None or place.file != source.file:
        notes.todo.append(
            f"{source.file}: no method that stops a reply was found. The hook stops in "
            "Convex by itself; where the server stops one, call `stopInConvex(taskId)`."
        )
        return []
    node = source.root.descendant_for_byte_range(place.start, place.end)
    body = None if node is None else node.child_by_field_name("body")
    if node is None or body is None or "taskId" not in parameters(node):
        notes.todo.append(f"{place}: call `stopInConvex(taskId)` there.")
        return []
    if _calls(body, "stopInConvex"):
        return ["stopInConvex"]
    notes.found.append(f"{place}: {layout.server.stop_name} stops a reply.")
    first = next(iter(body.named_children), None)
    if first is None:
        return []
    indent = source.indent_at(first.start_byte)
    # Not waited for: what follows marks the reply as stopped before it has ended.
    edits.append(insert(first.start_byte, f"void stopInConvex(taskId);\n{indent}"))
    return ["stopInConvex"]


def _bring_module(
    draft: Draft, layout: Layout, notes: StepNotes, chat_file: str
) -> str:
    """Put the kit's module, and a Convex client if there is none, where they belong."""
    client = layout.server.client_file
    if client is not None:
        folder = PurePosixPath(client).parent
    else:
        source_folder = PurePosixPath(chat_file).parent.parent
        folder = source_folder / "lib"
        client = str(folder / _CLIENT)
        template = (TEMPLATES / "server" / _CLIENT).read_text(encoding="utf-8")
        draft.bring(client, template, notes)
    module = str(folder / _MODULE)
    replaced = (TEMPLATES / "server" / _MODULE).read_text(encoding="utf-8")
    sample = draft.source(chat_file)
    likeness = Source(module, b"" if sample is None else sample.data)
    name = layout.settings.names.convex_client
    imported = "getConvexClient"
    generated = layout.functions.file("_generated")
    for old, target in (
        ("../../../../convex/_generated/api", f"{generated}/api"),
        ("../../../../convex/_generated/dataModel", f"{generated}/dataModel"),
        ("./convex-client", client),
    ):
        replaced = replaced.replace(f'"{old}"', f'"{import_path(likeness, target)}"')
    if name != imported:
        renamed = f"{{ {name} as {imported} }}"
        replaced = replaced.replace(f"{{ {imported} }}", renamed)
    draft.bring(module, replaced, notes)
    return module


def _say_what_follows(loop: StreamLoop, notes: StepNotes) -> None:
    """Name the variables that the loop sets: after it, they are as they were before."""
    names = []
    for node in walk(
        loop.node, "assignment_expression", "augmented_assignment_expression"
    ):
        left = node.child_by_field_name("left")
        if left is not None and left.type == "identifier" and text(left) in loop.names:
            names.append(text(left))
    if names:
        listed = ", ".join(dict.fromkeys(names))
        notes.todo.append(
            f"{loop.source.file}: when Convex has answered, {listed} are as they were "
            "before the loop. See that what follows it is right with that."
        )
