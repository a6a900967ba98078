"""The processes of a rehearsal: started, cut off, restarted, never orphaned."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.client import Deployment
from kit.errors import (
    ConfigError,
    DeploymentUnreachable,
    FunctionError,
    StackError,
)
from kit.stack import DEPLOYMENT_URL, SCRIPTED_URL, ServerProcess, Stack


async def until(condition: Callable[[], bool], timeout: float = 10) -> None:
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and " Z " in status.read_text())


async def test_a_stack_starts_answers_and_leaves_nothing_behind() -> None:
    stack = await Stack.start()
    async with stack:
        servers = [stack.app, stack.deployment, stack.provider]
        pids = [server.pid for server in servers if server is not None]
        assert len(pids) == 3
        assert "running" in repr(stack)
        async with Deployment(stack.deployment_url) as deployment:
            assert await deployment.query("tasks:list", {}) == []
        folder = stack.folder
    assert not any(alive(pid) for pid in pids if pid)
    assert not folder.exists()


async def test_the_functions_environment_can_be_set_and_changed() -> None:
    env = {"KIT_LEASE_MS": "soon"}
    async with await Stack.start(app=False, deployment_env=env) as stack:
        assert stack.deployment is not None
        async with Deployment(stack.deployment_url) as deployment:
            title = {"title": "Its reply needs a lease"}
            task_id = await deployment.mutation("tasks:create", title)
            message = {"taskId": task_id, "prompt": "Hi", "model": "claude-opus-5-5"}
            with pytest.raises(FunctionError, match="KIT_LEASE_MS is 'soon'"):
                await deployment.mutation("streaming:send", message)
            stack.deployment.env["KIT_LEASE_MS"] = "2000"
            await stack.deployment.restart()
            sent = await deployment.mutation("streaming:send", message)
            assert sent["status"] == "streaming"


async def test_a_cut_deployment_comes_back_with_its_data(tmp_path: Path) -> None:
    async with await Stack.start(folder=tmp_path, app=False) as stack:
        url = stack.deployment_url
        async with Deployment(url) as deployment:
            task_id = await deployment.mutation("tasks:create", {"title": "Kept"})
        await stack.cut_deployment()
        with pytest.raises(DeploymentUnreachable):
            await Deployment(url).connect()
        await stack.restore_deployment()
        assert stack.deployment_url == url
        async with Deployment(url) as deployment:
            task = await deployment.query("tasks:get", {"taskId": task_id})
            assert task["title"] == "Kept"
    assert tmp_path.exists(), "a folder that was given is kept"


@pytest.mark.timeout(30)
async def test_a_stop_that_is_broken_off_leaves_no_server(tmp_path: Path) -> None:
    async with await Stack.start(folder=tmp_path, app=False) as stack:
        server = stack.deployment
        assert server is not None
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)  # it will not hear SIGTERM
        stopping = asyncio.create_task(server.stop(timeout=60))
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        await until(lambda: not server.running)


async def test_the_flags_are_edited_and_shown_as_a_diff() -> None:
    async with await Stack.start(app=False) as stack:
        diff = stack.set_flags(realtime=True, option=2)
        assert "-NEXT_PUBLIC_USE_CONVEX_REALTIME=false" in diff
        assert "+NEXT_PUBLIC_USE_CONVEX_REALTIME=true" in diff
        assert stack.deployment_url in stack.env_file.read_text()


async def test_a_stack_shares_what_runs_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with await Stack.start(app=False) as shared:
        monkeypatch.setenv(DEPLOYMENT_URL, shared.deployment_url)
        monkeypatch.setenv(SCRIPTED_URL, str(shared.scripted_url))
        async with await Stack.start(pace=0) as stack:
            assert (stack.deployment, stack.provider) == (None, None)
            assert stack.deployment_url == shared.deployment_url
            assert await stack.provider_log() == []
            # Cut off: the deployment is left alone, the application no longer finds it.
            stack.set_flags(realtime=True)
            await stack.cut_deployment()
            assert shared.deployment_url not in stack.env_file.read_text()
            async with Deployment(shared.deployment_url) as deployment:
                assert deployment.state == "connected"
            await stack.restore_deployment()
            assert shared.deployment_url in stack.env_file.read_text()


async def test_keys_do_not_reach_the_servers_of_a_scripted_stack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-sentinel")
    async with await Stack.start(app=False) as stack:
        assert stack.deployment is not None
        assert "ANTHROPIC_API_KEY" not in stack.deployment.env
        assert stack.deployment.env[SCRIPTED_URL] == stack.scripted_url


async def test_a_real_provider_without_a_key_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OPENROUTER_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY"):
        await Stack.start(provider="real")


async def test_an_unknown_provider_is_refused() -> None:
    with pytest.raises(ConfigError, match="'scripted'"):
        await Stack.start(provider="magic")  # type: ignore[arg-type]


async def test_a_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    args = ["kit.deployment", "--data", "/proc/nowhere"]
    server = ServerProcess(
        "deployment", args, log=tmp_path / "log", env=dict(os.environ)
    )
    with pytest.raises(StackError, match="/proc/nowhere"):
        await server.start()
    assert not server.running


async def test_a_busy_port_is_named(tmp_path: Path) -> None:
    async with await Stack.start(app=False) as stack:
        assert stack.provider is not None
        args = ["kit.deployment", "--data", str(tmp_path / "data")]
        server = ServerProcess(
            "deployment", args, log=tmp_path / "log", env=dict(os.environ)
        )
        server.url = stack.provider.url
        with pytest.raises(StackError, match="already in use"):
            await server.start()


async def test_servers_end_when_their_owner_is_killed(tmp_path: Path) -> None:
    script = (
        "import asyncio, json\n"
        "from kit.stack import Stack\n"
        "async def main():\n"
        "    stack = await Stack.start()\n"
        "    servers = stack.app, stack.deployment, stack.provider\n"
        "    print(json.dumps([server.pid for server in servers]), flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    pids = json.loads(await owner.stdout.readline())
    assert all(alive(pid) for pid in pids)
    owner.send_signal(signal.SIGKILL)
    await owner.wait()
    await until(lambda: not any(alive(pid) for pid in pids))
