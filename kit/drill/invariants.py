"""What must hold after every run, checked on what was seen of it. Pure.

Each invariant is a function from a `RunSeen` to the ways in which it is violated, in
words; none if it holds. They do not trust one another: what the provider says it has
sent, the log, the stored message and what each viewer showed are four accounts of the
same reply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kit.drill.history import ReplySeen, Row, RunSeen, ViewerSeen, reply_row, said_of
from kit.drill.schedule import FaultKind
from kit.parts import PartsFold

__all__ = ["INVARIANTS", "LIVE", "Violation", "lost_characters"]

LIVE = ("streaming", "stopping")

# What may make the reply fail that it strikes, and what any reply of the run.
_MAY_FAIL_ONE: frozenset[FaultKind] = frozenset(
    {"error-mid", "drop", "eof", "stall", "http-401", "http-429", "http-529"}
)
_MAY_FAIL_ALL: frozenset[FaultKind] = frozenset(
    {"kill-deployment", "kill-executor", "kill-provider", "dead-producer"}
)


@dataclass(frozen=True)
class Violation:
    """An invariant that did not hold in a run."""

    seed: int
    invariant: str
    what: str


# --- whether it ended ---------------------------------------------------------------


def everything_comes_in_time(run: RunSeen) -> Iterator[str]:
    yield from run.problems


def nothing_is_left_streaming(run: RunSeen) -> Iterator[str]:
    for row in run.rows:
        if row["status"] in LIVE:
            yield f"message {row['_id']} is still {row['status']}"
    if run.task is None:
        yield "the task was not to be had at the end"
    elif run.task["status"] == "RUNNING":
        yield "the task is still RUNNING"


def the_task_is_free(run: RunSeen) -> Iterator[str]:
    probes = [reply for reply in run.replies if reply.is_probe]
    if not probes:
        yield "no further message was sent to see whether the task is free"
    for probe in probes:
        row = reply_row(run.rows, probe.client_message_id)
        if any(send.refused == "StreamActive" for send in probe.sends):
            yield "a further message was refused: a reply is still being written"
        if row is None or row["status"] != "complete":
            status = "none" if row is None else f"{row['status']}: {row.get('error')}"
            yield f"a further message got no whole reply ({status})"


def each_end_has_its_reason(run: RunSeen) -> Iterator[str]:
    """Stopped only if somebody did; failed only after a fault, and saying why."""
    struck = {seen.fault.kind for seen in run.faults if seen.struck}
    stopped = {message for stop in run.stops for message in stop.message_ids}
    unsure = any(stop.answer_lost for stop in run.stops)
    for reply, row in _replies(run):
        index = run.replies.index(reply)
        own = {f.fault.kind for f in run.faults if f.fault.reply == index and f.struck}
        reasons = (own & _MAY_FAIL_ONE) | (struck & _MAY_FAIL_ALL)
        match row["status"]:
            case "stopped" if row["_id"] not in stopped and not unsure:
                yield f"{reply.client_message_id} was stopped, by nobody"
            case "failed" if not reasons:
                yield f"{reply.client_message_id} failed: {row.get('error')}"
            case "failed" if not (row.get("error") and _error_kinds(row)):
                yield f"{reply.client_message_id} failed without saying why"
            case "complete" if row["_id"] in stopped:
                yield f"{reply.client_message_id} was stopped, and is complete"


# --- once ---------------------------------------------------------------------------


def one_reply_per_message(run: RunSeen) -> Iterator[str]:
    for reply in run.replies:
        client_id = reply.client_message_id
        prompts = [r for r in run.rows if r.get("clientMessageId") == client_id]
        if len(prompts) != 1:
            yield f"{client_id} is stored {len(prompts)} times"
        ids = {prompt["_id"] for prompt in prompts}
        answers = [r for r in run.rows if r.get("promptMessageId") in ids]
        if len(answers) != 1:
            yield f"{client_id} has {len(answers)} replies"
        told = {s.message_id for s in reply.sends if s.message_id is not None}
        if len(told) > 1 or not told <= {r["_id"] for r in answers}:
            yield f"those who sent {client_id} were told of different replies"
        if sum(s.reused is False for s in reply.sends) > 1:
            yield f"{client_id} was begun twice"
    known = 2 * len(run.replies)
    if len(run.rows) > known:
        yield f"there are {len(run.rows)} messages, {known} at most were sent for"


def one_generation_per_message(run: RunSeen) -> Iterator[str]:
    for reply in run.replies:
        if len(reply.generations) > reply.calls:
            outcomes = ", ".join(reply.generations)
            yield (
                f"the provider was asked {len(reply.generations)} times for "
                f"{reply.client_message_id}, {reply.calls} at most: {outcomes}"
            )


# --- whole, once, in order ----------------------------------------------------------


def the_log_has_no_gaps(run: RunSeen) -> Iterator[str]:
    for stream_id, deltas in run.logs.items():
        seqs = [delta["seq"] for delta in deltas]
        if seqs != list(range(len(seqs))):
            yield f"the log of {stream_id} is numbered {seqs}"


def the_message_is_its_log(run: RunSeen) -> Iterator[str]:
    """The stored parts are the fold of the log; an error may have been added."""
    for reply, row in _replies(run):
        parts = list(row.get("parts", []))
        logged = _fold(run, row).snapshot()
        if parts != logged and _without_last_error(parts) != logged:
            yield (
                f"{reply.client_message_id}: the log has {_brief(logged)}, "
                f"the message {_brief(parts)}"
            )
        content = "".join(p["text"] for p in parts if p["type"] == "text")
        if row["content"] != content:
            yield f"{reply.client_message_id}: content and parts differ"


def the_message_is_what_was_said(run: RunSeen) -> Iterator[str]:
    """What the model said, from its beginning; all of it if the reply is complete."""
    for reply, row in _replies(run):
        said = said_of(row.get("parts", []))
        spoken = reply.spoken
        if not reply.spoken_whole:
            said = said[: len(spoken)]
        if not spoken.startswith(said):
            at = _first_difference(spoken, said)
            yield (
                f"{reply.client_message_id}: the model said {spoken[at : at + 30]!r} "
                f"at {at}, the message says {said[at : at + 30]!r}"
            )
        elif row["status"] == "complete" and len(said) < len(spoken):
            yield (
                f"{reply.client_message_id} is complete without its last "
                f"{len(spoken) - len(said)} characters"
            )


# --- viewers ------------------------------------------------------------------------


def all_viewers_are_equal(run: RunSeen) -> Iterator[str]:
    if not run.viewers:
        yield "nobody watched"
    for viewer in run.viewers:
        if viewer.rows != run.rows:
            yield f"{viewer.name} ends with other messages: {_differing(viewer, run)}"


def viewers_get_each_chunk_once(run: RunSeen) -> Iterator[str]:
    for viewer in run.viewers:
        if viewer.chunks is None:
            continue
        for stream_id, deltas in run.logs.items():
            stored = [chunk for delta in deltas for chunk in delta["chunks"]]
            got = viewer.chunks.get(stream_id, [])
            if got != stored:
                at = next(
                    (i for i, (a, b) in enumerate(zip(got, stored)) if a != b),  # noqa: B905
                    min(len(got), len(stored)),
                )
                yield (
                    f"{viewer.name} got {len(got)} chunks of {stream_id}, the log has "
                    f"{len(stored)}; they differ from chunk {at} on"
                )


def what_is_shown_only_grows(run: RunSeen) -> Iterator[str]:
    """Live text is the beginning of what is there in the end, and never shrinks."""
    final = {row["_id"]: said_of(row.get("parts", [])) for row in run.rows}
    for viewer in run.viewers:
        shown: dict[str, str] = {}
        for frame in viewer.frames:
            before = shown.get(frame.message_id, "")
            shown[frame.message_id] = frame.said
            if not frame.said.startswith(before):
                yield (
                    f"{viewer.name} showed {len(before)} characters, then, at "
                    f"{frame.at:.2f} s, {len(frame.said)} that do not go on from them"
                )
            elif not final.get(frame.message_id, "").startswith(frame.said):
                yield f"{viewer.name} showed at {frame.at:.2f} s what did not stay"


def the_swap_is_atomic(run: RunSeen) -> Iterator[str]:
    """A final message has no live parts beside it, and does not become live again."""
    for viewer in run.viewers:
        final: set[str] = set()
        for frame in viewer.frames:
            if frame.status not in LIVE:
                final.add(frame.message_id)
                if frame.live_ids:
                    yield f"{viewer.name} showed live parts beside a final message"
            elif frame.message_id in final:
                yield f"{viewer.name} showed a final message as {frame.status} again"


INVARIANTS: dict[str, Callable[[RunSeen], Iterable[str]]] = {
    "everything comes in time": everything_comes_in_time,
    "nothing is left streaming": nothing_is_left_streaming,
    "the task is free": the_task_is_free,
    "each end has its reason": each_end_has_its_reason,
    "one reply per message": one_reply_per_message,
    "one generation per message": one_generation_per_message,
    "the log has no gaps": the_log_has_no_gaps,
    "the message is its log": the_message_is_its_log,
    "the message is what was said": the_message_is_what_was_said,
    "all viewers are equal": all_viewers_are_equal,
    "viewers get each chunk once": viewers_get_each_chunk_once,
    "what is shown only grows": what_is_shown_only_grows,
    "the swap is atomic": the_swap_is_atomic,
}


def lost_characters(run: RunSeen) -> int:
    """Characters that the log had accepted and the stored messages do not have."""
    lost = 0
    for _, row in _replies(run):
        accepted = said_of(_fold(run, row).snapshot())
        said = said_of(row.get("parts", []))
        lost += max(0, len(accepted) - _first_difference(accepted, said))
    return lost


# --- helpers ------------------------------------------------------------------------


def _replies(run: RunSeen) -> Iterator[tuple[ReplySeen, Row]]:
    for reply in run.replies:
        row = reply_row(run.rows, reply.client_message_id)
        if row is not None:
            yield reply, row


def _fold(run: RunSeen, row: Row) -> PartsFold:
    deltas = run.logs.get(row.get("streamId", ""), [])
    fold = PartsFold(chunk for delta in deltas for chunk in delta["chunks"])
    fold.close("stopped" if row["status"] == "stopped" else "the reply ended before")
    return fold


def _without_last_error(parts: list[Any]) -> list[Any]:
    return parts[:-1] if parts and parts[-1]["type"] == "error" else parts


def _error_kinds(row: Row) -> list[str]:
    parts = row.get("parts", [])
    return [part["kind"] for part in parts if part["type"] == "error"]


def _brief(parts: Iterable[Any]) -> str:
    parts = list(parts)
    ids = " ".join(part["id"] for part in parts)
    return f"{len(said_of(parts))} characters in [{ids}]"


def _first_difference(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other))  # noqa: B905 - the shorter one decides
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _differing(viewer: ViewerSeen, run: RunSeen) -> str:
    shown = [f"{row['role']} {row['status']}" for row in viewer.rows]
    stored = [f"{row['role']} {row['status']}" for row in run.rows]
    return f"{shown} instead of {stored}"
