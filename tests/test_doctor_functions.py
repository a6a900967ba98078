"""The functions on a deployment: told without running anything that could write."""

from pathlib import Path
from typing import Any

import pytest
from deployment_fixture import deployment_process
from doctor_helpers import (
    PlayedConvex,
    bad_arguments,
    http,
    kit_functions,
    played,
)
from tokens import ADMIN_KEY, auth_config, token

from kit.client.credentials import credentials_of
from kit.convex.contract import VERSION
from kit.doctor.findings import Finding
from kit.doctor.functions import look_at_functions, public_functions
from kit.doctor.queries import Queries

PAUSED = "Cannot run functions while this deployment is paused."
FOREIGN = """
from kit.deployment.functions import mutation, query
from kit.values import v


@mutation()
async def list(ctx, args):
    await ctx.db.insert("tasks", {"written": "by mistake"})


@query()
async def create(ctx, args):
    return "anything"
"""


async def look(url: str, **credentials: str) -> dict[str, Finding]:
    shown = credentials_of(credentials.get("token"), credentials.get("admin_key"))
    async with http() as requests:
        findings = await look_at_functions(Queries(requests, url, shown), url)
    assert ADMIN_KEY not in repr(findings)
    return {finding.subject: finding for finding in findings}


async def look_at(convex: PlayedConvex) -> dict[str, Finding]:
    async with played(convex) as url:
        found = await look(url)
    assert {kind for kind, _, _ in convex.requests} == {"query"}
    return found


def states(found: dict[str, Finding]) -> dict[str, str]:
    """What was found, but for who may call."""
    return {
        subject: finding.fault or finding.state
        for subject, finding in found.items()
        if subject != "sign-in"
    }


def test_the_kit_knows_its_own_functions() -> None:
    functions = public_functions()
    assert functions["streaming:send"] == "mutation"
    assert functions["streaming:streamChatWithTools"] == "action"
    assert functions["messages:byTask"] == "query"
    assert not {"streaming:append", "contract:version"} & functions.keys()


async def test_the_kits_deployment_has_them_all_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    with deployment_process(data=tmp_path, functions=None) as deployment:
        before = deployment.timestamp()
        found = await look(deployment.url)
        assert deployment.timestamp() == before
    assert states(found) == {"functions": "ok", "contract": "ok"}
    assert f"All {len(public_functions())}" in found["functions"].seen


async def test_another_deployment_has_none(tmp_path: Path) -> None:
    with deployment_process(data=tmp_path) as deployment:
        assert states(await look(deployment.url)) == {"functions": "functions-missing"}


async def test_functions_of_the_same_names_are_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "functions"
    folder.mkdir()
    (folder / "tasks.py").write_text(FOREIGN)
    data = tmp_path / "data"
    with deployment_process(data=data, functions=folder) as deployment:
        before = deployment.timestamp()
        found = await look(deployment.url)
        assert deployment.timestamp() == before
    assert found["functions"].fault == "functions-foreign"
    assert "tasks:list is defined as mutation, not as query" in found["functions"].seen
    assert (
        "tasks:create is defined as query, not as mutation" in found["functions"].seen
    )


async def test_what_is_missing_is_named() -> None:
    functions = kit_functions()
    del functions["streaming:send"], functions["contract:version"]
    found = await look_at(PlayedConvex(functions))
    assert states(found) == {
        "functions": "functions-incomplete",
        "contract": "functions-older",
    }
    assert "1 of" in found["functions"].seen
    assert "streaming:send" in found["functions"].seen


@pytest.mark.parametrize(
    ("version", "state"),
    [
        (float(VERSION), "ok"),
        (VERSION - 1.0, "functions-older"),
        (VERSION + 1.0, "functions-newer"),
        ("two", "functions-foreign"),
    ],
)
@pytest.mark.parametrize("hides", [False, True])
async def test_the_versions_are_compared(version: Any, state: str, hides: bool) -> None:
    functions = {**kit_functions(), "contract:version": lambda _: version}
    found = await look_at(PlayedConvex(functions, hides=hides))
    if hides and state == "functions-foreign":
        assert states(found) == {"functions": "functions-foreign"}
    else:
        assert states(found)["contract"] == state
        assert states(found)["functions"] == ("skipped" if hides else "ok")


@pytest.mark.parametrize(
    ("functions", "expected"),
    [
        ({"tasks:list": bad_arguments}, {"contract": "functions-older"}),
        ({}, {"functions": "functions-missing"}),
    ],
)
async def test_behind_hidden_errors_what_can_be_told_is_told(
    functions: dict[str, Any], expected: dict[str, str]
) -> None:
    found = await look_at(PlayedConvex(functions, hides=True))
    assert states(found) == expected


# --- who may call -----------------------------------------------------------------


async def test_a_closed_deployment_wants_to_know_who_calls(tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(ADMIN_KEY)
    options = ["--auth", str(auth_config(tmp_path)), "--admin-key-file", str(key_file)]
    with deployment_process(
        data=tmp_path / "data", functions=None, options=options
    ) as deployment:
        url = deployment.url
        nobody = await look(url)
        assert nobody["sign-in"].fault == "sign-in-missing"
        assert nobody.keys() == {"sign-in"}
        for right in ({"token": token("ann")}, {"admin_key": ADMIN_KEY}):
            found = await look(url, **right)
            assert states(found) == {"functions": "ok", "contract": "ok"}
            assert found["sign-in"].state == "ok"
        ended = token("ann", lifetime=-60.0)
        for wrong in ({"token": ended}, {"token": "x"}, {"admin_key": ADMIN_KEY[:-1]}):
            found = await look(url, **wrong)
            assert found["sign-in"].fault == "sign-in-refused", found
            assert found.keys() == {"sign-in"}


async def test_the_kits_functions_can_ask_by_themselves(tmp_path: Path) -> None:
    """As on Convex: the deployment is open, its functions are not."""
    with deployment_process(
        data=tmp_path, functions=None, env={"KIT_REQUIRE_AUTH": "true"}
    ) as deployment:
        found = await look(deployment.url)
    assert found["sign-in"].fault == "sign-in-missing"
    assert states(found) == {"functions": "ok", "contract": "ok"}


async def test_who_may_call_an_open_deployment_is_said(tmp_path: Path) -> None:
    with deployment_process(data=tmp_path, functions=None) as deployment:
        found = await look(deployment.url)
    assert "not signed in" in found["sign-in"].seen


@pytest.mark.parametrize(
    ("convex", "fault"),
    [
        (PlayedConvex({}, all_fail_with=PAUSED), "deployment-stopped"),
        (
            PlayedConvex(
                {}, all_fail_with="functions at or below 0.1 are no longer supported"
            ),
            "functions-unsupported",
        ),
        (
            PlayedConvex(
                {},
                headers={
                    "x-convex-deprecation-state": "Unsupported",
                    "x-convex-deprecation-message": "Upgrade.",
                },
            ),
            "client-unsupported",
        ),
    ],
)
async def test_a_deployment_that_runs_nothing_says_why(
    convex: PlayedConvex, fault: str
) -> None:
    assert states(await look_at(convex)) == {"functions": fault}
