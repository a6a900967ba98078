"""Socket.IO events by name: where they are emitted, handled and declared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from tree_sitter import Node

from kit.repo.files import Repository
from kit.repo.places import Place
from kit.repo.source import Source
from kit.repo.syntax import callee_name, string_value, walk

__all__ = ["KEPT", "STREAMED", "Emit", "SocketEvents", "emits_in", "find_events"]

STREAMED = ("stream-chunk", "stream-complete", "stream-error")
KEPT = ("task-status-updated", "terminal-output", "fs-change")

Kind = Literal["emitted", "handled", "declared"]
_HANDLERS = frozenset({"on", "once", "off", "addListener", "removeListener"})


@dataclass(frozen=True, slots=True)
class Emit:
    """A call that emits an event: `io.to(room).emit(…)`, `emitToTask(id, …)`."""

    event: str
    place: Place
    node: Node = field(repr=False, compare=False)


@dataclass(frozen=True)
class SocketEvents:
    """Places by event, for each way that an event can be met."""

    emitted: dict[str, list[Place]]
    handled: dict[str, list[Place]]
    declared: dict[str, list[Place]]


def find_events(repository: Repository) -> SocketEvents:
    """Where the guide's events are, in all modules but tests."""
    events = (*STREAMED, *KEPT)
    found: dict[Kind, dict[str, list[Place]]] = {
        "emitted": {event: [] for event in events},
        "handled": {event: [] for event in events},
        "declared": {event: [] for event in events},
    }
    for source in repository.containing(*events):
        for event, kind, place in _mentions(source, events):
            found[kind][event].append(place)
    return SocketEvents(**found)


def emits_in(
    source: Source, root: Node, events: tuple[str, ...] = STREAMED
) -> list[Emit]:
    """The calls below `root` that emit any of the events."""
    return [
        Emit(event, source.place(call), call)
        for call in walk(root, "call_expression")
        if (event := _emitted(call)) in events and event is not None
    ]


def _emitted(call: Node) -> str | None:
    """The event that a call emits: its name is among the first two arguments."""
    if not callee_name(call).startswith("emit"):
        return None
    return _named_event(call)


def _named_event(call: Node) -> str | None:
    arguments = call.child_by_field_name("arguments")
    given = [] if arguments is None else arguments.named_children[:2]
    return next((value for each in given if (value := string_value(each))), None)


def _mentions(
    source: Source, events: tuple[str, ...]
) -> Iterator[tuple[str, Kind, Place]]:
    for node in walk(source.root, "call_expression", "property_signature", "pair"):
        if node.type == "call_expression":
            event = _named_event(node)
            name = callee_name(node)
            if event not in events or event is None:
                continue
            if name in _HANDLERS:
                yield event, "handled", source.place(node)
            elif name.startswith("emit"):
                yield event, "emitted", source.place(node)
        else:
            field_name = "name" if node.type == "property_signature" else "key"
            event = string_value(node.child_by_field_name(field_name))
            if event in events and event is not None:
                kind: Kind = (
                    "declared" if node.type == "property_signature" else "handled"
                )
                yield event, kind, source.place(node)
