"""Whether a provider accepts a key, asked with a call that costs nothing.

Holds the call and the reading of its answer. Which path is free, and needs the key, is
in each adapter. What a key may be used for beyond that, no such call tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from kit.llm.failures import Failures

__all__ = ["FREE_PATHS", "free_answer"]

# Below a provider's base URL. OpenRouter lists its models to everybody.
FREE_PATHS = {
    "anthropic": "/v1/models?limit=1",
    "openai": "/models",
    "openrouter": "/key",
}


class SdkClient(Protocol):
    """The client of either SDK, as far as it is used here."""

    async def get(self, path: str, *, cast_to: type[Any]) -> Any: ...


async def free_answer(client: SdkClient, failures: Failures) -> Any:
    """What the provider tells whoever has a key: `data` of its answer.

    Raises LLMError: `auth` when the key is refused, `forbidden` when it is known and
    may not ask even this, and what else a model call can fail with.
    """
    try:
        answer = await client.get(
            FREE_PATHS[failures.route.provider], cast_to=dict[str, Any]
        )
    except Exception as error:
        raise failures.describe(error) from None
    if not isinstance(answer, Mapping) or "data" not in answer:
        raise failures.protocol("the answer is not JSON with `data`")
    return answer["data"]
