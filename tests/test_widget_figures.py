"""Figures in words: nothing unknown is shown, and an estimate is called one."""

from typing import Any

import pytest

from kit.widget.figures import describe, elapsed_tip

NOTHING: dict[str, Any] = {
    "first": None,
    "sent_here": True,
    "tokens": None,
    "tokens_counted": False,
    "rate": None,
}


def texts(**known: Any) -> list[str]:
    return [figure.text for figure in describe(**{**NOTHING, **known})]


def test_what_is_not_known_is_not_shown() -> None:
    assert texts() == []


@pytest.mark.parametrize(
    ("known", "text"),
    [
        ({"first": 0.2345}, "first part 0.23 s"),
        ({"first": 12.34}, "first part 12.3 s"),
        ({"tokens": 12_345}, "≈ 12,345 tokens"),
        ({"tokens": 12_345, "tokens_counted": True}, "12,345 tokens"),
        ({"rate": 3.14159}, "≈ 3.1 tokens/s"),
        ({"rate": 1234.5, "tokens_counted": True}, "1,234 tokens/s"),
    ],
)
def test_a_figure_is_short(known: dict[str, Any], text: str) -> None:
    assert texts(**known) == [text]


def test_each_says_what_it_means() -> None:
    estimated = describe(**{**NOTHING, "first": 1.0, "tokens": 1, "rate": 1.0})
    assert "sending the message" in estimated[0].tip
    assert all("Estimated" in figure.tip for figure in estimated[1:])
    counted = {"tokens": 1, "tokens_counted": True, "rate": 1.0}
    for figure in describe(**{**NOTHING, **counted}):
        assert "as the provider has counted them" in figure.tip
    (first,) = describe(**{**NOTHING, "first": 1.0, "sent_here": False})
    assert "first seen" in first.tip
    assert "first seen" in elapsed_tip(sent_here=False)
