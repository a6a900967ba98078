"""The built-in tools: small, offline, deterministic, for rehearsals.

`calculator`, `search_guide` and `wait_seconds`, each with the JSON schema that the
model is told. A call of streamChatWithTools names the ones that it offers.
"""

from __future__ import annotations

import ast
import asyncio
import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

from kit.agent import Tool
from kit.convex._errors import refusal
from kit.llm.wire import ToolSpec

__all__ = ["TOOLS", "tools_named"]

MAX_WAIT = 30.0  # s


def tools_named(names: Sequence[str]) -> dict[str, Tool]:
    """The tools with these names. Raises UnknownTool, naming those that exist."""
    unknown = [name for name in names if name not in TOOLS]
    if unknown:
        raise refusal(
            "UnknownTool",
            f"There is no tool {', '.join(map(repr, unknown))}. "
            f"Tools: {', '.join(TOOLS)}.",
            unknown=unknown,
        )
    return {name: TOOLS[name] for name in names}


def _text_argument(args: dict[str, Any], name: str) -> str:
    value = args.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"`{name}` must be a text that is not blank")
    return value


# --- calculator -------------------------------------------------------------------

MAX_EXPRESSION = 200
MAX_DIGITS = 100  # of any number on the way

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_CONSTANTS = {"pi": math.pi, "e": math.e}


def _rounded(*args: Any) -> Any:
    """`round`, which for -10,000,000 digits would be busy with the power of ten."""
    match args:
        case (number, int() as digits) if digits < -MAX_DIGITS:
            return 0 * number
        case _:
            return round(*args)


def _square_root(*args: Any) -> Any:
    match args:
        case (int() | float() as number,) if number < 0:
            raise ValueError("math domain error")  # Python 3.14 has other words
        case _:
            return math.sqrt(*args)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "max": max,
    "min": min,
    "round": _rounded,
    "sqrt": _square_root,
}


def calculate(args: dict[str, Any]) -> dict[str, Any]:
    """Arithmetic, by walking the syntax tree: nothing is ever evaluated as Python."""
    expression = _text_argument(args, "expression")
    if len(expression) > MAX_EXPRESSION:
        raise ValueError(f"the expression is longer than {MAX_EXPRESSION} characters")
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"not an arithmetic expression: {expression!r}") from None
    return {"expression": expression, "value": _value(tree.body)}


def _value(node: ast.expr) -> int | float:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(
            number, bool
        ):
            return _bounded(number)
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _UNARY:
            return _bounded(_UNARY[type(sign)](_value(operand)))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            a, b = _value(left), _value(right)
            if isinstance(op, ast.Pow):
                _check_power(a, b)
            return _bounded(_applied(_BINARY[type(op)], a, b))
        case ast.Call(func=ast.Name(id=name), args=given, keywords=[]) if (
            name in _FUNCTIONS
        ):
            return _bounded(_FUNCTIONS[name](*map(_value, given)))
        case _:
            raise ValueError(f"not allowed in an expression: {ast.unparse(node)}")


def _applied(operation: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    try:
        return operation(a, b)
    except ZeroDivisionError:  # each Python has other words for each operator
        raise ZeroDivisionError("division by zero") from None


def _bounded(number: Any) -> int | float:
    if not isinstance(number, int | float):
        raise ValueError("the result is not a real number")
    if not math.isfinite(number) or abs(number) >= 10**MAX_DIGITS:
        raise ValueError(f"a number on the way has more than {MAX_DIGITS} digits")
    return number


def _check_power(base: int | float, exponent: int | float) -> None:
    """Refuse what would take long to find out: 9**9**9."""
    if abs(base) > 1 and exponent * math.log10(abs(base)) > MAX_DIGITS:
        raise ValueError(f"a number on the way has more than {MAX_DIGITS} digits")


# --- search_guide -----------------------------------------------------------------

_GUIDE = {
    "Option 1: minimal": "Set NEXT_PUBLIC_USE_CONVEX_REALTIME=true, call the Convex "
    "action streaming:streamChatWithTools first, and keep the Socket.IO streaming "
    "loop as the fallback. On success the loop must be skipped.",
    "Option 2: full migration": "Remove Socket.IO streaming. The chat service calls "
    "the Convex action only; messages are read from Convex.",
    "Hybrid hook": "useHybridTask takes messages, isStreaming, streamingPartsMap and "
    "streamingPartsOrder from Convex, and isConnected, sendMessage and stopStream "
    "from Socket.IO.",
    "Events to keep": "task-status-updated, terminal-output and fs-change stay on "
    "Socket.IO; stream-chunk, stream-complete and stream-error may go.",
    "Rollback": "Set NEXT_PUBLIC_USE_CONVEX_REALTIME=false, revert the chat service, "
    "restart frontend and backend.",
    "Responses not showing": "Check that the flag is set, that the deployment's URL is "
    "right, and that the message of the task appears in messages:byTask.",
    "Stopping": "streaming:stopTask marks the reply as stopping in one mutation; the "
    "producer stops the model within a second, and the text so far is kept.",
}


def search_guide(args: dict[str, Any]) -> dict[str, Any]:
    """Entries that share words with the query, best first."""
    query = _text_argument(args, "query")
    wanted = set(_words(query))
    scores = {
        title: len(wanted & set(_words(f"{title} {text}")))
        for title, text in _GUIDE.items()
    }
    best = sorted((t for t in scores if scores[t]), key=lambda t: -scores[t])[:3]
    return {
        "query": query,
        "found": [{"title": title, "text": _GUIDE[title]} for title in best],
    }


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


# --- wait_seconds -----------------------------------------------------------------


async def wait_seconds(args: dict[str, Any]) -> dict[str, Any]:
    """Do nothing for a while: for rehearsing what happens during a slow tool."""
    seconds = args.get("seconds")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise ValueError("`seconds` must be a number")
    if not 0 <= seconds <= MAX_WAIT:
        raise ValueError(f"`seconds` must be from 0 to {MAX_WAIT:g}")
    await asyncio.sleep(seconds)
    return {"waited": seconds}


def _schema(name: str, **argument: Any) -> dict[str, Any]:
    """The JSON schema of an object with this one argument."""
    return {
        "type": "object",
        "properties": {name: argument},
        "required": [name],
        "additionalProperties": False,
    }


TOOLS = {
    tool.spec.name: tool
    for tool in (
        Tool(
            ToolSpec(
                "calculator",
                "Calculate an arithmetic expression: + - * / // % ** and parentheses, "
                "abs, max, min, round, sqrt, pi, e.",
                _schema("expression", type="string", description="such as 2 * (3 + 4)"),
            ),
            calculate,
        ),
        Tool(
            ToolSpec(
                "search_guide",
                "Search the guide for moving chat streaming from Socket.IO to Convex.",
                _schema("query", type="string", description="a few words"),
            ),
            search_guide,
        ),
        Tool(
            ToolSpec(
                "wait_seconds",
                "Wait for some seconds.",
                _schema("seconds", type="number", minimum=0, maximum=MAX_WAIT),
            ),
            wait_seconds,
        ),
    )
}
