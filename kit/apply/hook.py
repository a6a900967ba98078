"""The hook that merges socket data: it gets Convex's messages and live parts, too.

The kit's hooks are put into a folder of their own beside it. In the application's hook
only the call of `useTaskSocket` changes: what it calls now returns all that
`useTaskSocket` returns, and more, so that no field that somebody uses is lost.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from tree_sitter import Node

from kit.apply.edits import Edit, add_import, edited, import_path, insert, prune_imports
from kit.apply.steps import Draft, StepNotes
from kit.repo.functions import exported_names
from kit.repo.hooks import KIT_FOLDER, KIT_HOOK, Hook
from kit.repo.layout import Layout
from kit.repo.source import Source
from kit.repo.syntax import (
    callee_name,
    enclosing_function,
    object_keys,
    text,
    walk,
)

__all__ = ["use_convex"]

TEMPLATES = Path(__file__).parent.parent / "templates"
_REPLACED = (
    "messages",
    "isStreaming",
    "streamingPartsMap",
    "streamingPartsOrder",
    "stopStream",
    "streaming",
)


def use_convex(draft: Draft, layout: Layout, notes: StepNotes) -> None:
    """Have the merging hook call the kit's hook instead of the socket's."""
    hooks = layout.hooks
    notes.missing(*hooks.missing)
    if hooks.merging is None or hooks.socket is None:
        return
    hook, socket = hooks.merging, hooks.socket
    notes.found.append(f"{hook.place}: {hook.name} merges what the frontend shows.")
    notes.found.append(f"{socket.place}: {socket.name} is the hook over Socket.IO.")
    for broken in (hook.source.first_error, socket.source.first_error):
        if broken is not None:
            notes.blocked.append(f"{broken}: the file does not parse here.")
    if notes.blocked:
        return
    folder = _bring_hooks(draft, layout, notes, hook, socket)
    if _calls(hook.node, KIT_HOOK):
        notes.found.append(f"{hook.place}: it calls the kit's hook already.")
    else:
        _change(draft, hook, socket, f"{folder}/use-hybrid-task.ts", notes)
    _say_what_is_lost(layout, hook, socket, notes)
    _say_what_is_left(layout, notes)


def _bring_hooks(
    draft: Draft, layout: Layout, notes: StepNotes, hook: Hook, socket: Hook
) -> str:
    folder = str(PurePosixPath(hook.source.file).parent / KIT_FOLDER)
    generated = layout.functions.file("_generated/api")
    for path in sorted(TEMPLATES.glob("*.ts")):
        target = f"{folder}/{path.name}"
        likeness = Source(target, hook.source.data)
        replaced = path.read_text(encoding="utf-8").replace(
            '"../../../../convex/_generated/api"',
            f'"{import_path(likeness, generated)}"',
        )
        if import_path(likeness, generated).endswith(".js"):
            for other in TEMPLATES.glob("*.ts"):
                replaced = replaced.replace(f'"./{other.stem}"', f'"./{other.stem}.js"')
        replaced = replaced.replace(
            'import { useTaskSocket } from "../socket/use-task-socket";',
            _socket_import(likeness, socket),
        )
        draft.bring(target, replaced, notes)
    return folder


def _socket_import(likeness: Source, socket: Hook) -> str:
    path = import_path(likeness, socket.source.file)
    if socket.name not in exported_names(socket.source):
        return f'import useTaskSocket from "{path}";'
    if socket.name == "useTaskSocket":
        return f'import {{ useTaskSocket }} from "{path}";'
    return f'import {{ {socket.name} as useTaskSocket }} from "{path}";'


def _change(
    draft: Draft, hook: Hook, socket: Hook, module: str, notes: StepNotes
) -> None:
    source = hook.source
    calls = _calls(hook.node, socket.name)
    if len(calls) != 1:
        notes.blocked.append(
            f"{hook.place}: {hook.name} calls {socket.name} {len(calls)} times, where "
            "one call is understood. Say which hook to change with --hook-file."
        )
        return
    edits: list[Edit] = []
    path = import_path(source, module)
    edits.append(add_import(source, f"{{ useHybridTask as {KIT_HOOK} }}", path))
    arguments = text(calls[0].child_by_field_name("arguments"))
    body = hook.node.child_by_field_name("body")
    if _calls(hook.node, "useMessageStreaming") and body is not None:
        # Put in by hand, as the guide has it: that drops fields.
        notes.found.append(
            f"{hook.place}: the guide's step 3, put in by hand. It returns less than "
            f"{socket.name} does: it is replaced."
        )
        first = body.named_children[0]
        edits.append(
            Edit(
                first.start_byte,
                body.named_children[-1].end_byte,
                f"return {KIT_HOOK}{arguments};",
            )
        )
    else:
        called = calls[0].child_by_field_name("function")
        assert called is not None
        edits.append(Edit(called.start_byte, called.end_byte, KIT_HOOK))
        edits += _messages(hook, calls[0], notes)
    changed = Source(source.file, edited(source, edits))
    draft.write(source.file, prune_imports(source, changed))


def _messages(hook: Hook, call: Node, notes: StepNotes) -> list[Edit]:
    """Have the hook return Convex's messages, if what it returns is listed."""
    returned = _returned_object(hook.node)
    if returned is None:
        return []
    keys, spread = object_keys(returned)
    own = [key for key in keys if key in _REPLACED and not _passed_on(returned, key)]
    if own:
        notes.todo.append(
            f"{hook.place}: {hook.name} makes {', '.join(own)} itself. Take them from "
            f"what {KIT_HOOK} returns, or they hide what Convex streams."
        )
    if spread or "messages" in keys:
        return []
    declarator = call.parent
    target = None if declarator is None else declarator.child_by_field_name("name")
    if target is None or not returned.named_children:
        return []
    last = returned.named_children[-1]
    if target.type == "identifier":
        field = f"messages: {text(target)}.messages"
        return [_added(hook.source, last, field)]
    if target.type == "object_pattern" and target.named_children:
        return [
            _added(hook.source, target.named_children[-1], "messages"),
            _added(hook.source, last, "messages"),
        ]
    return []


def _added(source: Source, last: Node, field: str) -> Edit:
    """One more item after the last one of an object or a pattern, as these stand."""
    is_alone = not source.body[: last.start_byte].rpartition(b"\n")[2].strip()
    between = f",\n{source.indent_at(last.start_byte)}" if is_alone else ", "
    return insert(last.end_byte, between + field)


def _passed_on(returned: Node, key: str) -> bool:
    """Whether a field is `x.key`, or `key` by itself."""
    for child in returned.named_children:
        if child.type == "shorthand_property_identifier" and text(child) == key:
            return True
        if (
            child.type == "pair"
            and text(child.child_by_field_name("key")) == key
            and (value := child.child_by_field_name("value")) is not None
        ):
            return text(value).endswith(f".{key}")
    return False


def _returned_object(function: Node) -> Node | None:
    for node in walk(function, "return_statement"):
        if enclosing_function(node) == function and node.named_children:
            value = node.named_children[0]
            return value if value.type == "object" else None
    return None


def _calls(root: Node, name: str) -> list[Node]:
    return [n for n in walk(root, "call_expression") if callee_name(n) == name]


def _say_what_is_lost(
    layout: Layout, hook: Hook, socket: Hook, notes: StepNotes
) -> None:
    """Name the fields that somebody uses and nobody returns, where that is known."""
    if socket.fields is None:
        return
    known = socket.fields | set(_REPLACED) | (hook.fields or set())
    if hook.fields is None:
        returned = _returned_object(hook.node)
        known |= set() if returned is None else set(object_keys(returned)[0])
    for field, places in layout.hooks.used.items():
        if field not in known:
            notes.todo.append(
                f"{places[0]}: `{field}` is used of {hook.name}, and neither it nor "
                f"{socket.name} is seen to return it."
            )


def _say_what_is_left(layout: Layout, notes: StepNotes) -> None:
    frontend = layout.frontend
    if frontend is None:
        return
    if frontend.provider is None:
        notes.todo.append(
            f"No ConvexProvider was found in {frontend.folder}: put one above all that "
            "uses the hook, with the flag off too."
        )
    reads = [place for place in frontend.flag_reads if KIT_FOLDER not in place.file]
    if reads:
        notes.todo.append(
            f"{', '.join(map(str, reads))}: the flag is read here. If Socket.IO is "
            "skipped while it is on, take that out: sending, stopping and the other "
            "events need it."
        )
    if "messages" not in layout.hooks.used:
        notes.todo.append(
            "Show `messages` of the hook, and below them the live parts; what their "
            "fields are is in kit/templates/README.md."
        )
