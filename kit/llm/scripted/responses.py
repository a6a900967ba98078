"""OpenAI Responses, as the scripted provider speaks it. Pure.

Mirrors https://platform.openai.com/docs/api-reference/responses-streaming: each
output item is added, filled and done; the last event is `response.completed`,
`response.incomplete` or `response.failed` and holds the whole response.
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

__all__ = ["Responses"]

_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}


class Responses:
    provider: ClassVar[ProviderName] = "openai"
    endpoint: ClassVar[str] = "/responses"
    # Comments: this wire has no ping.
    keep_alive: ClassVar[bytes] = b": keep-alive\n\n"
    overloaded: ClassVar[int] = 429
    failing: ClassVar[Refused] = Refused(500, "The model failed.", code="server_error")
    too_long_in_stream: ClassVar[bool] = True
    free_path: ClassVar[str] = "/models"

    def read(self, body: Mapping[str, Any]) -> Ask:
        model = require(body, "model", str, "a model's id")
        items = body.get("input")
        if isinstance(items, str):
            items = [{"role": "user", "content": items}]
        if not isinstance(items, list) or not items:
            raise Refused(400, "Missing required parameter: 'input'.", param="input")
        history = _History()
        for item in items:
            history.add(item)
        history.end()
        return Ask(
            model=model,
            prompt=history.prompt,
            tools=tuple(
                OfferedTool(str(tool.get("name")), tool.get("parameters") or {})
                for tool in body.get("tools") or ()
            ),
            outputs=tuple(history.outputs),
            rounds=history.rounds,
            reasoning=_reasoning(model, body),
            input_tokens=count_tokens(str(body.get("instructions")), str(items)),
            digest=digest(body),
        )

    def frames(self, ask: Ask, reply: Reply) -> Iterator[Frame]:
        return _Answer(ask, reply).frames()

    def too_long(self, tokens: int, limit: int) -> Refused:
        return Refused(
            400,
            "Your input exceeds the context window of this model. Please adjust your "
            "input and try again.",
            code="context_length_exceeded",
            param="input",
        )

    def error_in_stream(self, ask: Ask, refused: Refused) -> bytes:
        if refused.status < 500:
            error = self.error_body(refused, "")
            return sse({"type": "error", "sequence_number": 2, **error}, "error")
        response = {
            "id": f"resp_{ask.digest}",
            "object": "response",
            "status": "failed",
            "model": ask.model,
            "output": [],
            "error": {"code": refused.code, "message": refused.text},
        }
        failed = {"type": "response.failed", "response": response}
        return sse(failed, "response.failed")

    def free_answer(self) -> dict[str, Any]:
        model = {
            "id": "gpt-6.2-sol",
            "object": "model",
            "created": 1_767_225_600,
            "owned_by": "openai",
        }
        return {"object": "list", "data": [model]}

    def error_body(self, refused: Refused, request_id: str) -> dict[str, Any]:
        code = refused.code or _CODES.get(refused.status)
        kind = "server_error" if refused.status >= 500 else "invalid_request_error"
        return {
            "error": {
                "message": refused.text,
                "type": kind,
                "param": refused.param or None,
                "code": code,
            }
        }

    def headers(self, request_id: str) -> dict[str, str]:
        return {"x-request-id": request_id}


# --- the request ------------------------------------------------------------------


class _History:
    """Reads input items in order and holds them to the API's rules."""

    def __init__(self) -> None:
        self.prompt = ""
        self.outputs: list[ToolOutput] = []
        self.rounds = 0
        self._open: dict[str, str] = {}  # calls without output: id -> tool name
        self._thought = False
        self._answering = False  # the items before were outputs

    def add(self, item: Any) -> None:
        if not isinstance(item, dict):
            raise Refused(400, "Invalid type for 'input': each item is an object.")
        match item.get("type", "message"):
            case "message":
                self._add_message(item)
            case "reasoning":
                self._add_reasoning(item)
            case "function_call":
                self._add_call(item)
            case "function_call_output":
                self._add_output(item)
            case other:
                raise Refused(400, f"Invalid value: '{other}'.", param="input")

    def end(self) -> None:
        if self._open:
            calls = ", ".join(self._open)
            raise Refused(400, f"No tool output found for function call {calls}.")

    def _add_message(self, item: dict[str, Any]) -> None:
        text = plain_text(item.get("content"), "input_text", "output_text")
        if item.get("role") == "user":
            self.prompt, self.rounds = text, 0
            self.outputs = []
            self._thought = False

    def _add_reasoning(self, item: dict[str, Any]) -> None:
        text = plain_text(item.get("summary"), "summary_text")
        if item.get("encrypted_content") != f"enc-{seal(text)}":
            raise Refused(
                400,
                "The encrypted content for a reasoning item could not be verified.",
                code="invalid_encrypted_content",
            )
        self._thought = True

    def _add_call(self, item: dict[str, Any]) -> None:
        call = str(item.get("call_id"))
        # Several calls may follow one reasoning item and the text after it.
        if needs_reasoning(call) and not (self._thought or self._open):
            raise Refused(
                400,
                f"Item '{item.get('id')}' of type 'function_call' was provided without "
                "its required 'reasoning' item.",
            )
        require_object(item.get("arguments"))
        self.rounds += not self._open
        self._open[call] = str(item.get("name"))
        self._answering = False

    def _add_output(self, item: dict[str, Any]) -> None:
        name = self._open.pop(str(item.get("call_id")), None)
        if name is None:
            raise Refused(
                400,
                "No tool call found for function call output with call_id "
                f"{item.get('call_id')}.",
            )
        if not self._answering:
            self.outputs = []
        self._answering = True
        self._thought = False
        text = str(item.get("output"))
        self.outputs.append(ToolOutput(name, text, text.startswith("Error:")))


def _reasoning(
    model: str, body: Mapping[str, Any]
) -> Literal["shown", "hidden", "off"]:
    reasoning = body.get("reasoning")
    if model.startswith("gpt-4"):  # these do not reason
        if reasoning:
            text = "Unsupported parameter: 'reasoning.summary' with this model."
            raise Refused(
                400, text, code="unsupported_parameter", param="reasoning.summary"
            )
        if "reasoning.encrypted_content" in (body.get("include") or ()):
            text = "Encrypted content is not supported with this model."
            raise Refused(400, text, param="include")
        return "off"
    shown = isinstance(reasoning, dict) and reasoning.get("summary")
    return "shown" if shown else "hidden"


# --- the answer -------------------------------------------------------------------


class _Answer:
    """One response under way: numbers its events and collects its output."""

    def __init__(self, ask: Ask, reply: Reply) -> None:
        self._ask = ask
        self._reply = reply
        self._number = 0
        self._output: list[dict[str, Any]] = []

    def frames(self) -> Iterator[Frame]:
        for name in ("response.created", "response.in_progress"):
            yield self._event(name, {"response": self._response("in_progress")})
        for block in self._reply.blocks:
            yield from self._item(block)
        reason = None
        if self._reply.finish == "length":
            reason = {"reason": "max_output_tokens"}
        status = "incomplete" if reason else "completed"
        response = self._response(status) | {
            "output": self._output,
            "incomplete_details": reason,
            "usage": self._usage(),
        }
        yield self._event(f"response.{status}", {"response": response})

    def _event(
        self,
        name: str,
        fields: Mapping[str, Any],
        *,
        token: str | None = None,
        opens: bool = False,
    ) -> Frame:
        data = {"type": name, "sequence_number": self._number, **fields}
        self._number += 1
        return Frame(sse(data, name), token, opens)

    def _response(self, status: str) -> dict[str, Any]:
        return {
            "id": f"resp_{self._ask.digest}",
            "object": "response",
            "created_at": 0,
            "status": status,
            "model": self._ask.model,
            "error": None,
            "incomplete_details": None,
            "output": [],
            "usage": None,
            "store": False,
        }

    def _usage(self) -> dict[str, Any]:
        prompt, output = self._ask.input_tokens, self._reply.output_tokens
        thought = self._reply.reasoning_tokens
        return {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": thought},
            "total_tokens": prompt + output,
        }

    def _item(self, block: Block) -> Iterator[Frame]:
        match block:
            case Thinking():
                yield from self._reasoning_item(block)
            case Text():
                yield from self._message_item(block)
            case ToolCall():
                yield from self._call_item(block)
            case Redacted():
                pass  # this wire has no such block: all reasoning is encrypted
            case _:
                assert_never(block)

    def _added(self, item: dict[str, Any]) -> Frame:
        fields = {"output_index": len(self._output), "item": item}
        return self._event("response.output_item.added", fields, opens=True)

    def _done(self, item: dict[str, Any]) -> Frame:
        fields = {"output_index": len(self._output), "item": item}
        self._output.append(item)
        return self._event("response.output_item.done", fields)

    def _reasoning_item(self, block: Thinking) -> Iterator[Frame]:
        index = len(self._output)
        item = {"id": f"rs_{self._ask.digest}{index}", "type": "reasoning"}
        yield self._added(item | {"summary": []})
        summary: list[dict[str, Any]] = []
        text = ""
        if self._ask.reasoning == "shown":
            text = "".join(block.tokens)
            summary = [{"type": "summary_text", "text": text}]
            yield from self._summary(item["id"], index, block, summary[0])
        encrypted = f"enc-{seal(text)}"
        yield self._done(item | {"summary": summary, "encrypted_content": encrypted})

    def _summary(
        self, item_id: str, index: int, block: Thinking, done: dict[str, Any]
    ) -> Iterator[Frame]:
        where = {"item_id": item_id, "output_index": index, "summary_index": 0}
        name = "response.reasoning_summary"
        part = done | {"text": ""}
        yield self._event(f"{name}_part.added", where | {"part": part})
        for token in block.tokens:
            delta = where | {"delta": token}
            yield self._event(f"{name}_text.delta", delta, token=token)
        yield self._event(f"{name}_text.done", where | {"text": done["text"]})
        yield self._event(f"{name}_part.done", where | {"part": done})

    def _message_item(self, block: Text) -> Iterator[Frame]:
        index = len(self._output)
        kind, field = "output_text", "text"
        part: dict[str, Any] = {"type": kind, "annotations": []}
        if self._reply.finish == "refusal":
            kind = field = "refusal"
            part = {"type": kind}
        item = {
            "id": f"msg_{self._ask.digest}{index}",
            "type": "message",
            "role": "assistant",
        }
        where = {"item_id": item["id"], "output_index": index, "content_index": 0}
        yield self._added(item | {"status": "in_progress", "content": []})
        added = where | {"part": part | {field: ""}}
        yield self._event("response.content_part.added", added, opens=True)
        for token in block.tokens:
            delta = where | {"delta": token}
            yield self._event(f"response.{kind}.delta", delta, token=token)
        part[field] = "".join(block.tokens)
        yield self._event(f"response.{kind}.done", where | {field: part[field]})
        yield self._event("response.content_part.done", where | {"part": part})
        yield self._done(item | {"status": "completed", "content": [part]})

    def _call_item(self, block: ToolCall) -> Iterator[Frame]:
        index = len(self._output)
        item = {
            "id": f"fc_{self._ask.digest}{index}",
            "type": "function_call",
            "call_id": call_id("call_", self._ask, index, self._reply),
            "name": block.name,
        }
        where = {"item_id": item["id"], "output_index": index}
        name = "response.function_call_arguments"
        yield self._added(item | {"arguments": "", "status": "in_progress"})
        for token in block.tokens:
            delta = where | {"delta": token}
            yield self._event(f"{name}.delta", delta, token=token)
        yield self._event(f"{name}.done", where | {"arguments": block.arguments})
        done = {"arguments": block.arguments, "status": "completed"}
        yield self._done(item | done)
