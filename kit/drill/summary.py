"""What many runs came to: the table of faults, figures, `results.json`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from kit.drill.history import Frame, RunSeen, reply_row
from kit.drill.invariants import Violation, lost_characters
from kit.drill.schedule import FAULTS, FaultKind

__all__ = ["WHAT", "FaultCount", "figures", "results", "table"]

WHAT: dict[FaultKind, str] = {
    "error-mid": "the provider sends an error in the stream",
    "drop": "the provider's connection is cut",
    "eof": "the provider's stream ends without its last event",
    "stall": "the provider falls silent",
    "http-401": "the provider refuses the key",
    "http-429": "the provider refuses each try: rate limit",
    "http-529": "the provider refuses each try: overloaded",
    "flaky": "the provider refuses once, then answers",
    "cut-viewer": "SIGKILL of a client's worker, and with it its socket",
    "late-join": "a viewer joins later",
    "stop": "the reply is stopped",
    "stop-twice": "the reply is stopped by two callers at once",
    "resend": "the message is sent again, also several times at once",
    "overlap": "the next message is sent while the reply is being written",
    "kill-deployment": "SIGKILL of the deployment, started again",
    "kill-executor": "SIGKILL of the process of all producers",
    "kill-provider": "SIGKILL of the provider, started again",
    "kill-app": "SIGKILL of the application server, started again",
    "cut-network": "all connections of a network are cut",
    "slow-network": "a network is slow",
    "half-open": "a network swallows all bytes, then its connections are reset",
    "lose-call": "a producer's call does not arrive",
    "lose-ack": "the answer to a producer's call does not arrive",
    "delay-ack": "the answer to a producer's call is late",
    "repeat-call": "a producer's call arrives twice",
    "late-repeat": "a producer's call arrives again, after later ones",
    "early-append": "an append arrives before its turn",
    "stale-producer": "an append of a producer that was replaced",
    "dead-producer": "the producer ends without a word",
}


@dataclass(frozen=True)
class FaultCount:
    """One row of the table."""

    fault: FaultKind
    what: str
    planned: int
    struck: int
    """How often it came in time to disturb."""
    runs: int
    lost: int
    """Accepted characters that are missing, in all runs with this fault."""
    violations: int
    """Of any invariant, in runs with this fault."""


def table(runs: Sequence[RunSeen], violations: Sequence[Violation]) -> list[FaultCount]:
    """One row per kind of fault, in a fixed order, also for those that never came."""
    return [_count(kind, runs, violations) for kind in FAULTS]


def _count(
    kind: FaultKind, runs: Iterable[RunSeen], violations: Iterable[Violation]
) -> FaultCount:
    with_it = [run for run in runs if any(f.kind == kind for f in run.plan.faults)]
    seeds = {run.plan.seed for run in with_it}
    return FaultCount(
        kind,
        WHAT[kind],
        planned=sum(f.kind == kind for run in with_it for f in run.plan.faults),
        struck=sum(
            seen.fault.kind == kind and seen.struck
            for run in with_it
            for seen in run.faults
        ),
        runs=len(with_it),
        lost=sum(map(lost_characters, with_it)),
        violations=sum(violation.seed in seeds for violation in violations),
    )


def figures(runs: Iterable[RunSeen]) -> dict[str, dict[str, float]]:
    """Seconds between a fault and what viewers saw of it: count, median and longest."""
    runs = list(runs)
    return {
        name: {"count": len(times), "median": median(times), "longest": max(times)}
        for name, times in {
            "stop seen": list(_after_stops(runs)),
            "dead producer found": list(_after_deaths(runs)),
        }.items()
        if times
    }


def _after_stops(runs: Iterable[RunSeen]) -> Iterator[float]:
    """From the call of whoever stops to the first viewer that shows it."""
    for run in runs:
        told: set[str] = set()
        for stop in sorted(run.stops, key=lambda stop: stop.at):
            for message_id in set(stop.message_ids) - told:
                told.add(message_id)
                frames = _frames(run, message_id, since=stop.at)
                seen = [frame.at for frame in frames if frame.status != "streaming"]
                if seen:
                    yield min(seen) - stop.at


def _after_deaths(runs: Iterable[RunSeen]) -> Iterator[float]:
    """From the death of a reply's producer to the end of the reply."""
    for run in runs:
        for fault in run.faults:
            if fault.fault.kind != "kill-executor" or not fault.struck:
                continue
            reply = run.replies[fault.fault.reply]
            row = reply_row(run.rows, reply.client_message_id)
            if row is None or row["status"] != "failed":
                continue
            frames = _frames(run, row["_id"], since=fault.at)
            seen = [frame.at for frame in frames if frame.status == "failed"]
            if seen:
                yield min(seen) - fault.at


def _frames(run: RunSeen, message_id: str, *, since: float) -> list[Frame]:
    return [
        frame
        for viewer in run.viewers
        for frame in viewer.frames
        if frame.message_id == message_id and frame.at >= since
    ]


def results(
    runs: Sequence[RunSeen], violations: Sequence[Violation], seconds: float
) -> dict[str, Any]:
    """What `results.json` holds."""
    return {
        "runs": len(runs),
        "seconds": round(seconds, 1),
        "violations": [asdict(violation) for violation in violations],
        "faults": [asdict(row) for row in table(runs, violations)],
        "figures": figures(runs),
        "perRun": [_brief(run) for run in runs],
    }


def _brief(run: RunSeen) -> dict[str, Any]:
    return {
        "plan": asdict(run.plan),
        "seconds": round(run.seconds, 2),
        "struck": [
            {"fault": seen.fault.kind, "at": round(seen.at, 3)}
            for seen in run.faults
            if seen.struck
        ],
        "replies": [
            {"status": row["status"], "characters": len(row["content"])}
            for row in run.rows
            if row["role"] == "ASSISTANT"
        ],
        "viewers": len(run.viewers),
        "deltas": sum(map(len, run.logs.values())),
        "lost": lost_characters(run),
        "problems": run.problems,
    }
