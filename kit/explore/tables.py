"""Documents as frames: those of a table, the deltas of a stream."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from kit.errors import ConfigError, RequestRejected
from kit.explore.admin import call
from kit.stack import Stack

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["deltas", "documents"]

Document = dict[str, Any]


async def documents(stack: Stack, table: str) -> pd.DataFrame:
    """All documents of a table, oldest first, one row each; `_id` is the index.

    `created` is when a document was made (from `_creationTime`), in UTC. Internal
    tables of the kit, such as `streamDeltas`, are tables like others. Works on the
    embedded deployment, and on Convex where the streaming export does.

    Raises ConfigError for a table that does not exist, or without an admin key.
    """
    return _frame(await asyncio.to_thread(_list, stack, table))


async def deltas(stack: Stack, stream_id: str) -> pd.DataFrame:
    """The deltas of a stream, in order: what was appended when, and how large it was.

    `after_ms` counts from the delta before, `bytes` is the JSON of its chunks. Deltas
    are deleted an hour after the reply has ended. Raises as `documents` does, and
    ConfigError for a stream that has none.
    """
    rows = await asyncio.to_thread(_list, stack, "streamDeltas")
    mine = sorted(
        (row for row in rows if row["streamId"] == stream_id),
        key=lambda row: row["seq"],
    )
    if not mine:
        raise ConfigError(
            f"There are no deltas of stream {stream_id!r}: they are deleted an hour "
            "after a reply has ended. `documents(stack, 'streams')` lists streams."
        )
    frame = _frame(
        [
            {
                "_id": row["_id"],
                "_creationTime": row["_creationTime"],
                "seq": int(row["seq"]),
                "chunks": len(row["chunks"]),
                "bytes": len(json.dumps(row["chunks"], ensure_ascii=False).encode()),
                "types": ", ".join(dict.fromkeys(c["type"] for c in row["chunks"])),
                "text": "".join(map(_growth, row["chunks"])),
            }
            for row in mine
        ]
    ).set_index("seq")
    times = [row["_creationTime"] for row in mine]
    gaps = [round(later - earlier, 1) for earlier, later in pairwise(times)]
    frame["after_ms"] = [float("nan"), *gaps]
    return frame[["created", "after_ms", "chunks", "bytes", "types", "text"]]


def _growth(chunk: Document) -> str:
    """The text by which a chunk makes its part grow, if it does."""
    text: str = chunk.get("delta") or chunk.get("inputTextDelta") or ""
    return text


def _list(stack: Stack, table: str) -> list[Document]:
    rows: list[Document] = []
    cursor = snapshot = None
    while True:
        try:
            page = call(
                stack,
                "GET",
                "/api/list_snapshot",
                tableName=table,
                format="json",
                cursor=cursor,
                snapshot=snapshot,
            )
        except RequestRejected as error:
            raise ConfigError(
                f"Table {table!r} cannot be listed: {error.message}"
            ) from None
        rows += page["values"]
        cursor, snapshot = page["cursor"], str(page["snapshot"])
        if not page["hasMore"]:
            return rows


def _frame(rows: list[Document]) -> pd.DataFrame:
    import pandas as pd  # half a second, and only whoever looks inside needs it

    frame = pd.DataFrame(rows, columns=None if rows else ["_id", "_creationTime"])
    frame = frame.sort_values("_creationTime", kind="stable").set_index("_id")
    times = pd.to_datetime(
        frame.pop("_creationTime").astype(float), unit="ms", utc=True
    )
    frame.insert(0, "created", times.dt.as_unit("ms"))
    return frame.drop(columns=["_table"], errors="ignore")
