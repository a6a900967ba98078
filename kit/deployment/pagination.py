"""`paginate`: one page of a query's results, and where the next one begins.

A page that is followed has a journal: its end, remembered from its first run. Later
runs read up to there, whatever was added or removed, so that neighbouring pages never
overlap and leave nothing out between them. Mirrors `query_page` of Convex's
`isolate/src/environment/udf/async_syscall.rs` and `database/src/query/index_range.rs`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeGuard

from convex import ConvexError

from kit.deployment.cursors import Cursor, CursorSeal, invalid_cursor
from kit.deployment.failures import UsageError
from kit.deployment.index_keys import Interval, after
from kit.deployment.limits import (
    MAX_BYTES_READ,
    MAX_DOCUMENTS_READ,
    ReadLimitReached,
)
from kit.deployment.tables import Index
from kit.deployment.transaction import Transaction
from kit.values import Validator, v
from kit.values.render import inspect

__all__ = [
    "Journal",
    "PageOptions",
    "Source",
    "pagination_opts_validator",
    "pagination_result_validator",
    "read_page",
]

Document: TypeAlias = dict[str, Any]
PageStatus: TypeAlias = Literal["SplitRecommended", "SplitRequired"]

# A page is an array of a result: three quarters of the longest that there may be.
LONG_PAGE = 8192 * 3 // 4

pagination_opts_validator = v.object(
    {
        "numItems": v.number(),
        "cursor": v.union(v.string(), v.null()),
        "endCursor": v.optional(v.union(v.string(), v.null())),
        "id": v.optional(v.number()),
        "maximumRowsRead": v.optional(v.number()),
        "maximumBytesRead": v.optional(v.number()),
    }
)
"""For an argument that is given to `paginate`, as Convex's clients send it."""


def pagination_result_validator(item: Validator) -> Validator:
    """For the result of `paginate`, whose documents match `item`."""
    status = v.union(
        v.literal("SplitRecommended"), v.literal("SplitRequired"), v.null()
    )
    return v.object(
        {
            "page": v.array(item),
            "continueCursor": v.string(),
            "isDone": v.boolean(),
            "splitCursor": v.optional(v.union(v.string(), v.null())),
            "pageStatus": v.optional(status),
        }
    )


class Journal:
    """Where the page of one function run ended before, and where it ends now."""

    def __init__(self, previous: str | None = None) -> None:
        self.previous = previous
        """What an earlier run left in `end`; forgotten when it cannot be used."""
        self.end: str | None = None
        """The end of this run's page; None if it has not paginated."""


@dataclass(frozen=True)
class PageOptions:
    """What `paginate` is told."""

    size: int
    cursor: str | None = None
    end_cursor: str | None = None
    max_rows: int | None = None
    max_bytes: int | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> PageOptions:
        """From `{numItems, cursor, ...}`; others are ignored. Raises UsageError."""
        if not isinstance(options, Mapping):
            raise UsageError("`paginate` needs {'numItems': ..., 'cursor': ...}")
        chosen = cls(
            size=_size(options.get("numItems")),
            cursor=_cursor("cursor", options),
            end_cursor=_cursor("endCursor", options),
            max_rows=_limit("maximumRowsRead", options),
            max_bytes=_limit("maximumBytesRead", options),
        )
        if 0 in (chosen.max_rows, chosen.max_bytes):
            raise UsageError(
                "maximumRowsRead and maximumBytesRead must be greater than 0"
            )
        return chosen


@dataclass(frozen=True)
class Source:
    """What is paginated."""

    fingerprint: bytes
    """Tells this query from others."""
    index: Index | None
    """None when there is no such table."""
    interval: Interval
    descending: bool
    keep: Callable[[Document], bool]


def read_page(
    transaction: Transaction, source: Source, options: PageOptions, journal: Journal
) -> dict[str, Any]:
    """One page, as `paginate` returns it; its end is noted in `journal`.

    Raises ConvexError for a cursor of another query, UsageError for a second page in
    one function.
    """
    seal = CursorSeal(transaction.secret)
    start = _opened(seal, options.cursor, source)
    if options.end_cursor is not None:
        end = _opened(seal, options.end_cursor, source)
    else:
        end = _end_before(seal, journal, source)
    if journal.end is not None:
        raise UsageError(
            "This query or mutation function ran multiple paginated queries. Convex "
            "only supports a single paginated query in each function."
        )
    page = _Page(source, options, end)
    if source.index is not None:
        page.read(transaction, source.index, _between(source, start, end))
    journal.end = seal.seal(page.position)
    return {
        "page": page.documents,
        "isDone": page.position.after is None,
        "continueCursor": journal.end,
        "splitCursor": None if page.middle is None else seal.seal(page.middle),
        "pageStatus": page.status,
    }


@dataclass
class _Page:
    """A page that is being read."""

    source: Source
    options: PageOptions
    end: Cursor | None
    """Where it has to end; None when that is up to the options."""
    documents: list[Document] = field(default_factory=list)
    status: PageStatus | None = None
    _passed: list[bytes] = field(default_factory=list)
    """The keys of all documents read, also of those that were filtered out."""
    _bytes: int = 0
    _complete: bool = True

    def read(self, transaction: Transaction, index: Index, interval: Interval) -> None:
        """Read until the page is full, or the interval ends, or a limit is reached."""
        walk = transaction.walk(index, interval, descending=self.source.descending)
        try:
            with closing(walk) as found:
                for key, size, document in found:
                    self._passed.append(key)
                    self._bytes += size
                    if self.source.keep(document):
                        self.documents.append(document)
                    if self.end is None and self._stops_here():
                        self._complete = False
                        break
        except ReadLimitReached:
            if not self._passed:
                raise
            self._complete, self.status = False, "SplitRequired"
        if self.status is None and self._is_large():
            self.status = "SplitRecommended"

    @property
    def position(self) -> Cursor:
        """Where the page ends, which is where the next one begins."""
        if self.end is not None:
            return self.end
        last = None if self._complete else self._passed[-1]
        return Cursor(self.source.fingerprint, last)

    @property
    def middle(self) -> Cursor | None:
        """Where the page may be split in two."""
        if len(self._passed) <= 2:
            return None
        return Cursor(self.source.fingerprint, self._passed[len(self._passed) // 2])

    def _stops_here(self) -> bool:
        """Whether the page is full, or has read as much as it may."""
        if len(self.documents) == self.options.size:
            return True
        rows, size = self.options.max_rows, self.options.max_bytes
        if (rows is not None and len(self._passed) >= rows) or (
            size is not None and self._bytes >= size
        ):
            self.status = "SplitRequired"
            return True
        return False

    def _is_large(self) -> bool:
        rows = min(self.options.max_rows or MAX_DOCUMENTS_READ, MAX_DOCUMENTS_READ)
        size = min(self.options.max_bytes or MAX_BYTES_READ, MAX_BYTES_READ)
        return (
            len(self._passed) > rows * 3 // 4
            or self._bytes > size * 3 // 4
            or len(self.documents) > LONG_PAGE
        )


def _opened(seal: CursorSeal, text: str | None, source: Source) -> Cursor | None:
    if text is None:
        return None
    cursor = seal.open(text)
    if cursor.fingerprint != source.fingerprint:
        raise invalid_cursor()
    return cursor


def _end_before(seal: CursorSeal, journal: Journal, source: Source) -> Cursor | None:
    """Where an earlier run ended."""
    try:
        return _opened(seal, journal.previous, source)
    except (ConvexError, UsageError):
        # The next run is not to fail as well.
        journal.previous = None
        raise


def _between(source: Source, start: Cursor | None, end: Cursor | None) -> Interval:
    """What lies behind `start`, up to and with `end`."""
    low, high = source.interval
    if start is not None:
        if start.after is None:
            return low, low
        if source.descending:
            high = min(high, start.after)
        else:
            low = max(low, after(start.after))
    if end is not None and end.after is not None:
        if source.descending:
            low = max(low, end.after)
        else:
            high = min(high, after(end.after))
    return low, max(low, high)


def _size(value: object) -> int:
    if not _is_number(value) or value < 0:
        shown = "undefined" if value is None else inspect(value)
        raise UsageError(
            f"`options.numItems` must be a positive number. Received `{shown}`."
        )
    size = _whole("numItems", value)
    if size == 0:
        raise UsageError("Must request at least 1 document while paginating")
    if size > MAX_DOCUMENTS_READ:
        raise UsageError(f"Requested too many items: {size}")
    return size


def _limit(name: str, options: Mapping[str, Any]) -> int | None:
    value = options.get(name)
    if value is None:
        return None
    if not _is_number(value) or value < 0:
        raise UsageError(f"`options.{name}` must be a positive number")
    return _whole(name, value)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(name: str, value: float) -> int:
    if not math.isfinite(value) or value % 1:
        raise UsageError(
            f"`options.{name}` must be a whole number. Received `{inspect(value)}`."
        )
    return int(value)


def _cursor(name: str, options: Mapping[str, Any]) -> str | None:
    value = options.get(name)
    if value is None or isinstance(value, str):
        return value
    raise UsageError(f"`options.{name}` must be a cursor or null, not {value!r}")
