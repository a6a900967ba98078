"""The smoke test: do the kit's functions work on this deployment?

Creates a task, has one short reply streamed into it, reads it back, and removes the
task. Works on any deployment by its URL, real or embedded, through what clients use:
the official client's subscriptions and HTTP calls. Sends no model's key: the deployment
takes that from its own environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from kit.app.hooks import (
    HookChange,
    MessageStreaming,
    PartsChanged,
    use_message_streaming,
)
from kit.client import Deployment
from kit.client.credentials import (
    ADMIN_KEY_VARIABLE,
    TOKEN_VARIABLE,
    secrets_in,
)
from kit.errors import (
    ConvexFunctionError,
    DeploymentError,
    DeploymentUnreachable,
    FunctionError,
    KitError,
    RequestRejected,
)
from kit.parts import Chunk, PartsFold

__all__ = ["MODEL", "STEPS", "SmokeTest", "Step"]

MODEL = "claude-haiku-5-5"
PROMPT = "In one or two sentences: what is a rehearsal good for?"
REPLY_TIMEOUT = 90.0
REMOVE_TIMEOUT = 15.0
ROUND_TRIPS = 5

STEPS = (
    "A deployment answers",
    "A task is created",
    "A reply streams to a subscriber",
    "What was streamed is what is stored",
    "The task is removed",
)

OTHER_FUNCTIONS = (
    "The functions of these names are not this kit's, or not this version's: run kit "
    "deploy, or choose another deployment."
)

_KEY_VARIABLE = re.compile(r"\b[A-Z]+_API_KEY\b")
_REQUEST_ID = re.compile(r"^\[Request ID: \w+\] (?:Server Error\s*)?")


@dataclass(frozen=True, slots=True)
class Step:
    """What came of one step; `held` is None if it was not tried."""

    name: str
    held: bool | None = None
    seen: str = ""
    seconds: float = 0.0
    advice: str = ""


class _NotHeld(Exception):
    """The deployment works, and did not do what was expected."""

    def __init__(self, seen: str, advice: str = "") -> None:
        self.seen = seen
        self.advice = advice
        super().__init__(seen)


class SmokeTest:
    """`run` takes the steps; `project` is where the CLI knows the deployment, if known.

    What fails is in the steps. Signs in with what `env` holds (`credentials`). Raises
    ConfigError for what can be no URL, no token or no key.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str = MODEL,
        project: Path | None = None,
        reply_timeout: float = REPLY_TIMEOUT,
        env: Mapping[str, str] = os.environ,
    ) -> None:
        self._deployment = Deployment(url, **secrets_in(env))
        self.url = self._deployment.url
        self._model = model
        self._project = project
        self._reply_timeout = reply_timeout
        self._task: dict[str, Any] = {}
        """The argument that names the task, while there is one."""
        self._steps: list[Step] = []
        self.round_trip: float | None = None
        """Seconds of a mutation that changes nothing, from here and back, the median;
        None until it was measured."""

    async def run(
        self, on_step: Callable[[str], None] = lambda name: None
    ) -> list[Step]:
        """Take the steps, as far as they make sense; one result for each of `STEPS`.

        `on_step` is called with the name of each one that begins. The task is removed
        whatever else fails, also when this is cancelled.
        """
        try:
            await self._take_steps(on_step)
        except asyncio.CancelledError:
            await self._remove_after_all()
            raise
        finally:
            await self._deployment.close()
        taken = {step.name: step for step in self._steps}
        return [taken.get(name, Step(name)) for name in STEPS]

    async def _take_steps(self, on_step: Callable[[str], None]) -> None:
        connect, create, stream, read_back, remove = STEPS

        async def take(name: str, work: Callable[[], Awaitable[str]]) -> bool:
            on_step(name)
            step = await self._take(name, work)
            self._steps.append(step)
            return bool(step.held)

        if not await take(connect, self._connect):
            return
        if not await take(create, self._create):
            return
        if await take(stream, self._stream):
            await take(read_back, self._read_back)
        await take(remove, self._remove)

    async def _take(self, name: str, work: Callable[[], Awaitable[str]]) -> Step:
        started = time.monotonic()
        held, advice = False, ""
        try:
            seen = await work()
            held = True
        except _NotHeld as failure:
            seen, advice = failure.seen, failure.advice
        except (KitError, TimeoutError) as error:
            seen, advice = _shown(error), self._advice(error)
        except (LookupError, TypeError, AttributeError) as error:
            seen = f"an answer of another shape ({type(error).__name__}: {error})"
            advice = OTHER_FUNCTIONS
        return Step(name, held, seen, time.monotonic() - started, advice)

    # --- the steps ----------------------------------------------------------------

    async def _connect(self) -> str:
        await self._deployment.connect()
        return self.url

    async def _create(self) -> str:
        task_id = await self._deployment.mutation(
            "tasks:create", {"title": "kit deploy: smoke test"}
        )
        self._task = {"taskId": task_id}
        with contextlib.suppress(FunctionError):  # other functions: later steps tell
            self.round_trip = await self._time_mutation()
        if self.round_trip is None:
            return f"task {task_id}"
        return f"task {task_id}; a mutation takes {self.round_trip * 1000:.0f} ms"

    async def _time_mutation(self) -> float:
        times = []
        for _ in range(ROUND_TRIPS):
            started = time.perf_counter()
            await self._deployment.mutation("streaming:stopTask", self._task)
            times.append(time.perf_counter() - started)
        return median(times)

    async def _stream(self) -> str:
        chat = await use_message_streaming(
            self._task["taskId"], deployment=self._deployment, model=self._model
        )
        async with chat:
            growth: list[float] = []  # when parts grew

            def note(change: HookChange) -> None:
                if isinstance(change, PartsChanged):
                    growth.append(time.monotonic())

            chat.observe(note)
            sent = time.monotonic()
            await chat.send_message(PROMPT)
            await chat.until(_is_answered, timeout=self._reply_timeout)
            reply = chat.messages[-1]
        if reply["status"] != "complete":
            raise _NotHeld(
                f"The reply {reply['status']}: {reply.get('error', 'no reason given')}",
                self._model_advice(reply),
            )
        if not growth:
            return "complete, too quickly to be seen growing"
        first = growth[0] - sent
        return f"first part after {first:.2f} s, grew {len(growth)} times, complete"

    async def _read_back(self) -> str:
        messages = await self._deployment.query("messages:byTask", self._task)
        if [message["role"] for message in messages] != ["USER", "ASSISTANT"]:
            raise _NotHeld(f"{len(messages)} messages, not the prompt and its reply")
        reply = messages[-1]
        chunks, deltas = await self._log(reply["streamId"])
        streamed = PartsFold(chunks).content()
        if not streamed or streamed != reply["content"]:
            raise _NotHeld(
                f"{len(streamed)} characters were streamed, {len(reply['content'])} "
                "are stored"
            )
        tokens = reply.get("usage", {}).get("totalTokens")
        counted = "" if tokens is None else f", {tokens:g} tokens"
        return f"{len(streamed)} characters in {deltas} deltas{counted}"

    async def _log(self, stream_id: str) -> tuple[list[Chunk], int]:
        """All chunks of a stream, and in how many deltas they were stored."""
        chunks: list[Chunk] = []
        position, more, count = 0.0, True, 0
        while more:
            answer = await self._deployment.query(
                "streaming:catchUp", {"streamId": stream_id, "from": position}
            )
            for delta in answer["deltas"]:
                chunks += delta["chunks"]
            count += len(answer["deltas"])
            position, more = answer["nextSeq"], answer["more"]
        return chunks, count

    async def _remove(self) -> str:
        try:
            async with asyncio.timeout(REMOVE_TIMEOUT):
                await self._remove_when_ended()
                await self._until_empty()
        except TimeoutError:
            raise _NotHeld(
                f"task {self._task['taskId']} is still there after {REMOVE_TIMEOUT:g} s"
            ) from None
        if await self._deployment.query("tasks:get", self._task) is not None:
            raise _NotHeld(f"task {self._task['taskId']} is still there")
        self._task = {}
        return "nothing is left of it"

    async def _remove_when_ended(self) -> None:
        """Remove the task; its reply, if it is still being written, is stopped."""
        while True:
            try:
                await self._deployment.mutation("tasks:remove", self._task)
                return
            except ConvexFunctionError as error:
                if _code(error) != "StreamActive":
                    raise
            await self._deployment.mutation("streaming:stopTask", self._task)
            await asyncio.sleep(0.25)

    async def _until_empty(self) -> None:
        """Wait until a subscriber sees no message of the task any more."""
        async with self._deployment.subscribe("messages:byTask", self._task) as rows:
            async for messages in rows:
                if not messages:
                    return

    async def _remove_after_all(self) -> None:
        if self._task:
            await self._take(STEPS[-1], self._remove)

    # --- what to do about it ------------------------------------------------------

    def _advice(self, error: Exception) -> str:
        match error:
            case DeploymentUnreachable():
                return (
                    "Convex's cloud serves https://<name>.convex.cloud (the dashboard "
                    "shows the URL), the self-hosted container port 3210."
                )
            case FunctionError() if "Could not find public function" in error.message:
                return "The kit's functions are not on this deployment: run kit deploy."
            case ConvexFunctionError() if _code(error) == "Unauthenticated":
                return f"Here, the test signs in with the token in {TOKEN_VARIABLE}."
            case RequestRejected(status=401):
                return (
                    f"It does not take what {TOKEN_VARIABLE}, or {ADMIN_KEY_VARIABLE}, "
                    "holds. A token may have ended."
                )
            case ConvexFunctionError():
                return ""  # says what to do itself
            case FunctionError() if "ArgumentValidationError" in error.message:
                return OTHER_FUNCTIONS
            case FunctionError():
                return f"The deployment's log says more: npx convex logs{self._place}"
            case TimeoutError():
                return (
                    "Is the model slow? Try another with --model. Does nothing happen "
                    f"at all? See the deployment's log: npx convex logs{self._place}"
                )
            case DeploymentError():
                return "Is this a Convex deployment, and is a proxy in between?"
            case _:
                return ""

    def _model_advice(self, reply: dict[str, Any]) -> str:
        """What to do about a reply that failed at the model."""
        # The text names the variables, whether a key is missing or refused.
        variables = list(dict.fromkeys(_KEY_VARIABLE.findall(reply.get("error", ""))))
        if variables:
            commands = "".join(f"\n  npx convex env set {name}" for name in variables)
            return (
                "Keys of models belong into the deployment's environment. Set this one"
                f"{' or that' if len(variables) > 1 else ''}{self._place} (it asks for "
                f"the value):{commands}\n"
                "or choose a model whose key is there with --model. An embedded "
                "deployment takes keys, or KIT_SCRIPTED_URL, from the environment that "
                "it was started in."
            )
        kinds = {part.get("kind") for part in reply.get("parts", [])}
        if "not-found" in kinds:
            return "Choose another model with --model."
        return ""

    @property
    def _place(self) -> str:
        if self._project is None:
            return ", in the folder of its Convex project"
        return f", in {self._project}"


def _is_answered(chat: MessageStreaming) -> bool:
    if not chat.messages or chat.is_live:
        return False
    return bool(chat.messages[-1]["role"] == "ASSISTANT")


def _code(error: ConvexFunctionError) -> str | None:
    return error.data.get("code") if isinstance(error.data, dict) else None


def _shown(error: Exception) -> str:
    """The error's text in one line, without what is the same in each."""
    if isinstance(error, FunctionError):
        return f"{error.path}: {_one_line(_REQUEST_ID.sub('', error.message.strip()))}"
    return _one_line(str(error))


def _one_line(text: str) -> str:
    return " ".join(text.split())
