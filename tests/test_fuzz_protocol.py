"""Whatever arrives: the protocol's parser, a session, the HTTP calls.

Nothing that a client sends may do more than end its own connection: no answer but those
of the protocol, no error inside the deployment, and another client goes on as before.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import pytest
from deployment_fixture import DeploymentProcess, deployment_process
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sync_client import ZERO, SyncClient, added, removed, request, sync_client

from kit.errors import ProtocolError
from kit.protocol import encode_timestamp, parse

pytestmark = pytest.mark.timeout(120)

SESSION = "1c84c4aa-30d4-4a70-8aa0-2b76f37755cd"
PATIENCE = 10.0  # s, for one answer


# --- what is sent -----------------------------------------------------------------

VALID: list[dict[str, Any]] = [
    {
        "type": "Connect",
        "sessionId": SESSION,
        "connectionCount": 0,
        "lastCloseReason": "x",
        "maxObservedTimestamp": "AAAAAAAAAAA=",
        "clientTs": 0,
    },
    {
        "type": "ModifyQuerySet",
        "baseVersion": 0,
        "newVersion": 1,
        "modifications": [
            added(0, "notes:list", {"channel": "fuzz"}),
            {"type": "Remove", "queryId": 1},
        ],
    },
    request("Mutation", 0, "notes:add", {"channel": "fuzz", "body": "x"}),
    request("Action", 1, "work:double", {"value": 1}),
    {"type": "Authenticate", "baseVersion": 0, "tokenType": "None", "value": None},
    {"type": "Authenticate", "baseVersion": 0, "tokenType": "User", "value": "x"},
    {"type": "Event", "eventType": "x", "event": {}},
]

numbers = st.one_of(
    st.integers(-2, 3),
    st.sampled_from([2**31, 2**32 - 1, 2**32, 2**53, 2**63, 2**64, -(2**63), 10**400]),
    st.floats(),
)
junk: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    st.text(max_size=20),
    st.sampled_from(["", "\0", "\ud800", "Add", "x" * 20_000, "notes:list", SESSION]),
    st.recursive(
        st.none() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        ),
        max_leaves=6,
    ),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values inside a value."""
    items: Sequence[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [path, *(p for key, each in items for p in places(each, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn, values: list[dict[str, Any]]) -> bytes:
    """JSON of one of these values, with something wrong in it, most of the time."""
    value = json.loads(json.dumps(draw(st.sampled_from(values))))
    for _ in range(draw(st.integers(0, 3))):
        *way, last = draw(st.sampled_from(places(value)[1:] or [("new",)]))
        inner = value
        for key in way:
            inner = inner[key]
        change = draw(st.sampled_from(["replace", "drop", "add"]))
        if change == "replace":
            inner[last] = draw(junk)
        elif change == "drop" and isinstance(inner, dict):
            inner.pop(last, None)
        elif isinstance(inner, dict):
            inner[draw(st.text(max_size=5))] = draw(junk)
        if not isinstance(value, dict) or not value:
            break
    text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    data = text.encode("utf-8", "surrogatepass")
    match draw(st.sampled_from(["whole"] * 6 + ["cut", "bytes", "twice", "deep"])):
        case "cut":
            return data[: draw(st.integers(0, len(data)))]
        case "bytes":
            where = draw(st.integers(0, len(data)))
            return data[:where] + draw(st.binary(max_size=4)) + data[where:]
        case "twice":  # the same keys again, with other values
            name = draw(st.sampled_from(sorted(value) or ["type"]))
            again = json.dumps(draw(junk)).encode()
            return data[:-1] + b"," + json.dumps(name).encode() + b":" + again + b"}"
        case "deep":
            deep = b"[" * 20_000
            return data.replace(b"[", deep, 1) if b"[" in data else deep
        case _:
            return data


anything = st.one_of(st.binary(max_size=200), mutated(VALID))


# --- the parser -------------------------------------------------------------------


@given(anything)
@example(b'{"type":"Mutation","requestId":0,"udfPath":"a","args":' + b"[" * 50_000)
@example(b'{"type":"Event","eventType":"\xff"}')
@example(b'{"type":"Event","eventType":"\xed\xa0\x80"}')
@example(b'{"type":"Connect","sessionId":"' + b"0" * 50_000 + b'"}')
@example(b'{"type":"' + b"x" * 50_000 + b'"}')
def test_the_parser_understands_or_says_why_not(data: bytes) -> None:
    try:
        message = parse(data)
    except ProtocolError as error:
        assert str(error).startswith("Received Invalid JSON on websocket: ")
        assert len(str(error)) < 400
        str(error).encode()
    else:
        assert type(message).__name__ in {each["type"] for each in VALID}


# --- the deployment and who else uses it ------------------------------------------


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DeploymentProcess]:
    with deployment_process(data=tmp_path_factory.mktemp("data")) as deployment:
        yield deployment


class Witness:
    """A client that stays connected throughout, and wants to be served."""

    def __init__(self, deployment: DeploymentProcess) -> None:
        self.deployment = deployment
        self.runner = asyncio.Runner()
        self._connection = sync_client(deployment.url)
        self._client = self.runner.run(self._connection.__aenter__())
        self._requests = 0
        self.runner.run(self._start())

    async def _start(self) -> None:
        await self._client.connect()
        await self._client.subscribe(0, "notes:count", {"channel": "witness"})
        assert await self._client.values() == {0: 0.0}

    async def is_served(self) -> None:
        """A mutation's answer and its effect come; nothing has failed inside."""
        number, self._requests = self._requests, self._requests + 1
        note = {"channel": "witness", "body": "x"}
        await self._client.mutation(number, "notes:add", note)
        answer = await self._client.receive(PATIENCE)
        assert (answer["type"], answer["requestId"]) == ("MutationResponse", number)
        assert answer["success"], answer
        assert await self._client.values() == {0: number + 1.0}

    def close(self) -> None:
        self.runner.run(self._connection.__aexit__(None, None, None))
        self.runner.close()
        log = self.deployment.log()
        assert "Traceback" not in log, log[-5000:]
        assert "ERROR" not in log, log[-5000:]


@pytest.fixture(scope="module")
def witness(deployment: DeploymentProcess) -> Iterator[Witness]:
    witness = Witness(deployment)
    yield witness
    witness.close()


ANSWERS = {
    "Transition",
    "MutationResponse",
    "ActionResponse",
    "AuthError",
    "FatalError",
    "Ping",
}
# Without a status after a FatalError or an AuthError.
CLOSED = {None, 1001, 1011}


async def until_closed(client: SyncClient) -> list[dict[str, Any]]:
    """All that the server sends, until it closes or has answered everything.

    The last one is `{"type": "Close", "code", "reason"}` if it closed.
    """
    found: list[dict[str, Any]] = []
    while True:
        message = await client.socket.receive(PATIENCE)
        if message.type is aiohttp.WSMsgType.CLOSE:
            code, reason = message.data or None, message.extra or ""
            return [*found, {"type": "Close", "code": code, "reason": reason}]
        assert message.type is aiohttp.WSMsgType.TEXT, message
        answer = json.loads(message.data)
        assert answer["type"] in ANSWERS
        found.append(answer)
        if answer.get("requestId") == LAST:
            return found


LAST = 4_000_000_000
NO_SUCH_THING = request("Mutation", LAST, "notes:nothing")


@given(
    messages=st.lists(anything, min_size=1, max_size=5),
    binary=st.sampled_from([False] * 9 + [True]),
)
@example(messages=[b"x"] * 100, binary=True)
@example(messages=[b"x"] * 100, binary=False)
def test_a_session_takes_whatever_comes(
    witness: Witness, messages: list[bytes], binary: bool
) -> None:
    async def misbehave() -> None:
        async with sync_client(witness.deployment.url) as client:
            for message in messages:
                kind = aiohttp.WSMsgType.BINARY if binary else aiohttp.WSMsgType.TEXT
                await client.socket.send_frame(message, kind)
            await client.send(NO_SUCH_THING)
            found = await until_closed(client)
        if found[-1]["type"] == "Close":
            assert found[-1]["code"] in CLOSED, found[-1]
            if found[-1]["code"] is None:
                assert found[-2]["type"] in ("FatalError", "AuthError")
        else:
            assert not any(each["type"] == "FatalError" for each in found)
        await witness.is_served()

    try:
        witness.runner.run(misbehave())
    except (ConnectionError, aiohttp.ClientError):
        # It closed while more was being sent: that more is lost is the client's fault.
        witness.runner.run(witness.is_served())


# --- valid messages in the wrong order --------------------------------------------


class Reference:
    """What the protocol says about a sequence of valid messages."""

    def __init__(self) -> None:
        self.query_set = self.identity = 0
        self.live: set[int] = set()
        self.connected = False
        self.requests: list[int] = []

    def take(self, message: dict[str, Any]) -> str | None:
        """Why the session ends with it, or None."""
        match message["type"]:
            case "Connect":
                if self.connected:
                    return "FatalError"
                if message.get("maxObservedTimestamp") == FUTURE:
                    return "1011"
                self.connected = True
            case "ModifyQuerySet":
                return self._modify(message)
            case "Authenticate":
                if message["tokenType"] != "None":
                    return "AuthError"
                if message["baseVersion"] != self.identity:
                    return "1011"
                self.identity += 1
            case "Mutation":
                self.requests.append(message["requestId"])
        return None

    def _modify(self, message: dict[str, Any]) -> str | None:
        if message["baseVersion"] != self.query_set:
            return "FatalError"
        if message["newVersion"] <= self.query_set:
            return "FatalError"
        live = set(self.live)
        for change in message["modifications"]:
            if (change["type"] == "Add") is (change["queryId"] in live):
                return "1011"
            live ^= {change["queryId"]}
        self.live, self.query_set = live, message["newVersion"]
        return None


FUTURE = encode_timestamp(2**62)
small = st.integers(0, 3)
changes = st.builds(
    lambda query_id, path: added(query_id, path, {"channel": "fuzz"}),
    small,
    st.sampled_from(["notes:list", "notes:failing", "notes:nothing", "::"]),
) | st.builds(removed, small)


def modify(versions: tuple[int, int], modifications: list[Any]) -> dict[str, Any]:
    base, step = versions
    return {
        "type": "ModifyQuerySet",
        "baseVersion": base,
        "newVersion": base + step,
        "modifications": modifications,
    }


@st.composite
def sequences(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Mostly right: versions are those that the session is at, but for a few."""
    reference = Reference()
    messages: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 8))):
        off = draw(st.sampled_from([0] * 12 + [-1, 1]))
        message = draw(
            st.one_of(
                st.builds(
                    modify,
                    st.tuples(
                        st.just(max(reference.query_set + off, 0)),
                        st.sampled_from([1, 1, 1, 1, 2, 0]),
                    ),
                    st.lists(changes, max_size=2),
                ),
                st.just(request("Mutation", number, "notes:crash")),
                st.just(request("Action", 100 + number, "work:nothing")),
                st.builds(
                    lambda kind, base: {
                        "type": "Authenticate",
                        "tokenType": kind,
                        "baseVersion": base,
                        "value": None if kind == "None" else "x",
                    },
                    st.sampled_from(["None"] * 7 + ["User"]),
                    st.just(max(reference.identity + off, 0)),
                ),
                st.builds(
                    lambda ts: {
                        "type": "Connect",
                        "sessionId": SESSION,
                        "maxObservedTimestamp": ts,
                    },
                    st.sampled_from([None, ZERO["ts"], FUTURE]),
                ),
                st.just({"type": "Event", "eventType": "x"}),
            )
        )
        messages.append(message)
        reference.take(message)
    return messages


@given(messages=sequences())
def test_valid_messages_are_answered_as_specified(
    witness: Witness, messages: list[dict[str, Any]]
) -> None:
    reference = Reference()
    ends = next(filter(None, map(reference.take, messages)), None)

    async def exchange() -> None:
        async with sync_client(witness.deployment.url) as client:
            for message in messages:
                await client.send(message)
            await client.send(NO_SUCH_THING)
            found = await until_closed(client)
            if ends is None:
                found += [await client.transition()]
        _check_answers(found, reference, ends)
        await witness.is_served()

    witness.runner.run(exchange())


def _check_answers(
    found: list[dict[str, Any]], reference: Reference, ends: str | None
) -> None:
    version = ZERO
    for answer in found:
        if answer["type"] == "Transition":
            assert answer["startVersion"] == version
            version = answer["endVersion"]
    answered = [a["requestId"] for a in found if a["type"] == "MutationResponse"]
    if ends is None:
        assert answered == [*reference.requests, LAST]
        assert version["querySet"] == reference.query_set
        assert version["identity"] == reference.identity
        return
    assert answered == reference.requests[: len(answered)]
    closed = found[-1]
    assert closed["type"] == "Close"
    if ends == "1011":
        assert (closed["code"], closed["reason"]) == (1011, "InternalServerError")
    else:
        assert closed["code"] is None
        assert found[-2]["type"] == ends


# --- HTTP -------------------------------------------------------------------------

CALLS: list[dict[str, Any]] = [
    {"path": "notes:list", "args": {"channel": "fuzz"}, "format": "json"},
    {"path": "notes:every_kind", "args": {}, "format": "convex_encoded_json"},
    {"path": "notes:add", "args": [{"channel": "fuzz", "body": "x"}]},
    {"path": "notes:echo", "args": {"value": {"$integer": "BwAAAAAAAAA="}}},
    {"path": "notes:crash", "args": {}},
    {"path": "notes:list", "args": {}, "ts": "AAAAAAAAAAA=", "componentPath": ""},
    {"queries": [{"path": "notes:list", "args": {"channel": "fuzz"}}]},
]
ROUTES = [
    "/",
    "/version",
    "/echo",
    "/instance_name",
    "/api/query",
    "/api/mutation",
    "/api/action",
    "/api/function",
    "/api/query_ts",
    "/api/query_at_ts",
    "/api/query_batch",
    "/api/run/notes/list",
    "/api/sync",
    "/api/1.2.3/sync",
    "/api/x/sync",
    "/api/debug_event",
]
odd_names = st.one_of(
    st.text(max_size=10),
    st.sampled_from(["..", "%", "%00", "%ff", "//", "?", "a:b", "\0", "x" * 5000]),
)
odd_paths = st.builds(
    lambda route, name: route + quote(name, safe="/%?&=:.", errors="replace"),
    st.sampled_from([*ROUTES, "/api/run/", "/api/query?path=", "/api/query?args="]),
    odd_names,
)
methods = st.sampled_from(
    ["GET", "POST", "POST", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "LINK"]
)
plain = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
headers = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.sampled_from(
            ["application/json"] * 8
            + ["application/json; charset=x", "text/plain", "", "/", "multipart/mixed"]
        ),
        "Convex-Client": st.sampled_from(["npm-1.2.3", "python-0.8.0"]) | plain,
        "Convex-Request-Id": plain,
        "Accept-Encoding": st.sampled_from(["gzip", "identity", "x"]),
        "Upgrade": st.sampled_from(["websocket", "h2c"]),
        "Authorization": st.sampled_from(["Bearer x", "Convex x", "Basic eA==", "x"]),
        "Cookie": plain,
    },
)
bodies = st.one_of(
    st.just(b""), st.binary(max_size=100), mutated(CALLS), mutated(CALLS)
)


class Answer:
    """Status, headers and body of an answer; None stands for none at all."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()


def ask(url: str, method: str, path: str, sent: dict[str, str], body: bytes) -> Answer:
    """Ask on a connection of its own; TimeoutError when nothing comes."""
    address = urlsplit(url).netloc
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": address, **sent}.items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def check_answer(answer: Answer, method: str, path: str) -> None:
    assert answer.status < 500 or answer.status == 501, answer.body
    if method == "HEAD" or answer.status == 204:
        assert answer.body == b""
        return
    if answer.status != 200:
        refusal = json.loads(answer.body)
        assert set(refusal) == {"code", "message"}
        assert refusal["code"].isalpha()
        assert refusal["message"]
        return
    if not path.startswith("/api/") or path.startswith("/api/debug_event"):
        return  # a greeting, a version, an echo
    found = json.loads(answer.body)
    for each in found.get("results", [found]):
        match each.get("status"):
            case "success":
                assert "value" in each
            case "error":
                assert "errorMessage" in each
                assert "Traceback" not in each["errorMessage"]
            case _:
                assert set(found) in ({"ts"}, {"results"})


@settings(max_examples=3 * (settings.default or settings()).max_examples)
@given(
    method=methods,
    path=st.sampled_from(ROUTES) | odd_paths,
    sent=headers,
    body=bodies,
)
def test_every_request_is_answered(
    witness: Witness, method: str, path: str, sent: dict[str, str], body: bytes
) -> None:
    answer = ask(witness.deployment.url, method, path, sent, body)
    check_answer(answer, method, path)


FOREIGN = ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "0x7f.1"]


@given(
    method=methods,
    path=st.sampled_from(ROUTES) | odd_paths,
    sent=headers,
    body=bodies,
    foreign=st.one_of(
        st.sampled_from(
            ["", ":80", "@localhost", "#localhost", "[", ":x", " "]
        ).flatmap(
            lambda end: st.sampled_from(FOREIGN).map(lambda host: {"Host": host + end})
        ),
        st.sampled_from(["http://", "https://", "null", "file://", "http://["]).flatmap(
            lambda start: st.sampled_from(FOREIGN).map(lambda h: {"Origin": start + h})
        ),
    ),
)
def test_every_stranger_is_refused(
    witness: Witness,
    method: str,
    path: str,
    sent: dict[str, str],
    body: bytes,
    foreign: dict[str, str],
) -> None:
    url = witness.deployment.url
    answer = ask(url, method, path, {**sent, **foreign}, body)
    assert answer.status == 403
    if method != "HEAD":
        code = json.loads(answer.body)["code"]
        assert code in ("ForbiddenHost", "ForbiddenOrigin")
    assert "Access-Control-Allow-Origin" not in answer.headers


lines = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"POST /api/query HTTP/1.1",
        b"Host: localhost",
        b"Content-Length: 5",
        b"Content-Length: -1",
        b"Content-Length: 99999999999999999999",
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Content-Encoding: gzip",
        b"Content-Type: application/json",
        b"x" * 10_000,
        b"",
        b"5",
        b"{}",
    ]
) | st.binary(max_size=30)


@given(st.lists(lines, max_size=8).map(b"\r\n".join) | st.binary(max_size=100))
def test_what_is_not_http_hangs_nobody(witness: Witness, data: bytes) -> None:
    """Sent and done: the connection ends, with 4xx if with any answer."""
    address = urlsplit(witness.deployment.url)
    with socket.create_connection((address.hostname, address.port), PATIENCE) as peer:
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while more := peer.recv(65536):
                received += more
        except ConnectionResetError:
            pass
    if received:
        status = int(received.split(b" ", 2)[1])
        assert status < 500, received
    witness.runner.run(witness.is_served())
