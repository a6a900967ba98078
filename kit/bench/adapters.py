"""What the provider adapters add to the SDKs: processor time per token.

The same scripted reply is read twice in this process, as fast as it comes: once the
events of the SDK alone, once as chunks, through the adapter. HTTP and the parsing of
events are in both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol, cast

from kit.llm.providers import WireName
from kit.llm.route import load_sdk, open_wire, route
from kit.llm.step import EventStream
from kit.llm.wire import Turn, Wire
from kit.stack import SCRIPTED_URL

__all__ = ["AdapterCost", "adapter_costs"]

PROMPT = "Go on."
MODELS = ("openai/scripted-text", "claude-scripted-text", "gpt-scripted-text")


@dataclass(frozen=True)
class AdapterCost:
    """Processor time for one token of a reply, in microseconds."""

    wire: WireName
    sdk: float
    adapter: float
    """The SDK's included."""

    @property
    def ratio(self) -> float:
        return self.adapter / self.sdk


class _OpenWire(Wire, Protocol):
    """What every adapter has beside the protocol: the SDK's own stream."""

    async def open(self, request: dict[str, Any]) -> EventStream: ...


async def adapter_costs(url: str, *, tokens: int, rounds: int) -> list[AdapterCost]:
    """For each wire; `url` is a scripted provider's. The medians of the rounds."""
    return [
        await _cost(f"{model}:tokens={tokens},pace=0", url, tokens, rounds)
        for model in MODELS
    ]


async def _cost(model: str, url: str, tokens: int, rounds: int) -> AdapterCost:
    chosen = route(model, {}, {SCRIPTED_URL: url})
    await asyncio.to_thread(load_sdk, chosen.wire)
    wire = cast(_OpenWire, open_wire(chosen))
    sdk, adapter = [], []
    try:
        await _time(_events(wire, chosen.wire, chosen.model))  # warms both up
        for _ in range(rounds):
            events = _events(wire, chosen.wire, chosen.model)
            sdk.append(await _time(events) / tokens)
            adapter.append(await _time(_chunks(wire, chosen.model)) / tokens)
    finally:
        await wire.aclose()
    return AdapterCost(chosen.wire, median(sdk) * 1e6, median(adapter) * 1e6)


async def _time(read: AsyncIterator[Any]) -> float:
    """Processor seconds of this process until it is read to its end."""
    started = time.process_time()
    async for _ in read:
        pass
    return time.process_time() - started


async def _events(wire: _OpenWire, name: WireName, model: str) -> AsyncIterator[Any]:
    field = "input" if name == "responses" else "messages"
    message = {"role": "user", "content": PROMPT}
    stream = await wire.open({"model": model, field: [message]})
    try:
        while True:
            try:
                yield await anext(cast(AsyncIterator[Any], stream))
            except StopAsyncIteration:
                return
    finally:
        await stream.close()


async def _chunks(wire: _OpenWire, model: str) -> AsyncIterator[Any]:
    turns = [Turn("user", PROMPT)]
    conversation = wire.conversation(model=model, system=None, turns=turns)
    async with aclosing(conversation.step()) as chunks:
        async for chunk in chunks:
            yield chunk
