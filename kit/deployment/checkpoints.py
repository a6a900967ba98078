"""Checkpoints: what was committed moves from SQLite's log into the file, now and then.

A checkpoint waits for the disk, some milliseconds at least. So it has a thread of its
own, with a connection of its own: commits go on meanwhile.
"""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import sys
import threading
from pathlib import Path

__all__ = ["Checkpoints"]


class Checkpoints:
    """Those of one file in WAL mode, which stays open as long as this."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._due = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None

    def begin_one(self) -> None:
        """Have a checkpoint made soon, of what is committed by then."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="checkpoints", daemon=True
            )
            self._thread.start()
        self._due.set()

    def close(self) -> None:
        """Wait for the one that is being made, and make no more."""
        self._closing = True
        self._due.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        if sys.platform != "win32":
            # They are for the main thread; one could break off a wait for the disk.
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        # After an error, such as a full disk, whoever commits makes the checkpoints,
        # and tells what is wrong.
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(
                sqlite3.connect(self._path, timeout=0, isolation_level=None)
            ) as connection,
        ):
            while self._due.wait() and not self._closing:
                self._due.clear()
                # Passive: it waits for nobody, and nobody for it.
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
