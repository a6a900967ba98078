"""The unmodified official Python client against an embedded deployment."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from convex import ConvexError, ConvexInt64
from convex.http_client import ConvexHttpClient
from deployment_fixture import DeploymentProcess, deployment_process
from official_client import OfficialClient, official_client
from tokens import ADMIN_KEY, auth_config, token


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DeploymentProcess]:
    with deployment_process(data=tmp_path_factory.mktemp("data")) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def authenticating(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DeploymentProcess]:
    """A deployment that knows users, and an admin."""
    folder = tmp_path_factory.mktemp("authenticating")
    with deployment_process(
        data=folder / "data",
        options=["--auth", str(auth_config(folder)), "--open"],
        env={"KIT_ADMIN_KEY": ADMIN_KEY},
    ) as deployment:
        yield deployment


@pytest.fixture
def client(deployment: DeploymentProcess) -> Iterator[OfficialClient]:
    with official_client(deployment.url) as client:
        yield client


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    """A channel of the test's own."""
    return str(request.node.name)


# --- over the WebSocket -------------------------------------------------------


def test_query_and_mutation(client: OfficialClient, channel: str) -> None:
    assert client.query("notes:list", {"channel": channel}) == []
    note = client.mutation("notes:add", {"channel": channel, "body": "hi"})
    assert len(note) == 32
    assert client.query("notes:list", {"channel": channel}) == ["hi"]


def test_every_kind_of_value_comes_back(client: OfficialClient) -> None:
    value = client.query("notes:every_kind")
    assert str(value.pop("nan")) == "nan"
    assert value == {
        "null": None,
        "boolean": True,
        "float": 5.0,
        "infinity": float("inf"),
        "int64": ConvexInt64(7),
        "string": "π",
        "bytes": b"ab",
        "array": [1.0, [2.0]],
    }
    assert client.query("notes:echo", {"value": value}) == value


def test_a_subscription_follows_a_mutation(
    client: OfficialClient, channel: str
) -> None:
    notes = client.subscribe("notes:list", {"channel": channel})
    assert notes.next() == []
    client.mutation("notes:add", {"channel": channel, "body": "one"})
    notes.until(["one"])


def test_a_subscription_follows_another_clients_mutation(
    client: OfficialClient, deployment: DeploymentProcess, channel: str
) -> None:
    notes = client.subscribe("notes:list", {"channel": channel})
    assert notes.next() == []
    args = {"channel": channel, "body": "one"}
    deployment.value("mutation", "notes:add", args)
    assert notes.next() == ["one"]


WATCH_ALL = """
import os, sys, convex
client = convex.ConvexClient(sys.argv[1])
args = {"channel": sys.argv[2]}
subscription = client.subscribe("notes:list", args)
for results in client.watch_all():
    (result,) = results.values()
    print(result, flush=True)
    if result["value"]:
        os._exit(0)  # it has no close()
    client.mutation("notes:add", {**args, "body": "seen"})
"""


def test_all_subscriptions_are_watched_at_once(
    deployment: DeploymentProcess, channel: str
) -> None:
    command = [sys.executable, "-c", WATCH_ALL, deployment.url, channel]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "{'type': 'value', 'value': []}",
        "{'type': 'value', 'value': ['seen']}",
    ]


def test_a_subscription_is_not_woken_by_what_it_did_not_read(
    client: OfficialClient, deployment: DeploymentProcess, channel: str
) -> None:
    notes = client.subscribe("notes:list", {"channel": channel})
    assert notes.next() == []
    for _ in range(3):
        other = {"channel": f"{channel} next door", "body": "x"}
        deployment.value("mutation", "notes:add", other)
    deployment.value("mutation", "notes:add", {"channel": channel, "body": "one"})
    # The iterator yields once for each Transition: there was none before.
    assert notes.next() == ["one"]


def test_many_subscriptions_in_one_client(
    client: OfficialClient, deployment: DeploymentProcess, channel: str
) -> None:
    followed = {
        number: client.subscribe("notes:list", {"channel": f"{channel} {number}"})
        for number in range(200)
    }
    for number in (0, 77, 199):
        followed[number].until([])
    args = {"channel": f"{channel} 77", "body": "x"}
    deployment.value("mutation", "notes:add", args)
    followed[77].until(["x"])
    for number in range(100):
        followed[number].unsubscribe()
    args = {"channel": f"{channel} 199", "body": "y"}
    deployment.value("mutation", "notes:add", args)
    followed[199].until(["y"])


def test_an_action_calls_a_mutation(client: OfficialClient, channel: str) -> None:
    args = {"channel": channel, "body": "from an action"}
    assert len(client.action("work:addThroughMutation", args)) == 32
    assert client.action("work:readBack", {"channel": channel}) == ["from an action"]


@pytest.mark.parametrize(
    "data", ["taken", {"code": 1.0, "big": ConvexInt64(2)}, None], ids=str
)
def test_a_convex_error_brings_its_data(client: OfficialClient, data: object) -> None:
    with pytest.raises(ConvexError, match="Uncaught ConvexError: refused") as caught:
        client.mutation("notes:refuse", {"data": data})
    assert caught.value.data == data
    with pytest.raises(ConvexError) as caught:
        client.action("work:refuse", {"data": data})
    assert caught.value.data == data
    assert client.query("notes:list", {"channel": "refused"}) == []


def test_any_other_exception_brings_its_text(client: OfficialClient) -> None:
    with pytest.raises(Exception, match="Uncaught RuntimeError: boom") as caught:
        client.mutation("notes:crash")
    assert not isinstance(caught.value, ConvexError)
    assert str(caught.value).startswith("[Request ID: ")


def test_a_user_is_set_changed_and_cleared(
    authenticating: DeploymentProcess, channel: str
) -> None:
    args = {"channel": channel}
    with official_client(authenticating.url) as client:
        greeting = client.subscribe("users:greet", args)
        assert greeting.next() == "None sees 0"
        client.set_auth(token("ann"))
        greeting.until("ann sees 0")
        assert client.mutation("users:sign", args) == "ann"
        greeting.until("ann sees 1")
        assert client.action("users:signByAction", args) == ["ann"] * 4
        client.set_auth(token("bob"))
        greeting.until("bob sees 2")
        client.clear_auth()
        greeting.until("None sees 2")
        assert client.query("users:whoami") is None


def test_a_token_is_shown_again_after_a_restart(
    authenticating: DeploymentProcess, channel: str
) -> None:
    with official_client(authenticating.url) as client:
        client.set_auth(token("ann"))
        greeting = client.subscribe("users:greet", {"channel": channel})
        greeting.until("ann sees 0")
        authenticating.kill()
        authenticating.start()
        args = {"channel": channel, "body": "x"}
        authenticating.value("mutation", "notes:add", args)
        greeting.until("ann sees 1")


def test_an_admin_is_set(authenticating: DeploymentProcess) -> None:
    with official_client(authenticating.url) as client:
        with pytest.raises(Exception, match="Could not find public function"):
            client.query("notes:secret")
        client.set_admin_auth(ADMIN_KEY)
        assert client.query("notes:secret") == "secret"


def test_wrong_arguments_are_told(client: OfficialClient) -> None:
    with pytest.raises(Exception, match="ArgumentValidationError") as caught:
        client.mutation("notes:add", {"channel": 5})
    assert "Validator: v.object({body: v.string(), channel: v.string()})" in str(
        caught.value
    )
    with pytest.raises(Exception, match="ArgumentValidationError"):
        client.query("notes:list", {"channel": "x", "more": 1})
    with pytest.raises(Exception, match="ArgumentValidationError"):
        client.action("work:wait", {"seconds": "1"})


@pytest.mark.parametrize("path", ["notes:nothing", "nowhere:list", "notes:secret"])
def test_a_function_that_is_not_there_is_told(
    client: OfficialClient, path: str
) -> None:
    for call in (client.query, client.mutation, client.action):
        with pytest.raises(Exception, match="Could not find public function for"):
            call(path)


def test_a_function_of_another_kind_is_told(client: OfficialClient) -> None:
    with pytest.raises(Exception, match=r"as Mutation, but it is defined as Query\."):
        client.mutation("notes:list", {"channel": "x"})


def test_a_failing_subscription_recovers(
    client: OfficialClient, deployment: DeploymentProcess, channel: str
) -> None:
    notes = client.subscribe("notes:failing", {"channel": channel})
    with pytest.raises(Exception, match="the channel is empty"):
        notes.next()
    deployment.value("mutation", "notes:add", {"channel": channel, "body": "x"})
    assert notes.next() == ["x"]


def test_a_large_result_arrives_whole(client: OfficialClient) -> None:
    """Above 16 MiB in one frame the client would drop the socket, again and again."""
    size = 15 * 1024 * 1024
    found = client.query("notes:large", {"size": size})
    assert found == "x" * size


def test_the_newest_state_after_kill_9_and_restart(tmp_path: Path) -> None:
    with (
        deployment_process(data=tmp_path) as deployment,
        official_client(deployment.url) as client,
    ):
        notes = client.subscribe("notes:list", {"channel": "a"})
        assert notes.next() == []
        client.mutation("notes:add", {"channel": "a", "body": "before"})
        notes.until(["before"])
        before = deployment.timestamp()

        deployment.kill()
        deployment.start()
        assert deployment.timestamp() >= before
        assert deployment.value("query", "notes:list", {"channel": "a"}) == ["before"]
        deployment.value("mutation", "notes:add", {"channel": "a", "body": "after"})
        assert deployment.timestamp() > before
        notes.until(["before", "after"])
        client.mutation("notes:add", {"channel": "a", "body": "on"})
        notes.until(["before", "after", "on"])


def test_a_client_heals_when_the_deployment_returns(tmp_path: Path) -> None:
    with (
        deployment_process(data=tmp_path) as deployment,
        official_client(deployment.url) as client,
    ):
        assert client.mutation("notes:increment", {"name": "n"}) == 1.0
        deployment.kill()
        client.begin("mutation", "notes:increment", {"name": "n"})
        deployment.start()
        try:
            assert client.finish() == 2.0
        except Exception as error:
            # Convex's client: it was writing when it found the socket dead. It sends
            # the mutation again nevertheless, once it is connected.
            assert str(error) == "channel closed"
        assert client.mutation("notes:increment", {"name": "n"}) == 3.0


# --- over HTTP ----------------------------------------------------------------


@pytest.fixture
def http(deployment: DeploymentProcess) -> ConvexHttpClient:
    return ConvexHttpClient(deployment.url)


def test_the_http_client(http: ConvexHttpClient, channel: str) -> None:
    assert http.query("notes:list", {"channel": channel}) == []
    http.mutation("notes:add", {"channel": channel, "body": "hi"})
    assert http.query("notes:list", {"channel": channel}) == ["hi"]
    assert http.action("work:readBack", {"channel": channel}) == ["hi"]


def test_the_http_client_gets_every_kind_of_value(http: ConvexHttpClient) -> None:
    value = http.query("notes:every_kind")
    assert value["int64"] == ConvexInt64(7)
    assert value["bytes"] == b"ab"
    assert value["float"] == 5.0


def test_the_http_client_prints_log_lines_when_debugging(
    http: ConvexHttpClient, capsys: pytest.CaptureFixture[str]
) -> None:
    http.set_debug(True)
    with pytest.raises(ConvexError):
        http.mutation("notes:refuse", {"data": "no"})
    assert "[WARN] 'refusing'" in capsys.readouterr().out


def test_the_http_client_gets_errors(http: ConvexHttpClient) -> None:
    data: Any = {"code": 1.0}
    with pytest.raises(ConvexError) as caught:
        http.mutation("notes:refuse", {"data": data})
    assert caught.value.data == data
    with pytest.raises(Exception, match="Uncaught RuntimeError: boom"):
        http.mutation("notes:crash")
    with pytest.raises(Exception, match="ArgumentValidationError"):
        http.query("notes:list", {})
    with pytest.raises(Exception, match="400 BadConvexFunctionIdentifier: "):
        http.query("no such path!", {})
