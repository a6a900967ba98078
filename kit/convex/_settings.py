"""Settings of the functions, from the deployment's environment.

| variable | means | default |
|---|---|---|
| KIT_FLUSH_INTERVAL_MS | how long text may wait before it is appended | 30 |
| KIT_LEASE_MS | after what silence a producer counts as dead | 15000 |

30 ms suits a deployment on the same machine; where each mutation is billed, take 100
to 250. Raises BadSetting for a value that cannot be used.
"""

from __future__ import annotations

import math
import os

from kit.convex._errors import refusal

__all__ = ["flush_interval_ms", "lease_ms"]


def flush_interval_ms() -> float:
    return _number("KIT_FLUSH_INTERVAL_MS", 30.0, low=0.0, high=10_000.0)


def lease_ms() -> float:
    return _number("KIT_LEASE_MS", 15_000.0, low=100.0, high=600_000.0)


def _number(variable: str, default: float, *, low: float, high: float) -> float:
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise refusal(
            "BadSetting",
            f"{variable} is {text!r} in the deployment's environment: set it to a "
            f"number of milliseconds from {low:g} to {high:g}, or unset it.",
        )
    return value
