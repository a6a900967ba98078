"""What the machine allows: a WebSocket's echo, and one SQLite commit."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import aiohttp

from kit.bench.seen import Latency
from kit.deployment.sqlite_file import SqliteFile
from kit.stack import ServerProcess

__all__ = ["commits", "echoes"]


async def echoes(folder: Path, count: int) -> Latency:
    """Round trips of a small message to another process and back."""
    server = ServerProcess(
        "echo server", ["kit.bench.echo_server"], log=folder / "echo.log", env={}
    )
    times = []
    await server.start()
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(server.url) as socket,
        ):
            for _ in range(count):
                started = time.perf_counter()
                await socket.send_str("a token")
                await socket.receive()
                times.append(time.perf_counter() - started)
    finally:
        await server.stop()
    found = Latency.of(times)
    assert found is not None
    return found


def commits(count: int) -> Latency:
    """Commits of one small row each, as the embedded deployment makes them."""
    times = []
    with tempfile.TemporaryDirectory(prefix="kit-bench-") as folder:
        sqlite = SqliteFile(Path(folder) / "commits.sqlite3")
        try:
            sqlite.use_log()
            sqlite.execute("CREATE TABLE rows (text TEXT NOT NULL)")
            for _ in range(count):
                started = time.perf_counter()
                sqlite.begin()
                sqlite.insert("INSERT INTO rows VALUES (?)", "a token")
                sqlite.commit()
                times.append(time.perf_counter() - started)
        finally:
            sqlite.close()
    found = Latency.of(times)
    assert found is not None
    return found
