"""Logs in one view: by time, filtered, as they are written."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.explore.logs import LogView
from kit.stack import ServerProcess


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a widget's value sets no event
            await asyncio.sleep(0.01)


def server(folder: Path, name: str) -> ServerProcess:
    return ServerProcess(name, [], log=folder / f"{name}.log", env={})


def write(server: ServerProcess, *lines: str, end: str = "\n") -> None:
    with server.log_path.open("a") as log:
        log.write("\n".join(lines) + end)


def line(second: int, text: str, level: str = "INFO") -> str:
    return f"2026-01-01 00:00:{second:02},000 {level} kit: {text}"


async def test_lines_of_all_processes_by_time(tmp_path: Path) -> None:
    app, deployment = server(tmp_path, "app"), server(tmp_path, "deployment")
    write(app, line(1, "first"), line(3, "third"))
    write(deployment, line(2, "second"), line(4, "fourth"))
    view = LogView([app, deployment])
    found = [view.value.index(word) for word in ("first", "second", "third", "fourth")]
    assert found == sorted(found)
    view.close()


async def test_only_lines_of_a_task_and_new_ones_as_they_come(tmp_path: Path) -> None:
    app = server(tmp_path, "app")
    view = LogView([app], "task-7")
    assert "Nothing is logged yet" in view.value
    write(app, line(1, "task-7 begins"), line(1, "task-8 begins"))
    await until(lambda: "task-7 begins" in view.value)
    assert "task-8" not in view.value
    write(app, line(2, "task-7 is half"), end="")
    write(app, " written", end="\n")
    await until(lambda: "task-7 is half written" in view.value)
    view.close()


async def test_the_newest_lines_only_escaped_and_coloured(tmp_path: Path) -> None:
    app = server(tmp_path, "app")
    write(app, *(line(i, f"number {i}") for i in range(9)), line(9, "<b>", "ERROR"))
    view = LogView([app], lines=3)
    assert "number 6" not in view.value
    assert "number 7" in view.value
    assert "&lt;b&gt;" in view.value
    assert "#cf222e" in view.value
    view.close()


async def test_it_reads_without_a_kernel_and_ends_when_closed(tmp_path: Path) -> None:
    app = server(tmp_path, "app")
    write(app, line(1, "kept"))
    view = LogView([app])
    bundle = view._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "kept" in data["text/html"]
    view.close()
    await until(view._following.done)


@pytest.mark.parametrize("written", ["\xff\xfe\n", "no time at all\n"])
async def test_lines_of_any_kind(tmp_path: Path, written: str) -> None:
    app = server(tmp_path, "app")
    app.log_path.write_bytes(written.encode("latin-1"))
    view = LogView([app])
    assert "<b>app</b>" in view.value
    view.close()
