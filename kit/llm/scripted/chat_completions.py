"""Chat Completions in OpenRouter's dialect, as the scripted provider speaks it. Pure.

Mirrors https://openrouter.ai/docs/api-reference/streaming: `chat.completion.chunk`
objects with `reasoning` and `reasoning_details` in the delta, the finish reason in a
chunk of its own, usage with the cost in the last chunk, then `[DONE]`; comments keep
the connection alive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, assert_never

from kit.llm.providers import ProviderName
from kit.llm.scripted.formats import (
    Frame,
    Refused,
    call_id,
    count_tokens,
    digest,
    needs_reasoning,
    plain_text,
    require,
    require_object,
    sse,
)
from kit.llm.scripted.reply import (
    Ask,
    Block,
    OfferedTool,
    Redacted,
    Reply,
    Text,
    Thinking,
    ToolCall,
    ToolOutput,
    seal,
)

__all__ = ["ChatCompletions"]

_FINISH_REASONS = {
    "stop": "stop",
    "tools": "tool_calls",
    "length": "length",
    "refusal": "content_filter",
}
_DONE = b"data: [DONE]\n\n"
_COST_PER_TOKEN = 0.000_001
_REASONING_FORMAT = "anthropic-claude-v1"


class ChatCompletions:
    provider: ClassVar[ProviderName] = "openrouter"
    endpoint: ClassVar[str] = "/chat/completions"
    keep_alive: ClassVar[bytes] = b": OPENROUTER PROCESSING\n\n"
    overloaded: ClassVar[int] = 429
    failing: ClassVar[Refused] = Refused(
        502, "Provider returned error", code="provider_unavailable"
    )
    too_long_in_stream: ClassVar[bool] = False
    free_path: ClassVar[str] = "/key"

    def read(self, body: Mapping[str, Any]) -> Ask:
        model = require(body, "model", str, "a model's id")
        messages = require(body, "messages", list, "a list of messages")
        history = _History()
        for message in messages:
            history.add(message)
        history.expect_no_open_calls()
        return Ask(
            model=model,
            prompt=history.prompt,
            tools=tuple(_offered(body.get("tools") or ())),
            outputs=tuple(history.outputs),
            rounds=history.rounds,
            reasoning=_reasoning(body.get("reasoning")),
            input_tokens=count_tokens(str(messages)),
            digest=digest(body),
        )

    def frames(self, ask: Ask, reply: Reply) -> Iterator[Frame]:
        yield Frame(self.keep_alive)
        yield Frame(_chunk(ask, {"role": "assistant", "content": ""}))
        calls = 0
        for index, block in enumerate(reply.blocks):
            is_call = isinstance(block, ToolCall)
            yield from _block_frames(ask, reply, calls if is_call else index, block)
            calls += is_call
        yield Frame(_chunk(ask, {"content": ""}, _FINISH_REASONS[reply.finish]))
        yield Frame(_usage_chunk(ask, reply))
        yield Frame(_DONE)

    def too_long(self, tokens: int, limit: int) -> Refused:
        return Refused(
            400,
            f"This endpoint's maximum context length is {limit} tokens. However, you "
            f"requested about {tokens} tokens ({tokens} of text input). Please reduce "
            "the length of either one, or use the context-compression plugin to "
            "compress your prompt automatically.",
        )

    def error_in_stream(self, ask: Ask, refused: Refused) -> bytes:
        error = {
            "code": refused.status,
            "message": refused.text,
            "metadata": {"error_type": refused.code},
        }
        choices = [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]
        return sse(_envelope(ask) | {"error": error, "choices": choices}) + _DONE

    def free_answer(self) -> dict[str, Any]:
        return {
            "data": {
                "label": "sk-or-v1-scr...ted",
                "usage": 0,
                "limit": None,
                "limit_remaining": None,
                "is_free_tier": False,
            }
        }

    def error_body(self, refused: Refused, request_id: str) -> dict[str, Any]:
        return {"error": {"code": refused.status, "message": refused.text}}

    def headers(self, request_id: str) -> dict[str, str]:
        return {"x-generation-id": request_id}


# --- the request ------------------------------------------------------------------


class _History:
    """Reads messages in order and holds them to the API's rules."""

    def __init__(self) -> None:
        self.prompt = ""
        self.outputs: list[ToolOutput] = []
        self.rounds = 0
        self._open: dict[str, str] = {}  # calls without result: id -> tool name

    def add(self, message: Any) -> None:
        if not isinstance(message, dict):
            raise Refused(400, "messages: each one is an object")
        match message.get("role"):
            case "system" | "developer":
                pass
            case "user":
                self.expect_no_open_calls()
                self.prompt = plain_text(message.get("content"), "text")
                self.rounds, self.outputs = 0, []
            case "assistant":
                self._add_assistant(message)
            case "tool":
                self._add_result(message)
            case other:
                raise Refused(400, f"messages: no such role: {other!r}")

    def expect_no_open_calls(self) -> None:
        if self._open:
            raise Refused(
                400,
                "An assistant message with 'tool_calls' must be followed by tool "
                f"messages responding to each 'tool_call_id': {', '.join(self._open)}",
            )

    def _add_assistant(self, message: dict[str, Any]) -> None:
        self.expect_no_open_calls()
        self.outputs = []
        details = message.get("reasoning_details") or ()
        for detail in details:
            if detail.get("type") == "reasoning.text" and detail.get(
                "signature"
            ) != seal(str(detail.get("text", ""))):
                raise Refused(400, "reasoning_details: Invalid `signature`")
        for call in message.get("tool_calls") or ():
            function = call.get("function") or {}
            require_object(function.get("arguments"))
            self._open[str(call.get("id"))] = str(function.get("name"))
        if not details and any(needs_reasoning(call) for call in self._open):
            raise Refused(400, "reasoning_details: missing beside the tool calls")
        self.rounds += bool(self._open)

    def _add_result(self, message: dict[str, Any]) -> None:
        name = self._open.pop(str(message.get("tool_call_id")), None)
        if name is None:
            raise Refused(400, "messages: 'tool' must answer a preceding tool call")
        text = plain_text(message.get("content"), "text")
        self.outputs.append(ToolOutput(name, text, text.startswith("Error:")))


def _offered(tools: Any) -> Iterator[OfferedTool]:
    for tool in tools:
        function = tool.get("function") or {}
        yield OfferedTool(str(function.get("name")), function.get("parameters") or {})


def _reasoning(reasoning: Any) -> Literal["shown", "off"]:
    """OpenRouter shows reasoning unless it is told not to."""
    if isinstance(reasoning, dict) and (
        reasoning.get("exclude") or reasoning.get("enabled") is False
    ):
        return "off"
    return "shown"


# --- the answer -------------------------------------------------------------------


def _envelope(ask: Ask) -> dict[str, Any]:
    return {
        "id": f"gen-{ask.digest}",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": ask.model,
        "provider": "Scripted",
    }


def _chunk(ask: Ask, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {
        "index": 0,
        "delta": delta,
        "finish_reason": finish_reason,
        "native_finish_reason": finish_reason,
    }
    return sse(_envelope(ask) | {"choices": [choice]})


def _usage_chunk(ask: Ask, reply: Reply) -> bytes:
    total = ask.input_tokens + reply.output_tokens
    usage = {
        "prompt_tokens": ask.input_tokens,
        "completion_tokens": reply.output_tokens,
        "total_tokens": total,
        "cost": round(total * _COST_PER_TOKEN, 6),
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reply.reasoning_tokens},
    }
    return sse(_envelope(ask) | {"choices": [], "usage": usage})


def _block_frames(ask: Ask, reply: Reply, index: int, block: Block) -> Iterator[Frame]:
    match block:
        case Thinking():
            yield from _reasoning_frames(ask, index, block)
        case Redacted():
            detail = {
                "type": "reasoning.encrypted",
                "data": block.data,
                "format": _REASONING_FORMAT,
                "index": index,
            }
            yield Frame(_chunk(ask, {"reasoning_details": [detail]}))
        case Text():
            for token in block.tokens:
                yield Frame(_chunk(ask, {"content": token}), token)
        case ToolCall():
            call = {
                "index": index,
                "id": call_id("call_", ask, index, reply),
                "type": "function",
                "function": {"name": block.name, "arguments": ""},
            }
            yield Frame(_chunk(ask, {"tool_calls": [call]}), opens=True)
            for token in block.tokens:
                more = {"index": index, "function": {"arguments": token}}
                yield Frame(_chunk(ask, {"tool_calls": [more]}), token)
        case _:
            assert_never(block)


def _reasoning_frames(ask: Ask, index: int, block: Thinking) -> Iterator[Frame]:
    detail = {"type": "reasoning.text", "format": _REASONING_FORMAT, "index": index}
    for token in block.tokens:
        delta = {"reasoning": token, "reasoning_details": [detail | {"text": token}]}
        yield Frame(_chunk(ask, delta), token)
    signature = seal("".join(block.tokens))
    last = {"reasoning_details": [detail | {"signature": signature}]}
    yield Frame(_chunk(ask, last))
