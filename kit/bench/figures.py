"""What runs come to: one `Figures` for each way under each load. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from kit.bench.load import Load, Run, Seen
from kit.bench.seen import Latency, ViewerLog, latencies

__all__ = ["Cost", "Figures", "figures_of"]


@dataclass(frozen=True)
class Cost:
    """What one process has spent on a run's replies."""

    cpu_ms_per_1000_tokens: float
    peak_mb: float
    written_per_token: float | None
    """Bytes handed to `write()`, for files and pipes together; None if not known."""


@dataclass(frozen=True)
class Figures:
    """One way under one load."""

    way: str
    load: Load
    latency: Latency | None
    """From the provider's sending of a token to a viewer's callback."""
    first: Latency | None
    """The same, of each reply's first token alone."""
    from_ask: Latency | None
    """From asking to the first token in a viewer's callback."""
    tokens_per_second: float
    """Of all replies together, from asking to the last token's being seen."""
    lost: int
    """Characters that a viewer did not have in the end."""
    drift: float | None
    """How many times slower the last quarter of a reply was than its first, for the
    viewer in the middle."""
    bytes_per_token: float
    """Of the text itself, in UTF-8."""
    pushed_per_token: float | None
    """Bytes on the wire to one viewer, the end of the reply included."""
    messages_per_token: float | None
    """WebSocket messages to one viewer."""
    deflated_per_token: float | None
    """Bytes that these would have taken, compressed as a browser has them."""
    costs: dict[str, Cost]

    @property
    def beyond_text(self) -> float | None:
        """What is pushed per token and viewer beside the text."""
        if self.pushed_per_token is None:
            return None
        return self.pushed_per_token - self.bytes_per_token


def figures_of(runs: Iterable[Run]) -> list[Figures]:
    """One for each load and way, in the order in which they were first run."""
    groups: dict[tuple[Load, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.load, run.way), []).append(run)
    return [_figures(way, load, group) for (load, way), group in groups.items()]


def _figures(way: str, load: Load, runs: Sequence[Run]) -> Figures:
    seen = [one for run in runs for one in run.seen]
    tokens = sum(run.tokens for run in runs)
    text = sum(len(one.reply.text.encode()) for one in seen)
    counted = [run.traffic for run in runs if run.traffic is not None]
    drifts = [drift for pair in _watched(seen) for drift in _drift(*pair)]
    views = sum(len(one.logs) * len(one.reply.tokens) for one in seen)
    return Figures(
        way,
        load,
        latency=Latency.of(_all_latencies(seen)),
        first=Latency.of(
            log.times[0] - one.reply.times[0] for one, log in _watched(seen)
        ),
        from_ask=Latency.of(log.times[0] - one.asked_at for one, log in _watched(seen)),
        tokens_per_second=tokens / sum(_streaming_seconds(run) for run in runs),
        lost=sum(run.lost for run in runs),
        drift=median(drifts) if drifts else None,
        bytes_per_token=text / tokens,
        pushed_per_token=_per_view(views, [t.bytes_down for t in counted]),
        messages_per_token=_per_view(views, [t.messages_down for t in counted]),
        deflated_per_token=_per_view(views, [t.deflated_down for t in counted]),
        costs=_costs(runs, tokens),
    )


def _per_view(views: int, counts: Sequence[int]) -> float | None:
    return sum(counts) / views if counts else None


def _all_latencies(seen: Iterable[Seen]) -> Iterator[float]:
    for one in seen:
        for log in one.logs:
            yield from latencies(one.reply, log)


def _watched(seen: Iterable[Seen]) -> Iterator[tuple[Seen, ViewerLog]]:
    """Each viewer that has seen anything live, with its reply."""
    for one in seen:
        for log in one.logs:
            if log.times:
                yield one, log


def _drift(one: Seen, log: ViewerLog) -> Iterator[float]:
    times = latencies(one.reply, log)
    quarter = len(times) // 4
    if quarter:
        yield median(times[-quarter:]) / median(times[:quarter])


def _streaming_seconds(run: Run) -> float:
    first = min(one.asked_at for one in run.seen)
    last = max((log.times[-1] for _, log in _watched(run.seen)), default=first)
    return max(last - first, 1e-6)


def _costs(runs: Sequence[Run], tokens: int) -> dict[str, Cost]:
    costs = {}
    for name in runs[0].usage:
        used = [run.usage[name] for run in runs if name in run.usage]
        written = [one.written_bytes for one in used if one.written_bytes is not None]
        costs[name] = Cost(
            sum(one.cpu_seconds for one in used) * 1e6 / tokens,
            max(one.peak_mb for one in used),
            sum(written) / tokens if written else None,
        )
    return costs
