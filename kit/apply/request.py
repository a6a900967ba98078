"""What the server's method asks Convex for: each field, as TypeScript in its scope."""

from __future__ import annotations

import re

from tree_sitter import Node

from kit.apply.steps import StepNotes
from kit.repo.layout import Layout
from kit.repo.server import StreamLoop
from kit.repo.settings import Expressions
from kit.repo.syntax import ancestors, declared_names

__all__ = ["parameters", "request_fields"]

_PROMPTS = ("userMessage", "prompt", "message", "userPrompt", "text", "content")
_MODELS = ("model", "llmModel", "mainModel", "modelId", "selectedModel")


def request_fields(
    layout: Layout, loop: StreamLoop, notes: StepNotes
) -> list[str] | None:
    """The fields of the request, as TypeScript in the scope of the loop."""
    given = layout.settings.expressions
    own = parameters(loop.function)
    prompt = next((each for each in _PROMPTS if each in own), None)
    found = Expressions(
        task_id="taskId" if "taskId" in loop.names else None,
        prompt=prompt,
        model=_model(layout, loop),
        system_prompt=_system_prompt(loop),
        api_keys=_api_keys(layout, loop),
        client_message_id=(
            "clientMessageId" if "clientMessageId" in loop.names else None
        ),
    )
    fields = {
        "taskId": given.task_id or found.task_id,
        "prompt": given.prompt or found.prompt,
        "model": given.model or found.model,
        "systemPrompt": given.system_prompt or found.system_prompt,
        "apiKeys": given.api_keys or found.api_keys,
        "clientMessageId": given.client_message_id or found.client_message_id,
    }
    toml = {"taskId": "task_id"}
    for name in ("taskId", "prompt", "model"):
        if fields[name] is None:
            notes.blocked.append(
                f"{loop.place}: it is not clear what the {name} is in {loop.method}. "
                f"Say it with `{toml.get(name, name)}` under [expressions] in the TOML "
                "file."
            )
    if fields["apiKeys"] is None:
        notes.todo.append(
            "No keys are passed on: set them where the functions run, with `npx convex "
            "env set`."
        )
    if fields["clientMessageId"] is None:
        notes.todo.append(
            f"{loop.method} has no `clientMessageId`, so each call makes one: "
            "a message that is sent again is answered again. Pass the sender's id, or "
            "say where it is with `client_message_id` under [expressions]."
        )
    if notes.blocked:
        return None
    return [
        name if name == value else f"{name}: {value}"
        for name, value in fields.items()
        if value is not None
    ]


def parameters(function: Node) -> list[str]:
    found = declared_names(function.child_by_field_name("parameters"))
    for above in ancestors(function):
        found += declared_names(above.child_by_field_name("parameters"))
    return found


def _model(layout: Layout, loop: StreamLoop) -> str | None:
    if "context" in loop.names and _in_repository(layout, "getMainModel("):
        return "context.getMainModel()"
    return next((name for name in _MODELS if name in loop.names), None)


def _api_keys(layout: Layout, loop: StreamLoop) -> str | None:
    if "context" in loop.names and _in_repository(layout, "getApiKeys("):
        return "context.getApiKeys()"
    return "apiKeys" if "apiKeys" in loop.names else None


def _system_prompt(loop: StreamLoop) -> str | None:
    if "systemPrompt" in loop.names:
        return "systemPrompt"
    has_function = re.search(rb"\bgetSystemPrompt\b", loop.source.body)
    return "await getSystemPrompt()" if has_function else None


def _in_repository(layout: Layout, needle: str) -> bool:
    return next(layout.repository.containing(needle), None) is not None
