"""What one transaction may read, write and schedule, with Convex's numbers and texts.

Counts; what is counted is up to `transaction`. Source: Convex's
`common/src/knobs.rs` and `database/src/reads.rs`.
"""

from __future__ import annotations

from kit.deployment.failures import UsageError
from kit.values import Value, format_bytes, size_of

__all__ = [
    "MAX_BYTES_READ",
    "MAX_DOCUMENTS_READ",
    "ReadLimitReached",
    "Usage",
    "bytes_in",
]

MAX_DOCUMENTS_READ = 32_000
MAX_BYTES_READ = 16 * 1024 * 1024
MAX_INTERVALS_READ = 4096
MAX_DOCUMENTS_WRITTEN = 16_000
MAX_BYTES_WRITTEN = 16 * 1024 * 1024
MAX_SCHEDULED = 1000
MAX_BYTES_SCHEDULED = 16 * 1024 * 1024

_READ_LESS = (
    "Consider using smaller limits in your queries, paginating your queries, or using "
    "indexed queries with a selective index range expressions."
)


class ReadLimitReached(UsageError):
    """Too much was read. A page of a paginated query ends here instead of failing."""


class Usage:
    """How much a transaction has used; every method raises UsageError above a limit."""

    def __init__(self) -> None:
        self._limited = True
        self._documents_read = self._bytes_read = 0
        self._documents_written = self._bytes_written = 0
        self._scheduled = self._bytes_scheduled = 0

    def lift(self) -> None:
        """Count no further."""
        self._limited = False

    def read(self, text: str) -> None:
        """A document with this text was read."""
        if not self._limited:
            return
        self._documents_read += 1
        self._bytes_read += bytes_in(text)
        if self._documents_read > MAX_DOCUMENTS_READ:
            raise ReadLimitReached(
                "Too many documents read in a single function execution "
                f"(limit: {MAX_DOCUMENTS_READ}). {_READ_LESS}"
            )
        if self._bytes_read > MAX_BYTES_READ:
            raise ReadLimitReached(
                "Too many bytes read in a single function execution "
                f"(limit: {MAX_BYTES_READ} bytes). {_READ_LESS}"
            )

    def intervals_read(self, count: int) -> None:
        """So many intervals have been read until now."""
        if count > MAX_INTERVALS_READ and self._limited:
            raise ReadLimitReached(
                "Too many reads in a single function execution "
                f"(limit: {MAX_INTERVALS_READ}). {_READ_LESS}"
            )

    def write(self, text: str) -> None:
        """A document is written with this text; none when it is deleted."""
        if not self._limited:
            return
        self._documents_written += 1
        self._bytes_written += bytes_in(text)
        if self._documents_written > MAX_DOCUMENTS_WRITTEN:
            raise UsageError(
                "Too many writes in a single function execution "
                f"(limit: {MAX_DOCUMENTS_WRITTEN})"
            )
        if self._bytes_written > MAX_BYTES_WRITTEN:
            raise UsageError(
                "Too many bytes written in a single function execution "
                f"(limit: {format_bytes(MAX_BYTES_WRITTEN)})"
            )

    def schedule(self, args: Value) -> None:
        """A function is scheduled with these arguments."""
        self._scheduled += 1
        self._bytes_scheduled += size_of(args)
        if self._scheduled > MAX_SCHEDULED:
            raise UsageError(
                "Too many functions scheduled by this mutation "
                f"(limit: {MAX_SCHEDULED})"
            )
        if self._bytes_scheduled > MAX_BYTES_SCHEDULED:
            raise UsageError(
                "Too large total size of the arguments of scheduled functions from "
                f"this mutation (limit: {MAX_BYTES_SCHEDULED} bytes)"
            )


def bytes_in(text: str) -> int:
    """How many bytes a document's text is counted as."""
    return len(text) if text.isascii() else len(text.encode())
