"""What was measured, as pictures. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kit.bench.chart import line_chart
from kit.bench.figures import Figures
from kit.bench.results import Results
from kit.bench.tables import TITLES

__all__ = ["CAPTIONS", "pictures"]

CAPTIONS = {
    "latency": "How many tokens a viewer had seen how long after they were sent.",
    "concurrency": "After how long 99 % of tokens were seen, by replies at once.",
    "bytes-pushed": "What is sent to one viewer for each token, by the reply's length.",
    "bytes-written": "What is written for each token, by the reply's length.",
    "flush-interval": "What a longer flush interval costs in time, and saves in bytes.",
    "append-cost": "The time of one append, by how much else there is.",
}

Points = list[tuple[float, float]]


def pictures(results: Results) -> dict[str, str]:
    """SVG by name, for what has at least two points."""
    made = {
        "latency": _latency(results),
        "concurrency": _concurrency(results),
        "bytes-pushed": _bytes_pushed(results),
        "bytes-written": _bytes_written(results),
        "flush-interval": _intervals(results),
        "append-cost": _append_cost(results),
    }
    return {name: picture for name, picture in made.items() if picture}


def _draw(title: str, series: Mapping[str, Points], **options: Any) -> str:
    drawn = {name: points for name, points in series.items() if len(points) > 1}
    return line_chart(title, drawn, **options) if drawn else ""


def _latency(results: Results) -> str:
    """Of the first load: how many tokens were seen after how long."""
    if not results.streams:
        return ""
    load = results.streams[0].load
    series = {}
    for found in results.streams:
        if found.load == load and found.latency is not None:
            times = found.latency.percentiles
            series[TITLES[found.way]] = [(times[q], float(q)) for q in range(1, 101)]
    return _draw(
        f"Tokens seen, one reply: {load}",
        series,
        x_label="ms since the provider sent it",
        y_label="% of tokens",
        log_x=True,
    )


def _concurrency(results: Results) -> str:
    paced = [f for f in results.streams if f.load.pace and f.load.viewers == 1]
    if not paced:
        return ""
    pace = paced[0].load.pace
    alike = [f for f in paced if f.load.pace == pace and not f.load.delay]
    return _draw(
        f"99 % of tokens seen, replies at {pace:g} tokens/s each",
        _by_way(alike, lambda f: f.load.streams, lambda f: _p99(f)),
        x_label="replies at once",
        y_label="ms",
        log_x=True,
        log_y=True,
        limit=(50.0, "the guide's 50 ms"),
    )


def _p99(found: Figures) -> float | None:
    return None if found.latency is None else found.latency.p99


def _by_way(figures: Iterable[Figures], x: Any, y: Any) -> dict[str, Points]:
    series: dict[str, Points] = {}
    for found in figures:
        value = y(found)
        if value is not None:
            series.setdefault(TITLES[found.way], []).append((x(found), value))
    return {name: sorted(points) for name, points in series.items()}


def _bytes_pushed(results: Results) -> str:
    return _draw(
        "Bytes pushed to a viewer, per token",
        _by_way(results.bytes, lambda f: f.load.tokens, lambda f: f.pushed_per_token),
        x_label="tokens of the reply",
        y_label="bytes",
        log_x=True,
        log_y=True,
    )


def _bytes_written(results: Results) -> str:
    series: dict[str, Points] = {}
    for written in results.written:
        points = series.setdefault(TITLES[written.way], [])
        points.append((written.tokens, written.bytes_per_token))
    return _draw(
        "Bytes of documents written, per token",
        series,
        x_label="tokens of the reply",
        y_label="bytes",
        log_x=True,
        log_y=True,
    )


def _intervals(results: Results) -> str:
    measured = [(i, i.figures.latency) for i in results.intervals]
    times = [(i, latency) for i, latency in measured if latency is not None]
    return _draw(
        "The kit's flush interval, one reply at 50 tokens/s",
        {
            "half seen, ms": [(i.milliseconds, latency.p50) for i, latency in times],
            "99 % seen, ms": [(i.milliseconds, latency.p99) for i, latency in times],
            "B beside the text": [
                (i.milliseconds, i.figures.beyond_text or 0.0) for i, _ in times
            ],
        },
        x_label="flush interval, ms",
        y_label="ms; bytes per token",
        log_y=True,
    )


def _append_cost(results: Results) -> str:
    series: dict[str, Points] = {}
    for cost in results.append_costs:
        if cost.count > 10:
            base = cost.microseconds / cost.ratio
            points = series.setdefault(cost.what, [(10.0, base)])
            points.append((cost.count, cost.microseconds))
    return _draw(
        "Time of one append",
        series,
        x_label="how many there are",
        y_label="µs",
        log_x=True,
    )
