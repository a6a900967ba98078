"""Function paths: `dir/messages:list`.

A path names a module below the functions folder and a function in it. The canonical
form, `dir/messages.js:list`, is the one that Convex stores and prints in most errors;
the short form leaves out `.js` and `:default`. Source: Convex's `sync_types` crate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from kit.values import is_identifier

__all__ = ["FunctionPath", "parse_path"]

MAX_COMPONENT_LENGTH = 64
_component = re.compile(r"[A-Za-z0-9_.]+\Z")
_alphanumeric = re.compile(r"[A-Za-z0-9]")


@dataclass(frozen=True)
class FunctionPath:
    """`module` without extension, components joined by `/`; `function` by its name."""

    module: str
    function: str

    def __str__(self) -> str:
        if self.function == "default":
            return self.module
        return f"{self.module}:{self.function}"

    @property
    def canonical(self) -> str:
        """With extension and function, as in `messages.js:list`."""
        return f"{self.module}.js:{self.function}"


@lru_cache(maxsize=1024)
def parse_path(text: str) -> FunctionPath:
    """The function path in `text`; without a colon, the function is `default`.

    Raises ValueError saying what is wrong with it.
    """
    module, colon, function = text.rpartition(":")
    if not colon:
        module, function = text, "default"
    if not is_identifier(function):
        raise ValueError(
            f"Invalid function name {function!r}: use up to 64 letters, digits and "
            "underscores, not starting with a digit"
        )
    return FunctionPath(_parse_module(module), function)


def _parse_module(text: str) -> str:
    if text.startswith("/"):
        raise ValueError(f"Module path {text!r} must be relative")
    components = text.split("/")
    for component in components:
        _check_component(component)
    name, dot, extension = components[-1].rpartition(".")
    if not dot:
        return text
    if extension != "js":
        raise ValueError(f"Module path {text!r} has an extension that is not 'js'")
    return "/".join([*components[:-1], name])


def _check_component(component: str) -> None:
    if not component:
        raise ValueError("Path components must not be empty")
    if len(component) > MAX_COMPONENT_LENGTH:
        raise ValueError(
            f"Path component {component[:80]} is too long "
            f"({len(component)} > maximum {MAX_COMPONENT_LENGTH})"
        )
    if not _component.match(component):
        raise ValueError(
            f"Path component {component} can only contain alphanumeric characters, "
            "underscores, or periods."
        )
    if not _alphanumeric.search(component):
        raise ValueError(
            f"Path component {component} must have at least one alphanumeric character."
        )
