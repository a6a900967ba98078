"""Who is asked: provider, wire, model name, key and base URL for one reply.

Holds the rule by which a model name and the keys at hand select a provider, the
spelling of model names per provider, and where the scripted provider serves each
wire. Opens no connection and imports no SDK until `open_wire`.

The rule is the one of the guide's application: OpenRouter, then Anthropic, then
OpenAI, from the keys given with the message, then from the environment. A provider
that does not serve the model is passed over.

Settings, all from the environment:

| variable | |
|---|---|
| OPENROUTER_API_KEY, ANTHROPIC_API_KEY, OPENAI_API_KEY | keys |
| KIT_OPENROUTER_BASE_URL, KIT_ANTHROPIC_BASE_URL, KIT_OPENAI_BASE_URL | other hosts |
| KIT_SCRIPTED_URL | every provider is the scripted one at this URL |
| KIT_LLM_READ_TIMEOUT | seconds of silence that count as a stall (60) |

With KIT_SCRIPTED_URL set, keys in the environment are never used: the scripted
provider is sent a key that was given with the message, else a placeholder. A given
key selects the provider as above; without one the model's name does: `claude-…` is
Anthropic's, `gpt-…` and `o3` are OpenAI's, all else is OpenRouter's.
"""

from __future__ import annotations

import importlib
import math
import re
import sys
from collections.abc import Mapping
from typing import assert_never
from urllib.parse import urlsplit

from kit.errors import ConfigError, KitError, LLMError
from kit.llm.providers import (
    DEFAULT_READ_TIMEOUT,
    PROVIDERS,
    ProviderName,
    Route,
    WireName,
)
from kit.llm.secret import PLACEHOLDER_KEY, Secret
from kit.llm.wire import Wire

__all__ = [
    "DEFAULT_READ_TIMEOUT",
    "PROVIDERS",
    "ProviderName",
    "Route",
    "WireName",
    "keys_in",
    "load_sdk",
    "open_wire",
    "route",
]


def route(
    model: str, api_keys: Mapping[str, Secret | str | None], env: Mapping[str, str]
) -> Route:
    """Choose who answers for `model`.

    `api_keys`: the keys given with the message, by provider name (`openrouter`,
    `anthropic`, `openai`); blank ones count as absent. `env`: the environment.

    Raises LLMError: kind `auth` when no key serves the model, `not-found` when the
    name can be no model's. Raises ConfigError when a setting in `env` is malformed.
    """
    try:
        return _chosen(model, api_keys, env)
    except KitError as error:
        failure = error.with_traceback(None)
    # Not from where keys are looked at: a traceback may be shown with its variables.
    del api_keys, env
    raise failure


def keys_in(env: Mapping[str, str]) -> dict[ProviderName, Secret]:
    """The keys that an environment holds."""
    return {
        name: Secret(key)
        for name, settings in PROVIDERS.items()
        if (key := env.get(settings.key_variable, "").strip())
    }


def _chosen(
    model: str, api_keys: Mapping[str, Secret | str | None], env: Mapping[str, str]
) -> Route:
    model = _checked_name(model)
    read_timeout = _read_timeout(env)
    given = {name: _plain(api_keys.get(name)) for name in PROVIDERS}
    scripted_url = env.get("KIT_SCRIPTED_URL", "").strip()
    if scripted_url:
        base_url = _checked_url("KIT_SCRIPTED_URL", scripted_url)
        return _scripted_route(model, given, base_url, read_timeout)
    if _is_scripted(model):
        raise LLMError(
            "not-found",
            f"{model!r} is a model of the scripted provider, which is not in use. "
            "Set KIT_SCRIPTED_URL to its URL, or choose another model.",
            provider=_home(model),
        )
    own = keys_in(env)
    from_env = {name: _plain(own.get(name)) for name in PROVIDERS}
    for keys in (given, from_env):
        provider = _first_that_serves(model, keys)
        if provider is not None:
            base_url = _base_url(provider, env)
            return _route(provider, model, keys[provider], base_url, read_timeout)
    raise _no_key(model)


def _plain(key: Secret | str | None) -> str:
    return (key.reveal() if isinstance(key, Secret) else key or "").strip()


def open_wire(route: Route) -> Wire:
    """The adapter for `route`, connected to nothing yet.

    Imports the SDK of that wire on first use (up to a second: see `load_sdk`). The
    result belongs to the event loop that first uses it; `await wire.aclose()`.
    """
    match route.wire:
        case "anthropic-messages":
            from kit.llm.anthropic import AnthropicWire

            return AnthropicWire(route)
        case "responses":
            from kit.llm.responses import ResponsesWire

            return ResponsesWire(route)
        case "chat-completions":
            from kit.llm.chat_completions import ChatCompletionsWire

            return ChatCompletionsWire(route)
        case _:
            assert_never(route.wire)


_ADAPTERS: Mapping[WireName, str] = {
    "anthropic-messages": "kit.llm.anthropic",
    "responses": "kit.llm.responses",
    "chat-completions": "kit.llm.chat_completions",
}


def load_sdk(wire: WireName) -> bool:
    """Import what `open_wire` will need; False if it was there.

    The SDKs take 0.4 to 0.9 s to import; a server does that when it starts, or in a
    thread, and not while its event loop waits.
    """
    is_new = _ADAPTERS[wire] not in sys.modules
    importlib.import_module(_ADAPTERS[wire])
    return is_new


# --- which provider ---------------------------------------------------------------


def _first_that_serves(
    model: str, keys: Mapping[ProviderName, str]
) -> ProviderName | None:
    for provider in PROVIDERS:
        if keys[provider] and _spelling(provider, model) is not None:
            return provider
    return None


def _scripted_route(
    model: str, given: Mapping[ProviderName, str], base_url: str, read_timeout: float
) -> Route:
    provider = _first_that_serves(model, given)
    key = given[provider] if provider else PLACEHOLDER_KEY
    provider = provider or _home(model)
    base_url += PROVIDERS[provider].scripted_path
    return _route(provider, model, key, base_url, read_timeout)


def _route(
    provider: ProviderName, model: str, key: str, base_url: str, read_timeout: float
) -> Route:
    return Route(
        provider=provider,
        wire=PROVIDERS[provider].wire,
        model=_spelling(provider, model) or model,
        api_key=_checked_key(key, provider),
        base_url=base_url,
        read_timeout=read_timeout,
    )


def _no_key(model: str) -> LLMError:
    home = _home(model)
    variables = [PROVIDERS["openrouter"].key_variable]
    if home != "openrouter":
        variables.append(PROVIDERS[home].key_variable)
    return LLMError(
        "auth",
        f"no API key for model {model!r}. Set {' or '.join(variables)}, give a key "
        "with the message, or choose a model whose key is set.",
        provider=home,
    )


# --- how a provider spells a model ------------------------------------------------

# claude-opus-5-5, gpt-6.2-sol, o3-mini; the scripted provider's names on either side.
_CLAUDE = re.compile(r"claude-")
_OPENAI = re.compile(r"(?:gpt-|chatgpt-|codex-|o\d|ft:(?:gpt-|o\d))")
_SCRIPTED = re.compile(r"(?:~?[\w.-]+/)?(?:claude-|gpt-)?scripted-")

_DATE = re.compile(r"-(?:\d{8}|latest)$")
_HYPHENATED_VERSION = re.compile(r"-(\d{1,2})-(\d{1,2})(?=-|$)")


def _home(model: str) -> ProviderName:
    """Whose model this is, by its name alone."""
    if "/" in model:
        return "openrouter"
    if _CLAUDE.match(model):
        return "anthropic"
    if _OPENAI.match(model):
        return "openai"
    return "openrouter"


def _is_scripted(model: str) -> bool:
    return _SCRIPTED.match(model) is not None


def _spelling(provider: ProviderName, model: str) -> str | None:
    """`model` as `provider` spells it; None if it does not serve it."""
    match provider:
        case "openrouter":
            return _for_openrouter(model)
        case "anthropic":
            return _direct(model, "anthropic/", _CLAUDE, hyphens=True)
        case "openai":
            return _direct(model, "openai/", _OPENAI, hyphens=False)
        case _:
            assert_never(provider)


def _for_openrouter(model: str) -> str | None:
    """`vendor/model`, with dots in Claude's versions and without dates."""
    if "/" in model:
        return model
    if _CLAUDE.match(model):
        name = _HYPHENATED_VERSION.sub(r"-\1.\2", _DATE.sub("", model))
        return f"anthropic/{name}"
    if model.startswith("ft:"):
        return None  # a fine-tuned model lives in its owner's account only
    if _OPENAI.match(model):
        return f"openai/{model}"
    return model


def _direct(
    model: str, vendor: str, own: re.Pattern[str], *, hyphens: bool
) -> str | None:
    """The name without its vendor; Anthropic writes versions with hyphens."""
    name, colon, suffix = model.removeprefix(vendor).partition(":")
    if model.startswith("ft:"):
        return model if own.match(model) else None
    if colon and "=" not in suffix:
        return None  # `:free`, `:online`, …: OpenRouter's variants
    if not (own.match(name) or name.startswith("scripted-")):
        return None
    return (name.replace(".", "-") if hyphens else name) + colon + suffix


# --- settings ------------------------------------------------------------------


def _checked_name(model: str) -> str:
    name = model.strip()
    if not name or len(name) > 200 or not name.isprintable() or " " in name:
        shown = name if len(name) <= 40 else name[:40] + "…"
        raise LLMError(
            "not-found",
            f"{shown!r} is not a model name. Give one such as 'claude-opus-5-5', "
            "'gpt-6.2-sol' or 'vendor/model'.",
            provider="openrouter",
        )
    return name


def _checked_key(key: str, provider: ProviderName) -> Secret:
    # A header could not carry it, and the error of the HTTP library would show it.
    if not key.isascii() or not key.isprintable() or " " in key:
        raise LLMError(
            "auth",
            f"the {provider} key holds spaces, line breaks or characters that keys do "
            f"not have. Copy it again ({PROVIDERS[provider].key_variable}, or the key "
            "given with the message).",
            provider=provider,
        )
    return Secret(key)


def _base_url(provider: ProviderName, env: Mapping[str, str]) -> str:
    settings = PROVIDERS[provider]
    override = env.get(settings.base_url_variable, "").strip()
    if override:
        return _checked_url(settings.base_url_variable, override)
    return settings.base_url


def _checked_url(variable: str, url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            f"{variable} is not an http or https URL. "
            "Set it to one such as http://127.0.0.1:8000, or unset it."
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(
            f"{variable} holds more than a host and a path. Leave out user, password, "
            "query and fragment: keys have variables of their own."
        )
    return url.rstrip("/")


def _read_timeout(env: Mapping[str, str]) -> float:
    text = env.get("KIT_LLM_READ_TIMEOUT", "").strip()
    if not text:
        return DEFAULT_READ_TIMEOUT
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigError(
            f"KIT_LLM_READ_TIMEOUT is {text!r}: "
            "set it to a number of seconds above 0, or unset it."
        )
    return seconds
