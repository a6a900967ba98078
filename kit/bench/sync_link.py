"""What the hooks need of a `Deployment`, over one WebSocket in this process.

The official client costs a process, which is right for one viewer and wrong for a
hundred on one machine, where a hundred browsers would be elsewhere. This speaks the
same protocol for as long as its socket lives; it does not reconnect.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Mapping
from typing import Any, cast

import aiohttp
import msgspec

from kit.client import Deployment
from kit.client.background import cancel, spawn
from kit.client.calls import Calls
from kit.client.subscription import Failed, Slot, Subscription, Succeeded
from kit.errors import DeploymentUnreachable, FunctionError
from kit.protocol import (
    Add,
    Connect,
    ModifyQuerySet,
    Mutation,
    MutationResponse,
    QueryFailed,
    QueryUpdated,
    Remove,
    ServerMessage,
    Transition,
)
from kit.values import from_json, to_json

__all__ = ["SyncLink"]

QUERY_TIMEOUT = 30.0

_messages = msgspec.json.Decoder(ServerMessage)


class SyncLink:
    """One connection to a deployment; `open` and `close` bracket its life."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.state = "connecting"
        self._calls = Calls(url)
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._reading: asyncio.Task[None] | None = None
        self._slots: dict[int, Slot] = {}
        self._mutations: dict[int, asyncio.Future[Any]] = {}
        self._next_id = 0
        self._version = 0
        self._unsent: list[msgspec.Struct] = []

    def as_deployment(self) -> Deployment:
        """For the hooks: of a Deployment they use what this has, and nothing else."""
        return cast(Deployment, self)

    async def open(self) -> None:
        """Raises DeploymentUnreachable."""
        self._session = aiohttp.ClientSession()
        try:
            self._socket = await self._session.ws_connect(
                f"{self.url}/api/sync", max_msg_size=0, compress=0
            )
        except BaseException as error:
            await self._session.close()
            if isinstance(error, aiohttp.ClientError):
                raise DeploymentUnreachable(self.url, str(error)) from None
            raise
        self._send(Connect(session_id=uuid.uuid4()))
        self.state = "connected"
        self._reading = spawn(self._read(self._socket), "bench: sync link")

    async def close(self) -> None:
        self.state = "closed"
        for slot in self._slots.values():
            slot.close()
        if self._reading is not None:
            await cancel(self._reading)
        if self._socket is not None:
            await self._socket.close()
        if self._session is not None:
            await self._session.close()
        await self._calls.close()

    # --- as `Deployment` has it -----------------------------------------------------

    def observe(self, callback: Callable[[Any], None]) -> Callable[[], None]:
        return lambda: None

    async def until_connected(self, *, timeout: float | None = None) -> None:
        if self.state != "connected":
            raise DeploymentUnreachable(self.url, "the connection has ended")

    async def query(self, path: str, args: Mapping[str, Any]) -> Any:
        encoded = to_json(dict(args))
        return await self._calls.call("query", path, encoded, QUERY_TIMEOUT)

    def subscribe(self, path: str, args: Mapping[str, Any]) -> Subscription:
        slot = Slot(self._take_id(), path, to_json(dict(args)))
        self._slots[slot.id] = slot
        self._modify(Add(slot.id, path, msgspec.Raw(msgspec.json.encode([slot.args]))))

        def release() -> None:
            slot.close()
            if self._slots.pop(slot.id, None) is not None:
                self._modify(Remove(slot.id))

        return Subscription(slot, self._attach, release)

    async def mutation(self, path: str, args: Mapping[str, Any]) -> Any:
        """Over the socket. Raises FunctionError."""
        request_id = self._take_id()
        answer = asyncio.get_running_loop().create_future()
        self._mutations[request_id] = answer
        encoded = msgspec.json.encode([to_json(dict(args))])
        self._send(Mutation(request_id, path, msgspec.Raw(encoded)))
        response: MutationResponse = await answer
        value = msgspec.json.decode(response.result)
        if not response.success:
            raise FunctionError(path, str(value))
        return from_json(value)

    # --- the socket -----------------------------------------------------------------

    async def _attach(self) -> None:
        await self.until_connected()

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def _modify(self, change: Add | Remove) -> None:
        if self.state == "connected":
            self._version += 1
            self._send(ModifyQuerySet(self._version - 1, self._version, [change]))

    def _send(self, message: msgspec.Struct) -> None:
        """In the order of the calls; written when this turn of the loop is over."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(message)

    def _flush(self) -> None:
        spawn(self._write_unsent(), "bench: sync link sends")

    async def _write_unsent(self) -> None:
        messages, self._unsent = self._unsent, []
        assert self._socket is not None
        with contextlib.suppress(ConnectionError):
            for message in messages:
                await self._socket.send_str(msgspec.json.encode(message).decode())

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                self._take(_messages.decode(message.data))
        if self.state == "connected":
            self.state = "reconnecting"

    def _take(self, message: ServerMessage) -> None:
        match message:
            case Transition():
                for change in message.modifications:
                    self._take_change(change)
            case MutationResponse():
                answer = self._mutations.pop(message.request_id)
                if not answer.done():
                    answer.set_result(message)
            case _:
                pass

    def _take_change(self, change: Any) -> None:
        slot = self._slots.get(change.query_id)
        if slot is None:
            return
        match change:
            case QueryUpdated():
                slot.put(Succeeded(bytes(change.value)))
            case QueryFailed():
                slot.put(Failed(FunctionError(slot.path, change.error_message)))
