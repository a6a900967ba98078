"""What a running application tells of itself, and whether it can import the client."""

import asyncio
import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kit import __version__
from kit.app.about import import_client, package_versions
from kit.client import Deployment
from kit.stack import Stack

SENTINEL = "sk-sentinel-5c1d8e2f"


def shadowing(folder: Path, source: str) -> dict[str, str]:
    """An environment in which `convex` is another package."""
    package = folder / "shadow" / "convex"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(source)
    return {**os.environ, "PYTHONPATH": str(package.parent)}


async def test_the_client_is_imported_in_a_process_of_its_own() -> None:
    imported = await import_client()
    assert imported.succeeded
    assert imported.file is not None
    assert imported.file.endswith("__init__.py")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise ImportError('no compiled half')", "ImportError: no compiled half"),
        ("import no_such_thing", "No module named 'no_such_thing'"),
        ("", "has no attribute 'ConvexClient'"),
        ("(", "SyntaxError"),
        ("import os; os._exit(3)", "exit status 3"),
        ("import os; os.kill(os.getpid(), 9)", "killed by signal 9"),
        ("import os; os._exit(0)", "printed something unexpected"),
    ],
)
async def test_a_broken_package_is_told_as_it_is(
    tmp_path: Path, source: str, said: str
) -> None:
    imported = await import_client(shadowing(tmp_path, source))
    assert not imported.succeeded
    assert said in str(imported.error)


async def test_an_import_that_does_not_end_is_ended(tmp_path: Path) -> None:
    env = shadowing(tmp_path, "import time\ntime.sleep(1000)\n")
    imported = await import_client(env, timeout=0.5)
    assert "did not end within 0.5 s" in str(imported.error)


async def test_cancelling_ends_the_process(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    env = shadowing(
        tmp_path, f"import time\nopen({str(fifo)!r}, 'w')\ntime.sleep(1000)\n"
    )
    importing = asyncio.create_task(import_client(env))
    reader = await asyncio.to_thread(open, fifo, "rb")  # returns when it imports
    with reader:
        importing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await importing
        assert await asyncio.to_thread(reader.read) == b"", "the other end is closed"


async def about(stack: Stack) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{stack.app.url}/about") as response,
    ):
        text = await response.text()
        assert SENTINEL not in text
        told: dict[str, Any] = await response.json()
        return told


async def test_an_application_tells_its_settings_as_of_its_start() -> None:
    async with await Stack.start() as stack:
        before = await about(stack)
        assert (before["mode"], before["convexUrl"]) == ("before", None)
        assert before["envFile"] == str(stack.env_file)
        assert before["pid"] == stack.app.pid
        assert before["scriptedProvider"] is True
        assert before["apiKeys"] == []
        assert before["convexClient"]["error"] is None
        assert before["versions"]["convex-streaming-kit"] == __version__
        assert before["versions"].keys() == {"python", *package_versions()}

        stack.set_flags(realtime=True, option=2)
        assert (await about(stack))["mode"] == "before"
        await stack.app.restart()
        after = await about(stack)
        assert (after["mode"], after["convexUrl"]) == (
            "option-2",
            stack.deployment_url,
        )


async def test_names_of_keys_are_told_and_no_key() -> None:
    async with await Stack.start(app=False) as stack:
        stack.app.env.update(OPENAI_API_KEY=SENTINEL, ANTHROPIC_API_KEY="  ")
        await stack.app.start()
        assert (await about(stack))["apiKeys"] == ["OPENAI_API_KEY"]


async def test_looking_a_task_up_takes_nothing_over() -> None:
    async with await Stack.start(app=False) as stack:
        stack.set_flags(realtime=True)
        await stack.app.start()
        async with Deployment(stack.deployment_url) as deployment:
            task_id = await deployment.mutation("tasks:create", {"title": "t"})
        url = f"{stack.app.url}/api/tasks/{task_id}"
        async with aiohttp.ClientSession() as http:
            for path, status in (("", 404), ("/messages", 200), ("", 200)):
                async with http.get(url + path) as response:
                    assert response.status == status
