"""Where the kit must be, and where it is: one row for each target. Pure.

A target that is a ratio is one to a rival, measured in the same run on the same
machine. What was not measured is neither met nor missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kit.bench.results import Results
from kit.bench.seen import Latency

__all__ = ["NOT_MEASURED", "Target", "targets"]

NOT_MEASURED = "not measured"
PACED = 50.0
GUIDE_TOKENS = 2_000
BILLED = "kit-billed"
"""Bytes are held to where they cost: with the flush interval that the kit has there."""
ONE = {"pace": PACED, "streams": 1, "viewers": 1, "delay": 0.0}


@dataclass(frozen=True)
class Target:
    """`ratio` is to the rival that the target names; None if it names none."""

    name: str
    wanted: str
    measured: str = NOT_MEASURED
    met: bool | None = None
    ratio: float | None = None


def targets(results: Results) -> list[Target]:
    """All rows."""
    return [
        *_one_reply(results),
        _fifty_replies(results),
        _two_hundred_replies(results),
        *_pushed(results),
        *_written(results),
        *_appends(results),
        _fan_out(results),
        *_deployment(results),
        _import(results),
        *_adapters(results),
    ]


# --- latency ----------------------------------------------------------------------


def _latency(results: Results, way: str, **load: object) -> Latency | None:
    found = results.figures(way, **load)
    return None if found is None else found.latency


def _one_reply(results: Results) -> Iterator[Target]:
    half = "One reply at 50 tokens/s: half of the tokens seen"
    most = "One reply at 50 tokens/s: 99 % seen"
    bare, kit = _latency(results, "bare", **ONE), _latency(results, "kit", **ONE)
    if bare is None or kit is None:
        yield Target(half, "within 4 x bare Socket.IO")
        yield Target(most, "within 25 ms")
        return
    ratio = kit.p50 / bare.p50
    measured = f"{kit.p50:.1f} ms, bare {bare.p50:.1f} ms"
    yield Target(half, "within 4 x bare Socket.IO", measured, ratio <= 4.0, ratio)
    measured = f"{kit.p99:.1f} ms, bare {bare.p99:.1f} ms"
    met = kit.p99 < 25.0
    yield Target(most, "within 25 ms", measured, met, kit.p99 / bare.p99)


def _fifty_replies(results: Results) -> Target:
    name, wanted = "50 replies at 50 tokens/s: 99 % seen", "within the guide's 50 ms"
    bare = _latency(results, "bare", streams=50, pace=PACED)
    kit = _latency(results, "kit", streams=50, pace=PACED)
    if bare is None or kit is None:
        return Target(name, wanted)
    measured = f"{kit.p99:.0f} ms, bare {bare.p99:.0f} ms"
    return Target(name, wanted, measured, kit.p99 <= 50.0, kit.p99 / bare.p99)


def _two_hundred_replies(results: Results) -> Target:
    name = "200 replies at 50 tokens/s"
    # More than a small machine can do: then every way falls behind, and coalescing
    # shows in how slowly.
    wanted = (
        "nothing lost; the last quarter of a reply at most 2 x as late as the first, "
        "or half of what it is with bare Socket.IO"
    )
    bare = results.figures("bare", streams=200, pace=PACED)
    kit = results.figures("kit", streams=200, pace=PACED)
    if bare is None or kit is None or kit.latency is None:
        return Target(name, wanted)
    if bare.drift is None or kit.drift is None:
        return Target(name, wanted)
    measured = (
        f"{kit.lost} characters lost, 99 % within {kit.latency.p99:.0f} ms, the last "
        f"quarter {kit.drift:.1f} x as late, bare {bare.drift:.1f} x"
    )
    met = kit.lost == 0 and kit.drift <= max(2.0, bare.drift / 2)
    return Target(name, wanted, measured, met, kit.drift / bare.drift)


# --- bytes ------------------------------------------------------------------------


def _pushed(results: Results) -> Iterator[Target]:
    kit = [f for f in results.bytes if f.way == BILLED and f.pushed_per_token]
    guide = [f for f in results.bytes if f.way == "guide" and f.pushed_per_token]
    yield from _bytes(
        "Bytes pushed per token and viewer, where appends are billed",
        {f.load.tokens: f.beyond_text or 0.0 for f in kit},
        {f.load.tokens: f.pushed_per_token or 0.0 for f in kit},
        {f.load.tokens: f.pushed_per_token or 0.0 for f in guide},
    )
    name = "The same, compressed as for browsers"
    wanted = "at most 50 beside the text"
    most = max((f.deflated_per_token or 0.0 for f in kit), default=None)
    if most is None:
        yield Target(name, wanted)
    else:
        yield Target(name, wanted, f"{most:.0f}, the text included", most <= 50.0)


def _written(results: Results) -> Iterator[Target]:
    kit = [written for written in results.written if written.way == BILLED]
    guide = [written for written in results.written if written.way == "guide"]
    yield from _bytes(
        "Bytes of documents written per token, where appends are billed",
        {written.tokens: written.beyond_text for written in kit},
        {written.tokens: written.bytes_per_token for written in kit},
        {written.tokens: written.bytes_per_token for written in guide},
    )


def _bytes(
    what: str,
    beyond: Mapping[int, float],
    kit: Mapping[int, float],
    guide: Mapping[int, float],
) -> Iterator[Target]:
    """`beyond`: beside the text; all by the number of tokens of the reply."""
    name, wanted = f"{what}, by length", "no more in a longer reply (10 %)"
    if len(beyond) < 2:
        yield Target(name, wanted)
    else:
        measured = ", ".join(f"{beyond[n]:.0f} B at {n:,}" for n in sorted(beyond))
        met = beyond[max(beyond)] <= 1.1 * beyond[min(beyond)]
        yield Target(name, wanted, measured, met)

    wanted = "at most 50 beside the text"
    if not beyond:
        yield Target(what, wanted)
    else:
        most = max(beyond.values())
        yield Target(what, wanted, f"{most:.0f} beside the text", most <= 50.0)

    name = f"{what}, beside the guide's way"
    wanted = f"100 times fewer at {GUIDE_TOKENS:,} tokens"
    both = set(kit) & set(guide)
    if not both:
        yield Target(name, wanted)
    else:
        length = max(both)
        fewer = guide[length] / kit[length]
        measured = (
            f"{fewer:.0f} times fewer at {length:,} tokens: {kit[length]:,.0f} B and "
            f"{guide[length]:,.0f} B"
        )
        long_enough = length >= GUIDE_TOKENS
        met_there = fewer >= 100.0 if long_enough else None
        yield Target(name, wanted, measured, met_there, 1 / fewer)


# --- the deployment ---------------------------------------------------------------


def _appends(results: Results) -> Iterator[Target]:
    wanted = "the same as with ten (10 %)"
    by_what = {cost.what: cost for cost in results.append_costs if cost.count > 10}
    if not by_what:
        yield Target("Time of one append", wanted)
    for what, cost in by_what.items():  # the last of each is the one with the most
        base = cost.microseconds / cost.ratio
        measured = f"{cost.microseconds:.0f} µs with {cost.count:,}, {base:.0f} µs"
        met = cost.ratio <= 1.1
        yield Target(
            f"Time of one append, by {what}", wanted, measured, met, cost.ratio
        )


def _fan_out(results: Results) -> Target:
    name, wanted = "Many viewers of one reply", "one query execution per update"
    if not results.fan_out:
        return Target(name, wanted)
    most = max(results.fan_out, key=lambda found: found.viewers)
    measured = f"{most.per_append:.2f} per append with {most.viewers} viewers"
    # A page that begins is one more, for all of them together.
    return Target(name, wanted, measured, most.per_append <= 1.5)


def _deployment(results: Results) -> Iterator[Target]:
    rate = "Small durable mutations over 8 connections"
    found = results.deployment
    if found is None:
        yield Target(rate, "at least 3,000 per second")
        yield Target("Deployment ready", "within 0.5 s")
        yield Target("Deployment idle", "under 80 MB")
        return
    measured = (
        f"{found.mutations_per_second:,.0f} per second on "
        f"{found.deployment_cores:.2f} cores"
    )
    met = found.mutations_per_second >= 3000
    yield Target(rate, "at least 3,000 per second", measured, met)
    measured, met = f"{found.ready_seconds:.2f} s", found.ready_seconds <= 0.5
    yield Target("Deployment ready", "within 0.5 s", measured, met)
    measured = (
        f"{found.idle_mb:.0f} MB, and {found.idle_executor_mb:.0f} MB where actions run"
    )
    yield Target("Deployment idle", "under 80 MB", measured, found.idle_mb < 80.0)


def _import(results: Results) -> Target:
    seconds = results.import_seconds
    if seconds is None:
        return Target("import kit", "under 0.3 s")
    return Target("import kit", "under 0.3 s", f"{seconds:.3f} s", seconds < 0.3)


def _adapters(results: Results) -> Iterator[Target]:
    wanted = "at most 1.2 x the SDK per token"
    if not results.adapters:
        yield Target("Provider adapters", wanted)
    for cost in results.adapters:
        measured = f"{cost.adapter:.0f} µs, the SDK {cost.sdk:.0f} µs"
        met = cost.ratio <= 1.2
        yield Target(f"Adapter, {cost.wire}", wanted, measured, met, cost.ratio)
