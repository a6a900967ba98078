"""Functions of one's own, pushed to the embedded deployment while it runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

from kit.errors import ConfigError, FunctionLoadError, RequestRejected
from kit.explore.admin import call
from kit.stack import Stack
from kit.values import is_identifier

__all__ = ["push", "push_now"]


async def push(stack: Stack, module: str, source: str) -> list[str]:
    """Serve `source` as the functions `module:...` of the stack's deployment.

    `source` is Python, as in a folder of functions; the module `schema` adds tables.
    Pushed again, it replaces what was there; subscriptions get what their queries come
    to now, and actions that run, run on. Returns the paths of the module's functions.

    Raises FunctionLoadError, naming the line, with everything as it was before, and
    ConfigError for a deployment that is not embedded: there, put functions into the
    folder `convex` of your project and run `npx convex dev`.
    """
    return await asyncio.to_thread(push_now, stack, module, source)


def push_now(stack: Stack, module: str, source: str) -> list[str]:
    """What `push` does, blocking."""
    file = _file(stack, module)
    before = file.read_text(encoding="utf-8") if file.exists() else None
    file.write_text(source, encoding="utf-8")
    try:
        loaded = call(stack, "POST", "/kit/load_functions")
    except BaseException as error:
        if before is None:
            file.unlink()
        else:
            file.write_text(before, encoding="utf-8")
        if isinstance(error, RequestRejected):
            raise FunctionLoadError(error.message) from None
        raise
    return [path for path in loaded["functions"] if path.startswith(f"{module}:")]


def _file(stack: Stack, module: str) -> Path:
    if stack.functions is None:
        raise ConfigError(
            f"{stack.deployment_url} is not an embedded deployment of this stack. Put "
            "the functions into the folder `convex` of your project and run "
            "`npx convex dev`."
        )
    if not is_identifier(module) or module.startswith("_"):
        raise ConfigError(
            f"{module!r} cannot be a module of functions: use letters, digits and "
            "underscores, not starting with a digit or an underscore."
        )
    return stack.functions / f"{module}.py"
