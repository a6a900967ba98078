"""What every adapter looks like from outside, and how a conversation is spoken of.

Holds the shapes that go in (`ToolSpec`, `ToolResult`, `Turn`), the two protocols that
adapters implement (`Wire`, `Conversation`), and the clean-up of what goes in that all
providers need. The shape that comes out is `kit.parts.Chunk`. How one model call is
run, retried and cut off is in `kit.llm.step`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from kit.deltas import valid_text
from kit.llm.providers import ProviderName
from kit.parts import Chunk

__all__ = [
    "Conversation",
    "ToolResult",
    "ToolSpec",
    "Turn",
    "Wire",
    "spoken_turns",
]


@dataclass(frozen=True)
class ToolSpec:
    """A tool that the model may call; `parameters` is a JSON schema of an object."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class ToolResult:
    """What a call came to: text for the model, or an error in words."""

    tool_call_id: str
    text: str
    is_error: bool = False

    def text_for_model(self) -> str:
        """The text for a wire that has no field for `is_error`."""
        text = valid_text(self.text)
        return f"Error: {text}" if self.is_error else text


@dataclass(frozen=True)
class Turn:
    """What was said before, as text."""

    role: Literal["user", "assistant"]
    text: str


class Conversation(Protocol):
    """One exchange with a model, its history kept as the provider wants it back."""

    def step(self) -> AsyncGenerator[Chunk, None]:
        """One model call.

        Yields `text-*`, `reasoning-*` and `tool-input-*` chunks, whose ids are unique
        within the step, then exactly one `finish-step`. Arguments of a tool call are
        given as they came: they may be invalid JSON.

        Retries failures that may pass, but only before the first chunk. What the model
        said enters the history with `finish-step`; a step that failed or was left early
        leaves no trace, so that the next `step()` asks again.

        Raises LLMError, and nothing of the SDK. Cancelling the consumer, or `aclose()`,
        closes the HTTP stream at once; so does dropping the iterator, but later.
        """
        ...

    def add_tool_results(self, results: Sequence[ToolResult]) -> None:
        """Answer the calls of the last step: one result for each, in their order."""
        ...


class Wire(Protocol):
    """A connection to one provider. Belongs to one event loop."""

    @property
    def provider(self) -> ProviderName: ...

    def conversation(
        self,
        *,
        model: str,
        system: str | None,
        turns: Sequence[Turn],
        tools: Sequence[ToolSpec] = (),
    ) -> Conversation:
        """Start from these turns, the last of which is the user's."""
        ...

    async def check_key(self) -> None:
        """Ask the provider for something free that needs the key.

        Raises LLMError: kind `auth` if the key is refused, `billing` if it has no
        credit and the provider tells, and what a step fails with. Returns if the key
        is accepted, which does not say that each model may be used.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections. Steps under way fail."""
        ...


def spoken_turns(turns: Sequence[Turn]) -> list[Turn]:
    """The turns that a provider accepts.

    A reply that was stopped before its first word is an empty turn, and a history cut
    to its newest messages may start with an answer: providers refuse both.
    """
    spoken = [Turn(t.role, valid_text(t.text)) for t in turns if t.text.strip()]
    while spoken and spoken[0].role == "assistant":
        del spoken[0]
    return spoken
