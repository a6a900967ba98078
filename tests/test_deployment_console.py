import asyncio

import pytest

from kit.deployment.console import collect_log_lines, console


def test_lines_tell_level_and_arguments() -> None:
    with collect_log_lines() as lines:
        console.log("hi", 1)
        console.debug({"a": [True]})
        console.info()
        console.warn(None)
        console.error(ValueError("no"))
    assert lines == [
        "[LOG] 'hi' 1",
        "[DEBUG] { a: [ true ] }",
        "[INFO] ",
        "[WARN] null",
        "[ERROR] ValueError: no",
    ]


def test_lines_go_to_the_innermost_collector() -> None:
    with collect_log_lines() as outer:
        with collect_log_lines() as inner:
            console.log(1)
        console.log(2)
    assert (inner, outer) == (["[LOG] 1"], ["[LOG] 2"])


async def test_tasks_do_not_mix_their_lines() -> None:
    async def logging(name: str) -> list[str]:
        with collect_log_lines() as lines:
            for _ in range(3):
                console.log(name)
                await asyncio.sleep(0)
        return lines

    one, other = await asyncio.gather(logging("a"), logging("b"))
    assert (one, other) == (["[LOG] 'a'"] * 3, ["[LOG] 'b'"] * 3)


def test_outside_a_function_lines_go_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console.log("x")
    assert capsys.readouterr().err == "[LOG] 'x'\n"


def test_the_last_of_256_lines_tells_of_others() -> None:
    with collect_log_lines() as lines:
        for number in range(300):
            console.log(number)
    assert len(lines) == 256
    assert lines[254] == "[LOG] 254"
    assert lines[255] == (
        "[ERROR] Log overflow (maximum 256). Remaining log lines omitted."
    )


@pytest.mark.parametrize("character", ["x", "é", "€", "𝄞", "\ud800"])
def test_a_long_line_is_cut(character: str) -> None:
    with collect_log_lines() as lines:
        console.log("x" * 32_766)
        console.log("x" * 32_767)
        console.warn(1, character * 40_000)
    whole, cut, other = lines
    assert len(whole) == len("[LOG] ") + 32_768
    assert len(cut) == len("[LOG] ") + 32_768
    assert cut.endswith("xxx (truncated due to length)")
    assert other.startswith("[WARN] 1 '")
    assert 32_760 < len(other.removeprefix("[WARN] ").encode()) <= 32_768
    assert other.endswith(" (truncated due to length)")


def test_what_has_no_utf8_is_escaped() -> None:
    with collect_log_lines() as lines:
        console.log("a\ud800b")
    assert lines == ["[LOG] 'a\\ud800b'"]


def test_print_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with collect_log_lines() as lines:
        print("x")  # noqa: T201
    assert lines == []
    assert capsys.readouterr().out == "x\n"
