"""A deployment on its port: handshakes, many clients, a runaway, the log, the end."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from deployment_fixture import DeploymentProcess, deployment_process
from sync_client import sync_client


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DeploymentProcess]:
    with deployment_process(data=tmp_path_factory.mktemp("data")) as deployment:
        yield deployment


@pytest.fixture
def url(deployment: DeploymentProcess) -> str:
    return deployment.url


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    """A channel of the test's own."""
    return str(request.node.name)


def note(channel: str, body: str = "x") -> dict[str, Any]:
    return {"channel": channel, "body": body}


@pytest.mark.parametrize("version", ["nonsense", "1", "1.2", "v1.2.3"])
async def test_a_bad_version_in_the_path_is_refused(url: str, version: str) -> None:
    answer = await asyncio.to_thread(requests.get, f"{url}/api/{version}/sync")
    assert answer.status_code == 400
    assert answer.json()["code"] == "InvalidVersion"


def test_sync_is_for_websockets(url: str) -> None:
    answer = requests.get(f"{url}/api/sync", timeout=10)
    assert answer.status_code == 400
    assert set(answer.json()) == {"code", "message"}


async def test_one_commit_reaches_every_viewer(
    deployment: DeploymentProcess, channel: str
) -> None:
    async with AsyncExitStack() as stack:
        viewers = [
            await stack.enter_async_context(sync_client(deployment.url))
            for _ in range(50)
        ]
        for viewer in viewers:
            await viewer.connect()
            await viewer.subscribe(0, "notes:list", {"channel": channel})
        assert [await viewer.values() for viewer in viewers] == [{0: []}] * 50
        await asyncio.to_thread(
            deployment.value, "mutation", "notes:add", note(channel)
        )
        assert [await viewer.values() for viewer in viewers] == [{0: ["x"]}] * 50


def test_a_runaway_query_is_stopped_and_others_go_on(
    deployment: DeploymentProcess, channel: str
) -> None:
    message = deployment.call("query", "notes:forever")["errorMessage"]
    assert "Function execution timed out (maximum duration: 1s)" in message
    assert deployment.value("query", "notes:list", {"channel": channel}) == []


def test_the_log_holds_no_arguments(tmp_path: Path) -> None:
    with deployment_process(data=tmp_path, options=["--log-level", "debug"]) as found:
        found.call("mutation", "notes:add", note("s3cret", "s3cret"))
        found.call("mutation", "notes:add", {"channel": {"apiKey": "s3cret"}})
        found.call("mutation", "notes:refuse", {"data": "s3cret"})
        found.call("action", "work:refuse", {"data": "s3cret"})
        found.call("action", "work:wait", {"seconds": "s3cret"})
        found.kill()
        assert "mutation notes:add: done in" in found.log()
        assert "mutation notes:add: failed in" in found.log()
        assert "s3cret" not in found.log()


async def test_the_end_is_told_to_clients_and_fails_what_runs(tmp_path: Path) -> None:
    with deployment_process(data=tmp_path) as found:
        async with sync_client(found.url) as client:
            await client.connect()
            gate = tmp_path / "gate"
            args = {**note("a"), "gate": str(gate)}
            calling = asyncio.create_task(
                asyncio.to_thread(found.call, "action", "work:addWhenOpen", args)
            )
            await asyncio.to_thread(_wait_for, Path(f"{gate}.started"))
            stopping = asyncio.create_task(asyncio.to_thread(found.stop))
            assert await client.closed() == (1001, "Shutdown")
            assert await stopping == 0
            answer = await calling
            assert "Transient error while executing action" in answer["errorMessage"]
            assert "Traceback" not in found.log()


def _wait_for(file: Path) -> None:
    deadline = time.monotonic() + 10
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
