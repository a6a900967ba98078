"""How each of the kit's servers listens, announces itself and stops.

The embedded deployment, the scripted provider and the application server are
processes of their own. Each binds 127.0.0.1 only, prints one JSON line
`{"url": ..., "pid": ...}` on stdout once it accepts connections, logs to stderr,
and ends cleanly on SIGTERM or SIGINT. With `KIT_STOP_WITH_PARENT=1` it also ends when
its stdin is closed: a notebook kernel that was killed leaves no server behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import json
import logging
import os
import re
import signal
import sys
import threading

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage

from kit.errors import ConfigError

__all__ = [
    "HOST",
    "STOP_WITH_PARENT",
    "finish_accepting",
    "is_loopback",
    "keep_loaded",
    "log_to_stderr",
    "serve",
]

HOST = "127.0.0.1"
STOP_WITH_PARENT = "KIT_STOP_WITH_PARENT"

# Nothing else may stand in a Host or an Origin, also no `evil.example@localhost`.
_LOOPBACK = re.compile(
    r"(?:[a-z][a-z0-9+.-]*:)?//(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?",
    re.IGNORECASE,
)


def is_loopback(url: str) -> bool:
    """Whether an Origin header, or `//` and a Host header, means this machine."""
    return _LOOPBACK.fullmatch(url) is not None


def log_to_stderr(level: str = "INFO") -> None:
    """Send the kit's log to stderr; SDK loggers stay at WARNING (they log prompts)."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("kit").setLevel(level.upper())
    logging.getLogger("aiohttp.server").addFilter(_is_our_error)


def _is_our_error(record: logging.LogRecord) -> bool:
    """Not what is no HTTP: aiohttp logs it as an error, and quotes the faulty line,
    which may hold a key. The client is answered 400."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, BadHttpMessage)


def keep_loaded() -> None:
    """Have the garbage collector pass over what there is by now.

    For a process of its own that has just loaded modules. A full collection looks at
    all of them, for 20 to 100 ms, and meanwhile nobody is answered.
    """
    gc.freeze()


async def finish_accepting() -> None:
    """To be called before a server of asyncio's is closed in a loop that goes on.

    asyncio accepts a connection in one turn of the loop and makes its transport in the
    next. If the server is closed in between, nobody closes the connection (Python 3.11:
    the assertion in `asyncio.Server._attach` fails, in a task that nobody waits for).
    """
    for _ in range(3):
        await asyncio.sleep(0)


async def serve(app: web.Application, *, port: int) -> None:
    """Serve `app` on 127.0.0.1 until SIGTERM or SIGINT; `port` 0 takes a free one.

    Raises ConfigError when the port cannot be had.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopping.set)
    if os.environ.get(STOP_WITH_PARENT) == "1":
        _watch_stdin(loop, stopping)

    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(_cannot_listen(port, error)) from None
        bound = runner.addresses[0][1]
        announcement = {"url": f"http://{HOST}:{bound}", "pid": os.getpid()}
        sys.stdout.write(json.dumps(announcement) + "\n")
        sys.stdout.flush()
        keep_loaded()
        await stopping.wait()
    finally:
        await runner.cleanup()


def _watch_stdin(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    """Set `stopping` at the end of stdin, which comes when the parent has gone."""

    def wait_for_end() -> None:
        # Not sys.stdin: its lock, held here, would abort the interpreter's end.
        while os.read(0, 4096):
            pass
        with contextlib.suppress(RuntimeError):  # the loop has closed by itself
            loop.call_soon_threadsafe(stopping.set)

    threading.Thread(target=wait_for_end, name="stdin-watch", daemon=True).start()


def _cannot_listen(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {HOST} is already in use. "
            "Stop the process that holds it, or use --port 0 to take a free one."
        )
    if error.errno == errno.EACCES:
        return f"Port {port} on {HOST} needs more rights. Choose one above 1023."
    return f"Cannot listen on {HOST}:{port}: {error.strerror or error}."
