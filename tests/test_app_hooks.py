"""The hooks on the real thing: application, deployment and provider as processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kit.app.hooks import ChatSource, HybridTask, use_hybrid_task, use_message_streaming
from kit.client import Deployment
from kit.stack import Stack

MODEL = "claude-opus-5-5"


@asynccontextmanager
async def hybrid(
    stack: Stack, deployment: Deployment, option: int
) -> AsyncIterator[HybridTask]:
    stack.set_flags(realtime=True, option=option)
    await stack.app.restart()
    task_id = await stack.create_task("Try it")
    async with await use_hybrid_task(
        task_id, deployment=deployment, socket_url=stack.app.url, model=MODEL
    ) as hook:
        yield hook


async def ended(hook: HybridTask) -> None:
    await hook.until(lambda hook: hook.is_streaming, timeout=20)
    await hook.until(lambda hook: not hook.is_streaming, timeout=30)


def is_stopped(source: ChatSource) -> bool:
    return bool(source.messages[-1]["status"] == "stopped")


async def test_option_1_answers_once_and_falls_back_in_the_same_view() -> None:
    async with (
        await Stack.start(pace=200) as stack,
        Deployment(stack.deployment_url) as deployment,
        hybrid(stack, deployment, option=1) as hook,
    ):
        source: ChatSource = hook
        await source.send_message("How does it stream?")
        await ended(hook)
        assert [row["status"] for row in hook.messages] == ["complete", "complete"]
        assert hook.messages[1]["parts"][-1]["type"] == "text"
        await hook.until_settled()
        assert hook.event_counts()["stream-chunk"] == 0

        await stack.cut_deployment()
        await hook.send_message("And without Convex?")
        await ended(hook)
        assert hook.event_counts()["stream-chunk"] > 3
        assert [row["role"] for row in hook.messages] == ["USER", "ASSISTANT"] * 2
        assert "And without Convex?" in hook.messages[3]["content"]
        assert hook.streaming_parts_order == []
        assert len(await stack.provider_log()) == 2

        await stack.restore_deployment()
        await deployment.until_connected(timeout=10)
        await hook.send_message("And now?")
        await ended(hook)
        assert hook.connection == "connected"
        assert len(hook.messages) == 6


async def test_option_2_stops_and_late_joiners_see_the_same() -> None:
    async with (
        await Stack.start(pace=100) as stack,
        Deployment(stack.deployment_url) as deployment,
        Deployment(stack.deployment_url) as elsewhere,
        hybrid(stack, deployment, option=2) as hook,
    ):
        await hook.send_message("Write a long text about databases.")
        await hook.until(lambda hook: len(hook.streaming_text()) > 60, timeout=20)
        async with await use_message_streaming(
            hook.task_id, deployment=elsewhere
        ) as late:
            await late.until(lambda late: late.streaming_text(), timeout=10)
            assert late.streaming_parts_order == hook.streaming_parts_order
            shown = hook.streaming_text()
            await hook.stop_stream()
            await hook.until(lambda hook: not hook.is_streaming, timeout=5)
            for viewer in (hook, late):
                await viewer.until(
                    lambda viewer: viewer.messages[-1]["status"] == "stopped",
                    timeout=10,
                )
            assert hook.messages == late.messages
            assert hook.messages[-1]["content"].startswith(shown)
        await hook.until(lambda hook: hook.task_status == "STOPPED", timeout=10)
        assert hook.event_counts()["stream-chunk"] == 0


@pytest.mark.timeout(90)
async def test_a_crash_mid_reply_keeps_the_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KIT_LEASE_MS", "3000")  # an SDK is loaded meanwhile
    async with (
        await Stack.start(pace=50, app=False) as stack,
        Deployment(stack.deployment_url) as deployment,
    ):
        task_id = await deployment.mutation("tasks:create", {"title": "Crash"})
        async with await use_message_streaming(
            task_id, deployment=deployment, model=MODEL
        ) as hook:
            await hook.send_message("Write a long text about databases.")
            await hook.until(lambda hook: len(hook.streaming_text()) > 60, timeout=20)
            await stack.cut_deployment()
            await hook.until(lambda hook: hook.connection == "reconnecting", timeout=5)
            shown = hook.streaming_text()
            await asyncio.gather(
                stack.restore_deployment(),
                hook.until(lambda hook: not hook.is_live, timeout=40),
            )
            assert hook.messages[-1]["status"] == "failed"
            assert hook.messages[-1]["content"].startswith(shown)
            assert hook.messages[-1]["error"]
            await hook.send_message("Again")
            await hook.until(lambda hook: hook.is_streaming, timeout=10)
