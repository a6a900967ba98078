"""Sessions over real WebSockets: the exchange, mistakes, malice."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests
from deployment_fixture import FUNCTIONS, DeploymentProcess, deployment_process
from serving_app import serving
from sync_client import ZERO, SyncClient, added, removed, sync_client

from kit.deployment.database import Database
from kit.deployment.engine import Engine
from kit.deployment.functions import FunctionRegistry
from kit.deployment.runtime import Runtime
from kit.deployment.server import make_app
from kit.deployment.session import MAX_ACTIONS, KeepAlive
from kit.errors import DatabaseError
from kit.protocol import decode_timestamp, encode_timestamp

SESSION = "1c84c4aa-30d4-4a70-8aa0-2b76f37755cd"


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


async def post(deployment: DeploymentProcess, path: str, args: dict[str, Any]) -> Any:
    """A mutation by somebody else."""
    return await asyncio.to_thread(deployment.value, "mutation", path, args)


# --- sessions: the exchange ---------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/api/sync", "/api/1.48.0/sync", "/api/1.0.0-a.1/sync"]
)
async def test_a_minimal_exchange(url: str, channel: str, path: str) -> None:
    async with sync_client(url, path=path) as client:
        await client.connect(clientTs=0)
        await client.subscribe(0, "notes:list", {"channel": channel})
        first = await client.transition()
        assert first["startVersion"] == ZERO
        assert first["endVersion"]["querySet"] == 1
        assert first["modifications"] == [
            {
                "type": "QueryUpdated",
                "queryId": 0,
                "value": [],
                "logLines": [],
                "journal": None,
            }
        ]

        await client.mutation(0, "notes:add", note(channel, "hi"))
        response = await client.receive()
        assert response["type"] == "MutationResponse"
        assert response["success"] is True
        second = await client.transition()
        assert second["startVersion"] == first["endVersion"]
        assert second["endVersion"]["ts"] == response["ts"]
        assert second["modifications"][0]["value"] == ["hi"]

        await client.modify(removed(0))
        third = await client.transition()
        assert third["modifications"] == [{"type": "QueryRemoved", "queryId": 0}]
        assert third["endVersion"]["querySet"] == 2


async def test_the_clock_of_both_sides_is_told_in_integers(url: str) -> None:
    async with sync_client(url) as client:
        await client.connect(clientTs=int(time.time() * 1000) - 5000)
        await client.modify()
        transition = await client.transition()
        assert -6000 < transition["clientClockSkew"] < -4000
        assert isinstance(transition["clientClockSkew"], int)
        assert abs(transition["serverTs"] - time.time_ns()) < 10**9


async def test_every_response_is_followed_by_a_transition(
    url: str, channel: str
) -> None:
    async with sync_client(url) as client:
        await client.connect()
        await client.mutation(0, "notes:add", note(channel))
        assert (await client.receive())["success"] is True
        assert (await client.transition())["modifications"] == []
        await client.mutation(1, "notes:crash")
        failed = await client.receive()
        assert (failed["success"], failed["ts"]) == (False, None)
        assert (await client.transition())["modifications"] == []
        await client.action(2, "work:readBack", {"channel": channel})
        done = await client.receive()
        assert (done["type"], done["result"]) == ("ActionResponse", ["x"])
        assert done["logLines"] == [f"[LOG] 'reading' '{channel}'"]
        assert (await client.transition())["modifications"] == []


async def test_mutations_of_one_socket_run_in_order(url: str, channel: str) -> None:
    count = 100
    async with sync_client(url) as client:
        await client.connect()
        for number in range(count):
            await client.mutation(number, "notes:increment", {"name": channel})
        results: list[float] = []
        while len(results) < count:
            message = await client.receive()
            if message["type"] == "MutationResponse":
                results.append(message["result"])
        assert results == [float(number + 1) for number in range(count)]


async def test_actions_of_one_socket_run_at_once(
    url: str, channel: str, tmp_path: Path
) -> None:
    async with sync_client(url) as client:
        await client.connect()
        gate = tmp_path / "gate"
        await client.action(0, "work:addWhenOpen", {**note(channel), "gate": str(gate)})
        await client.action(1, "work:wait", {"seconds": 0.0})
        await client.mutation(2, "notes:add", note(channel, "meanwhile"))
        answered: list[int] = []
        while len(answered) < 3:
            message = await client.receive()
            if message["type"] != "Transition":
                answered.append(message["requestId"])
                if len(answered) == 2:
                    gate.touch()
        assert answered[-1] == 0


async def test_a_failed_query_carries_log_lines_and_recovers(
    deployment: DeploymentProcess, channel: str
) -> None:
    async with sync_client(deployment.url) as client:
        await client.connect()
        await client.subscribe(0, "notes:failing", {"channel": channel})
        (failed,) = (await client.transition())["modifications"]
        assert failed["type"] == "QueryFailed"
        assert failed["errorMessage"].startswith("[Request ID: ")
        assert "Uncaught RuntimeError: the channel is empty" in failed["errorMessage"]
        assert failed["logLines"] == [f"[LOG] 'looking at' '{channel}'"]
        assert "errorData" not in failed
        await post(deployment, "notes:add", note(channel))
        assert await client.values() == {0: ["x"]}


async def test_a_commit_that_touches_nothing_read_sends_nothing(
    deployment: DeploymentProcess, channel: str
) -> None:
    async with sync_client(deployment.url) as client:
        await client.connect()
        await client.subscribe(0, "notes:list", {"channel": channel})
        first = await client.transition()
        for _ in range(5):
            await post(deployment, "notes:add", note(f"{channel} next door"))
            await post(deployment, "notes:increment", {"name": channel})
        await post(deployment, "notes:add", note(channel))
        second = await client.transition()
        assert second["startVersion"] == first["endVersion"]
        assert second["modifications"][0]["value"] == ["x"]


async def test_a_commit_that_changes_no_result_moves_the_version_only(
    deployment: DeploymentProcess, channel: str
) -> None:
    """Two bodies are swapped for the same two: the read set is hit, the count stays."""
    first = await post(deployment, "notes:add", note(channel))
    async with sync_client(deployment.url) as client:
        await client.connect()
        await client.subscribe(0, "notes:count", {"channel": channel})
        assert await client.values() == {0: 1.0}
        await client.mutation(0, "notes:replace", {"id": first, "body": "y"})
        assert (await client.receive())["success"] is True
        transition = await client.transition()
        assert transition["modifications"] == []
        assert transition["startVersion"]["ts"] < transition["endVersion"]["ts"] or (
            decode_timestamp(transition["startVersion"]["ts"])
            < decode_timestamp(transition["endVersion"]["ts"])
        )


async def test_all_results_of_a_transition_are_of_one_time(
    deployment: DeploymentProcess, channel: str
) -> None:
    """List and count agree in every Transition, whatever commits in between."""
    async with sync_client(deployment.url) as client:
        await client.connect()
        await client.modify(
            added(0, "notes:list", {"channel": channel}),
            added(1, "notes:count", {"channel": channel}),
        )
        held = await client.values()

        async def write() -> None:
            async with sync_client(deployment.url) as writer:
                await writer.connect()
                for number in range(50):
                    await writer.mutation(number, "notes:add", note(channel))
                    await writer.receive()
                    await writer.transition()

        writing = asyncio.create_task(write())
        while held[1] < 50:
            held |= await client.values()
            assert len(held[0]) == held[1]
        await writing


async def test_a_repeated_mutation_of_a_session_runs_once(
    url: str, channel: str
) -> None:
    async with sync_client(url) as client:
        await client.connect()
        await client.mutation(0, "notes:increment", {"name": channel})
        first = await client.receive()
        session_id = client.session_id
    async with sync_client(url) as client:
        client.session_id = session_id
        await client.connect(connectionCount=1)
        await client.mutation(0, "notes:increment", {"name": channel})
        again = await client.receive()
        await client.transition()
        await client.mutation(1, "notes:increment", {"name": channel})
        assert (await client.receive())["result"] == 2.0
    assert again == first
    async with sync_client(url) as stranger:
        await stranger.connect()
        await stranger.mutation(0, "notes:increment", {"name": channel})
        assert (await stranger.receive())["result"] == 3.0


async def test_a_session_without_connect_is_served(url: str, channel: str) -> None:
    async with sync_client(url) as client:
        await client.mutation(0, "notes:increment", {"name": channel})
        assert (await client.receive())["result"] == 1.0
        await client.transition()
        await client.mutation(0, "notes:increment", {"name": channel})
        assert (await client.receive())["result"] == 2.0


async def test_the_request_id_in_an_error_follows_from_the_session(url: str) -> None:
    async with sync_client(url) as client:
        client.session_id = SESSION
        await client.connect()
        await client.mutation(7, "notes:crash")
        # The first 16 hex digits of SHA-256 of "<session id>|7".
        text = (await client.receive())["result"]
        assert text.startswith("[Request ID: 3f6dae4734e095f5] Server Error\n")


async def test_a_client_may_say_that_it_is_nobody(url: str) -> None:
    async with sync_client(url) as client:
        await client.connect()
        await client.send(
            {"type": "Authenticate", "baseVersion": 0, "tokenType": "None"}
        )
        transition = await client.transition()
        assert transition["endVersion"]["identity"] == 1


async def test_events_are_ignored(url: str) -> None:
    async with sync_client(url) as client:
        await client.connect()
        await client.send({"type": "Event", "eventType": "ClientConnect", "event": {}})
        await client.modify()
        await client.transition()


async def test_an_action_goes_on_when_its_caller_is_gone(
    deployment: DeploymentProcess, channel: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with sync_client(deployment.url) as viewer:
        await viewer.connect()
        await viewer.subscribe(0, "notes:list", {"channel": channel})
        assert await viewer.values() == {0: []}
        async with sync_client(deployment.url) as caller:
            await caller.connect()
            args = {**note(channel), "gate": str(gate)}
            await caller.action(0, "work:addWhenOpen", args)
            started = Path(f"{gate}.started")
            await asyncio.to_thread(_wait_for, started)
        gate.touch()
        assert await viewer.values() == {0: ["x"]}


def _wait_for(file: Path) -> None:
    deadline = time.monotonic() + 10
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def test_a_slow_client_gets_the_newest_state_and_nothing_piles_up(
    deployment: DeploymentProcess, channel: str
) -> None:
    """Ten times 4 MB are written while it does not read: it gets far less."""
    writes = 40
    async with (
        sync_client(deployment.url) as slow,
        sync_client(deployment.url) as writer,
    ):
        await slow.connect()
        await slow.subscribe(0, "notes:large_of", {"channel": channel})
        await slow.transition()
        await writer.connect()
        for number in range(writes):
            await writer.mutation(number, "notes:add", note(channel))
            await writer.receive()
            await writer.transition()
        transitions = 0
        length = 0
        while length < writes:
            transitions += 1
            (value,) = (await slow.values()).values()
            length = value["count"]
        assert transitions < writes / 2


async def test_a_page_keeps_its_end_also_on_another_socket(
    deployment: DeploymentProcess, channel: str
) -> None:
    ids = [await post(deployment, "notes:add", note(channel, body)) for body in "abc"]
    page = {"numItems": 2, "cursor": None}
    add = added(0, "notes:page", {"channel": channel, "paginationOpts": page})

    async with sync_client(deployment.url) as client:
        await client.connect()
        await client.modify(add)
        (first,) = (await client.transition())["modifications"]
        assert first["value"] == ["a", "b"]
        await post(deployment, "notes:remove", {"id": ids[0]})
        (second,) = (await client.transition())["modifications"]
        assert second["value"] == ["b"]
        assert second["journal"] == first["journal"]

    async with sync_client(deployment.url) as again, sync_client(deployment.url) as new:
        for client, journal, value in (
            (again, first["journal"], ["b"]),
            (new, None, ["b", "c"]),
        ):
            await client.connect()
            await client.modify({**add, "journal": journal})
            (found,) = (await client.transition())["modifications"]
            assert found["value"] == value
            assert (found["journal"] == first["journal"]) is (journal is not None)


async def test_a_journal_that_is_none_fails_its_query_once(
    deployment: DeploymentProcess, channel: str
) -> None:
    page = {"numItems": 2, "cursor": None}
    add = added(0, "notes:page", {"channel": channel, "paginationOpts": page})
    async with sync_client(deployment.url) as client:
        await client.connect()
        await client.modify({**add, "journal": "nonsense"})
        (failed,) = (await client.transition())["modifications"]
        assert failed["type"] == "QueryFailed"
        await client.modify(removed(0), {**add, "journal": failed["journal"]})
        (found,) = (await client.transition())["modifications"]
        assert found["value"] == []


# --- sessions: mistakes and malice --------------------------------------------


async def fatal(client: SyncClient) -> str:
    """The FatalError that comes next; then the socket is closed without a status."""
    message = await client.receive()
    assert message["type"] == "FatalError", message
    assert await client.closed() == (None, "")
    return str(message["error"])


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("hello", "JSON is malformed"),
        ("{", "truncated"),
        ("[]", "Expected `object`"),
        ('{"type":"Explode"}', "Invalid value 'Explode'"),
        ('{"type":"Mutation","requestId":"x","udfPath":"m"}', "at `$.requestId`"),
        ('{"type":"Connect","sessionId":"x"}', "Invalid UUID"),
        (
            '{"type":"ModifyQuerySet","baseVersion":7,"newVersion":8,"modifications":[]}',
            "Base version 7 passed up doesn't match the current version 0",
        ),
        (
            '{"type":"Mutation","requestId":0,"udfPath":"m:f","args":'
            + "[" * 100_000
            + "]" * 100_000
            + "}",
            "nested too deeply",
        ),
        (
            f'{{"type":"Connect","sessionId":"{SESSION}","maxObservedTimestamp":"soon"}}',
            "'soon' is not a timestamp",
        ),
    ],
    ids=lambda value: value[:30],
)
async def test_a_bad_message_ends_its_own_session_only(
    url: str, channel: str, message: str, why: str
) -> None:
    async with sync_client(url) as other, sync_client(url) as client:
        await other.connect()
        await client.send(message)
        assert why in await fatal(client)
        await other.subscribe(0, "notes:list", {"channel": channel})
        assert await other.values() == {0: []}


@pytest.mark.parametrize("kind", ["Add", "Mutation", "Action"])
async def test_a_component_is_none_of_this_deployment(url: str, kind: str) -> None:
    request = {"udfPath": "notes:crash", "args": [{}], "componentPath": "other"}
    async with sync_client(url) as client:
        await client.connect()
        if kind == "Add":
            await client.modify({**added(0, "notes:list"), **request})
        else:
            await client.send({"type": kind, "requestId": 0, **request})
        assert "this deployment has no components" in await fatal(client)


async def test_a_binary_message_ends_the_session(url: str) -> None:
    async with sync_client(url) as client:
        await client.socket.send_bytes(b'{"type":"Event","eventType":"x"}')
        assert "got a binary one" in await fatal(client)


async def test_text_that_is_not_utf8_ends_the_session(url: str) -> None:
    async with sync_client(url) as client:
        await client.socket.send_frame(
            b'{"type":"Event","eventType":"\xff"}', aiohttp.WSMsgType.TEXT
        )
        assert "Received Invalid JSON on websocket" in await fatal(client)


@pytest.mark.parametrize(
    "modification", [added(0, "notes:list"), removed(9)], ids=["twice", "unknown"]
)
async def test_an_impossible_query_id_closes_with_1011(
    url: str, modification: dict[str, Any]
) -> None:
    async with sync_client(url) as client:
        await client.connect()
        await client.subscribe(0, "notes:list", {"channel": "x"})
        await client.transition()
        await client.modify(modification)
        assert await client.closed() == (1011, "InternalServerError")


async def test_a_client_from_the_future_is_sent_away(
    deployment: DeploymentProcess,
) -> None:
    observed = encode_timestamp(deployment.timestamp() + 10**12)
    async with sync_client(deployment.url) as client:
        await client.connect(maxObservedTimestamp=observed)
        assert await client.closed() == (1011, "InternalServerError")
    async with sync_client(deployment.url) as client:
        observed = encode_timestamp(deployment.timestamp())
        await client.connect(maxObservedTimestamp=observed)
        await client.modify()
        await client.transition()


@pytest.mark.parametrize("kind", ["User", "Admin"])
async def test_a_token_is_refused(url: str, kind: str) -> None:
    async with sync_client(url) as client:
        await client.connect()
        await client.send(
            {
                "type": "Authenticate",
                "baseVersion": 0,
                "tokenType": kind,
                "value": "s3cret",
            }
        )
        message = await client.receive()
        assert message["type"] == "AuthError"
        assert (message["baseVersion"], message["authUpdateAttempted"]) == (0, True)
        assert "s3cret" not in message["error"]
        assert await client.closed() == (None, "")


async def test_an_identity_out_of_step_closes_with_1011(url: str) -> None:
    async with sync_client(url) as client:
        await client.send(
            {"type": "Authenticate", "baseVersion": 5, "tokenType": "None"}
        )
        assert await client.closed() == (1011, "InternalServerError")


@pytest.mark.parametrize("path", ["notes:nothing", "no such:path!", "", "../x:y"])
async def test_a_function_that_is_not_there_fails_its_request_only(
    url: str, path: str
) -> None:
    async with sync_client(url) as client:
        await client.connect()
        await client.mutation(0, path)
        assert (await client.receive())["success"] is False
        await client.transition()
        await client.action(1, path)
        assert (await client.receive())["success"] is False
        await client.transition()
        await client.subscribe(0, path)
        (failed,) = (await client.transition())["modifications"]
        assert failed["type"] == "QueryFailed"


@pytest.mark.parametrize(
    "args",
    ["[]", "[{},{}]", "[5]", "null", '[{"$bad":1}]', "7", "[[[]]]"],
)
async def test_impossible_arguments_fail_their_request_only(
    url: str, args: str
) -> None:
    async with sync_client(url) as client:
        await client.connect()
        await client.send(
            '{"type":"Mutation","requestId":0,"udfPath":"notes:crash","args":'
            + args
            + "}"
        )
        response = await client.receive()
        assert response["success"] is False
        assert "boom" not in response["result"]
        await client.transition()


async def test_an_argument_of_20_mib_fails_its_request_only(url: str) -> None:
    """One frame above what the official server takes: an answer, not a loop."""
    async with sync_client(url) as client:
        await client.connect()
        body = "x" * (20 * 1024 * 1024)
        await client.mutation(0, "notes:add", note("large", body))
        response = await client.receive()
        assert response["success"] is False
        assert (
            "Arguments for notes.js:add are too large (actual: 20 MiB"
            in (response["result"])
        )
        await client.transition()


async def test_a_message_of_65_mib_closes_its_own_socket_only(
    url: str, channel: str
) -> None:
    async with sync_client(url) as other, sync_client(url) as client:
        await other.connect()
        await client.connect()
        text = "x" * (65 * 1024 * 1024)
        # It is refused while it is still being sent.
        with contextlib.suppress(ConnectionError):
            await client.mutation(0, "notes:add", note("large", text))
        assert await client.closed() == (1009, "")
        await other.subscribe(0, "notes:list", {"channel": channel})
        assert await other.values() == {0: []}


async def test_a_transition_larger_than_a_frame_comes_in_fragments(url: str) -> None:
    async with sync_client(url) as client:
        await client.connect()
        await client.modify(
            *(
                added(number, "notes:large", {"size": 9e6 + number})
                for number in (0, 1, 2)
            )
        )
        values = await client.values()
        assert {i: len(text) for i, text in values.items()} == {
            0: 9_000_000,
            1: 9_000_001,
            2: 9_000_002,
        }


async def test_a_client_that_drops_without_a_word_leaves_nothing_behind(
    deployment: DeploymentProcess, channel: str
) -> None:
    async with sync_client(deployment.url) as client:
        await client.connect()
        await client.subscribe(0, "notes:list", {"channel": channel})
        await client.transition()
        connection = client.socket._response.connection
        assert connection is not None and connection.transport is not None
        connection.transport.abort()
    await post(deployment, "notes:add", note(channel))


# --- sessions: keeping alive --------------------------------------------------


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """Serve in this process, with times of the test's own; the URL."""
    async with AsyncExitStack() as stack:

        async def serve(**times: float) -> str:
            registry = FunctionRegistry.load(FUNCTIONS)
            database = Database.open(tmp_path, registry.schema)
            stack.callback(database.close)
            runtime = Runtime(Engine(database, registry), [FUNCTIONS])
            app = make_app(runtime, keep_alive=KeepAlive(**times))
            return await stack.enter_async_context(serving(app, shutdown_timeout=2.0))

        yield serve


async def test_a_client_without_news_is_pinged_both_ways(
    served: Callable[..., Awaitable[str]],
) -> None:
    url = await served(ping=0.02, idle=0.05)
    async with sync_client(url, autoping=False) as client:
        await client.connect()
        await client.modify()
        found: set[str] = set()
        while not {"ping frame", "Ping", "Transition"} <= found:
            message = await client.socket.receive(10)
            if message.type is aiohttp.WSMsgType.PING:
                found.add("ping frame")
            else:
                found.add(json.loads(message.data)["type"])


async def test_a_client_that_answers_pings_is_kept(
    served: Callable[..., Awaitable[str]],
) -> None:
    url = await served(ping=0.02, idle=0.05, silence=0.3)
    async with sync_client(url) as client:
        await client.connect()
        ending = asyncio.get_running_loop().time() + 0.6
        while asyncio.get_running_loop().time() < ending:
            assert await client.receive() == {"type": "Ping"}


async def test_a_silent_client_is_dropped(
    served: Callable[..., Awaitable[str]],
) -> None:
    url = await served(ping=0.02, idle=60.0, silence=0.1)
    async with sync_client(url, autoping=False) as client:
        await client.connect()
        async with asyncio.timeout(5):
            while not client.socket.closed:
                await client.socket.receive()


async def test_an_error_of_the_engine_closes_with_1011(
    served: Callable[..., Awaitable[str]], caplog: pytest.LogCaptureFixture
) -> None:
    url = await served()
    async with sync_client(url) as client, sync_client(url) as other:
        await client.connect()
        await client.mutation(0, "notes:add", note("a"))
        await client.receive()
        await client.transition()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Engine, "run_mutation", _disk_full)
            await client.mutation(1, "notes:add", note("a"))
            assert await client.closed() == (1011, "InternalServerError")
            answer = await asyncio.to_thread(
                requests.post,
                f"{url}/api/mutation",
                json={"path": "notes:add", "args": note("a")},
            )
            assert answer.status_code == 500
            assert answer.json()["code"] == "InternalServerError"
        await other.mutation(0, "notes:add", note("a"))
        assert (await other.receive())["success"] is True
    assert "the disk is full" in caplog.text


async def test_an_error_of_the_engine_about_an_action_closes_with_1011(
    served: Callable[..., Awaitable[str]],
) -> None:
    url = await served()
    async with sync_client(url) as client:
        await client.connect()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Engine, "check_action", _disk_full)
            await client.action(0, "work:wait", {"seconds": 0})
            assert await client.closed() == (1011, "InternalServerError")


async def test_too_many_actions_at_a_time_close_with_1013(
    served: Callable[..., Awaitable[str]],
) -> None:
    url = await served()
    async with sync_client(url) as client:
        await client.connect()
        for number in range(MAX_ACTIONS + 1):
            await client.action(number, "work:wait", {"seconds": 60})
        assert await client.closed() == (1013, "TooManyConcurrentActions")


def _disk_full(*_: object, **__: object) -> None:
    raise DatabaseError("the disk is full")
