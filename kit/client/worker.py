"""The process that owns the official Convex client, and with it all subscriptions.

Every waiting call of the official client holds the interpreter lock: in a kernel it
would freeze every cell and widget. So it lives here, in a process of its own, which
`kit.client.link` starts and talks to in JSON lines:

```text
stdin   {"id": 1, "path": "messages:byTask", "args": {…}}    subscribe
        {"id": 1}                                             unsubscribe
        {"show": "user", "secret": "…"}            act as a user, "admin" or "nobody"
stdout  {"id": 1, "value": …}                                 a new value
        {"id": 1, "error": "…", "data": …}                    the query failed
        {"id": 1, "refused": "…"}                             not a function path
```

`args`, `value` and `data` are Convex-encoded; `data` is there only for a ConvexError.
A reader that is slow, or stopped, gets the newest value of each subscription when it
reads again; what lay between is dropped.

The process ends with its stdin, so it never outlives the kernel. It also ends itself
when the client has held the interpreter lock for too long, as it does while a
deployment accepts connections and says nothing, and when nothing at all has come over
the client's connection for too long: the client itself waits for 30 to 35 s before it
takes that for what it is, a connection that is dead and does not say so.

Run by its path, not as `-m kit.client.worker`: it imports nothing of the kit, to start
fast. It knows nothing of values' meaning, of messages or of streams.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import re
import socket
import struct
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import convex

__all__: list[str] = []

LINE_LIMIT = 128 * 1024 * 1024
FROZEN_AFTER = 6.0
REARM_INTERVAL = 2.0
# Convex pings its clients every 5 s, and sends a message every 15 s.
SILENT_AFTER = 17.0
CLIENT_BROKEN = 3

# In `struct tcp_info`: eight bytes, the state first, then numbers of four bytes.
_ESTABLISHED = 1
_LAST_DATA_RECEIVED = 8 + 4 * 11

_REQUEST_ID = re.compile(r"^\[Request ID: [^\]]*\] ")


class Worker:
    """Subscriptions by id, and the newest outcome of each that is still to be sent."""

    def __init__(self, client: convex.ConvexClient) -> None:
        self._client = client
        self._readers: dict[int, asyncio.Task[None]] = {}
        self._unsent: dict[int, dict[str, Any]] = {}
        self._something_to_send = asyncio.Event()

    def obey(self, command: dict[str, Any]) -> None:
        """Subscribe, unsubscribe, or become somebody else."""
        if "show" in command:
            self._show(command["show"], command["secret"])
            return
        subscription_id: int = command["id"]
        if "path" in command:
            reading = self._read(subscription_id, command["path"], command["args"])
            self._readers[subscription_id] = asyncio.create_task(reading)
            return
        reader = self._readers.pop(subscription_id, None)
        if reader is not None:
            reader.cancel()  # the client then drops the subscription
        self._unsent.pop(subscription_id, None)

    def _show(self, kind: str, secret: str) -> None:
        if kind == "user":
            self._client.set_auth(secret)
        elif kind == "admin":
            self._client.set_admin_auth(secret)
        else:
            self._client.clear_auth()

    async def _read(self, subscription_id: int, path: str, args: Any) -> None:
        try:
            decoded: Any = convex.json_to_convex(args)
            subscription = self._client.subscribe(path, decoded)
        except Exception as error:
            _exit_if_broken(error)
            self._put(subscription_id, {"refused": str(error)})
            return
        last_seen = None
        while True:
            outcome: dict[str, Any]
            try:
                value = await anext(subscription)
                # The client yields after every transition, changed or not. `repr`
                # tells True from 1.0 and 0.0 from -0.0, which `==` does not.
                seen = repr(value)
                outcome = {"value": value}
            except convex.ConvexError as error:
                seen = f"error {_REQUEST_ID.sub('', str(error))} {error.data!r}"
                outcome = {"error": str(error), "data": error.data}
            except Exception as error:
                _exit_if_broken(error)
                seen = f"error {_REQUEST_ID.sub('', str(error))}"
                outcome = {"error": str(error)}
            if seen != last_seen:
                last_seen = seen
                self._put(subscription_id, outcome)

    def _put(self, subscription_id: int, outcome: dict[str, Any]) -> None:
        self._unsent[subscription_id] = outcome
        self._something_to_send.set()

    async def send_outcomes(self, output: asyncio.StreamWriter) -> None:
        """Write outcomes as fast as they are read at the other end."""
        while True:
            await self._something_to_send.wait()
            self._something_to_send.clear()
            while self._unsent:
                subscription_id = next(iter(self._unsent))
                outcome = self._unsent.pop(subscription_id)
                output.write(_line(subscription_id, outcome))
                await output.drain()


def _line(subscription_id: int, outcome: dict[str, Any]) -> bytes:
    message: dict[str, Any] = {"id": subscription_id}
    for name, content in outcome.items():
        encoded = name in ("value", "data")
        message[name] = convex.convex_to_json(content) if encoded else content
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    return text.encode() + b"\n"


def _exit_if_broken(error: Exception) -> None:
    """End the process if the client's own machinery has ended: it never recovers."""
    if str(error).strip() == "channel closed":
        sys.stderr.write(f"The client has lost its connection for good: {error}\n")
        sys.stderr.flush()
        os._exit(CLIENT_BROKEN)


async def _stay_alive() -> None:
    """Put off the end that a frozen process comes to; needs no interpreter lock."""
    while True:
        faulthandler.dump_traceback_later(FROZEN_AFTER, exit=True)
        await asyncio.sleep(REARM_INTERVAL)


async def _notice_silence() -> None:
    """End the process when its connection is half open: a new one finds out more."""
    while True:
        await asyncio.sleep(REARM_INTERVAL)
        silences = list(_silences())
        if silences and min(silences) > SILENT_AFTER:
            sys.stderr.write(f"Nothing has come for {SILENT_AFTER:g} s.\n")
            sys.stderr.flush()
            os._exit(CLIENT_BROKEN)


def _silences() -> Iterator[float]:
    """Seconds since something last came, for each TCP connection of this process.

    The client does not tell; Linux does (`struct tcp_info` in linux/tcp.h).
    """
    if sys.platform != "linux":
        return
    for name in os.listdir("/proc/self/fd"):
        try:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(name))) as connection:
                if connection.family not in (socket.AF_INET, socket.AF_INET6):
                    continue
                info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        except OSError:  # closed meanwhile, or not TCP
            continue
        if info[0] == _ESTABLISHED:
            yield struct.unpack_from("=I", info, _LAST_DATA_RECEIVED)[0] / 1000


async def _run(url: str, output_fd: int) -> None:
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader(limit=LINE_LIMIT)
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(output_fd, "wb")
    )
    output = asyncio.StreamWriter(transport, protocol, None, loop)
    worker = Worker(convex.ConvexClient(url))
    background = [
        asyncio.create_task(_stay_alive()),
        asyncio.create_task(_notice_silence()),
        asyncio.create_task(worker.send_outcomes(output)),
    ]
    while line := await commands.readline():
        worker.obey(json.loads(line))
    for task in background:
        task.cancel()


def main() -> None:
    """Serve subscriptions of the deployment at `argv[1]` until stdin ends."""
    # The client prints the functions' log lines on file descriptor 1.
    output_fd = os.dup(1)
    os.dup2(2, 1)
    status = 0
    try:
        asyncio.run(_run(sys.argv[1], output_fd))
    except Exception:
        traceback.print_exc()
        status = 1
    sys.stderr.flush()
    os._exit(status)  # the client's threads would hold up an orderly end


if __name__ == "__main__":
    main()
