"""Whether a message is to be answered: a new one is stored, a repeated one recognised.

A client whose connection broke does not know whether its message arrived, and sends it
again with the same `clientMessageId`. It is then answered if nobody has answered it,
and never twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from kit.app.history import History
from kit.app.tables import Message, storable
from kit.errors import DatabaseError, KitError

__all__ = ["accept", "answer_to"]


async def accept(
    history: History, task_id: str, text: str, *, model: str, client_message_id: str
) -> bool:
    """Store a user's message, unless it is stored; False if it has a reply already.

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
            return True
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
    return answer_to(question, messages) is None


def answer_to(question: Message, messages: Sequence[Message]) -> Message | None:
    """The reply to one of the messages, None if it has none."""
    later = messages[messages.index(question) + 1 :]
    for message in later:
        if message["role"] == "assistant":
            return message
        if message["role"] == "user":
            return None
    return None
