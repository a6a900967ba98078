from __future__ import annotations

import asyncio
from typing import Any

import pytest
from convex import ConvexError

from kit.convex._tools import TOOLS, calculate, search_guide, tools_named, wait_seconds


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2 + 3 * 4", 14),
        ("(2 + 3) * 4", 20),
        ("-7 // 2", -4),
        ("7 % 4", 3),
        ("2 ** 10", 1024),
        ("1 / 4", 0.25),
        ("sqrt(2) ** 2", 2.0000000000000004),
        ("max(1, min(5, 3), abs(-2))", 3),
        ("round(pi, 2)", 3.14),
        ("round(5, -10000000)", 0),
        (" 1e3 ", 1000.0),
    ],
)
def test_arithmetic(expression: str, value: float) -> None:
    assert calculate({"expression": expression}) == {
        "expression": expression,
        "value": value,
    }


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "1 +",
        "x",
        "__import__('os')",
        "(1).__class__",
        "'a' * 3",
        "[1, 2]",
        "True",
        "lambda: 1",
        "1 if 2 else 3",
        "round(1.5, ndigits=1)",
        "sqrt(*[4])",
        "(-8) ** 0.5",
        "1 if",
        "1\x00",
        "(" * 150,
        "1" * 201,
    ],
)
def test_what_is_no_arithmetic_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"not |longer|real"):
        calculate({"expression": expression})


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "expression",
    ["9 ** 9 ** 9", "10 ** 100", "-10.0 ** 200", "9" * 101, "1e99 * 1e99", "1e400"],
)
def test_numbers_that_would_take_long_are_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="more than 100 digits"):
        calculate({"expression": expression})


def test_what_mathematics_forbids_is_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        calculate({"expression": "1 / 0"})
    with pytest.raises(ValueError, match="math domain"):
        calculate({"expression": "sqrt(-1)"})


@pytest.mark.parametrize("args", [{}, {"expression": 5}, {"expression": " "}])
def test_a_missing_expression_is_named(args: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="`expression` must be a text"):
        calculate(args)


def test_the_guide_is_searched_by_words() -> None:
    found = search_guide({"query": "How do I roll back? rollback, please"})
    assert found["found"][0]["title"] == "Rollback"
    assert search_guide({"query": "zzz"})["found"] == []


async def test_waiting_waits() -> None:
    assert await wait_seconds({"seconds": 0}) == {"waited": 0}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await wait_seconds({"seconds": 20})


@pytest.mark.parametrize("seconds", [-1, 31, "5", None, True, float("nan")])
async def test_a_wait_that_cannot_be_is_refused(seconds: Any) -> None:
    with pytest.raises(ValueError, match="`seconds` must be"):
        await wait_seconds({"seconds": seconds})


def test_every_tool_tells_the_model_what_it_takes() -> None:
    for name, tool in TOOLS.items():
        assert tool.spec.name == name
        assert tool.spec.description
        assert tool.spec.parameters["type"] == "object"
        assert set(tool.spec.parameters["required"]) == set(
            tool.spec.parameters["properties"]
        )


def test_tools_are_found_by_name_and_unknown_ones_refused() -> None:
    assert list(tools_named(["calculator"])) == ["calculator"]
    assert tools_named([]) == {}
    with pytest.raises(ConvexError) as caught:
        tools_named(["calculator", "rm", "rf"])
    assert caught.value.data["code"] == "UnknownTool"
    assert caught.value.data["unknown"] == ["rm", "rf"]
