"""What the three wire formats of the scripted provider have in common. Pure.

Holds the interface of a format, the frames that a reply consists of, the refusal of
a request, and small readers for JSON that a stranger sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import msgspec

from kit.llm.providers import ProviderName
from kit.llm.scripted.reply import Ask, Reply

__all__ = [
    "Format",
    "Frame",
    "Refused",
    "call_id",
    "count_tokens",
    "digest",
    "needs_reasoning",
    "plain_text",
    "require",
    "require_object",
    "said",
    "sse",
]


@dataclass(frozen=True)
class Frame:
    """Some bytes of the body, sent in one piece.

    `token` is the piece of the reply in it. `opens` marks the frames that open the
    block of the next token: a fault strikes before them.
    """

    data: bytes
    token: str | None = None
    opens: bool = False


class Refused(Exception):
    """The request is answered with an HTTP error."""

    def __init__(
        self,
        status: int,
        text: str,
        *,
        code: str | None = None,
        param: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.code = code
        self.param = param
        self.retry_after = retry_after

    def adding(self, text: str) -> Refused:
        """The same, with this text behind its own."""
        fields = {**vars(self), "text": self.text + text}
        return Refused(**fields)


class Format(Protocol):
    """One provider's wire format."""

    provider: ClassVar[ProviderName]
    endpoint: ClassVar[str]  # below the provider's base path
    keep_alive: ClassVar[bytes]
    overloaded: ClassVar[int]  # the status with which it says so
    failing: ClassVar[Refused]  # what it says when the model fails half-way
    too_long_in_stream: ClassVar[bool]  # whether it says so in a stream, with HTTP 200
    free_path: ClassVar[str]  # below the base path too: a GET that needs only the key

    def read(self, body: Mapping[str, Any]) -> Ask:
        """What a request body asks. Raises Refused."""
        ...

    def frames(self, ask: Ask, reply: Reply) -> Iterator[Frame]:
        """The whole body of the answer, the terminal event included."""
        ...

    def too_long(self, tokens: int, limit: int) -> Refused:
        """What it says of a request that the model has no room for."""
        ...

    def error_in_stream(self, ask: Ask, refused: Refused) -> bytes:
        """The body's end when it says something after it has begun to answer."""
        ...

    def free_answer(self) -> dict[str, Any]:
        """The answer of `free_path`."""
        ...

    def error_body(self, refused: Refused, request_id: str) -> dict[str, Any]: ...

    def headers(self, request_id: str) -> dict[str, str]: ...


def sse(data: Any, event: str | None = None) -> bytes:
    """One server-sent event."""
    head = b"event: " + event.encode() + b"\n" if event else b""
    return head + b"data: " + msgspec.json.encode(data) + b"\n\n"


def digest(body: Any) -> str:
    """The same for the same request, whatever the order of its keys."""
    text = msgspec.json.encode(body, order="deterministic")
    return hashlib.sha256(text).hexdigest()[:24]


_THOUGHT = "_t"


def call_id(prefix: str, ask: Ask, index: int, reply: Reply) -> str:
    """The id of a tool call. It tells whether reasoning preceded the call."""
    thought = _THOUGHT if reply.reasoning_tokens else ""
    return f"{prefix}{ask.digest[:16]}{index}{thought}"


def needs_reasoning(tool_call_id: str) -> bool:
    """Does the call have to come back together with the reasoning before it?"""
    return tool_call_id.endswith(_THOUGHT)


def count_tokens(*texts: str) -> int:
    return sum(len(text) for text in texts) // 4 + 1


# --- reading what a stranger sent -------------------------------------------------


def require(body: Mapping[str, Any], name: str, kind: type, what: str) -> Any:
    """`body[name]`, if it is a `kind` that is not empty. Raises Refused."""
    value = body.get(name)
    if not isinstance(value, kind) or value in ("", [], {}):
        raise Refused(400, f"{name}: {what} is required", param=name)
    return value


def require_object(arguments: Any) -> None:
    """Not every server looks at the arguments of past calls. Raises Refused."""
    try:
        value = msgspec.json.decode(str(arguments))
    except (msgspec.DecodeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Refused(400, "arguments must be a valid JSON object string")


def plain_text(content: Any, *types: str) -> str:
    """The text of a message's content: a string, or blocks of these types."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(
        str(block.get("text", ""))
        for block in content
        if isinstance(block, dict) and block.get("type") in types
    )


TURN_LENGTH = 200  # characters
_TEXTS = ("text", "input_text", "output_text")


def said(body: Mapping[str, Any]) -> list[dict[str, str]]:
    """Who said what in a request of any format, in order, as `{"role", "text"}`.

    Of the users and the model; of long texts, the beginning.
    """
    items = body.get("messages", body.get("input"))
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    turns: list[dict[str, str]] = []
    for item in items if isinstance(items, list) else ():
        role = item.get("role") if isinstance(item, dict) else None
        if role in ("user", "assistant") and (
            text := plain_text(item.get("content"), *_TEXTS)
        ):
            turns.append({"role": role, "text": text[:TURN_LENGTH]})
    return turns
