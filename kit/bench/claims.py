"""The guide's table of benefits, each claim beside what was measured of it. Pure.

A claim that does not hold is said not to, in words; so is one that holds only in part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kit.bench.figures import Figures
from kit.bench.lines import AFTER, BEFORE, DEPLOYMENT, SERVER, streaming_lines
from kit.bench.presence import Presence
from kit.bench.results import Results
from kit.bench.table import Table

__all__ = ["claims_table"]

Row = tuple[str, str, str, str]

BEFORE_MS = (100.0, 200.0)
AFTER_MS = 50.0


def claims_table(results: Results) -> Table:
    """The rows of the guide's table for which something was measured."""
    rows = [
        *_streaming(results),
        *_updates(results),
        *_storage(results),
        *_real_time(results),
        _code(),
        *_latency(results),
    ]
    columns = ("Aspect", "The guide", "Measured", "Does it hold?")
    return Table("The guide's benefits", columns, rows, texts=4)


def _streaming(results: Results) -> Iterator[Row]:
    kit = next((w for w in reversed(results.written) if w.way == "kit"), None)
    if kit is None:
        return
    measured = (
        f"{kit.tokens:,} tokens: one emit each, or {kit.appends:,} mutations in all"
    )
    said = (
        "Yes. Not one mutation for each token: what comes within the flush interval "
        "is put together."
    )
    yield "Streaming", "Socket.IO emits → Convex mutations", measured, said


def _updates(results: Results) -> Iterator[Row]:
    sql, kit = _longest(results.bytes, "sql"), _longest(results.bytes, "kit")
    if sql is None or kit is None:
        return
    before, after = sql.pushed_per_token or 0.0, kit.pushed_per_token or 0.0
    measured = (
        f"per token and viewer {sql.messages_per_token:.2f} → "
        f"{kit.messages_per_token:.2f} messages, {before:,.0f} → {after:,.0f} bytes"
    )
    said = "Yes."
    if after > before > 0:
        said = (
            f"Yes, at {after / before:.1f} times the bytes: a subscription sends a "
            "page of the log with each change, an event only what is new."
        )
    claim = "Socket event listeners → Convex subscriptions"
    yield "UI updates", claim, measured, said


def _longest(figures: Sequence[Figures], way: str) -> Figures | None:
    return next((found for found in reversed(figures) if found.way == way), None)


def _storage(results: Results) -> Iterator[Row]:
    longest = {written.way: written for written in results.written}
    if not {"guide", "kit"} <= set(longest):
        return
    tokens = longest["guide"].tokens
    kit = next(w for w in results.written if w.way == "kit" and w.tokens == tokens)
    guide = longest["guide"]
    measured = (
        f"bytes of documents written per token, at {tokens:,} tokens: the kit "
        f"{kit.bytes_per_token:,.0f}, the guide's own code {guide.bytes_per_token:,.0f}"
    )
    said = (
        "Yes, but not as the guide's code does it: it rewrites the message for each "
        f"token, {guide.bytes / kit.bytes:,.0f} times the kit's bytes, and more with "
        "each token."
    )
    yield "Data storage", "Prisma (PostgreSQL) → Convex", measured, said


def _real_time(results: Results) -> Iterator[Row]:
    away = {seen.way: seen for seen in results.away}
    if not {"sql", "kit"} <= set(away):
        return
    sql, kit = away["sql"], away["kit"]
    measured = (
        f"away for a while: {sql.lost_live:,} → {kit.lost_live:,} of "
        f"{kit.characters:,} characters never came live; whole again {_when(sql)} → "
        f"{_when(kit)}"
    )
    held = kit.lost_live == 0 and kit.whole_while_streaming
    said = "Yes: this is what the migration is for." if held else "No."
    claim = "Manual Socket.IO sync → built-in reactivity"
    yield "Real-time", claim, measured, said


def _when(seen: Presence) -> str:
    if seen.seconds_until_whole is None:
        return "never"
    if not seen.whole_while_streaming:
        return "only at the end"
    return f"after {seen.seconds_until_whole:.2f} s"


def _code() -> Row:
    lines: dict[tuple[str, str], int] = {}
    method = 0
    for one in streaming_lines():
        place = one.way, one.place
        lines[place] = lines.get(place, 0) + one.lines
        if place == (AFTER, SERVER) and ":" in one.what:
            method += one.lines
    measured = (
        f"lines in the application server: {lines[BEFORE, SERVER]} → {method}, and "
        f"{lines[AFTER, SERVER] - method} so that no lost call answers twice; on the "
        f"deployment: {lines[AFTER, DEPLOYMENT]:,}"
    )
    said = (
        "For the method alone. Code has moved rather than gone: what stores, stops and "
        "recovers a reply is on the deployment now, and does more than before."
    )
    return "Code complexity", "~400 lines of streaming → ~30", measured, said


def _latency(results: Results) -> Iterator[Row]:
    first = {found.way: found.latency for found in reversed(results.streams)}
    sql, kit = first.get("sql"), first.get("kit")
    if sql is None or kit is None:
        return
    measured = (
        f"half of the tokens within {sql.p50:.1f} → {kit.p50:.1f} ms, 99 % within "
        f"{sql.p99:.1f} → {kit.p99:.1f} ms"
    )
    low, high = BEFORE_MS
    before = "yes" if low <= sql.p50 <= high else "not on one machine"
    after = "no"
    if kit.p50 <= AFTER_MS:
        after = "yes" if kit.p99 <= AFTER_MS else "for half of the tokens"
    said = f"Before: {before}. After: {after}."
    if kit.p50 > sql.p50:
        said += " Convex is not faster than Socket.IO here: what it shows is stored."
    yield "Latency", "~100-200 ms → ~10-50 ms", measured, said
