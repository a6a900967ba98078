"""What must hold after a run through the application. Pure.

Beside what holds of every reply that Convex has: the application has answered each
message once, wherever; its database and Convex tell the same; and its hybrid viewers
show one conversation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from kit.drill.history import ReplySeen, Row, RunSeen, answer_in, reply_row
from kit.drill.invariants import (
    LIVE,
    each_end_has_its_reason,
    everything_comes_in_time,
    one_generation_per_message,
    the_log_has_no_gaps,
    the_message_is_its_log,
    the_message_is_what_was_said,
    the_swap_is_atomic,
    viewers_get_each_chunk_once,
    what_is_shown_only_grows,
)

__all__ = ["APPLICATION_INVARIANTS"]


def nothing_is_left_running(run: RunSeen) -> Iterator[str]:
    for row in run.rows:
        if row["status"] in LIVE:
            yield f"message {row['_id']} is still {row['status']}"
    for message in run.stored:
        if message.get("metadata", {}).get("isStreaming"):
            yield f"the stored message {message['id']} is still being streamed"
    tasks = {"on Convex": run.task, "in SQL": run.stored_task}
    for where, task in tasks.items():
        if task is None:
            yield f"there is no task {where}"
        elif task["status"] == "RUNNING":
            yield f"the task {where} is still RUNNING"


def each_message_has_one_reply(run: RunSeen) -> Iterator[str]:
    for reply in run.replies:
        client_id = reply.client_message_id
        prompts = [r for r in run.rows if r.get("clientMessageId") == client_id]
        if len(prompts) > 1:
            yield f"{client_id} is on Convex {len(prompts)} times"
        if len([m for m in run.stored if m.get("clientMessageId") == client_id]) > 1:
            yield f"{client_id} is in SQL twice"
        if _on_convex(run, reply) is None and _in_sql(run, reply) is None:
            yield f"{client_id} has no reply"
    known = 2 * len(run.replies)
    for where, count in (("on Convex", len(run.rows)), ("in SQL", len(run.stored))):
        if count > known:
            yield f"there are {count} messages {where}, {known} at most were sent for"


def the_fallback_is_for_what_was_not_begun(run: RunSeen) -> Iterator[str]:
    for reply in run.replies:
        held, stored = _on_convex(run, reply), _in_sql(run, reply)
        if held is not None and stored is not None and stored["id"] != held["_id"]:
            yield (
                f"{reply.client_message_id} was answered by Convex and by the "
                "application itself"
            )
        if run.plan.option == 2 and held is None and stored is not None:
            yield f"{reply.client_message_id} was answered by the application itself"


def both_stores_agree(run: RunSeen) -> Iterator[str]:
    """Option 1 has a copy of all that Convex has; Option 2 stores no message in SQL."""
    if run.plan.option == 2:
        if run.stored:
            yield f"SQL has {len(run.stored)} messages, in Option 2"
        return
    for reply in run.replies:
        held, stored = _on_convex(run, reply), _in_sql(run, reply)
        if held is None or (not held["content"] and not held.get("parts")):
            continue
        if stored is None:
            yield f"SQL has no copy of the reply to {reply.client_message_id}"
        elif stored["content"] != held["content"]:
            yield (
                f"the reply to {reply.client_message_id} has {len(held['content'])} "
                f"characters on Convex, {len(stored['content'])} in SQL"
            )


def both_stores_have_the_same_status(run: RunSeen) -> Iterator[str]:
    """Of the task, if it was Convex that answered last."""
    if run.task is None or run.stored_task is None or not run.replies:
        return
    if _on_convex(run, run.replies[-1]) is not None:
        held, stored = run.task["status"], run.stored_task["status"]
        if held != stored:
            yield f"the task is {held} on Convex, {stored} in SQL"


def the_task_is_free(run: RunSeen) -> Iterator[str]:
    probes = [reply for reply in run.replies if reply.is_probe]
    if not probes:
        yield "no further message was sent to see whether the task is free"
    for probe in probes:
        held, stored = _on_convex(run, probe), _in_sql(run, probe)
        complete = held is not None and held["status"] == "complete"
        if not complete and (held is not None or stored is None):
            yield "a further message got no whole reply"


def a_fallback_is_what_was_said(run: RunSeen) -> Iterator[str]:
    """What SQL has of it is the beginning of what the model said."""
    for reply in run.replies:
        stored = _in_sql(run, reply)
        if stored is None or _on_convex(run, reply) is not None or reply.calls > 1:
            continue
        parts = stored.get("metadata", {}).get("parts", [])
        said = "".join(part.get("text", "") for part in parts)
        if not reply.spoken_whole:
            said = said[: len(reply.spoken)]
        if not reply.spoken.startswith(said):
            yield f"the fallback's reply to {reply.client_message_id} is another text"


def viewers_show_the_conversation(run: RunSeen) -> Iterator[str]:
    """Each message and its reply, once, in the order in which they were sent."""
    expected = [(row["role"].upper(), row["content"]) for row in _conversation(run)]
    if not run.viewers:
        yield "nobody watched"
    for viewer in run.viewers:
        if viewer.kind == "hybrid":
            shown = [(row["role"], row["content"]) for row in viewer.rows]
            if shown != expected:
                yield f"{viewer.name} ends with {_brief(shown)}, not {_brief(expected)}"
            if viewer.is_streaming:
                yield f"{viewer.name} still shows that a reply is being written"
            if viewer.connection != "connected":
                yield f"{viewer.name} is still {viewer.connection}"
        elif viewer.rows != run.rows:
            yield f"{viewer.name} ends with other messages than Convex has"


def viewers_show_one_reply_at_a_time(run: RunSeen) -> Iterator[str]:
    for viewer in run.viewers:
        for double in viewer.doubles[:1]:
            yield f"{viewer.name} showed {double}"


APPLICATION_INVARIANTS: dict[str, Callable[[RunSeen], Iterable[str]]] = {
    "everything comes in time": everything_comes_in_time,
    "nothing is left running": nothing_is_left_running,
    "the task is free": the_task_is_free,
    "each end has its reason": each_end_has_its_reason,
    "each message has one reply": each_message_has_one_reply,
    "one generation per message": one_generation_per_message,
    "the fallback is for what was not begun": the_fallback_is_for_what_was_not_begun,
    "both stores agree": both_stores_agree,
    "both stores have the same status": both_stores_have_the_same_status,
    "the log has no gaps": the_log_has_no_gaps,
    "the message is its log": the_message_is_its_log,
    "the message is what was said": the_message_is_what_was_said,
    "a fallback is what was said": a_fallback_is_what_was_said,
    "viewers show the conversation": viewers_show_the_conversation,
    "viewers show one reply at a time": viewers_show_one_reply_at_a_time,
    "viewers get each chunk once": viewers_get_each_chunk_once,
    "what is shown only grows": what_is_shown_only_grows,
    "the swap is atomic": the_swap_is_atomic,
}


def _on_convex(run: RunSeen, reply: ReplySeen) -> Row | None:
    return reply_row(run.rows, reply.client_message_id)


def _in_sql(run: RunSeen, reply: ReplySeen) -> Row | None:
    return answer_in(run.stored, reply.client_message_id)


def _conversation(run: RunSeen) -> Iterator[Row]:
    """Messages and replies, from Convex if it has them, else from SQL."""
    for reply in run.replies:
        client_id = reply.client_message_id
        for row in (*run.rows, *run.stored):
            if row.get("clientMessageId") == client_id:
                yield row
                break
        answer = _on_convex(run, reply) or _in_sql(run, reply)
        if answer is not None:
            yield answer


def _brief(rows: Iterable[tuple[str, str]]) -> str:
    shown = (f"{role} of {len(content)}" for role, content in rows)
    return f"[{', '.join(shown)}]"
