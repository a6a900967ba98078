"""What the scripted provider says: a request in, the blocks of a reply out. Pure.

Holds the one description of requests (`Ask`) and of replies (`Reply`) that the three
wire formats share, the texts, the choice of tools and their arguments. The same
request always gives the same reply. Knows nothing of formats, pace or faults.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, assert_never

from kit.llm.scripted.scenario import Scenario, Shape

__all__ = [
    "Ask",
    "Block",
    "OfferedTool",
    "Redacted",
    "Reply",
    "Text",
    "Thinking",
    "ToolCall",
    "ToolOutput",
    "compose",
    "seal",
    "split_tokens",
]


@dataclass(frozen=True)
class OfferedTool:
    name: str
    parameters: Mapping[str, Any]  # JSON schema


@dataclass(frozen=True)
class ToolOutput:
    """What the application sent back for one call."""

    name: str
    text: str
    is_error: bool


@dataclass(frozen=True)
class Ask:
    """What a request asks, whatever its format."""

    model: str
    prompt: str  # the last thing that the user said
    tools: tuple[OfferedTool, ...]
    outputs: tuple[ToolOutput, ...]  # of the newest round of tool calls
    rounds: int  # rounds of tool calls since the prompt
    reasoning: Literal["shown", "hidden", "off"]
    input_tokens: int
    digest: str  # hash of the whole request: ids derive from it


@dataclass(frozen=True)
class Thinking:
    tokens: tuple[str, ...]


@dataclass(frozen=True)
class Redacted:
    data: str


@dataclass(frozen=True)
class Text:
    tokens: tuple[str, ...]


@dataclass(frozen=True)
class ToolCall:
    name: str
    tokens: tuple[str, ...]  # pieces of the arguments' JSON text

    @property
    def arguments(self) -> str:
        return "".join(self.tokens)


Block: TypeAlias = Thinking | Redacted | Text | ToolCall


@dataclass(frozen=True)
class Reply:
    blocks: tuple[Block, ...]
    finish: Literal["stop", "tools", "length", "refusal"] = "stop"

    @property
    def output_tokens(self) -> int:
        return sum(len(b.tokens) for b in self.blocks if not isinstance(b, Redacted))

    @property
    def reasoning_tokens(self) -> int:
        return sum(len(b.tokens) for b in self.blocks if isinstance(b, Thinking))


def seal(text: str) -> str:
    """The signature of a piece of reasoning, by which its return is recognised."""
    return hashlib.sha256(b"scripted provider: " + text.encode()).hexdigest()[:40]


def compose(ask: Ask, scenario: Scenario) -> Reply:
    """The reply to `ask`."""
    wanted = _tools_to_call(ask, scenario)
    if wanted:
        return _call_tools(ask, scenario.shape, wanted)
    thoughts = _thoughts(ask, scenario.shape)
    if ask.outputs:
        return Reply((*thoughts, Text(split_tokens(_answer(ask)))))
    if scenario.shape == "plain":
        return Reply((*thoughts, Text(split_tokens(_essay(ask)))))
    text = Text(_filler(scenario.tokens))
    if scenario.shape == "length":
        return Reply((*thoughts, text), "length")
    if scenario.shape == "refusal":
        return Reply((*thoughts, text), "refusal")
    return Reply((*thoughts, text))


# --- texts ----------------------------------------------------------------------

_TOKEN = re.compile(r"\s*\S{1,5}|\s+")


def split_tokens(text: str) -> tuple[str, ...]:
    """`text` in pieces as a model streams it: parts of words, with leading space.

    Pieces end anywhere between two code points, also inside of an emoji that
    consists of several.
    """
    return tuple(_TOKEN.findall(text))


def _shown(prompt: str) -> str:
    """The prompt on one line, short, fit for the middle of a Markdown paragraph."""
    line = " ".join(prompt.replace("`", "'").split())
    return line if len(line) <= 120 else line[:119] + "…"


def _essay(ask: Ask) -> str:
    return (
        "## A scripted reply\n\n"
        f"You asked: “{_shown(ask.prompt)}” — and every word of this answer is "
        "written in advance, so it costs nothing and never changes. 🙂\n\n"
        "- It arrives **token by token**, at an even pace.\n"
        "- It crosses *naïve* borders: ü, Ω, 語, and one family emoji, 👩‍👩‍👧.\n"
        "- It ends with code:\n\n"
        "```python\n"
        "async for token in reply:\n"
        '    print(token, end="")\n'
        "```\n\n"
        f"Ask `{_shown(ask.model)}` again and the same words come back; "
        "change the prompt and only the quotation above differs.\n"
    )


def _answer(ask: Ask) -> str:
    lines = ["### What the tools said", ""]
    for output in ask.outputs:
        verb = "failed" if output.is_error else "answered"
        lines.append(f"- `{output.name}` {verb}: {_shown(output.text)}")
    lines += ["", f"That settles “{_shown(ask.prompt)}” ✅", ""]
    return "\n".join(lines)


_FILLER = (
    "Rain fell on the harbour while the old clerk counted crates, barrels and coils "
    "of rope, and wrote every number twice: once for the ledger, once for himself. "
    "At noon the bells rang, the gulls rose, and he began again from one. "
)


def _filler(count: int) -> tuple[str, ...]:
    tokens = split_tokens(_FILLER)
    return tuple(tokens[i % len(tokens)] for i in range(count))


def _thoughts(ask: Ask, shape: Shape) -> tuple[Block, ...]:
    if ask.reasoning == "off" or shape not in ("plain", "think", "tool", "tools2"):
        return ()
    if ask.outputs:
        text = "The results are in; a short summary will do."
    else:
        text = f"The user wrote “{_shown(ask.prompt)}”. I answer briefly, in Markdown."
    thinking = Thinking(split_tokens(text))
    if shape == "think":
        return thinking, Redacted(f"redacted-{seal(ask.digest)}")
    return (thinking,)


# --- tools ------------------------------------------------------------------------

# What a scenario calls when the request offers nothing: the application is to say
# that there is no such tool.
_UNKNOWN_TOOL = OfferedTool(
    "get_weather",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
)


def _tools_to_call(ask: Ask, scenario: Scenario) -> Sequence[OfferedTool]:
    if ask.rounds >= scenario.rounds:
        return ()
    match scenario.shape:
        case "tool" | "broken-tool" | "wrong-tool":
            return (_matching(ask) or _UNKNOWN_TOOL,)
        case "tools2":
            first = _matching(ask) or _UNKNOWN_TOOL
            others = [tool for tool in ask.tools if tool != first]
            return (first, others[0] if others else first)
        case "plain":
            asked = _matching(ask) if _mentions_tool(ask) else None
            return (asked,) if asked else ()
        case "text" | "think" | "length" | "refusal":
            return ()
        case _:
            assert_never(scenario.shape)


def _matching(ask: Ask) -> OfferedTool | None:
    """The offered tool that the prompt names, else the first one."""
    for tool in ask.tools:
        if tool.name.lower() in ask.prompt.lower():
            return tool
    return ask.tools[0] if ask.tools else None


def _mentions_tool(ask: Ask) -> bool:
    words = ask.prompt.lower()
    return re.search(r"\btools?\b", words) is not None or any(
        tool.name.lower() in words for tool in ask.tools
    )


def _call_tools(ask: Ask, shape: Shape, tools: Sequence[OfferedTool]) -> Reply:
    calls: list[Block] = []
    for tool in tools:
        given = _arguments(tool, ask.prompt)
        if shape == "wrong-tool":
            given = {name: [{"not": "what was asked for"}] for name in given}
        arguments = json.dumps(given, ensure_ascii=False)
        if shape == "broken-tool":
            arguments = arguments[:-1] + ', "cut'
        calls.append(ToolCall(tool.name, split_tokens(arguments)))
    names = " and ".join(f"`{tool.name}`" for tool in tools)
    text = Text(split_tokens(f"Let me ask {names}.\n"))
    return Reply((*_thoughts(ask, shape), text, *calls), "tools")


def _arguments(tool: OfferedTool, prompt: str) -> dict[str, Any]:
    properties = tool.parameters.get("properties")
    if not isinstance(properties, dict):
        return {}
    return {name: _example(schema, prompt, 0) for name, schema in properties.items()}


def _example(schema: Any, prompt: str, depth: int) -> Any:
    """A value that fits a JSON schema, taken from the prompt where that is possible."""
    if not isinstance(schema, dict) or depth > 5:
        return None
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return _example(schema[key][0], prompt, depth + 1)
    kind = schema.get("type", "string")
    if isinstance(kind, list):
        kind = kind[0] if kind else "string"
    match kind:
        case "integer" | "number":
            return _number(schema, prompt, whole=kind == "integer")
        case "boolean":
            return True
        case "null":
            return None
        case "array":
            return [_example(schema.get("items", {}), prompt, depth + 1)]
        case "object":
            properties = schema.get("properties") or {}
            return {k: _example(v, prompt, depth + 1) for k, v in properties.items()}
        case _:
            return _words(prompt)


def _number(schema: dict[str, Any], prompt: str, *, whole: bool) -> float:
    found = re.search(r"-?\d+(?:\.\d+)?", prompt)
    number = float(found[0]) if found else 3.0
    number = max(number, float(schema.get("minimum", number)))
    number = min(number, float(schema.get("maximum", number)))
    return int(number) if whole else number


_QUOTED = re.compile(r"[“\"`]([^“”\"`]+)[”\"`]")
_SUM = re.compile(r"\d[\d\s.]*(?:[-+*/]\s*\d[\d\s.]*)+")


def _words(prompt: str) -> str:
    """What a string argument gets: a quotation, a sum, or the whole prompt."""
    quoted = _QUOTED.search(prompt)
    if quoted:
        return quoted[1]
    calculation = _SUM.search(prompt)
    return calculation[0].strip() if calculation else _shown(prompt)
