from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kit.errors import ConvexFunctionError, DeploymentUnreachable, RequestRejected
from kit.parts import Chunk, PartsFold, TextDelta
from kit.writer import DeltaWriter, call_patiently

pytestmark = pytest.mark.timeout(10)

NEVER = 3600.0


class Store:
    """The append protocol, in memory. `gate` holds calls; `faults` are raised once."""

    def __init__(self) -> None:
        self.deltas: list[list[Chunk]] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.state = "ok"
        self.stop = False
        self.in_flight = 0
        self.most_in_flight = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.faults: list[Exception] = []
        self.lost_replies: list[Exception] = []
        self.changed = asyncio.Condition()

    async def __call__(self, path: str, args: dict[str, Any]) -> Any:
        self.calls.append((path, args))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await self._notify()
        try:
            await self.gate.wait()
            if self.faults:
                raise self.faults.pop(0)
            reply = self._apply(path, args)
            if self.lost_replies:
                raise self.lost_replies.pop(0)
            return reply
        finally:
            self.in_flight -= 1
            await self._notify()

    def _apply(self, path: str, args: dict[str, Any]) -> dict[str, Any]:
        status = self.state
        if status == "ok" and path == "streaming:append":
            if args["seq"] > len(self.deltas):
                status = "gap"
            elif args["seq"] == len(self.deltas):
                self.deltas.append(args["chunks"])
        return {
            "status": status,
            "stop": self.stop,
            "nextSeq": float(len(self.deltas)),
        }

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with self.changed:
            await self.changed.wait_for(condition)

    @property
    def appends(self) -> list[dict[str, Any]]:
        return [args for path, args in self.calls if path == "streaming:append"]

    @property
    def heartbeats(self) -> int:
        return sum(path == "streaming:heartbeat" for path, _ in self.calls)

    def text(self) -> str:
        return PartsFold(chunk for batch in self.deltas for chunk in batch).content()


def delta(text: str) -> TextDelta:
    return {"type": "text-delta", "id": "text-0", "delta": text}


START: Chunk = {"type": "text-start", "id": "text-0"}


def quiet(store: Store, **options: Any) -> DeltaWriter:
    """A writer whose timers do not run out while a test lasts."""
    defaults = {"flush_interval": NEVER, "heartbeat_interval": NEVER}
    return DeltaWriter(store, "s1", 1, **(defaults | options))


async def test_the_first_chunk_of_a_part_is_flushed_at_once() -> None:
    store = Store()
    async with quiet(store) as writer:
        await writer.write(START)
        await writer.write(delta("Hi"))
        await store.until(lambda: len(store.deltas) == 1)
    assert store.deltas == [[START, delta("Hi")]]
    assert store.appends[0] == {
        "streamId": "s1",
        "epoch": 1,
        "seq": 0,
        "chunks": [START, delta("Hi")],
    }


async def test_later_text_waits_for_the_timer_and_not_for_the_next_token() -> None:
    store = Store()
    async with quiet(store, flush_interval=0.02) as writer:
        await writer.write(START)
        await store.until(lambda: len(store.deltas) == 1)
        await writer.write(delta("a"))
        await writer.write(delta("b"))
        await store.until(lambda: len(store.deltas) == 2)
    assert store.deltas[1] == [delta("ab")]


async def test_the_interval_counts_from_the_last_flush() -> None:
    store = Store()
    loop = asyncio.get_running_loop()
    async with quiet(store, flush_interval=0.2) as writer:
        await writer.write(START)
        await store.until(lambda: len(store.deltas) == 1)
        began = loop.time()
        await writer.write(delta("a"))
        assert len(store.deltas) == 1
        await store.until(lambda: len(store.deltas) == 2)
    assert 0.1 < loop.time() - began < 1.0


async def test_a_full_kibibyte_is_flushed_without_waiting() -> None:
    store = Store()
    async with quiet(store, max_bytes=100) as writer:
        await writer.write(START)
        await store.until(lambda: len(store.deltas) == 1)
        await writer.write(delta("x" * 10))
        await writer.write(delta("x" * 100))
        await store.until(lambda: len(store.deltas) == 2)
    assert store.text() == "x" * 110


@pytest.mark.parametrize(
    "chunk",
    [
        {
            "type": "tool-input-available",
            "toolCallId": "c",
            "toolName": "t",
            "inputText": "{}",
        },
        {"type": "tool-output-available", "toolCallId": "c", "outputText": "1"},
        {"type": "tool-output-error", "toolCallId": "c", "errorText": "boom"},
        {"type": "error", "id": "error-0", "errorText": "boom", "kind": "server"},
        {"type": "finish", "finishReason": "stop"},
    ],
    ids=lambda chunk: str(chunk["type"]),
)
async def test_what_a_viewer_waits_for_is_flushed_at_once(chunk: Chunk) -> None:
    store = Store()
    async with quiet(store) as writer:
        await writer.write(delta("before"))
        await writer.write(chunk)
        await store.until(lambda: len(store.deltas) > 0)
        await store.until(lambda: store.deltas[-1][-1] == chunk)


async def test_one_append_is_in_flight_and_the_rest_is_merged() -> None:
    store = Store()
    store.gate.clear()
    async with quiet(store, flush_interval=0.0, max_bytes=1) as writer:
        await writer.write(START)
        await store.until(lambda: store.in_flight == 1)
        for letter in "abcdef":
            await writer.write(delta(letter))
        store.gate.set()
        await store.until(lambda: len(store.deltas) == 2)
    assert store.deltas == [[START], [delta("abcdef")]]
    assert store.most_in_flight == 1
    assert [args["seq"] for args in store.appends] == [0, 1]


async def test_a_full_buffer_makes_the_reader_wait() -> None:
    store = Store()
    store.gate.clear()
    async with quiet(store, max_buffer=100, max_bytes=10) as writer:
        await writer.write(delta("x" * 200))
        await store.until(lambda: store.in_flight == 1)
        await writer.write(delta("y" * 200))
        blocked = asyncio.create_task(writer.write(delta("z")))
        done, _ = await asyncio.wait({blocked}, timeout=0.05)
        assert not done
        store.gate.set()
        assert await blocked
    assert store.text() == "x" * 200 + "y" * 200 + "z"


async def test_a_big_chunk_is_spread_over_small_appends() -> None:
    store = Store()
    text = "é😀" * 5000
    async with quiet(store, max_append_bytes=4096) as writer:
        await writer.write(START)
        await writer.write(delta(text))
    assert store.text() == text
    sizes = [
        sum(len(c["delta"].encode()) for c in args["chunks"] if "delta" in c)
        for args in store.appends
    ]
    assert max(sizes) <= 4096
    assert len(sizes) > 5


async def test_a_surrogate_pair_cut_by_the_provider_arrives_whole() -> None:
    store = Store()
    async with quiet(store) as writer:
        for text in ("a\ud83d", "\ude00", "\ud83d"):
            await writer.write(delta(text))
    assert store.text() == "a😀\ufffd"


async def test_a_lost_reply_is_sent_again_with_the_same_seq() -> None:
    store = Store()
    store.lost_replies = [ConnectionResetError("cut")]
    async with quiet(store) as writer:
        await writer.write(START)
        await writer.write(delta("once"))
    assert [args["seq"] for args in store.appends] == [0, 0]
    assert store.appends[0] == store.appends[1]
    assert store.text() == "once"
    assert (writer.state, writer.seq) == ("open", 1)


async def test_an_unreachable_deployment_is_tried_again() -> None:
    store = Store()
    store.faults = [
        DeploymentUnreachable("http://x", "refused"),
        RequestRejected(503, "OptimisticConcurrencyControlFailure", "busy"),
        TimeoutError(),
    ]
    async with quiet(store) as writer:
        await writer.write(delta("kept"))
    assert store.text() == "kept"


async def test_the_writer_gives_up_after_a_while_and_says_so() -> None:
    store = Store()
    store.faults = [ConnectionResetError(f"cut {n}") for n in range(50)]
    async with quiet(store, retry_for=0.1) as writer:
        await writer.write(START)
        await writer.lost.wait()
        assert writer.state == "failed"
        assert isinstance(writer.error, ConnectionResetError)
        assert not await writer.write(delta("x"))
    assert store.deltas == []


async def test_what_the_function_itself_raises_is_not_tried_again() -> None:
    store = Store()
    store.faults = [ConvexFunctionError("streaming:append", "no", {"code": "NotFound"})]
    async with quiet(store) as writer:
        await writer.write(START)
        await writer.lost.wait()
    assert len(store.calls) == 1
    assert isinstance(writer.error, ConvexFunctionError)


@pytest.mark.parametrize("state", ["closed", "fenced", "full"])
async def test_a_stream_that_takes_nothing_more_ends_the_writer(state: str) -> None:
    store = Store()
    store.state = state
    async with quiet(store) as writer:
        await writer.write(START)
        await writer.lost.wait()
        assert writer.state == state
        assert writer.error is None
        assert not await writer.write(delta("x"))
    assert writer.fenced == (state == "fenced")
    assert len(store.calls) == 1


async def test_a_gap_is_an_error_since_the_lost_text_cannot_be_sent_again() -> None:
    store = Store()
    async with quiet(store) as writer:
        await writer.write(START)
        await store.until(lambda: len(store.deltas) == 1)
        store.deltas.clear()
        await writer.write({"type": "finish", "finishReason": "stop"})
        await writer.lost.wait()
    assert writer.state == "failed"
    assert "expects seq 0, not 1" in str(writer.error)


async def test_a_reader_waiting_for_room_is_freed_when_the_stream_is_lost() -> None:
    store = Store()
    store.gate.clear()
    store.state = "fenced"
    async with quiet(store, max_buffer=10) as writer:
        await writer.write(delta("x" * 100))
        await store.until(lambda: store.in_flight == 1)
        await writer.write(delta("y" * 100))
        blocked = asyncio.create_task(writer.write(delta("z")))
        store.gate.set()
        assert not await blocked


async def test_a_silent_producer_sends_heartbeats() -> None:
    store = Store()
    async with quiet(store, heartbeat_interval=0.01):
        await store.until(lambda: store.heartbeats >= 3)
    assert store.calls[0] == ("streaming:heartbeat", {"streamId": "s1", "epoch": 1})


async def test_a_stop_is_learned_from_an_append() -> None:
    store = Store()
    store.stop = True
    async with quiet(store) as writer:
        await writer.write(START)
        await writer.stop_requested.wait()
        assert await writer.write(delta("kept"))
    assert store.text() == "kept"


async def test_a_stop_is_learned_from_a_heartbeat_while_silent() -> None:
    store = Store()
    async with quiet(store, heartbeat_interval=0.01) as writer:
        store.stop = True
        await writer.stop_requested.wait()


async def test_beat_makes_the_flags_current() -> None:
    store = Store()
    store.stop, store.state = True, "closed"
    async with quiet(store) as writer:
        await writer.beat()
        assert writer.stop_requested.is_set()
        assert writer.lost.is_set()


async def test_close_flushes_and_may_be_called_twice() -> None:
    store = Store()
    writer = quiet(store)
    await writer.write(START)
    await store.until(lambda: len(store.deltas) == 1)
    await writer.write(delta("tail"))
    await writer.close()
    await writer.close()
    assert store.text() == "tail"
    assert not await writer.write(delta("late"))
    assert store.text() == "tail"


async def test_cancelling_close_ends_the_task() -> None:
    store = Store()
    store.gate.clear()
    writer = quiet(store)
    await writer.write(START)
    closing = asyncio.create_task(writer.close())
    await store.until(lambda: store.in_flight == 1)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await store.until(lambda: store.in_flight == 0)


async def test_the_interval_grows_with_the_reply_so_that_deltas_stay_few() -> None:
    store = Store()
    async with quiet(store, flush_interval=0.001) as writer:
        assert writer._interval() == 0.001
        writer.seq = 1024
        assert writer._interval() == 0.061


async def test_the_repr_tells() -> None:
    async with quiet(Store()) as writer:
        assert repr(writer) == "<DeltaWriter s1 open seq=0 buffered=0>"


async def test_call_patiently_returns_the_first_answer() -> None:
    store = Store()
    store.faults = [ConnectionResetError(), ConnectionResetError()]
    reply = await call_patiently(store, "streaming:heartbeat", {}, retry_for=5)
    assert reply["status"] == "ok"
    assert len(store.calls) == 3


async def test_call_patiently_does_not_repeat_a_rejected_request() -> None:
    store = Store()
    store.faults = [RequestRejected(400, "BadArgs", "no")]
    with pytest.raises(RequestRejected):
        await call_patiently(store, "streaming:append", {}, retry_for=5)
    assert len(store.calls) == 1
