"""Stopping a reply, from anywhere and at any time, over real processes.

Deployment, executor, provider, application and viewers are as in use. A viewer sees the
stop in one transition, and its end in another; the provider's log says when the call
was ended, or that none is made any more; what was accepted is kept.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from llm_helpers import model_named
from reply_stage import ReplyStage, reply_stage
from sync_client import SyncClient, added, sync_client

from kit.app.hooks import use_hybrid_task, use_message_streaming, use_task_socket
from kit.client import Deployment
from kit.llm.providers import PROVIDERS, ProviderName
from kit.stack import Stack

pytestmark = pytest.mark.timeout(60)

STOPS_WITHIN = 1.0
"""Seconds from a stop to the end of the provider's call, as promised."""
SLACK = 3.0
"""What a machine that others use, too, may add. All that is stopped here would go on
for much longer."""


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplyStage]:
    with reply_stage(tmp_path_factory.mktemp("data"), {}) as stage:
        yield stage


@pytest.fixture
def stage(processes: ReplyStage) -> ReplyStage:
    return processes.open()


every_wire = pytest.mark.parametrize("wire", list(PROVIDERS))


# --- a viewer, and what it sees ------------------------------------------------------

MESSAGES, TASK = 1, 2


class Viewer:
    """Follows messages and task of a conversation, transition by transition."""

    def __init__(self, client: SyncClient) -> None:
        self._client = client
        self.transitions: list[dict[int, Any]] = []
        self.answers: list[dict[str, Any]] = []

    async def follow(self, task_id: str) -> None:
        await self._client.connect()
        args = {"taskId": task_id}
        await self._client.modify(
            added(MESSAGES, "messages:byTask", args), added(TASK, "tasks:get", args)
        )
        await self.see()

    async def see(self) -> None:
        """Take the next message in."""
        message = await self._client.receive(timeout=30)
        if message["type"] == "Transition":
            changes = message["modifications"]
            self.transitions.append({c["queryId"]: c["value"] for c in changes})
        else:
            self.answers.append(message)

    async def stop(self, stage: ReplyStage) -> None:
        """Stop the conversation's reply, as a page does, and see it stop.

        The answer comes with the transition that shows the stop, or just before it.
        """
        count = len(self.answers)
        args = {"taskId": stage.task_id}
        await self._client.mutation(count, "streaming:stopTask", args)
        while len(self.answers) == count:
            await self.see()
        assert self.answers[-1]["success"] is True
        if self.statuses()[-1:] == ["streaming"]:
            await self.see()

    async def until(self, status: str) -> None:
        while self.statuses()[-1:] != [status]:
            await self.see()

    def statuses(self) -> list[str]:
        """Those of the newest reply, each time its row changed."""
        rows = [seen[MESSAGES] for seen in self.transitions if MESSAGES in seen]
        found = [row[-1]["status"] for row in rows if row]
        return [
            s for before, s in zip(["", *found], found, strict=False) if s != before
        ]


@asynccontextmanager
async def viewing(stage: ReplyStage) -> AsyncIterator[Viewer]:
    async with sync_client(stage.deployment.url) as client:
        viewer = Viewer(client)
        await viewer.follow(stage.task_id)
        yield viewer


async def until(condition: Callable[[], Any]) -> Any:
    """Ask again and again, until it is true; the test's time limit ends it."""
    while not (found := await asyncio.to_thread(condition)):
        pass
    return found


async def provider_is_left(stage: ReplyStage) -> None:
    """Wait until no call is open at the provider, not longer than was promised."""
    async with asyncio.timeout(STOPS_WITHIN + SLACK):
        await until(lambda: all(r["outcome"] != "streaming" for r in stage.requests()))


def executors(deployment_pid: int) -> list[int]:
    """The processes that run the deployment's actions."""
    children = Path(f"/proc/{deployment_pid}/task/{deployment_pid}/children")
    return [
        int(pid)
        for pid in children.read_text().split()
        if b"kit.deployment.executor" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(c["delta"] for c in chunks if c["type"] == "text-delta")


# --- at any time ------------------------------------------------------------------

# Where the reply is when it is stopped: what the model does, when that is so, and what
# is offered to it. None of them would end by itself in this test's time.
MOMENTS: dict[str, tuple[str, Callable[[ReplyStage, str], Any], str]] = {
    "before the first token": (
        "slow:delay=600",
        lambda stage, _: stage.requests(),
        "Hello",
    ),
    "in the text": (
        "text:tokens=100000,pace=50",
        lambda stage, stream: len(text_of(stage.chunks(stream))) > 20,
        "Hello",
    ),
    "in silence": (
        "stall:tokens=20",
        lambda stage, stream: len(text_of(stage.chunks(stream))) > 20,
        "Hello",
    ),
    "between two tries": (
        "http-429:retry-after=19",
        lambda stage, _: [r for r in stage.requests() if r["outcome"] == "refused"],
        "Hello",
    ),
    "in a tool": (
        "tool",
        lambda stage, stream: [
            c for c in stage.chunks(stream) if c["type"] == "finish-step"
        ],
        "wait_seconds, 30 of them",
    ),
}


@every_wire
@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_stop_ends_the_reply_wherever_it_is(
    stage: ReplyStage, wire: ProviderName, moment: str
) -> None:
    scenario, is_there, prompt = MOMENTS[moment]
    async with viewing(stage) as viewer:
        begun = stage.send(model_named(wire, scenario), prompt, tools=["wait_seconds"])
        await until(lambda: is_there(stage, begun["streamId"]))
        seen = text_of(stage.chunks(begun["streamId"]))
        await viewer.stop(stage)
        assert viewer.statuses()[-1] in ("stopping", "stopped")
        await provider_is_left(stage)
        await viewer.until("stopped")
        assert viewer.statuses() == ["streaming", "stopping", "stopped"]
        # The message's end and the task's are one.
        assert viewer.transitions[-1][TASK]["status"] == "STOPPED"
    row = stage.messages()[-1]
    assert row == viewer.transitions[-1][MESSAGES][-1]
    assert row["finishReason"] == "aborted"
    assert "error" not in row
    accepted = text_of(stage.chunks(begun["streamId"]))
    [asked] = stage.requests()
    assert row["content"] == accepted
    assert accepted.startswith(seen)
    if moment == "in a tool":
        assert row["parts"][-1]["errorKind"] == "tool-not-run"
    else:
        assert "".join(asked["tokens"]).startswith(accepted)
    assert asked["outcome"] == OUTCOMES.get(moment, "disconnected")
    await goes_on(stage)


OUTCOMES = {"between two tries": "refused", "in a tool": "complete"}


async def goes_on(stage: ReplyStage) -> None:
    """The next message is answered, and the one before is not asked for again."""
    stopped, asked = stage.prompt, stage.requests()
    result = await asyncio.to_thread(stage.ask, "claude-scripted-text:tokens=3")
    assert (result["success"], result["text"]) == (True, "Rain fell on")
    stage.prompt, last = stopped, stage.prompt
    # A prompt without an answer is told again, together with the next.
    assert [r for r in stage.requests() if last not in r["prompt"]] == asked


async def test_what_is_stopped_before_it_begins_asks_no_model(
    stage: ReplyStage,
) -> None:
    [executor] = executors(stage.deployment.pid)
    os.kill(executor, signal.SIGSTOP)
    try:
        async with viewing(stage) as viewer:
            stage.send("claude-scripted-text:tokens=9")
            await viewer.stop(stage)
            os.kill(executor, signal.SIGCONT)
            await viewer.until("stopped")
    finally:
        os.kill(executor, signal.SIGCONT)
    assert stage.messages()[-1]["content"] == ""
    await goes_on(stage)
    assert stage.requests()[1:] == []


# --- from anywhere ----------------------------------------------------------------

LONG = "claude-scripted-text:tokens=100000,pace=50"


async def in_another_process(stage: ReplyStage, begun: dict[str, Any]) -> None:
    script = """
import sys
from kit import BlockingDeployment
url, task_id = sys.argv[1:]
with BlockingDeployment(url) as deployment:
    print(deployment.mutation("streaming:stopTask", {"taskId": task_id}))
"""
    command = [sys.executable, "-c", script, stage.deployment.url, stage.task_id]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=True
    )
    assert begun["messageId"] in done.stdout


async def by_message(stage: ReplyStage, begun: dict[str, Any]) -> None:
    stopped = await asyncio.to_thread(
        stage.deployment.value,
        "mutation",
        "streaming:cancelStream",
        {"messageId": begun["messageId"]},
    )
    assert stopped["stopping"] is True


async def by_a_hook(stage: ReplyStage, begun: dict[str, Any]) -> None:
    """As a page does that has just been loaded again: it knows the task alone."""
    async with (
        Deployment(stage.deployment.url) as deployment,
        await use_message_streaming(stage.task_id, deployment=deployment) as hook,
    ):
        assert hook.is_streaming
        await hook.stop_stream()
        await hook.until(lambda h: not h.is_streaming, timeout=20)


async def twice_at_once(stage: ReplyStage, begun: dict[str, Any]) -> None:
    await asyncio.gather(*(by_message(stage, begun) for _ in range(2)))


async def once_and_again_at_the_end(stage: ReplyStage, begun: dict[str, Any]) -> None:
    await by_message(stage, begun)
    await until(lambda: stage.messages()[-1]["status"] == "stopped")
    before = stage.messages(), stage.task()
    again = stage.deployment.value(
        "mutation", "streaming:stopTask", {"taskId": stage.task_id}
    )
    assert again == {"messageIds": []}
    assert (stage.messages(), stage.task()) == before


@pytest.mark.parametrize(
    "stop",
    [
        in_another_process,
        by_message,
        by_a_hook,
        twice_at_once,
        once_and_again_at_the_end,
    ],
)
async def test_a_reply_is_stopped_from(
    stage: ReplyStage, stop: Callable[[ReplyStage, dict[str, Any]], Awaitable[None]]
) -> None:
    async with viewing(stage) as viewer:
        begun = stage.send(LONG)
        await until(lambda: len(text_of(stage.chunks(begun["streamId"]))) > 20)
        await stop(stage, begun)
        await provider_is_left(stage)
        await viewer.until("stopped")
        assert viewer.statuses() == ["streaming", "stopping", "stopped"]
    row = stage.messages()[-1]
    assert row["content"] == text_of(stage.chunks(begun["streamId"]))
    assert len(row["content"]) > 20
    await goes_on(stage)


# --- with a dead producer ---------------------------------------------------------


@pytest.mark.parametrize("fate", ["killed", "frozen"])
async def test_a_reply_without_a_producer_is_stopped(
    stage: ReplyStage, fate: str
) -> None:
    async with viewing(stage) as viewer:
        begun = stage.send(LONG)
        await until(lambda: len(text_of(stage.chunks(begun["streamId"]))) > 20)
        [executor] = executors(stage.deployment.pid)
        os.kill(executor, signal.SIGKILL if fate == "killed" else signal.SIGSTOP)
        accepted = text_of(stage.chunks(begun["streamId"]))
        await viewer.stop(stage)
        assert viewer.statuses() == ["streaming", "stopping"]
        await viewer.until("stopped")
        assert viewer.statuses() == ["streaming", "stopping", "stopped"]
        ended = stage.messages()[-1]
        assert ended["content"] == text_of(stage.chunks(begun["streamId"]))
        assert ended["content"].startswith(accepted)
        if fate == "frozen":
            # It wakes up, finds the reply ended, and hangs up.
            os.kill(executor, signal.SIGCONT)
        await provider_is_left(stage)
        assert stage.messages()[-1] == ended
    await goes_on(stage)


# --- through the application ------------------------------------------------------


async def the_event(stack: Stack, task_id: str) -> None:
    """`stop-stream`, from a client that did not see the reply begin."""
    async with await use_task_socket(task_id, socket_url=stack.app.url) as socket:
        await socket.stop_stream()
        await socket.until(lambda h: h.task_status == "STOPPED", timeout=20)


async def the_hybrid_hook(stack: Stack, task_id: str) -> None:
    async with (
        Deployment(stack.deployment_url) as deployment,
        await use_hybrid_task(
            task_id, deployment=deployment, socket_url=stack.app.url
        ) as hook,
    ):
        await hook.stop_stream()
        await hook.until(lambda h: not h.is_streaming, timeout=20)


@pytest.mark.parametrize("option", [None, 1, 2])
async def test_the_application_is_told_to_stop(
    tmp_path: Path, option: int | None
) -> None:
    # The form before the migration knows no deployment, and none is started.
    url = "http://127.0.0.1:1" if option is None else None
    starting = Stack.start(folder=tmp_path, pace=0, app=False, deployment_url=url)
    async with await starting as stack:
        stack.set_flags(realtime=option is not None, option=option or 1)
        await stack.app.start()
        stop = the_hybrid_hook if option == 2 else the_event
        await asyncio.gather(
            *(stop_in_the_application(stack, moment, stop) for moment in MOMENTS)
        )


async def stop_in_the_application(
    stack: Stack, moment: str, stop: Callable[[Stack, str], Awaitable[None]]
) -> None:
    scenario, _, prompt = MOMENTS[moment]
    task_id = await stack.create_task(moment)

    async def asked() -> list[dict[str, Any]]:
        """What the provider was asked here; other tasks are stopped meanwhile."""
        log = await stack.provider_log()
        return [entry for entry in log if f"({moment})" in entry["prompt"]]

    async with await use_task_socket(task_id, socket_url=stack.app.url) as page:
        model = f"claude-scripted-{scenario}"
        await page.send_message(f"{prompt} ({moment})", model=model)
        while not any(is_under_way(moment, request) for request in await asked()):
            pass
    # The page is closed, and loaded again.
    await stop(stack, task_id)
    async with asyncio.timeout(STOPS_WITHIN + SLACK):
        while any(r["outcome"] == "streaming" for r in await asked()):
            pass
    assert len(await asked()) == 1
    async with await use_task_socket(task_id, socket_url=stack.app.url) as page:
        await page.until_settled()
        now = f"and now? ({moment})"
        await page.send_message(now, model="claude-scripted-text:tokens=3")
        await page.until(lambda h: h.task_status == "COMPLETED", timeout=20)
    [_, last] = await asked()
    assert last["prompt"].endswith(now)


def is_under_way(moment: str, request: dict[str, Any]) -> bool:
    match moment:
        case "before the first token" | "between two tries":
            return True
        case "in a tool":
            return bool(request["outcome"] == "complete")
        case _:
            return bool(request["tokens"])
