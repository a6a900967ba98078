"""The providers: what differs between them, and where one reply comes from.

Holds plain data that routing, adapters and the scripted provider share. Chooses
nothing: see `kit.llm.route`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from kit.llm.secret import Secret

__all__ = [
    "DEFAULT_READ_TIMEOUT",
    "PROVIDERS",
    "ProviderName",
    "ProviderSettings",
    "Route",
    "WireName",
]

ProviderName = Literal["openrouter", "anthropic", "openai"]
WireName = Literal["chat-completions", "anthropic-messages", "responses"]

DEFAULT_READ_TIMEOUT = 60.0


@dataclass(frozen=True)
class ProviderSettings:
    """What differs between providers, besides their wire formats."""

    wire: WireName
    base_url: str
    key_variable: str
    base_url_variable: str
    scripted_path: str  # where the scripted provider serves this provider's wire


# In the order in which keys are looked for.
PROVIDERS: Mapping[ProviderName, ProviderSettings] = {
    "openrouter": ProviderSettings(
        wire="chat-completions",
        base_url="https://openrouter.ai/api/v1",
        key_variable="OPENROUTER_API_KEY",
        base_url_variable="KIT_OPENROUTER_BASE_URL",
        scripted_path="/openrouter/api/v1",
    ),
    "anthropic": ProviderSettings(
        wire="anthropic-messages",
        base_url="https://api.anthropic.com",
        key_variable="ANTHROPIC_API_KEY",
        base_url_variable="KIT_ANTHROPIC_BASE_URL",
        scripted_path="/anthropic",
    ),
    # Responses, not Chat Completions: api.openai.com refuses function tools for
    # reasoning models there.
    "openai": ProviderSettings(
        wire="responses",
        base_url="https://api.openai.com/v1",
        key_variable="OPENAI_API_KEY",
        base_url_variable="KIT_OPENAI_BASE_URL",
        scripted_path="/openai/v1",
    ),
}


@dataclass(frozen=True)
class Route:
    """Where one reply comes from. Its repr shows no key; it cannot be pickled."""

    provider: ProviderName
    wire: WireName
    model: str  # as this provider spells it
    api_key: Secret
    base_url: str
    read_timeout: float = DEFAULT_READ_TIMEOUT  # seconds
