"""Socket.IO events over a real connection: what is accepted, what is told, to whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio
from aiohttp import web
from aiohttp.test_utils import TestServer

from kit.app.chat import DEFAULT_MODEL, ChatService, UserMessage
from kit.app.events import Room, SocketEvents
from kit.app.history import History
from kit.app.runs import Run
from kit.app.tasks import Tasks
from kit.errors import DeploymentError, KitError


class RecordingChat(ChatService):
    """Keeps what it is given; `refusal` is what it says to everything."""

    def __init__(self) -> None:
        self.submitted: list[UserMessage] = []
        self.stopped: list[str] = []
        self.refusal: Exception | None = None
        self.accepts = True

    def submit(self, message: UserMessage) -> Run:
        if self.refusal is not None:
            raise self.refusal
        self.submitted.append(message)
        self.run = Run()
        if self.accepts:
            self.run.accepted.set()
        return self.run

    async def stop(self, task_id: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.stopped.append(task_id)


class Client:
    """A Socket.IO client that keeps every event and waits for conditions."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.events: list[tuple[str, Any]] = []
        self._arrived = asyncio.Event()
        self.session = aiohttp.ClientSession()
        self.sio = socketio.AsyncClient(http_session=self.session, reconnection=False)
        self.sio.on("*", self._received)

    async def _received(self, event: str, *payload: Any) -> None:
        self.events.append((event, payload[0] if payload else None))
        self._arrived.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._arrived.clear()
            await self._arrived.wait()

    async def next(self, event: str) -> Any:
        """The payload of the first such event, when it has come; it is taken out."""
        await self.until(lambda: any(name == event for name, _ in self.events))
        for index, (name, payload) in enumerate(self.events):
            if name == event:
                del self.events[index]
                return payload
        raise AssertionError

    async def open(self, **kwargs: Any) -> None:
        await self.sio.connect(self.url, transports=["websocket"], **kwargs)

    async def close(self) -> None:
        await self.sio.disconnect()
        await self.session.close()


class Served:
    """The events on a real port, with a chat that records."""

    def __init__(self, url: str, room: Room, chat: RecordingChat, history: History):
        self.url = url
        self.room = room
        self.chat = chat
        self.history = history
        self.clients: list[Client] = []
        self._left = asyncio.Event()
        room.sio.on("disconnect", self._disconnected)

    async def _disconnected(self, *_: object) -> None:
        self._left.set()

    async def client(self) -> Client:
        client = Client(self.url)
        self.clients.append(client)
        await client.open()
        return client

    async def close(self) -> None:
        """Close all clients, and wait until the server has noticed."""
        for client in self.clients:
            if client.sio.connected:
                self._left.clear()
                await client.close()
                await self._left.wait()
            await client.session.close()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    history = await History.open(f"sqlite:///{tmp_path / 'history.db'}")
    room, chat = Room(), RecordingChat()
    tasks = Tasks(history, room.emit)
    SocketEvents(room, chat=chat, tasks=tasks, history=history)
    app = web.Application()
    room.attach(app)
    server = TestServer(app)
    await server.start_server()
    made = Served(str(server.make_url("")), room, chat, history)
    yield made
    await made.close()
    await room.close()
    await server.close()
    await history.close()


@pytest.fixture
async def task_id(served: Served) -> str:
    return await served.history.create_task("t")


async def test_a_connection_is_told_who_it_is(served: Served) -> None:
    client = await served.client()
    info = await client.next("connection-info")
    assert set(info) == {"connectionId", "reconnectCount", "timestamp"}
    assert info["connectionId"] == client.sio.get_sid()


async def test_only_those_who_joined_get_a_tasks_events(
    served: Served, task_id: str
) -> None:
    inside, outside, left = [await served.client() for _ in range(3)]
    await inside.sio.call("join-task", {"taskId": task_id})
    await left.sio.call("join-task", {"taskId": task_id})
    await left.sio.call("leave-task", {"taskId": task_id})
    await served.room.emit(task_id, "stream-chunk", {"type": "content", "content": "x"})
    await served.room.emit(task_id, "stream-complete", None)
    chunk = await inside.next("stream-chunk")
    assert chunk == {"type": "content", "content": "x"}
    assert await inside.next("stream-complete") is None
    for other in (outside, left):
        await other.sio.call("join-task", {"taskId": "none"})  # a round trip later
        assert "stream-chunk" not in [name for name, _ in other.events]


async def test_who_joins_is_told_how_the_task_is(served: Served, task_id: str) -> None:
    """What was told while a client was away is not told again."""
    first, second = [await served.client() for _ in range(2)]
    await first.sio.call("join-task", {"taskId": task_id})
    told = await first.next("task-status-updated")
    assert (told["taskId"], told["status"]) == (task_id, "INITIALIZING")
    await served.history.set_task_status(task_id, "FAILED", "no credit")
    await second.sio.call("join-task", {"taskId": task_id})
    told = await second.next("task-status-updated")
    assert (told["status"], told["errorMessage"]) == ("FAILED", "no credit")
    await first.sio.call("join-task", {"taskId": "none"})  # a round trip later
    assert "task-status-updated" not in [name for name, _ in first.events]


async def test_a_client_that_is_away_misses_what_is_sent_meanwhile(
    served: Served, task_id: str
) -> None:
    """The loss that the migration cures: no chunk is kept for anybody."""
    client = await served.client()
    await client.sio.call("join-task", {"taskId": task_id})
    await served.room.emit(task_id, "stream-chunk", {"content": "seen "})
    await client.next("stream-chunk")
    await client.close()
    await served.room.emit(task_id, "stream-chunk", {"content": "lost "})
    back = await served.client()
    await back.sio.call("join-task", {"taskId": task_id})
    await served.room.emit(task_id, "stream-chunk", {"content": "seen again"})
    assert (await back.next("stream-chunk"))["content"] == "seen again"


async def test_a_message_is_handed_on_with_what_it_names(
    served: Served, task_id: str
) -> None:
    client = await served.client()
    named = {
        "taskId": task_id,
        "message": "hello",
        "llmModel": "m",
        "clientMessageId": "c1",
        "queue": False,
    }
    await client.sio.call("user-message", named)
    await client.sio.call("user-message", {"taskId": task_id, "message": "again"})
    policy = {"taskId": task_id, "message": "third", "whenActive": "interrupt"}
    await client.sio.call("user-message", policy)
    first, second, third = served.chat.submitted
    assert first == UserMessage(task_id, "hello", "m", "c1")
    assert (third.text, third.when_active) == ("third", "interrupt")
    assert (second.text, second.model) == ("again", DEFAULT_MODEL)
    assert second.client_message_id


async def test_a_message_is_acknowledged_when_it_is_accepted(
    served: Served, task_id: str
) -> None:
    client = await served.client()
    served.chat.accepts = False
    message = {"taskId": task_id, "message": "hi"}
    calling = asyncio.create_task(client.sio.call("user-message", message))
    while not served.chat.submitted:  # noqa: ASYNC110 - a fake tells nobody
        await asyncio.sleep(0)
    other = await served.client()
    await other.sio.call("join-task", {"taskId": task_id})  # a round trip later
    assert not calling.done()
    served.chat.run.accepted.set()
    await calling


async def test_events_of_one_client_are_dealt_with_in_their_order(
    served: Served, task_id: str
) -> None:
    client = await served.client()
    for number in range(20):
        message = {"taskId": task_id, "message": str(number)}
        await client.sio.emit("user-message", message)
    await client.sio.call("leave-task", {"taskId": task_id})
    texts = [message.text for message in served.chat.submitted]
    assert texts == [str(number) for number in range(20)]


async def test_history_comes_from_sql_in_the_guides_shape(
    served: Served, task_id: str
) -> None:
    await served.history.add_message(task_id, "user", "hello", llm_model="m")
    client = await served.client()
    await client.sio.emit("get-chat-history", {"taskId": task_id, "complete": False})
    history = await client.next("chat-history")
    assert history["taskId"] == task_id
    assert history["queuedAction"] is None
    assert history["messages"] == await served.history.messages(task_id)


async def test_a_stop_is_handed_on(served: Served, task_id: str) -> None:
    client = await served.client()
    await client.sio.call("stop-stream", {"taskId": task_id})
    await client.sio.call("leave-task", {"taskId": task_id})
    assert served.chat.stopped == [task_id]


async def test_a_stop_that_fails_is_told(served: Served, task_id: str) -> None:
    served.chat.refusal = DeploymentError("Convex did not answer")
    client = await served.client()
    await client.sio.emit("stop-stream", {"taskId": task_id})
    error = await client.next("message-error")
    assert error == {"error": "stop-stream: Convex did not answer"}


EVENTS = ["join-task", "leave-task", "user-message", "stop-stream", "get-chat-history"]
NO_DATA = object()


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(NO_DATA, id="no data"),
        None,
        "text",
        7,
        [],
        {},
        {"taskId": 7},
        {"taskId": None},
        {"taskId": ""},
        {"taskId": "x" * 129},
        {"taskId": "a b"},
        {"taskId": "\ud800"},
        {"taskId": {"$ne": 1}},
        {"taskId": b"bytes"},
        {"taskId": "no-such-task", "message": "x"},
    ],
    ids=lambda payload: repr(payload)[:40],
)
async def test_a_payload_that_cannot_be_used_is_refused_with_the_reason(
    served: Served, event: str, payload: Any
) -> None:
    client = await served.client()
    if payload is NO_DATA:
        await client.sio.emit(event)
    else:
        await client.sio.emit(event, payload)
    errors = "chat-history-error" if event == "get-chat-history" else "message-error"
    error = await client.next(errors)
    assert error["error"].startswith(f"{event}: ")
    assert len(error["error"]) > len(event) + 10
    assert served.chat.submitted == []


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"message": 7},
        {"message": ""},
        {"message": " \n"},
        {"message": "x" * 200_001},
        {"message": "x", "llmModel": 7},
        {"message": "x", "llmModel": ""},
        {"message": "x", "clientMessageId": ["c"]},
        {"message": "x", "clientMessageId": "c" * 129},
        {"message": "x", "whenActive": "wait"},
    ],
    ids=lambda fields: repr(fields)[:40],
)
async def test_a_message_that_cannot_be_used_is_refused(
    served: Served, task_id: str, fields: dict[str, Any]
) -> None:
    client = await served.client()
    await client.sio.emit("user-message", {"taskId": task_id, **fields})
    error = await client.next("message-error")
    assert error["error"].startswith("user-message: ")
    assert served.chat.submitted == []


async def test_a_very_long_message_in_any_script_arrives(
    served: Served, task_id: str
) -> None:
    text = "é" * 200_000
    client = await served.client()
    await client.sio.call("user-message", {"taskId": task_id, "message": text})
    assert served.chat.submitted[0].text == text


async def test_text_that_is_not_unicode_is_repaired(
    served: Served, task_id: str
) -> None:
    client = await served.client()
    await client.sio.call("user-message", {"taskId": task_id, "message": "a\ud800b"})
    assert served.chat.submitted[0].text == "a\N{REPLACEMENT CHARACTER}b"


async def test_what_the_chat_refuses_is_told_to_who_asked(
    served: Served, task_id: str
) -> None:
    served.chat.refusal = KitError("wait for the last one")
    asking, other = await served.client(), await served.client()
    await other.sio.call("join-task", {"taskId": task_id})
    await asking.sio.emit("user-message", {"taskId": task_id, "message": "x"})
    error = await asking.next("message-error")
    assert error == {"error": "user-message: wait for the last one"}
    assert "message-error" not in [name for name, _ in other.events]


async def test_an_unforeseen_failure_is_told_without_its_insides(
    served: Served, task_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    served.chat.refusal = RuntimeError("insides")
    client = await served.client()
    await client.sio.emit("user-message", {"taskId": task_id, "message": "x"})
    error = await client.next("message-error")
    assert "insides" not in error["error"]
    assert "insides" in caplog.text


HOSTILE = [
    "42[1]",
    "42[]",
    "42{}",
    '42[{"a":1}]',
    '42["join-task"',
    '42["connect",{}]',
    '42["disconnect"]',
    "42",
    "4",
    "9",
    "",
    '451-["x",{"_placeholder":true,"num":0}]',
    "449999999999999999-[]",
    "43[]",
    "40{",
    "4" * 100_000,
    "x" * 4_100_000,
    b"\x00\xff",
]


@pytest.mark.parametrize("frame", HOSTILE, ids=lambda frame: repr(frame)[:30])
async def test_a_frame_that_breaks_the_protocol_harms_nobody_else(
    served: Served, task_id: str, frame: str | bytes
) -> None:
    client = await served.client()
    url = f"{served.url}/socket.io/?EIO=4&transport=websocket"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as hostile:
        await hostile.receive_str()
        await hostile.send_str("40")
        await hostile.receive_str()
        with suppress(ConnectionError):  # one that is too long is cut off
            if isinstance(frame, bytes):
                await hostile.send_bytes(frame)
            else:
                await hostile.send_str(frame)
        await client.sio.call("join-task", {"taskId": task_id})
    await served.room.emit(task_id, "stream-complete", None)
    await client.next("stream-complete")
