"""How the SQL history's database is reached: its URL, its driver, its settings.

SQLite files and PostgreSQL. No message here ever shows a password.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from kit.errors import ConfigError

__all__ = ["open_engine", "parse_url", "touch_file"]

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
}

# Seconds until a database host that does not answer counts as unreachable.
_CONNECT_TIMEOUT = 5


def parse_url(url: str) -> URL:
    """The URL with its driver. Raises ConfigError, which says what to write."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The text is not repeated: it may hold a password.
        raise ConfigError(
            "The SQL history's URL cannot be read. Write sqlite+aiosqlite:///<file> "
            "or postgresql+psycopg://<user>:<password>@<host>:<port>/<database>."
        ) from None
    driver = _DRIVERS.get(parsed.drivername, parsed.drivername)
    if driver not in _DRIVERS.values():
        raise ConfigError(
            f"The SQL history cannot use {parsed.drivername}. Write "
            "sqlite+aiosqlite:///<file> or postgresql+psycopg://..."
        )
    return parsed.set(drivername=driver)


def touch_file(url: URL, *, create: bool) -> None:
    """Raise OSError if the SQLite file cannot be opened, or created if it may be.

    aiosqlite would find out, too, but leaves a thread behind then, which may outlive
    the event loop that it reports to.
    """
    if url.get_backend_name() == "sqlite" and url.database not in (
        None,
        "",
        ":memory:",
    ):
        with open(url.database, "ab" if create else "rb+"):
            pass


def open_engine(url: URL) -> AsyncEngine:
    """Connects when it is used. Raises ConfigError if the driver is not installed."""
    postgres = url.get_backend_name() == "postgresql"
    try:
        engine = create_async_engine(
            url,
            hide_parameters=True,  # or a user's text would stand in error messages
            pool_pre_ping=True,
            connect_args={"connect_timeout": _CONNECT_TIMEOUT} if postgres else {},
        )
    except ImportError:
        raise ConfigError(
            "PostgreSQL needs its driver. "
            "Install it: pip install 'convex-streaming-kit[postgres]'"
        ) from None
    if not postgres:
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:
    """Readers do not wait for the writer; a message belongs to a task that exists."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
