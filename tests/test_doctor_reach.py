"""Who answers at the URL: a deployment, or what else, each with its own advice."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from deployment_fixture import deployment_process
from doctor_helpers import PlayedConvex, case, http, json_app, played, tls_server
from serving_app import serving
from wrong_places import (
    a_web_site,
    not_convex,
    not_http,
    refusing,
    silent,
    unresolvable,
)

from kit import __version__
from kit.doctor.findings import Finding
from kit.doctor.reach import Reached, reach
from kit.stack import Stack

Place = Callable[[], AbstractAsyncContextManager[str]]


async def look(url: str, **given: Any) -> tuple[Finding, Reached | None]:
    async with http(given.pop("timeout", 20.0)) as requests:
        return await reach(case(**given), requests, url)


async def test_the_embedded_deployment_is_known_by_its_name(tmp_path: Path) -> None:
    with deployment_process(data=tmp_path) as deployment:
        finding, reached = await look(deployment.url)
        assert finding.state == "ok"
        assert finding.seen == f"The embedded deployment of kit {__version__}."
        assert reached is not None
        assert reached.is_embedded


async def test_a_convex_deployment_tells_its_name_and_version() -> None:
    async with played(PlayedConvex({})) as url:
        finding, reached = await look(url)
    assert finding.state == "ok"
    assert finding.seen == "Convex deployment happy-animal-123, version 0123abc."
    assert reached is not None
    assert not reached.is_embedded


async def test_an_embedded_deployment_of_another_kit_is_a_problem() -> None:
    async with played(PlayedConvex({}, name="convex-streaming-kit")) as url:
        finding, reached = await look(url)
    assert finding.fault == "deployment-other-kit"
    assert reached is not None, "it can be asked all the same"


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        (refusing, "deployment-refused"),
        (unresolvable, "deployment-dns"),
        (not_http, "deployment-not-http"),
        (not_convex, "deployment-not-convex"),
        (a_web_site, "deployment-not-convex"),
    ],
)
async def test_other_places_are_told_apart(place: Place, fault: str) -> None:
    async with place() as url:
        finding, reached = await look(url)
    assert (finding.fault, reached) == (fault, None)
    assert finding.place == url


async def test_silence_and_encryption_have_their_own(tmp_path: Path) -> None:
    async with silent() as url:
        finding, _ = await look(url, timeout=0.3)
        assert finding.fault == "deployment-silent"
    async with tls_server(tmp_path) as url:
        assert (await look(url))[0].fault == "deployment-certificate"
    async with played(PlayedConvex({})) as url:
        secured = url.replace("http", "https")
        assert (await look(secured))[0].fault == "deployment-tls"


async def test_a_host_to_which_there_is_no_way() -> None:
    finding, _ = await look("http://255.255.255.255:3210")
    assert finding.fault == "deployment-unreachable"


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (301, "deployment-redirect"),
        (308, "deployment-redirect"),
        (401, "deployment-forbidden"),
        (403, "deployment-forbidden"),
        (404, "deployment-not-convex"),
        (500, "deployment-not-convex"),
        (502, "deployment-gateway"),
        (503, "deployment-gateway"),
        (504, "deployment-gateway"),
    ],
)
async def test_a_status_tells_who_is_in_between(status: int, fault: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        headers = {"Location": "https://elsewhere.example/"}
        return web.Response(status=status, text="x", headers=headers)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with serving(app) as url:
        finding, reached = await look(url)
    assert (finding.fault, reached) == (fault, None)
    assert f"status {status}" in finding.seen
    if fault == "deployment-redirect":
        assert "https://elsewhere.example/" in finding.remedy


async def test_convexs_cloud_says_404_for_what_it_does_not_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its names are looked up here: a name of the cloud that is this machine."""
    import kit.doctor.http

    async with not_convex() as url:
        port = int(url.rsplit(":", 1)[1])
        here = await kit.doctor.http.resolve("127.0.0.1", port)

        async def to_here(*_: object) -> list[tuple[Any, ...]]:
            return here

        monkeypatch.setattr(kit.doctor.http, "resolve", to_here)
        finding, _ = await look(f"http://no-such-name.convex.cloud:{port}")
    assert finding.fault == "deployment-unknown"


async def test_the_kits_other_servers_are_recognised() -> None:
    async with await Stack.start(deployment_url="http://127.0.0.1:1") as stack:
        itself, _ = await look(stack.app.url, app_url=stack.app.url)
        assert itself.fault == "deployment-not-convex"
        assert "It is the application itself." in itself.remedy
        other, _ = await look(stack.app.url)
        assert "It is the kit's application." in other.remedy
        provider, _ = await look(str(stack.scripted_url))
        assert "It is the scripted model provider." in provider.remedy


async def test_a_server_that_answers_anything_is_not_taken_for_convex() -> None:
    async with serving(json_app({"/{path:.*}": {"ok": "whatever"}})) as url:
        finding, reached = await look(url)
    assert (finding.fault, reached) == ("deployment-not-convex", None)


@pytest.mark.parametrize("port", [3211, 6791])
async def test_a_containers_other_ports_are_named(port: int) -> None:
    url = f"http://no-such-host.invalid:{port}"
    finding, _ = await look(url)
    assert str(port) in finding.advice
    assert "3210" in finding.advice
