"""Whether a message is to be answered: a new one is stored, a repeated one recognised.

A client whose connection broke does not know whether its message arrived, and sends it
again with the same `clientMessageId`. It is then answered if nobody has answered it,
and never twice.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Literal, TypeAlias

from kit.app.history import History
from kit.app.tables import Message, storable
from kit.errors import DatabaseError, KitError

__all__ = ["Acceptance", "accept", "answer_to", "reply_id"]

Acceptance: TypeAlias = Literal["new", "again", "answered"]
"""`again`: it was accepted before, and SQL has no reply to it."""


async def accept(
    history: History, task_id: str, text: str, *, model: str, client_message_id: str
) -> Acceptance:
    """Store a user's message, unless it is stored.

    Raises KitError if it cannot be stored, or is another message than the one that was
    sent with this id.
    """
    try:
        stored = await history.add_message(
            task_id,
            "user",
            text,
            llm_model=model,
            client_message_id=client_message_id,
        )
        if stored is not None:
            return "new"
        messages = await history.messages(task_id)
    except DatabaseError as error:
        raise KitError(f"The message was not accepted. {error}") from None
    same = (m for m in messages if m.get("clientMessageId") == client_message_id)
    question = next(same)
    if question["content"] != storable(text):
        raise KitError(
            f"The clientMessageId {client_message_id} was used for another message "
            "of this task. A new message needs a new one."
        )
    return "again" if answer_to(task_id, question, messages) is None else "answered"


def reply_id(task_id: str, client_message_id: str) -> str:
    """The id of the reply that the application itself writes to this message.

    The same each time: the database takes only one.
    """
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{task_id} {client_message_id}").hex


def answer_to(
    task_id: str, question: Message, messages: Sequence[Message]
) -> Message | None:
    """The reply to one of the messages, None if it has none.

    It follows its message, unless that was answered when it was sent again.
    """
    asked = messages.index(question)
    for message in messages[asked + 1 :]:
        if message["role"] != "assistant":
            break
        return message
    written = reply_id(task_id, question.get("clientMessageId", ""))
    return next((m for m in messages if m["id"] == written), None)
