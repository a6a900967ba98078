"""A client of the sync protocol that shows every message, for tests."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

ZERO = {"querySet": 0, "identity": 0, "ts": "AAAAAAAAAAA="}
TIMEOUT = 10.0  # s


class SyncClient:
    """A WebSocket on which messages are sent and awaited by hand."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.session_id = str(uuid.uuid4())
        self._query_set = 0
        self._identity = 0

    async def send(self, message: dict[str, Any] | str) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        await self.socket.send_str(text)

    async def connect(self, **more: Any) -> None:
        await self.send({"type": "Connect", "sessionId": self.session_id, **more})

    async def modify(self, *modifications: dict[str, Any]) -> None:
        await self.send(
            {
                "type": "ModifyQuerySet",
                "baseVersion": self._query_set,
                "newVersion": self._query_set + 1,
                "modifications": list(modifications),
            }
        )
        self._query_set += 1

    async def authenticate(self, token: str | None, **more: Any) -> None:
        """Become a user, or nobody; `tokenType="Admin"` with the key: an admin."""
        await self.send(
            {
                "type": "Authenticate",
                "baseVersion": self._identity,
                "tokenType": "None" if token is None else "User",
                "value": token,
                **more,
            }
        )
        self._identity += 1

    async def subscribe(
        self, query_id: int, path: str, args: dict[str, Any] | None = None
    ) -> None:
        await self.modify(added(query_id, path, args))

    async def mutation(
        self, request_id: int, path: str, args: dict[str, Any] | None = None
    ) -> None:
        await self.send(request("Mutation", request_id, path, args))

    async def action(
        self, request_id: int, path: str, args: dict[str, Any] | None = None
    ) -> None:
        await self.send(request("Action", request_id, path, args))

    async def receive(self, timeout: float = TIMEOUT) -> dict[str, Any]:
        """The next message."""
        message = await self.socket.receive(timeout)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        found: dict[str, Any] = json.loads(message.data)
        return found

    async def transition(self) -> dict[str, Any]:
        """The next message, which must be a Transition."""
        found = await self.receive()
        assert found["type"] == "Transition", found
        return found

    async def values(self) -> dict[int, Any]:
        """The values by query id in the next message, which must be a Transition."""
        return {
            change["queryId"]: change["value"]
            for change in (await self.transition())["modifications"]
        }

    async def closed(self, timeout: float = TIMEOUT) -> tuple[int | None, str]:
        """Close code and reason, once the server closes; None for no code."""
        message = await self.socket.receive(timeout)
        assert message.type is aiohttp.WSMsgType.CLOSE, message
        return message.data or None, message.extra or ""


def added(
    query_id: int, path: str, args: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "type": "Add",
        "queryId": query_id,
        "udfPath": path,
        "args": [args or {}],
        "journal": None,
    }


def removed(query_id: int) -> dict[str, Any]:
    return {"type": "Remove", "queryId": query_id}


def request(
    kind: str, request_id: int, path: str, args: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "type": kind,
        "requestId": request_id,
        "udfPath": path,
        "args": [args or {}],
    }


@asynccontextmanager
async def sync_client(
    url: str, *, path: str = "/api/sync", **options: Any
) -> AsyncIterator[SyncClient]:
    """A client that is connected, but has said nothing yet."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            url + path, max_msg_size=0, **{"autoping": True, **options}
        ) as socket,
    ):
        try:
            yield SyncClient(socket)
        finally:
            if not socket.closed:
                async with asyncio.timeout(TIMEOUT):
                    await socket.close()
