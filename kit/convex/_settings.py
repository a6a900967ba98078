"""Settings of the functions, from the deployment's environment.

| variable | means | default |
|---|---|---|
| KIT_FLUSH_INTERVAL_MS | how long text may wait before it is appended | 5 |
| KIT_LEASE_MS | after what silence a producer counts as dead | 15000 |
| KIT_TOOL_TIMEOUT_MS | how long a tool may take; then the model is told so | 60000 |
| KIT_MAX_STEPS | model calls in one reply; then it fails | 8 |
| KIT_REQUIRE_AUTH | `true`: answer nobody who is not signed in | false |

5 ms suit a deployment on the same machine, which takes thousands of appends a second.
On Convex, where each is billed, the default is 250. The settings of models are in
`kit.llm.route`, the time limit of stalls among them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

from kit.agent import MAX_STEPS, TOOL_TIMEOUT
from kit.convex._errors import refusal

__all__ = ["ON_CONVEX_FLUSH_INTERVAL_MS", "Settings", "auth_is_required"]

ON_CONVEX_FLUSH_INTERVAL_MS = 250.0
"""The default of the same functions in TypeScript, where each append is billed."""


@dataclass(frozen=True)
class Settings:
    flush_interval_ms: float = 5.0
    lease_ms: float = 15_000.0
    tool_timeout_ms: float = 1000.0 * TOOL_TIMEOUT
    max_steps: int = MAX_STEPS

    @classmethod
    def read(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """Raises BadSetting for a value that cannot be used."""
        return cls(
            flush_interval_ms=_number(
                env, "KIT_FLUSH_INTERVAL_MS", cls.flush_interval_ms, 0.0, 10_000.0
            ),
            lease_ms=_number(env, "KIT_LEASE_MS", cls.lease_ms, 100.0, 600_000.0),
            tool_timeout_ms=_number(
                env, "KIT_TOOL_TIMEOUT_MS", cls.tool_timeout_ms, 1.0, 600_000.0
            ),
            max_steps=int(
                _number(env, "KIT_MAX_STEPS", cls.max_steps, 1.0, 100.0, whole=True)
            ),
        )


def auth_is_required(env: Mapping[str, str] = os.environ) -> bool:
    """KIT_REQUIRE_AUTH. Raises BadSetting for a value that cannot be used."""
    text = env.get("KIT_REQUIRE_AUTH", "").strip()
    if text not in ("", "true", "false"):
        raise refusal(
            "BadSetting",
            f"KIT_REQUIRE_AUTH is {text!r} in the deployment's environment: set it to "
            "true or false, or unset it.",
        )
    return text == "true"


def _number(
    env: Mapping[str, str],
    variable: str,
    default: float,
    low: float,
    high: float,
    *,
    whole: bool = False,
) -> float:
    text = env.get(variable, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high or (whole and value != int(value)):
        what = "whole number" if whole else "number of milliseconds"
        raise refusal(
            "BadSetting",
            f"{variable} is {text!r} in the deployment's environment: set it to a "
            f"{what} from {low:g} to {high:g}, or unset it.",
        )
    return value
