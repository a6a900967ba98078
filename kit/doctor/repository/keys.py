"""API keys in logs, in scheduled functions, in browsers and in arguments."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from tree_sitter import Node

from kit.doctor.repository.findings import Found, found
from kit.doctor.repository.reading import (
    MODEL_KEY,
    Reading,
    arguments,
    callee_path,
    field_of,
)
from kit.repo.source import Source
from kit.repo.syntax import (
    FUNCTIONS,
    callee_name,
    declared_names,
    enclosing_function,
    function_name,
    text,
    walk,
)

__all__ = ["keys", "shown_key"]

_KEY = re.compile(r"(?:^|[a-z_])(?:api|secret)_?keys?$", re.IGNORECASE)
_NO_KEY = re.compile(
    r"^(?:has|have|is|are|no|needs?|missing|requires?|use[sd]?|valid|show|with|without)"
    r"(?:[A-Z_]|$)|^(?:masked|redacted|hashed|encrypted)",
)
_GETTER = re.compile(r"^get\w*(?:Api|API|Secret)_?[kK]eys?$")
_PUBLIC = re.compile(r"^NEXT_PUBLIC_(?:ANTHROPIC|OPENAI|OPENROUTER|LLM)_(?:API_?)?KEY$")
_LOG_METHODS = frozenset(
    {"log", "info", "debug", "warn", "error", "trace", "dir", "fatal", "table"}
)
_LOGGERS = frozenset({"console", "logger", "log", "winston", "pino"})
_PASSED_ON = frozenset({"stringify", "String", "inspect", "format", "assign"})
_SCHEDULES = frozenset({"runAfter", "runAt"})
_NEEDLES = ("key", "Key", "KEY")  # what is worth a closer look


def keys(reading: Reading) -> Iterator[Found]:
    """All of this module's rules; each is described at its function."""
    for source in reading.repository.containing(*_NEEDLES):
        if not re.search(rb"(?i)(?:api|secret)_?key|PUBLIC_\w+_KEY", source.body):
            continue
        calls = list(walk(source.root, "call_expression"))
        loggers = _logging_functions(source, calls)
        for call in calls:
            yield from _logged(source, call, loggers)
            yield from _scheduled(source, call)
            if not reading.is_function(source.file):
                yield from _in_arguments(source, call)
        if b"NEXT_PUBLIC_" in source.body:
            yield from _in_browser(source)


def _logged(
    source: Source, call: Node, loggers: dict[str, set[int]]
) -> Iterator[Found]:
    """`key-logged`: a key is an argument of a logger, or of a function that logs it.

    A logger is `console.*`, or a method with a level's name on something called
    logger, log, winston or pino. The function that logs is one of the same file, which
    hands that very parameter to a logger. What counts as a key: see `shown_key`.
    """
    if is_log(call):
        wanted = arguments(call)
        how = "is logged"
    else:
        path = callee_path(call)
        name = path[-1] if path[:-1] in ((), ("this",)) and path else ""
        given = arguments(call)
        wanted = [given[i] for i in loggers.get(name, ()) if i < len(given)]
        how = f"is passed to `{name}`, which logs it"
    for argument in wanted:
        if (key := shown_key(argument)) is not None:
            yield found("key-logged", source.place(call), f"`{key}` {how}.")
            return


def _scheduled(source: Source, call: Node) -> Iterator[Found]:
    """`key-scheduled`: a key is an argument of `scheduler.runAfter` or `runAt`."""
    path = callee_path(call)
    if path[-1:] and path[-1] in _SCHEDULES and "scheduler" in path:
        for argument in arguments(call)[2:]:
            if (key := shown_key(argument)) is not None:
                seen = f"`{key}` is an argument of `{path[-1]}`."
                yield found("key-scheduled", source.place(call), seen)
                return


def _in_arguments(source: Source, call: Node) -> Iterator[Found]:
    """`key-in-arguments`: a Convex action is called with a field `apiKeys`.

    The call is `x.action(api.…, {… apiKeys …})`; a field that is empty does not count.
    """
    given = arguments(call)
    if callee_name(call) != "action" or len(given) < 2:
        return
    value = field_of(given[1], MODEL_KEY)
    if value is not None and text(given[0]).startswith("api.") and text(value) != "{}":
        seen = f"`{text(given[0])}` is called with `{MODEL_KEY}`."
        yield found("key-in-arguments", source.place(value), seen)


def _in_browser(source: Source) -> Iterator[Found]:
    """`key-in-browser`: a provider's key is read as `process.env.NEXT_PUBLIC_…`.

    Anthropic's, OpenAI's and OpenRouter's only: other services have keys that are
    made for browsers.
    """
    for node in walk(source.root, "member_expression"):
        name = text(node.child_by_field_name("property"))
        if (
            _PUBLIC.match(name)
            and text(node.child_by_field_name("object")) == "process.env"
        ):
            seen = f"`process.env.{name}` is read."
            yield found("key-in-browser", source.place(node), seen)


def is_log(call: Node) -> bool:
    """Whether a call writes to a log."""
    path = callee_path(call)
    return len(path) > 1 and path[-1] in _LOG_METHODS and path[-2] in _LOGGERS


def shown_key(node: Node) -> str | None:
    """The key that would be shown if this expression were; None if none would.

    A key is a name that ends in apiKey(s), API_KEY or secretKey, a field of one, or
    what a `get…ApiKeys()` gives. It is followed through objects, arrays, templates,
    `+`, `??`, the two ends of `?:` and JSON.stringify. What tells only whether there is
    one (`!!apiKey`, `hasApiKey`, `Object.keys(apiKeys)`, a comparison, `.length`) does
    not show it, and neither does what another function makes of it.
    """
    match node.type:
        case "identifier" | "shorthand_property_identifier":
            return text(node) if _is_key(text(node)) else None
        case "member_expression":
            return _key_of_member(node)
        case "subscript_expression":
            inner = node.child_by_field_name("object")
            return None if inner is None else shown_key(inner)
        case "call_expression":
            return _key_of_call(node)
        case "pair":
            value = node.child_by_field_name("value")
            return None if value is None else shown_key(value)
        case "ternary_expression":
            ends = [node.child_by_field_name(n) for n in ("consequence", "alternative")]
            return _first([end for end in ends if end is not None])
        case "binary_expression":
            if _joins(node):
                return _first(_operands(node))
            if text(node.child_by_field_name("operator")) == "&&":
                return _first(node.named_children[1:])
            return None
        case (
            "object"
            | "array"
            | "template_string"
            | "template_substitution"
            | "spread_element"
            | "parenthesized_expression"
            | "await_expression"
            | "non_null_expression"
        ):
            return _first(node.named_children)
        case "as_expression" | "satisfies_expression":
            return _first(node.named_children[:1])
    return None


def _first(nodes: list[Node]) -> str | None:
    return next((key for node in nodes if (key := shown_key(node)) is not None), None)


def _joins(node: Node) -> bool:
    """Whether an expression's value may be, or hold, that of either side."""
    operator = text(node.child_by_field_name("operator"))
    return node.type == "binary_expression" and operator in ("+", "??", "||")


def _operands(node: Node) -> list[Node]:
    """All that a chain of operators joins: such chains may be very long."""
    found = []
    while _joins(node):
        left, right = node.named_children[0], node.named_children[-1]
        found.append(right)
        node = left
    return [*found, node]


def _is_key(name: str) -> bool:
    return _KEY.search(name) is not None and _NO_KEY.search(name) is None


def _key_of_member(node: Node) -> str | None:
    name = text(node.child_by_field_name("property"))
    inner = node.child_by_field_name("object")
    if inner is None or name in ("length", "size"):
        return None
    if _is_key(name):
        return text(node)
    # A field of keys is a key: `apiKeys.anthropic`, but not `apiKey.id`.
    held = shown_key(inner)
    is_plural = held is not None and held.rstrip("()").lower().endswith("s")
    return text(node) if is_plural else None


def _key_of_call(node: Node) -> str | None:
    name = callee_name(node)
    if _GETTER.match(name):
        return text(node)
    if name in _PASSED_ON:
        return _first(arguments(node))
    return None


def _logging_functions(source: Source, calls: list[Node]) -> dict[str, set[int]]:
    """The functions of a file that log a parameter as it is, and which ones."""
    logging: dict[str, set[int]] = {}
    for call in calls:
        function = enclosing_function(call) if is_log(call) else None
        name = None if function is None else function_name(function)
        if function is None or name is None:
            continue
        parameters = _parameters(function)
        for argument in arguments(call):
            for logged in _plainly(argument):
                if logged in parameters:
                    logging.setdefault(name, set()).add(parameters.index(logged))
    if not logging:
        return {}
    # Two functions of one name: which one is called cannot be told.
    names = Counter(function_name(node) for node in walk(source.root, *FUNCTIONS))
    return {name: found for name, found in logging.items() if names[name] == 1}


def _parameters(function: Node) -> list[str]:
    """The names of parameters by position; none for a pattern."""
    given = function.child_by_field_name("parameters")
    if given is None:
        return declared_names(function.child_by_field_name("parameter"))
    names = []
    for parameter in given.named_children:
        if parameter.type in ("required_parameter", "optional_parameter"):
            pattern = parameter.child_by_field_name("pattern")
            is_name = pattern is not None and pattern.type == "identifier"
            names.append(text(pattern) if is_name else "")
    return names


def _plainly(node: Node) -> Iterator[str]:
    """The names whose values an argument of a logger shows."""
    if node.type == "identifier":
        yield text(node)
    elif node.type in ("template_string", "template_substitution"):
        for child in node.named_children:
            yield from _plainly(child)
    elif node.type == "call_expression" and callee_name(node) in _PASSED_ON:
        for argument in arguments(node):
            yield from _plainly(argument)
