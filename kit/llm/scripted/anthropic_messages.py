"""Anthropic Messages, as the scripted provider speaks it. Pure.

Mirrors https://docs.anthropic.com/en/api/messages-streaming: `message_start`, per
content block start, deltas and stop, `message_delta` with the stop reason,
`message_stop`; pings in between.
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

__all__ = ["AnthropicMessages", "model_card"]

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_STOP_REASONS = {
    "stop": "end_turn",
    "tools": "tool_use",
    "length": "max_tokens",
    "refusal": "refusal",
}


def model_card(model: str) -> dict[str, Any]:
    """The answer of GET /v1/models/{id}."""
    supported, unsupported = {"supported": True}, {"supported": False}
    return {
        "id": model,
        "type": "model",
        "display_name": model,
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
        "capabilities": {
            "thinking": {
                "supported": True,
                "types": {"adaptive": supported, "enabled": unsupported},
            }
        },
    }


class AnthropicMessages:
    provider: ClassVar[ProviderName] = "anthropic"
    endpoint: ClassVar[str] = "/v1/messages"
    keep_alive: ClassVar[bytes] = sse({"type": "ping"}, "ping")
    overloaded: ClassVar[int] = 529
    failing: ClassVar[Refused] = Refused(529, "Overloaded")
    too_long_in_stream: ClassVar[bool] = False
    free_path: ClassVar[str] = "/v1/models"

    def read(self, body: Mapping[str, Any]) -> Ask:
        model = require(body, "model", str, "a model's id")
        require(body, "max_tokens", int, "a whole number")
        for gone in ("temperature", "top_p", "top_k"):
            if gone in body:
                raise Refused(400, f"{gone}: no longer accepted by this version")
        messages = require(body, "messages", list, "a list of messages")
        history = _History()
        for message in messages:
            history.add(message)
        history.end()
        return Ask(
            model=model,
            prompt=history.prompt,
            tools=tuple(
                OfferedTool(str(tool.get("name")), tool.get("input_schema") or {})
                for tool in body.get("tools") or ()
            ),
            outputs=tuple(history.outputs),
            rounds=history.rounds,
            reasoning=_reasoning(body.get("thinking")),
            input_tokens=count_tokens(str(body.get("system", "")), str(messages)),
            digest=digest(body),
        )

    def frames(self, ask: Ask, reply: Reply) -> Iterator[Frame]:
        yield Frame(_event("message_start", message=_message(ask)))
        yield Frame(self.keep_alive)
        for index, block in enumerate(reply.blocks):
            yield from _block_frames(ask, reply, index, block)
        stop = {
            "stop_reason": _STOP_REASONS[reply.finish],
            "stop_sequence": None,
            "stop_details": None,
        }
        usage = {
            "output_tokens": reply.output_tokens,
            "output_tokens_details": {"thinking_tokens": reply.reasoning_tokens},
        }
        yield Frame(_event("message_delta", delta=stop, usage=usage))
        yield Frame(_event("message_stop"))

    def too_long(self, tokens: int, limit: int) -> Refused:
        return Refused(400, f"prompt is too long: {tokens} tokens > {limit} maximum")

    def error_in_stream(self, ask: Ask, refused: Refused) -> bytes:
        return sse({"type": "error", "error": _error(refused)}, "error")

    def free_answer(self) -> dict[str, Any]:
        model = "claude-opus-5-5"
        return {
            "data": [model_card(model)],
            "first_id": model,
            "last_id": model,
            "has_more": False,
        }

    def error_body(self, refused: Refused, request_id: str) -> dict[str, Any]:
        return {"type": "error", "error": _error(refused), "request_id": request_id}

    def headers(self, request_id: str) -> dict[str, str]:
        return {"request-id": request_id}


def _error(refused: Refused) -> dict[str, str]:
    kind = _ERROR_TYPES.get(refused.status, "api_error")
    return {"type": kind, "message": refused.text}


# --- the request ------------------------------------------------------------------


class _History:
    """Reads messages in order and holds them to the API's rules."""

    def __init__(self) -> None:
        self.prompt = ""
        self.outputs: list[ToolOutput] = []
        self.rounds = 0
        self._open: dict[str, str] = {}  # calls without result: id -> tool name
        self._role = ""

    def add(self, message: Any) -> None:
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("user", "assistant"):
            raise Refused(400, "messages: each needs the role user or assistant")
        if not self._role and role != "user":
            raise Refused(400, "messages: first message must use the user role")
        self._role = role
        content = message.get("content")
        blocks = [{"type": "text", "text": content}]
        if isinstance(content, list):
            blocks = [block for block in content if isinstance(block, dict)]
        if any(b.get("type") == "text" and not b.get("text") for b in blocks):
            raise Refused(400, "messages: text content blocks must be non-empty")
        if role == "assistant":
            self._add_assistant(blocks)
        else:
            self._add_user(blocks)

    def end(self) -> None:
        self._expect_no_open_calls()
        if self._role != "user":
            raise Refused(400, "messages: the last one must use the user role")

    def _add_assistant(self, blocks: list[dict[str, Any]]) -> None:
        self._expect_no_open_calls()
        thought = False
        for block in blocks:
            match block.get("type"):
                case "thinking":
                    thought = True
                    if block.get("signature") != seal(str(block.get("thinking"))):
                        raise Refused(400, "messages: Invalid `signature` in thinking")
                case "redacted_thinking":
                    thought = True
                    if not str(block.get("data")).startswith("redacted-"):
                        raise Refused(400, "messages: Invalid `data` in thinking")
                case "tool_use":
                    self._open[str(block.get("id"))] = str(block.get("name"))
                    if not isinstance(block.get("input"), dict):
                        raise Refused(400, "tool_use.input: must be an object")
        if not thought and any(needs_reasoning(call) for call in self._open):
            raise Refused(400, "messages: Expected `thinking`, but found `tool_use`")
        self.rounds += bool(self._open)

    def _add_user(self, blocks: list[dict[str, Any]]) -> None:
        results = [b for b in blocks if b.get("type") == "tool_result"]
        self.outputs = []
        for block in results:
            name = self._open.pop(str(block.get("tool_use_id")), None)
            if name is None:
                raise Refused(400, "messages: tool_result without its `tool_use`")
            text = plain_text(block.get("content"), "text")
            self.outputs.append(ToolOutput(name, text, bool(block.get("is_error"))))
        self._expect_no_open_calls()
        text = plain_text(blocks, "text")
        if text:
            self.prompt = text
            self.rounds = 0

    def _expect_no_open_calls(self) -> None:
        if self._open:
            raise Refused(
                400,
                "messages: `tool_use` ids were found without `tool_result` blocks "
                f"immediately after: {', '.join(self._open)}",
            )


def _reasoning(thinking: Any) -> Literal["shown", "hidden", "off"]:
    """What is asked for; models think by default, and do not show it by default."""
    if not isinstance(thinking, dict):
        return "hidden"
    if thinking.get("type") == "disabled":
        return "off"
    if thinking.get("type") == "enabled":
        return "shown"
    return "shown" if thinking.get("display") == "summarized" else "hidden"


# --- the answer -------------------------------------------------------------------


def _event(name: str, **fields: Any) -> bytes:
    return sse({"type": name, **fields}, name)


def _message(ask: Ask) -> dict[str, Any]:
    return {
        "id": f"msg_{ask.digest}",
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": ask.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 1,
            "service_tier": "standard",
        },
    }


def _block_frames(ask: Ask, reply: Reply, index: int, block: Block) -> Iterator[Frame]:
    def delta(kind: str, field: str, text: str, token: str | None) -> Frame:
        change = {"type": kind, field: text}
        return Frame(_event("content_block_delta", index=index, delta=change), token)

    def start(**content_block: Any) -> Frame:
        opening = {"index": index, "content_block": content_block}
        return Frame(_event("content_block_start", **opening), opens=True)

    match block:
        case Thinking():
            yield start(type="thinking", thinking="", signature="")
            shown = block.tokens if ask.reasoning == "shown" else ()
            for token in shown:
                yield delta("thinking_delta", "thinking", token, token)
            signature = seal("".join(shown))
            yield delta("signature_delta", "signature", signature, None)
        case Redacted():
            yield start(type="redacted_thinking", data=block.data)
        case Text():
            yield start(type="text", text="")
            for token in block.tokens:
                yield delta("text_delta", "text", token, token)
        case ToolCall():
            call = call_id("toolu_", ask, index, reply)
            yield start(type="tool_use", id=call, name=block.name, input={})
            yield delta("input_json_delta", "partial_json", "", None)
            for token in block.tokens:
                yield delta("input_json_delta", "partial_json", token, token)
        case _:
            assert_never(block)
    yield Frame(_event("content_block_stop", index=index))
