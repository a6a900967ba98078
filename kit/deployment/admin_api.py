"""The HTTP calls for admins: functions loaded again, documents listed.

Both need `Authorization: Convex <admin key>`.

* `POST /kit/load_functions` reads the functions folders again, which is what
  `npx convex dev` does for Convex: `{functions}`, their paths.
* `GET /api/list_snapshot?tableName=&cursor=&snapshot=&format=` gives the documents of
  a table as of one timestamp, oldest first, in pages:
  `{values, cursor, snapshot, hasMore}`.

`list_snapshot` mirrors Convex's streaming export
(https://docs.convex.dev/streaming-export-api), one table at a time and without `_ts`:
when a document was last written is not kept here.
"""

from __future__ import annotations

import base64
import binascii

import msgspec
from aiohttp import web
from msgspec import Raw

from kit.deployment.formats import formatted
from kit.deployment.history import NotKept
from kit.deployment.http_guard import Rejection
from kit.deployment.http_identity import identify, require_admin
from kit.deployment.runtime import Runtime
from kit.errors import DatabaseError, FunctionLoadError, KitError

__all__ = ["AdminApi"]

PAGE = 256


class Snapshot(msgspec.Struct, frozen=True, rename="camel"):
    """A page of `list_snapshot`."""

    values: list[Raw]
    cursor: str | None
    snapshot: int
    has_more: bool


class AdminApi:
    """The handlers, over one runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to an application's router."""
        return [
            web.post("/kit/load_functions", self.load_functions),
            web.get("/api/list_snapshot", self.list_snapshot),
        ]

    async def load_functions(self, request: web.Request) -> web.Response:
        require_admin(identify(self._runtime, request))
        try:
            paths = self._runtime.load_functions()
        except (FunctionLoadError, DatabaseError) as error:
            raise Rejection(400, _code(error), str(error)) from None
        return web.json_response({"functions": paths})

    async def list_snapshot(self, request: web.Request) -> web.Response:
        require_admin(identify(self._runtime, request))
        engine = self._runtime.engine
        name = request.query.get("tableName", "")
        cursor = request.query.get("cursor")
        given = request.query.get("snapshot")
        try:
            snapshot = engine.latest_timestamp if given is None else int(given)
            after = None if cursor is None else base64.b64decode(cursor, validate=True)
        except (ValueError, binascii.Error):
            raise Rejection(
                400,
                "BadCursor",
                "`cursor` and `snapshot` are those of the page before, or absent.",
            ) from None
        try:
            page = engine.list_documents(name, after, PAGE, at=snapshot)
        except NotKept as error:
            raise Rejection(400, "OutOfRetention", f"{error}.") from None
        if page is None:
            raise Rejection(404, "TableNotFound", f"There is no table {name[:64]!r}.")
        keys, form = list(page), request.query.get("format")
        body = Snapshot(
            [formatted(text, form) for text in page.values()],
            base64.b64encode(keys[-1]).decode() if keys else cursor,
            snapshot,
            len(keys) == PAGE,
        )
        return web.Response(
            body=msgspec.json.encode(body), content_type="application/json"
        )


def _code(error: KitError) -> str:
    return "InvalidModules" if isinstance(error, FunctionLoadError) else "InvalidSchema"
