"""The contract: which version of the functions a deployment has.

Functions and those who call them are deployed apart, so that either may be older than
the other. `kit doctor` compares the deployment's version with its own; a deployment
without this function is older than the first.
"""

from __future__ import annotations

from typing import Any

from kit.deployment.functions import query
from kit.values import v

VERSION = 3
"""Raised by one, in both languages, with any change that a caller can notice.

Such are: a function, an argument or a field of a result that is new, gone or means
something else; another order or kind of chunks; another error code. Not such are:
texts of errors, internal functions, tables that no caller sees, and speed.
"""


@query(args={}, returns=v.number())
async def version(ctx: Any, args: dict[str, Any]) -> Any:
    """The version of the contract that these functions keep."""
    return VERSION
