"""What the scripted provider says: always the same, and worth streaming."""

import json
from dataclasses import replace
from typing import Any

import pytest

from kit.llm.scripted.reply import (
    Ask,
    OfferedTool,
    Redacted,
    Reply,
    Text,
    Thinking,
    ToolCall,
    ToolOutput,
    compose,
    split_tokens,
)
from kit.llm.scripted.scenario import Scenario, Shape

COUNT = OfferedTool("word_count", {"properties": {"text": {"type": "string"}}})
CLOCK = OfferedTool("clock", {})

ASK = Ask(
    model="claude-opus-5-5",
    prompt="How do tides work?",
    tools=(),
    outputs=(),
    rounds=0,
    reasoning="shown",
    input_tokens=10,
    digest="0123456789abcdef0123",
)


def text_of(reply: Reply) -> str:
    return "".join("".join(b.tokens) for b in reply.blocks if isinstance(b, Text))


def calls_of(reply: Reply) -> list[ToolCall]:
    return [block for block in reply.blocks if isinstance(block, ToolCall)]


@pytest.mark.parametrize("text", ["", "a", "  a\n\nb ", "naïve 👩‍👩‍👧 語", "\n"])
def test_tokens_are_the_text_in_pieces(text: str) -> None:
    tokens = split_tokens(text)
    assert "".join(tokens) == text
    assert all(tokens)


def test_a_plain_model_thinks_and_answers_in_markdown_with_the_prompt() -> None:
    reply = compose(ASK, Scenario())
    assert isinstance(reply.blocks[0], Thinking)
    text = text_of(reply)
    assert 60 <= len(text.split()) <= 120
    for expected in ("## ", "\n- ", "```python", "How do tides work?", "🙂", "語"):
        assert expected in text
    assert compose(ASK, Scenario()) == reply


def test_a_long_prompt_with_markdown_is_quoted_short_and_harmless() -> None:
    reply = compose(replace(ASK, prompt="```\n# x\n" * 100), Scenario())
    line = next(line for line in text_of(reply).splitlines() if "You asked" in line)
    assert len(line) < 300
    assert "```" not in line


def test_no_reasoning_is_given_when_it_is_off() -> None:
    reply = compose(replace(ASK, reasoning="off"), Scenario())
    assert [type(block) for block in reply.blocks] == [Text]


@pytest.mark.parametrize("prompt", ["Use a tool, please", "word_count this", "TOOLS!"])
def test_a_plain_model_calls_a_tool_that_the_prompt_asks_for(prompt: str) -> None:
    reply = compose(replace(ASK, prompt=prompt, tools=(COUNT, CLOCK)), Scenario())
    assert reply.finish == "tools"
    assert [call.name for call in calls_of(reply)] == ["word_count"]


def test_the_named_tool_goes_before_the_first() -> None:
    ask = replace(ASK, prompt="Ask the clock", tools=(COUNT, CLOCK))
    assert [call.name for call in calls_of(compose(ask, Scenario()))] == ["clock"]


@pytest.mark.parametrize(
    ("prompt", "tools"),
    [("Use a tool", ()), ("What is a toolbox?", (COUNT,)), ("Hello", (COUNT,))],
)
def test_no_tool_is_called_unasked(prompt: str, tools: tuple[OfferedTool, ...]) -> None:
    ask = replace(ASK, prompt=prompt, tools=tools)
    assert calls_of(compose(ask, Scenario())) == []


def test_given_the_results_it_answers_with_them() -> None:
    ask = replace(
        ASK,
        prompt="Use a tool",
        tools=(COUNT,),
        outputs=(ToolOutput("word_count", "42", False), ToolOutput("x", "no", True)),
        rounds=1,
    )
    text = text_of(compose(ask, Scenario()))
    assert "`word_count` answered: 42" in text
    assert "`x` failed: no" in text


def test_rounds_of_calls_can_be_asked_for() -> None:
    scenario = Scenario(shape="tool", rounds=2)
    assert calls_of(compose(replace(ASK, rounds=1), scenario))
    assert not calls_of(compose(replace(ASK, rounds=2), scenario))


@pytest.mark.parametrize(
    ("shape", "finish", "kinds"),
    [
        ("text", "stop", [Text]),
        ("think", "stop", [Thinking, Redacted, Text]),
        ("tool", "tools", [Thinking, Text, ToolCall]),
        ("tools2", "tools", [Thinking, Text, ToolCall, ToolCall]),
        ("broken-tool", "tools", [Text, ToolCall]),
        ("wrong-tool", "tools", [Text, ToolCall]),
        ("length", "length", [Text]),
        ("refusal", "refusal", [Text]),
    ],
)
def test_a_shape_has_its_blocks(shape: Shape, finish: str, kinds: list[type]) -> None:
    reply = compose(replace(ASK, tools=(COUNT, CLOCK)), Scenario(shape=shape, tokens=7))
    assert (reply.finish, [type(block) for block in reply.blocks]) == (finish, kinds)
    if finish != "tools":
        [text] = [block for block in reply.blocks if isinstance(block, Text)]
        assert len(text.tokens) == 7


def test_only_a_broken_tools_arguments_are_not_json() -> None:
    for shape in ("tool", "tools2"):
        for call in calls_of(compose(ASK, Scenario(shape=shape))):
            assert isinstance(json.loads(call.arguments), dict)
    [broken] = calls_of(compose(ASK, Scenario(shape="broken-tool")))
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(broken.arguments)
    [right] = calls_of(compose(ASK, Scenario(shape="tool")))
    [wrong] = calls_of(compose(ASK, Scenario(shape="wrong-tool")))
    types = {name: type(value) for name, value in json.loads(right.arguments).items()}
    for name, value in json.loads(wrong.arguments).items():
        assert type(value) is not types.pop(name)
    assert not types


@pytest.mark.parametrize(
    ("schema", "prompt", "value"),
    [
        ({"type": "string"}, "Count “a b”", "a b"),
        ({"type": "string"}, "What is 6 * 7?", "6 * 7"),
        ({"type": "string"}, "Hello", "Hello"),
        ({"enum": ["x", "y"]}, "Hello", "x"),
        ({"type": "string", "default": "d"}, "Hello", "d"),
        ({"type": "integer"}, "give me 12 of 15", 12),
        ({"type": "number", "minimum": 5}, "Hello", 5),
        ({"type": "boolean"}, "Hello", True),
        ({"type": ["null", "string"]}, "Hello", None),
        ({"type": "array", "items": {"type": "string"}}, "Hello", ["Hello"]),
        ({"type": "object", "properties": {"a": {}}}, "Hello", {"a": "Hello"}),
        ({"anyOf": [{"type": "boolean"}, {}]}, "Hello", True),
        ("nonsense", "Hello", None),
    ],
)
def test_arguments_fit_the_schema(schema: Any, prompt: str, value: Any) -> None:
    tool = OfferedTool("t", {"properties": {"x": schema}})
    ask = replace(ASK, prompt=prompt, tools=(tool,))
    [call] = calls_of(compose(ask, Scenario(shape="tool")))
    assert json.loads(call.arguments) == {"x": value}
