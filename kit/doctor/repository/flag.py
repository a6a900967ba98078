"""Code paths that bypass the guide's flag, or the hook that follows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from tree_sitter import Node

from kit.doctor.repository.findings import Found, found
from kit.doctor.repository.reading import Reading, arguments
from kit.repo.frontend import FLAG
from kit.repo.hooks import KIT_FOLDER, KIT_HOOK, Hook, consumers_of
from kit.repo.source import Source
from kit.repo.syntax import callee_name, text, walk

__all__ = ["flag_bypasses"]

_HOOK = "useMessageStreaming"
_QUERIES = ("api.messages.byTask", "api.streaming.read")
_STREAMED = frozenset(
    {"messages", "isStreaming", "streamingPartsMap", "streamingPartsOrder"}
)


def flag_bypasses(reading: Reading) -> Iterator[Found]:
    """All of this module's rules; each is described at its function."""
    yield from _frontend(reading)
    yield from _server(reading)
    yield from _past_the_hook(reading)


def _frontend(reading: Reading) -> Iterator[Found]:
    """`flag-not-read`: the frontend follows Convex, and no code names the flag.

    It follows Convex with `useMessageStreaming(…)`, or with `useQuery` of
    `messages.byTask` or `streaming.read`. If any module of the repository names the
    flag, it may be what decides: then there is no finding.
    """
    if any(reading.repository.containing(FLAG)):
        return
    for source in reading.repository.containing(_HOOK, *_QUERIES):
        if not reading.is_frontend(source.file):
            continue
        for call in walk(source.root, "call_expression"):
            if _follows(call) and not _is_own_module(source, call):
                seen = f"`{text(call)[:60]}`: no module names `{FLAG}`."
                yield found("flag-not-read", source.place(call), seen)


def _follows(call: Node) -> bool:
    if callee_name(call) == _HOOK:
        return True
    given = arguments(call)
    return (
        callee_name(call) == "useQuery" and bool(given) and text(given[0]) in _QUERIES
    )


def _is_own_module(source: Source, call: Node) -> bool:
    """Whether a query is made by the hook's own module: who calls it decides."""
    return (
        callee_name(call) == "useQuery" and f"function {_HOOK}".encode() in source.body
    )


def _server(reading: Reading) -> Iterator[Found]:
    """`server-ignores-flag`: the server asks Convex, with the loop as the fallback.

    It does so by hand, with `x.action(api.….streamChatWithTools, …)`, and no module
    outside of the frontend and of the functions names the flag.
    """
    if reading.state != "option-1" or not reading.layout.server.by_hand:
        return
    for source in reading.repository.containing(FLAG):
        if not reading.is_frontend(source.file):
            return
    for place in reading.layout.server.by_hand:
        seen = f"No module of the server names `{FLAG}`."
        yield found("server-ignores-flag", place, seen)


def _past_the_hook(reading: Reading) -> Iterator[Found]:
    """`socket-hook-direct`: a module uses streamed fields of the socket's own hook.

    Only where the merging hook follows Convex, and not in that hook's module or in
    those of the kit. The
    fields are messages, isStreaming, streamingPartsMap and streamingPartsOrder; a
    result that is handed on as a whole does not count.
    """
    hooks = reading.layout.hooks
    if hooks.socket is None or hooks.merging is None:
        return
    if not any(
        callee_name(call) in (_HOOK, KIT_HOOK)
        for call in walk(hooks.merging.node, "call_expression")
    ):
        return
    for consumer in consumers_of(reading.repository, hooks.socket):
        used = sorted(_STREAMED & consumer.fields)
        if used and not _merges(hooks.merging, consumer.place.file):
            listed = ", ".join(f"`{name}`" for name in used)
            seen = f"{listed} of `{hooks.socket.name}` not of `{hooks.merging.name}`."
            yield found("socket-hook-direct", consumer.place, seen)


def _merges(hook: Hook, file: str) -> bool:
    """Whether a module is the merging hook's, or one that the kit has brought."""
    return file == hook.source.file or KIT_FOLDER in PurePosixPath(file).parts
