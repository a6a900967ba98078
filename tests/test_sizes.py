"""What is very large, or very many: nothing is lost, and the cost stays in bounds."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from convex_functions import ActionCtx
from stream_viewers import Deployed, Viewer

from kit.agent import Tool, stream_reply
from kit.llm.wire import ToolResult, ToolSpec
from kit.parts import Chunk, PartsFold
from kit.writer import DeltaWriter

pytestmark = pytest.mark.timeout(60)

MIB = 1024 * 1024
LEASE = 3_600_000.0


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Deployed]:
    deployed = Deployed(tmp_path)
    yield deployed
    deployed.close()


@pytest.fixture
def task_id(deployed: Deployed) -> str:
    created: str = deployed.call("tasks:create", title="t")
    return created


def begin(deployed: Deployed, task_id: str) -> Any:
    args = {"taskId": task_id, "prompt": "p", "model": "m", "leaseMs": LEASE}
    return deployed.call("streaming:begin", args)


def finalize(deployed: Deployed, begun: Any, outcome: str = "complete") -> None:
    args = {"streamId": begun["streamId"], "epoch": 1, "outcome": outcome}
    assert deployed.call("streaming:finalize", args)["status"] == "ok"


def reply(deployed: Deployed, task_id: str) -> dict[str, Any]:
    """The newest message."""
    (row,) = deployed.call("messages:byTask", taskId=task_id, limit=1)
    assert isinstance(row, dict)
    return row


def text(delta: str, part_id: str = "text-0") -> Chunk:
    return {"type": "text-delta", "id": part_id, "delta": delta}


class Observed(ActionCtx):
    """A producer's `ctx`: after each of its calls, a viewer looks."""

    def __init__(self, deployed: Deployed, viewer: Viewer) -> None:
        super().__init__(deployed)
        self._viewer = viewer

    async def run_mutation(self, path: str, args: dict[str, Any]) -> Any:
        answer = await super().run_mutation(path, args)
        self._viewer.look()
        return answer


# --- one long reply ---------------------------------------------------------------


def tokens(count: int) -> list[str]:
    return [f"{'wörd' if n % 7 else '😀'} " for n in range(count)]


def test_folding_200_000_tokens_takes_a_moment() -> None:
    deltas = [text(token) for token in tokens(200_000)]
    started = time.perf_counter()
    fold = PartsFold()
    shown = ""
    for number, delta in enumerate(deltas):
        change = fold.apply(delta)
        assert change is not None
        if number % 1000 == 0:  # a viewer reads the part now and then
            shown = str(fold.part("text-0").get("text"))
    assert fold.content() == "".join(tokens(200_000))
    assert fold.content().startswith(shown)
    assert time.perf_counter() - started < 10


async def test_200_000_tokens_are_kept_and_cost_what_they_weigh(
    deployed: Deployed, task_id: str
) -> None:
    begun = begin(deployed, task_id)
    viewer = Viewer(deployed, task_id)
    viewer.look()
    before = len(deployed.followed)
    ctx = Observed(deployed, viewer)
    whole = "".join(tokens(200_000))
    async with DeltaWriter(ctx.run_mutation, begun["streamId"], 1) as writer:
        for number, token in enumerate(tokens(200_000)):
            assert await writer.write(text(token))
            if number % 100 == 0:
                await asyncio.sleep(0)
    assert viewer.fold.content() == whole

    size = len(whole.encode())
    log = deployed.rows("streamDeltas")
    stored = [chunk["delta"] for delta in log for chunk in delta["chunks"]]
    assert "".join(stored) == whole
    assert len(log) <= 4096
    # A page is sent as it grows, up to four times: linear, whatever the length.
    pushed = deployed.followed[before:]
    assert {path for path, _ in pushed} == {"streaming:read"}
    assert sum(length for _, length in pushed) < 3 * size + 500 * len(log)

    finalize(deployed, begun)
    viewer.look()
    assert viewer.rows[-1]["content"] == whole
    (part,) = viewer.rows[-1]["parts"]
    assert (part["text"], part["state"]) == (whole, "done")


@pytest.mark.parametrize("mebibytes", [1, 3])
async def test_a_part_larger_than_a_document_is_kept_whole(
    deployed: Deployed, task_id: str, mebibytes: int
) -> None:
    begun = begin(deployed, task_id)
    ctx = ActionCtx(deployed)
    whole = "aé😀\n" * (mebibytes * MIB // 8) + "the end"
    async with DeltaWriter(ctx.run_mutation, begun["streamId"], 1) as writer:
        await writer.write(text(whole))
    finalize(deployed, begun)
    assert reply(deployed, task_id)["content"] == whole
    assert len(deployed.rows("messageParts")) > 1


async def test_a_reply_beyond_all_bounds_ends_with_what_fits(
    deployed: Deployed, task_id: str
) -> None:
    begun = begin(deployed, task_id)
    ctx = ActionCtx(deployed)
    async with DeltaWriter(ctx.run_mutation, begun["streamId"], 1) as writer:
        for _ in range(6):
            await writer.write(text("😀" * (MIB // 4)))
    assert writer.state == "full"
    finalize(deployed, begun, "failed")
    content = reply(deployed, task_id)["content"]
    assert set(content) == {"😀"}
    assert 3 * MIB < len(content.encode()) <= 4 * MIB


# --- tools ------------------------------------------------------------------------


class OneCall:
    """A model that calls the tool, and then says a word."""

    def __init__(self) -> None:
        self.read: list[str] = []

    async def step(self) -> AsyncGenerator[Chunk, None]:
        if self.read:
            yield text("done", "0")
            yield {"type": "finish-step", "finishReason": "stop"}
            return
        call = {"toolCallId": "c", "toolName": "large"}
        yield {"type": "tool-input-start", "toolCallId": "c", "toolName": "large"}
        yield {"type": "tool-input-available", **call, "inputText": "{}"}  # type: ignore[misc]
        yield {"type": "finish-step", "finishReason": "tool-calls"}

    def add_tool_results(self, results: Sequence[ToolResult]) -> None:
        self.read += [result.text for result in results]


@pytest.mark.parametrize("piece", ["x", "語", "😀", '"', "\0"], ids=ascii)
async def test_a_tool_result_of_5_megabytes_is_cut_and_still_json(
    deployed: Deployed, task_id: str, piece: str
) -> None:
    whole = piece * 5_000_000
    large = Tool(ToolSpec("large", "", {"type": "object"}), lambda _: whole)
    begun = begin(deployed, task_id)
    model = OneCall()
    ctx = ActionCtx(deployed)
    async with DeltaWriter(ctx.run_mutation, begun["streamId"], 1) as writer:
        async for chunk in stream_reply(model, {"large": large}):
            assert await writer.write(chunk)
    finalize(deployed, begun)
    row = reply(deployed, task_id)
    result = next(part for part in row["parts"] if part["type"] == "tool-result")
    assert json.loads(result["resultText"]) == {
        "truncated": True,
        "characters": 5_000_000,
        "text": piece * 100_000,
    }
    assert model.read == [result["resultText"]]
    assert row["content"] == "done"


# --- surrogate pairs --------------------------------------------------------------

EMOJI = "a😀é👩\u200d👩\u200d👧 𝄞b🇩🇪"


def utf16(text: str) -> list[str]:
    """Its UTF-16 units, as providers that cut anywhere send them."""
    data = text.encode("utf-16-le")
    pairs = (data[at : at + 2] for at in range(0, len(data), 2))
    return [pair.decode("utf-16-le", "surrogatepass") for pair in pairs]


UNITS = utf16(EMOJI)
SPLITS = [[*range(1, len(UNITS))], *([at] for at in range(1, len(UNITS)))]


@pytest.mark.parametrize("flush_interval", [0.0, 3600.0])
async def test_a_pair_that_is_split_anywhere_arrives_whole(
    deployed: Deployed, task_id: str, flush_interval: float
) -> None:
    """Between two deltas, appended apart or together; of text, thoughts, arguments."""
    begun = begin(deployed, task_id)
    viewer = Viewer(deployed, task_id)
    viewer.look()
    ctx = Observed(deployed, viewer)
    async with DeltaWriter(
        ctx.run_mutation, begun["streamId"], 1, flush_interval=flush_interval
    ) as writer:
        for number, splits in enumerate(SPLITS):
            ends = zip([0, *splits], [*splits, len(UNITS)], strict=True)
            for start, end in ends:
                piece = "".join(UNITS[start:end])
                await writer.write(text(piece, f"text-{number}"))
                await asyncio.sleep(0)
            await writer.write(
                {"type": "reasoning-delta", "id": f"reasoning-{number}", "delta": ""}
            )
            for unit in UNITS:
                await writer.write(
                    {
                        "type": "tool-input-delta",
                        "toolCallId": f"call-{number}",
                        "inputTextDelta": unit,
                    }
                )
    finalize(deployed, begun)
    parts = {part["id"]: part for part in reply(deployed, task_id)["parts"]}
    for number in range(len(SPLITS)):
        assert parts[f"text-{number}"]["text"] == EMOJI
        assert viewer.fold.part(f"text-{number}").get("text") == EMOJI
        assert parts[f"call-{number}"]["argsText"] == EMOJI
    assert len(SPLITS) == len(UNITS) > len(EMOJI)


# --- very many --------------------------------------------------------------------


def test_a_history_of_10_000_messages_costs_as_much_as_a_short_one(
    deployed: Deployed, task_id: str
) -> None:
    short = deployed.call("tasks:create", title="short")
    inserted: list[str] = []
    for task, count in ((short, 100), (task_id, 10_000)):
        for sequence in range(count):
            role = "ASSISTANT" if sequence % 2 else "USER"
            document = {"taskId": task, "role": role, "sequence": sequence}
            document |= {"content": f"message {sequence}", "status": "complete"}
            if role == "ASSISTANT":
                document["parts"] = []
            args = {"table": "chatMessages", "document": document}
            inserted.append(deployed.call("test:insert", args))

    def seconds(task: str) -> float:
        times = []
        for _ in range(15):
            started = time.perf_counter()
            begun = begin(deployed, task)
            listed = deployed.call("messages:byTask", taskId=task)
            told = deployed.call("streaming:context", messageId=begun["messageId"])
            finalize(deployed, begun)
            times.append(time.perf_counter() - started)
            assert len(listed) == 50
            assert len(told["turns"]) <= 64
        return median(times)

    assert seconds(task_id) < 5 * seconds(short)
    # What it reads does not reach down to the beginning.
    read = deployed.read_set("messages:byTask", taskId=task_id)
    deployed.writes.clear()
    deployed.engine.on_commit = lambda _, written: deployed.writes.append(written)
    deployed.call("test:patch", id=inserted[100], fields={"content": "changed"})
    assert not read.overlaps(deployed.writes[0])


def test_200_viewers_of_one_stream_share_one_execution_per_update(
    deployed: Deployed, task_id: str
) -> None:
    begun = begin(deployed, task_id)
    viewers = [Viewer(deployed, task_id) for _ in range(200)]

    def runs() -> list[str]:
        for viewer in viewers:
            viewer.look()
        paths = [path for path, _ in deployed.followed]
        deployed.followed.clear()
        return paths

    assert runs() == ["messages:byTask", "streaming:read"]
    stream = {"streamId": begun["streamId"], "epoch": 1}
    for seq in range(10):
        args = {**stream, "seq": seq, "chunks": [text(f"{seq} ")]}
        deployed.call("streaming:append", args)
        # The last delta of a page makes all viewers go on to the next.
        pages = 2 if seq % 4 == 3 else 1
        assert runs() == ["streaming:read"] * pages
        deployed.call("streaming:heartbeat", stream)
        assert runs() == []
    deployed.call("streaming:stopTask", taskId=task_id)
    # The page has looked at the stream for its owner: a stop touches that, once.
    assert runs() == ["messages:byTask", "streaming:read"]
    finalize(deployed, begun)
    assert runs() == ["messages:byTask"]
    said = "".join(f"{seq} " for seq in range(10))
    assert {viewer.rows[-1]["content"] for viewer in viewers} == {said}
    assert {viewer.fold.content() for viewer in viewers} == {""}
