"""The arguments of a call that asks for a reply, checked without showing a key.

Convex's argument errors print the whole object that was sent, and callers log errors:
a call with a key and a misspelt argument would put the key into a log. So these
arguments are checked here, the keys first and apart, and only the rest is ever shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.convex._errors import refusal
from kit.convex._tools import tools_named
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
    }
)


def checked_request(
    args: Mapping[str, Any], *, takes_keys: bool
) -> tuple[Request, dict[str, str]]:
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
        raise refusal("BadArguments", f"ArgumentValidationError: {problem}") from None
    tools_named(request.get("tools", []))
    return request, keys


def _checked_keys(api_keys: Any) -> dict[str, str]:
    if not isinstance(api_keys, dict):
        raise refusal(
            "BadArguments", "`apiKeys` must be an object of keys by provider."
        )
    unknown = sorted(set(api_keys) - set(PROVIDERS))
    if unknown:
        raise refusal(
            "BadArguments",
            f"`apiKeys` has no provider {', '.join(map(repr, unknown))}. "
            f"Providers: {', '.join(PROVIDERS)}.",
        )
    given = {name: key for name, key in api_keys.items() if key is not None}
    for provider, key in given.items():
        if not isinstance(key, str):
            raise refusal("BadArguments", f"`apiKeys.{provider}` must be a string.")
    return given
