"""What goes into a conversation is cleaned before any provider sees it."""

from kit.llm.wire import ToolResult, Turn, spoken_turns


def test_empty_turns_and_leading_answers_are_dropped() -> None:
    turns = [
        Turn("assistant", "cut off from its question"),
        Turn("user", "one"),
        Turn("assistant", " \n"),
        Turn("user", "two"),
    ]
    assert spoken_turns(turns) == [Turn("user", "one"), Turn("user", "two")]


def test_a_history_of_nothing_is_nothing() -> None:
    assert spoken_turns([Turn("user", ""), Turn("assistant", "x")]) == []


def test_what_is_said_can_be_sent() -> None:
    assert spoken_turns([Turn("user", "\ude42!")]) == [Turn("user", "\ufffd!")]


def test_an_error_says_so_where_the_wire_cannot() -> None:
    assert ToolResult("1", "42").text_for_model() == "42"
    assert ToolResult("1", "boom", is_error=True).text_for_model() == "Error: boom"
