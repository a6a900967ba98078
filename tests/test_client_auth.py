"""The client of users and admins, against the embedded deployment."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from deployment_fixture import DeploymentProcess, deployment_process
from tokens import ADMIN_KEY, auth_config, token

from kit.client import BlockingDeployment, Deployment
from kit.errors import ConfigError, ConvexFunctionError, RequestRejected


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeploymentProcess]:
    folder = tmp_path_factory.mktemp("deployment")
    with deployment_process(
        data=folder / "data",
        options=["--auth", str(auth_config(folder)), "--log-level", "debug"],
        env={"KIT_ADMIN_KEY": ADMIN_KEY},
    ) as server:
        yield server


@pytest.fixture
async def ann(server: DeploymentProcess) -> AsyncIterator[Deployment]:
    async with Deployment(server.url, token=token("ann")) as deployment:
        yield deployment


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    """A channel of the test's own."""
    return str(request.node.name)


async def test_calls_and_subscriptions_are_the_users(
    ann: Deployment, channel: str
) -> None:
    args = {"channel": channel}
    assert (await ann.query("users:whoami"))["subject"] == "ann"
    assert await ann.mutation("users:sign", args) == "ann"
    assert await ann.action("users:signByAction", args) == ["ann"] * 4
    async with ann.subscribe("users:whoami") as following:
        assert (await anext(following))["subject"] == "ann"


async def test_whoever_shows_nothing_is_told_what_to_do(
    server: DeploymentProcess,
) -> None:
    async with Deployment(server.url) as nobody:
        with pytest.raises(ConvexFunctionError, match="Give the client") as caught:
            await nobody.query("users:whoami")
        assert caught.value.data["code"] == "Unauthenticated"
        with pytest.raises(ConvexFunctionError, match="Give the client"):
            await anext(nobody.subscribe("users:whoami"))


async def test_an_admin_reaches_internal_functions(server: DeploymentProcess) -> None:
    async with Deployment(server.url, admin_key=ADMIN_KEY) as admin:
        assert await admin.query("notes:secret") == "secret"
        assert await anext(admin.subscribe("notes:secret")) == "secret"
        assert await admin.query("users:whoami") is None


async def test_it_becomes_somebody_else_and_what_it_follows_with_it(
    server: DeploymentProcess,
) -> None:
    async with Deployment(server.url) as deployment:
        following = deployment.subscribe("users:whoami")
        with pytest.raises(ConvexFunctionError):
            await anext(following)
        for name in ("ann", "bob"):
            deployment.set_auth(token(name))
            assert (await anext(following))["subject"] == name
            assert (await deployment.query("users:whoami"))["subject"] == name
        deployment.set_admin_auth(ADMIN_KEY)
        assert await anext(following) is None
        deployment.set_auth(None)
        with pytest.raises(ConvexFunctionError):
            await anext(following)


async def test_a_renewed_token_interrupts_nothing(
    ann: Deployment, channel: str
) -> None:
    following = ann.subscribe("notes:list", {"channel": channel})
    assert await anext(following) == []
    worker = ann.worker_pid
    ann.set_auth(token("ann", lifetime=1200))
    await ann.mutation("notes:add", {"channel": channel, "body": "x"})
    assert await anext(following) == ["x"]
    assert ann.worker_pid == worker


async def test_an_ended_token_is_told_and_a_newer_one_heals(
    server: DeploymentProcess,
) -> None:
    """The official client would be silent, and then wait for up to 15 s."""
    ended = token("ann", lifetime=-60)
    async with Deployment(server.url, token=ended) as deployment:
        with pytest.raises(RequestRejected) as caught:
            await deployment.query("users:whoami")
        assert caught.value.status == 401
        following = deployment.subscribe("users:whoami")
        async with asyncio.timeout(10):
            with pytest.raises(RequestRejected, match="Give a new one with set_auth"):
                await anext(following)
        deployment.set_auth(token("ann"))
        async with asyncio.timeout(10):
            assert (await anext(following))["subject"] == "ann"
        assert deployment.state == "connected"


async def test_a_new_worker_shows_the_newest_token(
    ann: Deployment, channel: str
) -> None:
    args = {"channel": channel}
    following = ann.subscribe("users:greet", args)
    assert await anext(following) == "ann sees 0"
    ann.set_auth(token("bob"))
    assert await anext(following) == "bob sees 0"
    assert ann.worker_pid is not None
    os.kill(ann.worker_pid, signal.SIGKILL)
    await ann.mutation("notes:add", {"channel": channel, "body": "x"})
    assert await anext(following) == "bob sees 1"


async def test_a_token_shows_nowhere(
    server: DeploymentProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = token("ann", lifetime=-60)
    async with Deployment(server.url, token=shown) as deployment:
        with pytest.raises(RequestRejected) as caught:
            await deployment.query("users:whoami")
        following = deployment.subscribe("users:whoami")
        with pytest.raises(RequestRejected) as told:
            await anext(following)
        command = Path(f"/proc/{deployment.worker_pid}/cmdline").read_text()
        texts = [repr(deployment), repr(following), str(caught.value), str(told.value)]
        for text in (*texts, command, caplog.text, server.log()):
            assert shown not in text


def test_the_blocking_face_shows_it_too(server: DeploymentProcess) -> None:
    with BlockingDeployment(server.url, token=token("ann")) as deployment:
        assert deployment.query("users:whoami")["subject"] == "ann"
        deployment.set_auth(token("bob"))
        assert deployment.query("users:whoami")["subject"] == "bob"
        deployment.set_admin_auth(ADMIN_KEY)
        assert deployment.query("notes:secret") == "secret"


def test_a_token_that_can_be_none_is_refused(server: DeploymentProcess) -> None:
    with pytest.raises(ConfigError, match="one line of ASCII"):
        Deployment(server.url, token="a\nb")
    deployment = Deployment(server.url)
    with pytest.raises(ConfigError, match="one line of ASCII"):
        deployment.set_auth("a\nb")
