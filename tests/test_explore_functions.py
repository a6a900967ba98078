"""Functions of one's own: pushed from a cell, served at once, safe to get wrong."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from kit.client import Deployment
from kit.errors import (
    ConfigError,
    ConvexFunctionError,
    FunctionError,
    FunctionLoadError,
)
from kit.explore import push
from kit.stack import ADMIN_KEY, DEPLOYMENT_URL, FUNCTIONS, Stack

SOURCE = """
from kit.deployment.functions import query
from kit.values import v

@query(args={"taskId": v.id("tasks")}, returns=v.any())
async def words(ctx, args):
    messages = await ctx.db.query("chatMessages").collect()
    return sum(len(m["content"].split()) for m in messages) + %d
"""


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with await Stack.start(app=False, pace=0, folder=tmp_path) as stack:
        yield stack


@pytest.fixture
async def deployment(stack: Stack) -> AsyncIterator[Deployment]:
    async with Deployment(stack.deployment_url) as deployment:
        yield deployment


async def test_a_live_subscription_picks_up_a_pushed_function(
    stack: Stack, deployment: Deployment
) -> None:
    task_id = await deployment.mutation("tasks:create", {"title": "Counted"})
    assert await push(stack, "counting", SOURCE % 0) == ["counting:words"]
    values = deployment.subscribe("counting:words", {"taskId": task_id})
    async with values:
        assert await anext(values) == 0
        await push(stack, "counting", SOURCE % 100)
        assert await anext(values) == 100


async def test_what_does_not_load_changes_nothing(
    stack: Stack, deployment: Deployment
) -> None:
    await push(stack, "counting", SOURCE % 1)
    with pytest.raises(FunctionLoadError, match=r"counting\.py, line 1: SyntaxError"):
        await push(stack, "counting", "def broken(")
    with pytest.raises(FunctionLoadError, match="SyntaxError"):
        await push(stack, "another", "def broken(")
    assert await push(stack, "fine", "") == []  # what failed is not in the way
    assert await push(stack, "counting", SOURCE % 2) == ["counting:words"]


@pytest.mark.parametrize("name", ["../outside", "", "_hidden", "two words", "1st"])
async def test_a_name_that_cannot_be_a_module(stack: Stack, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a module of functions"):
        await push(stack, name, SOURCE % 1)


async def test_pushed_functions_survive_a_restart(
    stack: Stack, deployment: Deployment
) -> None:
    await push(stack, "counting", SOURCE % 7)
    assert stack.deployment is not None
    await stack.deployment.restart()
    task_id = await deployment.mutation("tasks:create", {"title": "Again"})
    assert await deployment.query("counting:words", {"taskId": task_id}) == 7


async def test_notebooks_that_attach_push_to_the_same_deployment(
    stack: Stack, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stack.admin_key is not None
    monkeypatch.setenv(DEPLOYMENT_URL, stack.deployment_url)
    monkeypatch.setenv(ADMIN_KEY, stack.admin_key.reveal())
    monkeypatch.setenv(FUNCTIONS, str(stack.functions))
    async with await Stack.start(app=False) as attached:
        assert attached.deployment is None
        assert await push(attached, "counting", SOURCE % 3) == ["counting:words"]


async def test_a_deployment_that_is_not_ours_is_left_alone(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FUNCTIONS, raising=False)
    url = stack.deployment_url
    async with await Stack.start(deployment_url=url, app=False) as attached:
        with pytest.raises(ConfigError, match="npx convex dev"):
            await push(attached, "counting", SOURCE % 1)


async def test_the_admin_key_opens_only_what_it_is_for(
    stack: Stack, deployment: Deployment
) -> None:
    assert stack.admin_key is not None
    assert stack.admin_key.reveal() not in repr(stack)
    assert stack.admin_key.reveal() not in str(vars(stack.provider))
    with pytest.raises((FunctionError, ConvexFunctionError), match="Could not find"):
        await deployment.query("streaming:result", {"messageId": "x"})


# --- the cell magic -------------------------------------------------------------------


def run_magic(line: str, cell: str, **namespace: Any) -> None:
    shell = InteractiveShell.instance()
    try:
        shell.run_line_magic("load_ext", "kit.explore")
        shell.user_ns.update(namespace)
        shell.run_cell_magic("convex", line, cell)
    finally:
        InteractiveShell.clear_instance()


async def test_a_cell_is_pushed(
    stack: Stack, capsys: pytest.CaptureFixture[str], deployment: Deployment
) -> None:
    run_magic("counting", SOURCE % 5, stack=stack)
    assert capsys.readouterr().out == "counting:words\n"
    task_id = await deployment.mutation("tasks:create", {"title": "Cell"})
    assert await deployment.query("counting:words", {"taskId": task_id}) == 5
    run_magic("counting mine", SOURCE % 6, mine=stack)
    assert await deployment.query("counting:words", {"taskId": task_id}) == 6


async def test_an_error_of_the_magic_is_short_and_says_what_to_do(stack: Stack) -> None:
    with pytest.raises(UsageError, match=r"counting\.py, line 1: SyntaxError"):
        run_magic("counting", "def broken(", stack=stack)
    with pytest.raises(UsageError, match=r"await Stack\.start\(\)"):
        run_magic("counting", SOURCE % 1)
    with pytest.raises(UsageError, match="%%convex NAME"):
        run_magic("", SOURCE % 1, stack=stack)
