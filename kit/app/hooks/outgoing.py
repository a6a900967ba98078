"""Messages on their way: their ids, and which of them nobody has seen yet. Pure.

Whoever sends a message and does not hear whether it has arrived, sends it again. With
the id of the first time it is answered once, whether or not the first one came through.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from kit.app.hooks.source import Message

__all__ = ["MessageIds", "SentMessages"]


class MessageIds:
    """Remembers the last message of which nobody knows whether it has arrived."""

    def __init__(self) -> None:
        self._text = ""
        self._id: str | None = None

    def id_for(self, text: str, given: str | None) -> str:
        """The `clientMessageId` to send this text with; it is doubtful from then on.

        `given`, if there is one; that of the doubtful message, if it is the same text;
        else a new one.
        """
        if given is None and text == self._text:
            given = self._id
        self._text, self._id = text, given or str(uuid.uuid4())
        return self._id

    def doubt(self, row: Message) -> None:
        """Nobody knows whether this message has arrived."""
        self._text, self._id = row["content"], row["clientMessageId"]

    def arrived(self, client_message_id: str | None) -> None:
        """This message has arrived: the same text is another message now."""
        if client_message_id == self._id:
            self._id = None

    def seen(self, messages: Iterable[Mapping[str, Any]]) -> None:
        """These messages have arrived."""
        if self._id is not None:
            for row in messages:
                self.arrived(row.get("clientMessageId"))


class SentMessages:
    """Rows of messages that were sent and were not seen in any history since."""

    def __init__(self, task_id: str) -> None:
        self.rows: list[Message] = []
        self._task_id = task_id
        self._ids = MessageIds()
        self._doubtful: set[str] = set()

    def begin(self, text: str, given_id: str | None, messages: list[Message]) -> str:
        """Add the message that is being sent after `messages`; its clientMessageId.

        One that is among them is sent again, and shown already.
        """
        client_message_id = self._ids.id_for(text, given_id)
        self._doubtful.discard(client_message_id)
        if any(row.get("clientMessageId") == client_message_id for row in messages):
            return client_message_id
        last = messages[-1]["sequence"] if messages else 0.0
        self.rows.append(
            {
                "_id": client_message_id,
                "_creationTime": time.time() * 1000,
                "taskId": self._task_id,
                "role": "USER",
                "content": text,
                "sequence": last + 1.0,
                "status": "complete",
                "clientMessageId": client_message_id,
            }
        )
        return client_message_id

    def arrived(self, client_message_id: str) -> None:
        """The server has it; it stays here until it is seen."""
        self._ids.arrived(client_message_id)

    def fail(self, client_message_id: str) -> None:
        """It may not have arrived. If it has, it will be seen."""
        self._remove({client_message_id})

    def give_up(self, row: Message) -> None:
        """It was sent, and has not arrived: the same text is the same message."""
        self._ids.doubt(row)
        self._remove({row["clientMessageId"]})

    def seen(self, messages: Iterable[Message]) -> None:
        """These are in a history."""
        messages = list(messages)
        self._ids.seen(messages)
        if self.rows:
            self._remove({row.get("clientMessageId") for row in messages})

    def lose_connection(self) -> None:
        """What the server had may be gone with it."""
        self._doubtful = {row["_id"] for row in self.rows}

    @property
    def doubtful(self) -> list[Message]:
        """What was sent over a connection that was lost since."""
        return [row for row in self.rows if row["_id"] in self._doubtful]

    def _remove(self, client_message_ids: set[str | None] | set[str]) -> None:
        self.rows = [
            row for row in self.rows if row["clientMessageId"] not in client_message_ids
        ]
