"""Queries, and what their errors tell, whether the deployment hides them or not."""

import base64
from typing import Any

import pytest
from aiohttp import web
from doctor_helpers import PlayedConvex, Thrown, http, played
from fake_convex import json_response
from serving_app import serving

from kit.doctor.queries import Outcome, Queries, Refused, client_version

FUNCTIONS: dict[str, Any] = {
    "m:write": "mutation",
    "m:act": "action",
    "m:read": "query",
    "m:value": lambda args: {"n": 5.0, "big": {"$integer": "AQAAAAAAAAA="}},
}


def throws(args: Any) -> Any:
    raise Thrown({"code": "BadArguments", "n": 1.0})


async def outcome(path: str, convex: PlayedConvex | None = None) -> Outcome:
    convex = convex or PlayedConvex({**FUNCTIONS, "m:throws": throws})
    async with played(convex) as url, http() as requests:
        found = await Queries(requests, url).run(path, {"a": 1})
    assert [kind for kind, _, _ in convex.requests] == ["query"]
    return found


async def test_a_value_is_a_convex_value() -> None:
    found = await outcome("m:value")
    assert found.succeeded
    assert found.value["n"] == 5.0
    assert found.value["big"].value == 1


@pytest.mark.parametrize(
    ("path", "reason", "kind"),
    [
        ("m:gone", "missing", ""),
        ("m:write", "kind", "mutation"),
        ("m:act", "kind", "action"),
        ("m:read", "arguments", ""),
        ("m:throws", "other", ""),
    ],
)
async def test_an_error_tells_what_is_there(path: str, reason: str, kind: str) -> None:
    found = await outcome(path)
    assert (found.reason, found.kind) == (reason, kind)
    assert "Request ID" not in found.text
    assert found.text


@pytest.mark.parametrize("path", ["m:gone", "m:write", "m:read"])
async def test_a_hidden_error_tells_nothing(path: str) -> None:
    found = await outcome(path, PlayedConvex(FUNCTIONS, hides=True))
    assert (found.reason, found.text, found.data) == ("hidden", "", None)


@pytest.mark.parametrize("hides", [False, True])
async def test_the_data_of_an_error_shows_in_either_case(hides: bool) -> None:
    found = await outcome("m:throws", PlayedConvex({"m:throws": throws}, hides=hides))
    assert found.code == "BadArguments"
    assert not found.succeeded


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Cannot run functions while this deployment is paused. Resume …", "stopped"),
        ("Cannot run functions while this deployment is suspended.", "stopped"),
        ("You have exceeded …, so your deployments have been disabled.", "stopped"),
        ("This deployment has been disabled because it exceeded …", "stopped"),
        (
            "Convex functions at or below version 0.1 are no longer supported.",
            "unsupported",
        ),
        (
            "Could not find public function for 'm:x'. Did you forget to run `npx …`?",
            "missing",
        ),
    ],
)
async def test_convexs_own_texts_are_known(text: str, reason: str) -> None:
    found = await outcome("m:x", PlayedConvex({}, all_fail_with=text))
    assert (found.reason, found.text) == (reason, text)


async def test_what_the_client_is_told_of_its_version_is_kept() -> None:
    said = {
        "x-convex-deprecation-state": "Unsupported",
        "x-convex-deprecation-message": "Too old.",
    }
    convex = PlayedConvex(FUNCTIONS, headers=said)
    async with played(convex) as url, http() as requests:
        queries = Queries(requests, url)
        await queries.run("m:value", {})
        assert queries.deprecation == "Too old."
    assert client_version()[0].isdigit()


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"code": "InvalidClientVersion", "message": "x"}, "InvalidClientVersion"),
        (503, {"code": "Overloaded", "message": "x"}, "Overloaded"),
        (200, {"ok": True}, "UnexpectedAnswer"),
        (404, [], "UnexpectedAnswer"),
        (200, {"status": "error"}, "UnexpectedAnswer"),
    ],
)
async def test_a_refused_request_is_no_outcome(
    status: int, body: Any, code: str
) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return json_response(body, status)

    app = web.Application()
    app.router.add_post("/api/query", refuse)
    async with serving(app) as url, http() as requests:
        with pytest.raises(Refused) as caught:
            await Queries(requests, url).run("m:x", {})
    assert (caught.value.status, caught.value.code) == (status, code)


async def test_arguments_are_sent_as_convex_values() -> None:
    convex = PlayedConvex(FUNCTIONS)
    async with played(convex) as url, http() as requests:
        await Queries(requests, url).run("m:value", {"raw": b"x", "n": 1})
    ((_, _, args),) = convex.requests
    assert args == {"raw": {"$bytes": base64.b64encode(b"x").decode()}, "n": 1.0}
