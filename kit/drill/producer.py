"""Producer runs: what may happen between a producer and the store, made to happen.

A `DeltaWriter` writes a reply through a `_Network` that loses calls and answers,
repeats and delays them, lets old ones come late, and lets strangers append. Clients
cannot reach the functions that write a stream, so this runs them on an engine of its
own, with the kit's functions, a real database file and the real scheduler's jobs, in
this process.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import kit.convex
from kit.deployment.database import Database
from kit.deployment.engine import Engine, FunctionFailure
from kit.deployment.functions import FunctionRegistry
from kit.drill.history import (
    FaultSeen,
    Frame,
    ReplySeen,
    Row,
    RunSeen,
    SendSeen,
    StopSeen,
    ViewerSeen,
    said_of,
)
from kit.drill.schedule import Fault, Plan
from kit.parts import Chunk, PartsFold, TextDelta
from kit.values import decode, to_json
from kit.writer import DeltaWriter, call_patiently

__all__ = ["carry_out_producer", "reply_chunks"]

LEASE_MS = 1000.0
RUN_LIMIT = 30.0  # s
RETRY_FOR = 5.0  # s
JOBS_EVERY = 0.02  # s
LIVE = ("streaming", "stopping")
PAGE = 4  # deltas, as in `streaming:read`
_FUNCTIONS = Path(kit.convex.__file__).parent
_WORDS = ("tide ", "harbour ", "Ω", "語", "👩‍👩‍👧 ", "ü", "rope, ", "a\n", "🙂")


async def carry_out_producer(plan: Plan, folder: Path) -> RunSeen:
    """Carry out a producer plan; `folder` gets the database. Never raises for it."""
    store = _Store(folder)
    run = _ProducerRun(plan, store)
    try:
        async with asyncio.timeout(RUN_LIMIT):
            await run.play()
    except TimeoutError:
        run.seen.problems.append(f"the run did not end within {RUN_LIMIT:g} s")
    except Exception as error:
        run.seen.problems.append(f"{type(error).__name__}: {error}")
    finally:
        await run.close()
        store.close()
    run.seen.seconds = run.clock()
    return run.seen


def reply_chunks(chance: random.Random, count: int) -> list[Chunk]:
    """`count` deltas of reasoning, a tool call and text, with all that frames them."""
    deltas = [chance.choice(_WORDS) for _ in range(count)]
    first, second = sorted(chance.randint(0, count) for _ in range(2))
    arguments = deltas[first:second]
    call = {"toolCallId": "call-0", "toolName": "echo"}
    chunks: list[Any] = [
        {"type": "start-step"},
        {"type": "reasoning-start", "id": "reasoning-0"},
        *(
            {"type": "reasoning-delta", "id": "reasoning-0", "delta": text}
            for text in deltas[:first]
        ),
        {"type": "reasoning-end", "id": "reasoning-0"},
        {"type": "tool-input-start", **call},
        *(
            {"type": "tool-input-delta", "toolCallId": "call-0", "inputTextDelta": text}
            for text in arguments
        ),
        {"type": "tool-input-available", **call, "inputText": "".join(arguments)},
        {"type": "tool-output-available", "toolCallId": "call-0", "outputText": '"ok"'},
        {"type": "text-start", "id": "text-0"},
        *(
            {"type": "text-delta", "id": "text-0", "delta": text}
            for text in deltas[second:]
        ),
        {"type": "text-end", "id": "text-0"},
        {"type": "finish", "finishReason": "stop"},
    ]
    return chunks


class _Store:
    """The kit's functions on a database, and the scheduler's jobs."""

    def __init__(self, folder: Path) -> None:
        registry = FunctionRegistry.load(_FUNCTIONS)
        self._registry = registry
        self._database = Database.open(folder, registry.schema)
        self.engine = Engine(self._database, registry)
        self.engine.on_commit = lambda *_: self.committed()
        self.committed: Callable[[], None] = lambda: None

    def call(self, path: str, args: Mapping[str, Any]) -> Any:
        """The function's value. Raises RuntimeError with what it failed with."""
        function = self._registry.get(path)
        assert function is not None
        value: str | None
        error: FunctionFailure | None
        if function.kind == "query":
            seen = self.engine.run_query(path, to_json(dict(args)), internal=True)
            value, error = seen.value_json, seen.error
        else:
            done = self.engine.run_mutation(path, to_json(dict(args)), internal=True)
            value, error = done.value_json, done.error
        if error is not None or value is None:
            raise RuntimeError(f"{path}: {error.text if error else 'no value'}")
        return decode(value)

    async def run_jobs(self) -> None:
        """Run the mutations that fall due, until cancelled."""
        while True:
            for job in self.engine.due_jobs(time.time() * 1000.0):
                if job.kind == "mutation":
                    self.engine.run_job(job.id)
            await asyncio.sleep(JOBS_EVERY)

    def close(self) -> None:
        self._database.close()


class _Network:
    """What is between the writer and the store; each fault strikes one call."""

    def __init__(self, store: _Store, note: Callable[[str], None]) -> None:
        self._store = store
        self._note = note
        self._armed: list[tuple[Fault, FaultSeen]] = []
        self._late: list[tuple[str, dict[str, Any], int]] = []
        self._count = 0

    def arm(self, fault: Fault, seen: FaultSeen) -> None:
        """The next call that it can strike is struck."""
        self._armed.append((fault, seen))

    async def __call__(self, path: str, args: dict[str, Any]) -> Any:
        await asyncio.sleep(0)
        self._count += 1
        self._deliver_late()
        fault = self._next_fault(path)
        match None if fault is None else fault.kind:
            case "lose-call":
                raise ConnectionError("the call was lost")
            case "lose-ack":
                self._store.call(path, args)
                raise ConnectionError("the answer was lost")
            case "delay-ack":
                answer = self._store.call(path, args)
                assert fault is not None
                await asyncio.sleep(fault.seconds)
                return answer
            case "repeat-call":
                self._store.call(path, args)
                return self._store.call(path, args)
            case "late-repeat":
                self._late.append((path, args, self._count + 2))
            case "early-append":
                # Of a call that is made again, the append may be there already.
                self._intrude("gap", {**args, "seq": args["seq"] + 2})
            case "stale-producer":
                self._intrude("fenced", {**args, "epoch": args["epoch"] - 1})
            case _:
                pass
        return self._store.call(path, args)

    def deliver_all_late(self) -> None:
        """What is still on its way comes now, after the end."""
        self._count += 10
        self._deliver_late()

    def _next_fault(self, path: str) -> Fault | None:
        for index, (fault, seen) in enumerate(self._armed):
            intrudes = fault.kind in ("early-append", "stale-producer")
            if path == "streaming:append" or not intrudes:
                seen.struck = True
                del self._armed[index]
                return fault
        return None

    def _intrude(self, expected: str, args: dict[str, Any]) -> None:
        """An append that is not the producer's turn, with a text of its own."""
        foreign: TextDelta = {"type": "text-delta", "id": "text-9", "delta": "intruder"}
        answer = self._store.call("streaming:append", {**args, "chunks": [foreign]})
        status = answer["status"]
        if status not in (expected, "closed"):
            self._note(f"an append that is {expected} was answered {status}")

    def _deliver_late(self) -> None:
        due = [late for late in self._late if late[2] <= self._count]
        self._late = [late for late in self._late if late[2] > self._count]
        for path, args, _ in due:
            self._store.call(path, args)


class _LogReader:
    """A viewer on the engine: reads rows and pages whenever it is told to."""

    def __init__(
        self, seen: ViewerSeen, store: _Store, task_id: str, clock: Callable[[], float]
    ) -> None:
        self.seen = seen
        self._store = store
        self._task_id = task_id
        self._clock = clock
        self._cursor = 0
        self._fold = PartsFold()
        self._chunks: dict[str, list[Chunk]] = {}
        seen.chunks = self._chunks

    def read(self) -> None:
        """Look at the rows, then at the pages from the cursor on."""
        rows = self._store.call("messages:byTask", {"taskId": self._task_id})
        self.seen.rows = rows
        row: Row | None = next((r for r in rows if r["role"] == "ASSISTANT"), None)
        if row is None:
            return
        stream_id = row["streamId"]
        if stream_id not in self._chunks:
            self._catch_up(stream_id)
        full = True
        while full:
            page = self._cursor // PAGE
            args = {"streamId": stream_id, "page": page}
            self._take(stream_id, self._store.call("streaming:read", args)["deltas"])
            full = self._cursor >= (page + 1) * PAGE
        live = row["status"] in LIVE
        parts = self._fold.snapshot() if live else row["parts"]
        frame = Frame(self._clock(), row["_id"], row["status"], said_of(parts), [])
        self.seen.frames.append(frame)

    def _catch_up(self, stream_id: str) -> None:
        self._chunks[stream_id] = []
        more = True
        while more:
            args = {"streamId": stream_id, "from": self._cursor}
            answer = self._store.call("streaming:catchUp", args)
            self._take(stream_id, answer["deltas"])
            more = answer["more"]

    def _take(self, stream_id: str, deltas: list[Any]) -> None:
        for delta in deltas:
            if delta["seq"] >= self._cursor:
                self._cursor = int(delta["seq"]) + 1
                self._chunks[stream_id] += delta["chunks"]
                for chunk in delta["chunks"]:
                    self._fold.apply(chunk)


class _ProducerRun:
    def __init__(self, plan: Plan, store: _Store) -> None:
        self.seen = RunSeen(plan)
        self._plan = plan
        self._store = store
        self._chance = random.Random(f"producer {plan.seed}")
        self._started = time.monotonic()
        self._network = _Network(store, self.seen.problems.append)
        self._readers: list[_LogReader] = []
        self._jobs = asyncio.create_task(store.run_jobs(), name="drill: jobs")
        self._committed = asyncio.Event()
        store.committed = self._note_commit
        self._task_id = ""

    def clock(self) -> float:
        return time.monotonic() - self._started

    async def close(self) -> None:
        self._jobs.cancel()
        await asyncio.gather(self._jobs, return_exceptions=True)

    def _note_commit(self) -> None:
        self._committed.set()

    async def play(self) -> None:
        title = {"title": f"Drill {self._plan.seed}"}
        self._task_id = self._store.call("tasks:create", title)
        for _ in self._plan.viewers:
            self._join()
        begun = self._begin()
        await self._produce(begun["streamId"])
        await self._until_final(begun["messageId"])
        self._network.deliver_all_late()
        await self._probe()
        self._collect()

    def _join(self) -> None:
        seen = ViewerSeen(f"log {len(self._readers)}", "log", self.clock())
        self.seen.viewers.append(seen)
        reader = _LogReader(seen, self._store, self._task_id, self.clock)
        self._readers.append(reader)
        reader.read()

    def _begin(self) -> Any:
        """As `send` does, and once more: the second one begins nothing."""
        index = len(self.seen.replies)
        client_id = f"drill-{self._plan.seed}-{index}"
        reply = ReplySeen(client_id)
        self.seen.replies.append(reply)
        request = {
            "taskId": self._task_id,
            "prompt": f"Message {index}",
            "model": "drill",
            "clientMessageId": client_id,
            "leaseMs": LEASE_MS,
        }
        for _ in range(2):
            send = SendSeen(self.clock(), self.clock())
            reply.sends.append(send)
            begun = self._store.call("streaming:begin", request)
            send.message_id, send.stream_id = begun["messageId"], begun["streamId"]
            send.reused = begun["reused"]
        return begun

    # --- the producer -----------------------------------------------------------

    async def _produce(self, stream_id: str) -> None:
        chunks = reply_chunks(self._chance, self._plan.replies[0].tokens)
        self.seen.replies[0].generations = ["complete"]
        self.seen.replies[0].spoken = said_of(PartsFold(chunks).snapshot())
        writer = DeltaWriter(
            self._network,
            stream_id,
            1,
            flush_interval=self._chance.choice((0.0, 0.002, 0.01)),
            max_bytes=self._chance.choice((16, 64, 1024)),
            heartbeat_interval=0.1,
            retry_for=RETRY_FOR,
        )
        whole = await self._write(writer, chunks)
        if whole is None:
            return
        await writer.close()
        if writer.state not in ("open", "closed"):
            self.seen.problems.append(f"the writer is {writer.state}: {writer.error}")
        if writer.state == "open":
            outcome = "complete" if whole else "stopped"
            ending = {"streamId": stream_id, "epoch": 1, "outcome": outcome}
            await call_patiently(
                self._network, "streaming:finalize", ending, retry_for=RETRY_FOR
            )

    async def _write(self, writer: DeltaWriter, chunks: list[Chunk]) -> bool | None:
        """Write all of it; False after a stop, None if the producer died."""
        faults = sorted(self._plan.faults, key=lambda fault: fault.at)
        for number, chunk in enumerate(chunks):
            while faults and number >= faults[0].at * len(chunks):
                if not await self._strike(faults.pop(0), writer):
                    return None
            if writer.stop_requested.is_set() or not await writer.write(chunk):
                return False
            if self._chance.random() < 0.3:
                await asyncio.sleep(self._chance.uniform(0.0, 0.006))
            if self._chance.random() < 0.5:
                self._look()
        return True

    async def _strike(self, fault: Fault, writer: DeltaWriter) -> bool:
        """False if the producer is dead now."""
        seen = FaultSeen(fault, self.clock(), True)
        self.seen.faults.append(seen)
        match fault.kind:
            case "dead-producer":
                closing = asyncio.create_task(writer.close())
                await asyncio.sleep(0)
                closing.cancel()
                await asyncio.gather(closing, return_exceptions=True)
                return False
            case "stop":
                stop = StopSeen(self.clock())
                task = {"taskId": self._task_id}
                stop.message_ids = self._store.call("streaming:stopTask", task)[
                    "messageIds"
                ]
                self.seen.stops.append(stop)
            case "late-join":
                self._join()
            case _:
                seen.struck = False  # until there is a call for it
                self._network.arm(fault, seen)
        return True

    # --- the end ----------------------------------------------------------------

    def _look(self) -> None:
        """Some viewers read, others are slower."""
        for reader in self._readers:
            if self._chance.random() < 0.6:
                reader.read()

    async def _until_final(self, message_id: str) -> None:
        while self._status(message_id) in LIVE:
            self._committed.clear()
            await self._committed.wait()
            self._look()

    def _status(self, message_id: str) -> str:
        rows = self._store.call("messages:byTask", {"taskId": self._task_id})
        return str(next(row["status"] for row in rows if row["_id"] == message_id))

    async def _probe(self) -> None:
        begun = self._begin()
        self.seen.replies[-1].is_probe = True
        ending = {"streamId": begun["streamId"], "epoch": 1, "outcome": "complete"}
        self._store.call("streaming:finalize", ending)

    def _collect(self) -> None:
        for reader in self._readers:
            reader.read()
        task = {"taskId": self._task_id}
        self.seen.rows = self._store.call("messages:byTask", task)
        self.seen.task = self._store.call("tasks:get", task)
        for row in self.seen.rows:
            if "streamId" in row:
                args = {"streamId": row["streamId"], "from": 0}
                answer = self._store.call("streaming:catchUp", args)
                self.seen.logs[row["streamId"]] = answer["deltas"]
