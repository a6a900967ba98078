"""The arguments of a call that asks for a reply, checked without showing a key.

Convex's argument errors print what was sent, and callers log errors: a call with a key
and a misspelt argument, as `apiKey`, would put the key into a log. So these arguments
are checked here, the keys first and apart, and errors name what is wrong and show none
of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.convex._errors import refusal
from kit.convex._tools import tools_named
from kit.convex.schema import when_active
from kit.llm.secret import Secret
from kit.values import ValidationFailed, v

__all__ = ["PROVIDERS", "Request", "checked_request"]

PROVIDERS = ("openrouter", "anthropic", "openai")

Request = dict[str, Any]

_request = v.object(
    {
        "taskId": v.id("tasks"),
        "prompt": v.string(),
        "model": v.string(),
        "systemPrompt": v.optional(v.string()),
        "llmModel": v.optional(v.string()),
        "clientMessageId": v.optional(v.string()),
        "tools": v.optional(v.array(v.string())),
        "whenActive": v.optional(when_active),
    }
)


def checked_request(
    args: Mapping[str, Any], *, takes_keys: bool
) -> tuple[Request, dict[str, Secret]]:
    """The request, and the API keys by provider.

    Raises BadArguments or UnknownTool; the text holds no key.
    """
    request = dict(args)
    api_keys = request.pop("apiKeys", {})
    if api_keys and not takes_keys:
        raise refusal(
            "BadArguments",
            "streaming:send takes no `apiKeys`: it schedules the reply, and keys are "
            "never stored. Set them in the deployment's environment, or call "
            "streaming:streamChatWithTools.",
        )
    keys = _checked_keys(api_keys)
    try:
        _request.check(request)
    except ValidationFailed as problem:
        raise refusal("BadArguments", _without_values(str(problem))) from None
    tools_named(request.get("tools", []))
    return request, keys


def _without_values(problem: str) -> str:
    lines = f"ArgumentValidationError: {problem}".split("\n")
    shown = [line for line in lines if not line.startswith(("Object: ", "Value: "))]
    return "\n".join(line for line in shown if line)


def _checked_keys(api_keys: Any) -> dict[str, Secret]:
    if not isinstance(api_keys, dict):
        raise refusal(
            "BadArguments", "`apiKeys` must be an object of keys by provider."
        )
    if not set(api_keys) <= set(PROVIDERS):
        # Which one is not said: it may be a key, with its provider in its place.
        raise refusal(
            "BadArguments",
            "`apiKeys` names a provider that there is not. "
            f"Providers: {', '.join(PROVIDERS)}.",
        )
    given = {name: key for name, key in api_keys.items() if key is not None}
    for provider, key in given.items():
        if not isinstance(key, str):
            raise refusal("BadArguments", f"`apiKeys.{provider}` must be a string.")
    return {name: Secret(key.strip()) for name, key in given.items()}
