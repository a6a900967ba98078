"""A subscription through the official client: answered, or not in time."""

from pathlib import Path

from deployment_fixture import deployment_process
from doctor_helpers import TIMEOUT, PlayedConvex, kit_functions, played
from fake_convex import fake_convex
from tokens import auth_config, token
from wrong_places import refusing

from kit.doctor.subscription import look_at_subscription


async def test_a_first_result_is_enough(tmp_path: Path) -> None:
    with deployment_process(data=tmp_path, functions=None) as deployment:
        finding = await look_at_subscription(deployment.url, TIMEOUT, {})
    assert finding.state == "ok"
    assert "First result after" in finding.seen


async def test_an_error_of_the_query_came_over_the_socket(tmp_path: Path) -> None:
    with deployment_process(data=tmp_path) as deployment:  # has no such function
        assert (await look_at_subscription(deployment.url, TIMEOUT, {})).state == "ok"


async def test_a_closed_deployment_answers_who_is_signed_in(tmp_path: Path) -> None:
    options = ["--auth", str(auth_config(tmp_path))]
    with deployment_process(
        data=tmp_path / "data", functions=None, options=options
    ) as deployment:
        env = {"KIT_CONVEX_TOKEN": token("ann")}
        signed_in = await look_at_subscription(deployment.url, TIMEOUT, env)
        assert signed_in.state == "ok"


async def test_calls_alone_are_not_enough() -> None:
    async with played(PlayedConvex(kit_functions())) as url:  # has no /api/sync
        finding = await look_at_subscription(url, 3, {})
    assert finding.fault == "subscription"


async def test_a_deployment_that_goes_away_is_a_problem() -> None:
    async with fake_convex() as fake:
        await fake.go_away()
        assert (await look_at_subscription(fake.url, 5, {})).fault == "subscription"
    async with refusing() as url:
        assert (await look_at_subscription(url, 5, {})).fault == "subscription"
