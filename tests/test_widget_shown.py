"""One part on the screen: formatting, limits, and what it costs to show it again."""

import json

import pytest

from kit.parts import TextPart, ToolCallPart, ToolResultPart
from kit.widget.patches import Put
from kit.widget.shown import SHOWN_LIMIT, ShownPart


def call(args: str, state: str = "input-available") -> ToolCallPart:
    return {
        "id": "c",
        "type": "tool-call",
        "toolCallId": "c",
        "toolName": "search",
        "argsText": args,
        "state": state,  # type: ignore[typeddict-item]
    }


def result(text: str, *, is_error: bool = False) -> ToolResultPart:
    return {
        "id": "c-result",
        "type": "tool-result",
        "toolCallId": "c",
        "toolName": "search",
        "resultText": text,
        "isError": is_error,
    }


def shown(part: ToolCallPart | ToolResultPart) -> str:
    each = ShownPart(part["type"], is_markdown=False, clock=None)
    each.show(part, final=False)
    each.patches()
    return "".join(each.blocks())


def test_json_is_indented_and_coloured() -> None:
    rendered = shown(call('{"q":["ä",1]}'))
    assert "ä" in rendered
    assert '<div class="kit-bar">json</div>' in rendered
    assert rendered.count("\n") > 4


@pytest.mark.parametrize("text", ["plain <b>", "{broken", '"a string"', "", "[" * 5000])
def test_text_that_is_no_json_structure_is_shown_as_it_is(text: str) -> None:
    rendered = shown(result(text))
    assert rendered.startswith('<pre class="kit-plain">')
    assert "<b>" not in rendered


def test_very_much_is_cut_and_the_rest_counted() -> None:
    rendered = shown(result(json.dumps(["x" * 100] * 1000)))
    assert len(rendered) < 2 * SHOWN_LIMIT
    assert "more characters are not shown." in rendered


def test_an_invalid_call_says_why() -> None:
    part = call("{", "input-error")
    part["errorText"] = "not JSON"
    each = ShownPart("tool-call", is_markdown=False, clock=None)
    each.show(part, final=False)
    assert each.attributes["state"] == "invalid"
    assert each.attributes["error"] == "not JSON"


def test_a_call_without_a_result_in_a_final_message_is_unanswered() -> None:
    each = ShownPart("tool-call", is_markdown=False, clock=None)
    each.show(call("{}"), final=True)
    assert each.attributes["state"] == "unanswered"


def test_an_error_of_a_tool_makes_its_call_a_failed_one() -> None:
    each = ShownPart("tool-call", is_markdown=False, clock=None)
    each.show(call("{}"), final=False, result=result("boom", is_error=True))
    assert each.attributes["state"] == "failed"


def test_showing_the_same_again_changes_nothing() -> None:
    each = ShownPart("tool-call", is_markdown=False, clock=None)
    each.show(call('{"a": 1}'), final=False)
    each.patches()
    assert each.show(call('{"a": 1}'), final=False) == (False, False)
    assert each.patches() == []


def test_half_a_character_is_replaced() -> None:
    """UTF-8 cannot carry it, so that nothing after it would be shown."""
    each = ShownPart("text", is_markdown=True, clock=None)
    each.append("a \ud83d b")
    assert each.patches()[0] == Put(0, "<p>a \ufffd b</p>\n")
    text: TextPart = {"id": "t", "type": "text", "text": "a \ud83d b", "state": "done"}
    assert each.show(text, final=False) == (False, False)
