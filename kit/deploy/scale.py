"""What many replies at once need of a Convex deployment, against its limits. Pure.

The operations of one append were measured with the kit's functions (a test measures
them again); what a deployment allows and charges is what Convex publishes at
https://docs.convex.dev/production/state/limits, as of `AS_OF`.

Per reply, `a` appends per second: as many as tokens come, at most one in each flush
interval, and at most one at a time. Each is one mutation and, once for all viewers,
1.25 executions of `streaming:read`: one for the change, a quarter for the next page.
Every viewer gets each change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kit.bench.table import Table

__all__ = [
    "AS_OF",
    "INTERVALS_MS",
    "Load",
    "Need",
    "limits_of",
    "need_of",
    "scale_table",
]

AS_OF = "2026"
INTERVALS_MS = (50.0, 100.0, 250.0, 500.0)

# Per append, beside its text: documents of 380 bytes written, 630 read.
BYTES_WRITTEN, BYTES_READ = 380, 630
# Per execution of streaming:read: the stream's document, and each delta on the page.
STREAM_BYTES, DELTA_BYTES = 245, 190
DELTAS_READ = 2.5
EXECUTIONS = 1.25
TOKEN_BYTES = 4.4
REPLY_SECONDS = 30.0
"""An ordinary reply, for figures per reply."""


@dataclass(frozen=True)
class _Limits:
    """Of a deployment class, and of the plan that it comes with."""

    name: str
    mutations: int
    """At once; so are the next two."""
    queries: int
    actions: int
    scheduled: int
    sessions: int
    written_per_second: float
    """Bytes."""


S16 = _Limits("S16 (Free, Starter)", 16, 16, 64, 8, 1_000, 4 * 2**20)
S256 = _Limits("S256 (Professional)", 256, 256, 512, 256, 10_000, 8 * 2**20)
DOLLARS_PER_CALL = 2.0 / 1e6
DOLLARS_PER_GB = 0.20


@dataclass(frozen=True)
class Load:
    """What is streamed: each reply at a pace, to so many viewers."""

    pace: float = 50.0
    """Tokens per second."""
    viewers: int = 1
    mutation_seconds: float = 0.02
    """How long one append takes, from the action's call to its answer."""


@dataclass(frozen=True)
class Need:
    """Of one reply, per second."""

    appends: float
    calls: float
    """Function calls: appends, subscription updates, and pages begun."""
    executions: float
    written: float
    """Bytes of documents."""
    io: float
    """Bytes of documents read and written."""
    viewers: int
    mutation_seconds: float


def need_of(interval_ms: float, load: Load) -> Need:
    """What one reply needs with this flush interval."""
    apart = max(interval_ms / 1000.0, load.mutation_seconds)
    appends = min(load.pace, 1.0 / apart)
    text = load.pace / appends * TOKEN_BYTES
    written = BYTES_WRITTEN + text
    read = DELTAS_READ * (DELTA_BYTES + text) + EXECUTIONS * STREAM_BYTES
    return Need(
        appends,
        calls=appends * (1 + EXECUTIONS * load.viewers),
        executions=appends * EXECUTIONS,
        written=appends * written,
        io=appends * (written + BYTES_READ + read),
        viewers=load.viewers,
        mutation_seconds=load.mutation_seconds,
    )


def limits_of(need: Need, limits: _Limits) -> dict[str, int]:
    """How many replies at once each limit allows, by what is limited."""
    in_flight = need.appends * need.mutation_seconds
    # A query is over sooner than a mutation: nothing is to be stored.
    asking = need.executions * need.mutation_seconds
    return {
        "mutations": int(limits.mutations / in_flight),
        "queries": int(limits.queries / asking),
        "actions": limits.actions,
        "sessions": limits.sessions // max(need.viewers, 1),
        "bytes written": int(limits.written_per_second / need.written),
    }


def scale_table(load: Load, intervals_ms: Sequence[float] = INTERVALS_MS) -> Table:
    """What each flush interval comes to."""
    rows = []
    for interval in intervals_ms:
        need = need_of(interval, load)
        calls = need.calls * REPLY_SECONDS
        io = need.io * REPLY_SECONDS
        dollars = 1000 * (calls * DOLLARS_PER_CALL + io / 1e9 * DOLLARS_PER_GB)
        rows.append(
            (
                f"{interval:g}",
                f"{need.appends:.3g}",
                f"{calls:,.0f}",
                f"{io / 1e3:,.0f}",
                _at_once(need, S16),
                _at_once(need, S256),
                f"{dollars:.2f}",
            )
        )
    columns = (
        "Flush interval, ms",
        "appends per second",
        f"function calls in {REPLY_SECONDS:g} s",
        f"database I/O in {REPLY_SECONDS:g} s, kB",
        f"replies at once on {S16.name}",
        f"on {S256.name}",
        "US$ per 1,000 replies",
    )
    note = (
        f"Replies at {load.pace:g} tokens/s with {load.viewers} viewer"
        f"{'' if load.viewers == 1 else 's'} each; in brackets, what is used up first."
    )
    return Table("What it costs at scale", columns, rows, texts=0, note=note)


def _at_once(need: Need, limits: _Limits) -> str:
    allowed = limits_of(need, limits)
    tightest = min(allowed, key=lambda what: allowed[what])
    return f"{allowed[tightest]:,} ({tightest})"
