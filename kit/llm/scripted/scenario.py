"""What a model name asks the scripted provider to play. Pure.

Holds the names that it answers to, and the parsing of `scripted-…` names with their
options. The package docstring describes them for users.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

from kit.llm.providers import ProviderName

__all__ = ["BadModelName", "Fault", "Scenario", "Shape", "parse_model"]

Shape = Literal[
    "plain",
    "text",
    "think",
    "tool",
    "tools2",
    "broken-tool",
    "wrong-tool",
    "length",
    "refusal",
]
Fault = Literal["error-mid", "drop", "eof", "stall", "http", "flaky"]


class BadModelName(ValueError):
    """A `scripted-…` name whose scenario or options cannot be understood."""


@dataclass(frozen=True)
class Scenario:
    """One way to answer. `shape` is what is said, `fault` what goes wrong."""

    shape: Shape = "plain"
    fault: Fault | None = None
    tokens: int = 60
    pace: float | None = None  # tokens per second; None: the server's
    at: int | None = None  # tokens before the fault; None: half of the reply
    delay: float = 0.0  # seconds before the first token
    status: int | None = None  # of `http` faults
    fails: int = 1
    retry_after: float | None = None
    rounds: int = 1
    context: int | None = None  # tokens that a request may have
    echo: int = 0  # 1: errors quote the key


# --- names ----------------------------------------------------------------------

_CLAUDE = re.compile(
    r"claude-(?:\d[\d.-]*-)?(?:opus|sonnet|haiku|fable|mythos)"
    r"(?:-\d[\d.-]*)?(?:-latest|-preview)?"
)
_OPENAI = re.compile(r"(?:gpt-\d[\w.]*(?:-[\w.]+)*|o\d(?:-[\w.]+)*)")
_ANY = re.compile(r"[\w.-]+")
_VENDORS: dict[str, re.Pattern[str]] = {
    "anthropic": _CLAUDE,
    "openai": _OPENAI,
    "deepseek": _ANY,
    "google": _ANY,
    "meta-llama": _ANY,
    "mistralai": _ANY,
    "moonshotai": _ANY,
    "openrouter": _ANY,
    "qwen": _ANY,
    "x-ai": _ANY,
    "z-ai": _ANY,
}
_SCRIPTED = re.compile(r"(?:claude-|gpt-)?scripted-([a-z0-9-]+)")


def parse_model(provider: ProviderName, model: str) -> Scenario | None:
    """The scenario that `model` names; None if this provider has no such model.

    Raises BadModelName for a `scripted-…` name with a wrong scenario or option.
    """
    vendor = ""
    if provider == "openrouter":
        vendor, slash, model = model.removeprefix("~").rpartition("/")
        if slash and not vendor:
            return None
    name, _, suffix = model.partition(":")
    scripted = _SCRIPTED.fullmatch(name)
    if scripted:
        return _scripted(scripted[1], suffix)
    known = _VENDORS.get(vendor if provider == "openrouter" else provider)
    return Scenario() if known and known.fullmatch(name) else None


# --- scenarios --------------------------------------------------------------------

_SHAPES: tuple[Shape, ...] = get_args(Shape)
_FAULTS: tuple[Fault, ...] = get_args(Fault)
_HTTP = re.compile(r"http-([45]\d\d)")


def _scripted(name: str, options: str) -> Scenario:
    base = _base(name)
    if base is None:
        known = ", ".join((*_SHAPES[1:], *_FAULTS[:4], "http-<status>, flaky, slow"))
        raise BadModelName(f"no scenario {name!r}. There are: {known}.")
    fields = dict(vars(base))
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        field = key.replace("-", "_")
        if field not in _LIMITS:
            known = ", ".join(name.replace("_", "-") for name in _LIMITS)
            raise BadModelName(f"no option {key!r}. There are: {known}.")
        fields[field] = _number(key, value, *_LIMITS[field])
    return Scenario(**fields)


def _base(name: str) -> Scenario | None:
    for shape in _SHAPES[1:]:
        if name == shape:
            return Scenario(shape=shape)
    for fault in _FAULTS[:4]:
        if name == fault:
            return Scenario(shape="text", fault=fault)
    if name == "flaky":
        return Scenario(shape="text", fault="flaky", retry_after=0.05)
    if name == "slow":
        return Scenario(shape="text", delay=1.0)
    status = _HTTP.fullmatch(name)
    if status:
        return Scenario(shape="text", fault="http", status=int(status[1]))
    return None


# Per option: is it a whole number, and its smallest and largest value.
_LIMITS: dict[str, tuple[bool, float, float]] = {
    "tokens": (True, 1, 200_000),
    "pace": (False, 0, 100_000),
    "at": (True, 0, 200_000),
    "delay": (False, 0, 600),
    "fails": (True, 0, 100),
    "retry_after": (False, 0, 1_000_000),
    "rounds": (True, 1, 1_000),
    "context": (True, 1, 1_000_000),
    "echo": (True, 0, 1),
}


def _number(
    key: str, text: str, whole: bool, smallest: float, largest: float
) -> int | float:
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        number = math.nan
    if not smallest <= number <= largest:
        kind = "a whole number" if whole else "a number"
        raise BadModelName(
            f"option {key}={text!r}: give {kind} from {smallest:g} to {largest:g}."
        )
    return number
