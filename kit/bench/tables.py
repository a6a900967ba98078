"""What was measured, as tables. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from kit.bench.figures import Figures
from kit.bench.presence import Presence
from kit.bench.results import Results
from kit.bench.seen import Latency
from kit.bench.table import Table
from kit.bench.targets import targets

__all__ = [
    "TITLES",
    "byte_table",
    "cost_table",
    "presence_table",
    "stream_table",
    "tables",
    "target_table",
]

TITLES = {
    "bare": "bare Socket.IO",
    "sql": "Socket.IO + SQL",
    "guide": "guide on Convex",
    "guide-text": "guide, text alone",
    "kit": "kit on Convex",
    "kit-billed": "kit, as on Convex",
}


def tables(results: Results) -> list[Table]:
    """Those for which anything was measured."""
    makers: Sequence[Callable[[Results], Table]] = (
        target_table,
        _failures,
        stream_table,
        cost_table,
        byte_table,
        presence_table,
        _histories,
        _intervals,
        _fan_out,
        _appends,
        _alone,
    )
    made = (make(results) for make in makers)
    return [table for table in made if table.rows]


def target_table(results: Results) -> Table:
    """Each target, and whether it is met."""
    marks = {True: "✓", False: "✗", None: ""}
    rows = [
        (
            marks[row.met],
            row.name,
            row.wanted,
            row.measured,
            "" if row.ratio is None else f"{row.ratio:.3g}",
        )
        for row in targets(results)
    ]
    columns = ("", "Target", "wanted", "measured", "ratio to the rival")
    return Table("Where it must be", columns, rows, texts=4)


def _failures(results: Results) -> Table:
    columns = ("What", "Why")
    return Table("What could not be measured", columns, results.failures, texts=2)


def stream_table(results: Results) -> Table:
    """Latency by load and way."""
    rows = [_stream_row(found) for found in results.streams]
    return Table(
        "From the provider's token to the viewer's callback, ms",
        (
            *("Load", "Way", "half", "95 %", "99 %", "all", "first token"),
            *("from asking", "tokens/s", "lost"),
        ),
        rows,
        texts=2,
    )


def _stream_row(found: Figures) -> tuple[str, ...]:
    latency = found.latency
    return (
        str(found.load),
        TITLES[found.way],
        *(_ms(latency, name) for name in ("p50", "p95", "p99", "max")),
        _ms(found.first, "p50"),
        _ms(found.from_ask, "p50"),
        _number(found.tokens_per_second),
        _number(found.lost),
    )


def _ms(latency: Latency | None, name: str) -> str:
    value: float | None = getattr(latency, name, None)
    return _number(value, 1 if value is not None and value < 100 else 0)


def cost_table(results: Results) -> Table:
    """Processor time and memory by process."""
    rows = [
        (
            str(found.load),
            TITLES[found.way],
            process,
            f"{cost.cpu_ms_per_1000_tokens:,.0f}",
            f"{cost.peak_mb:.0f}",
        )
        for found in results.streams
        for process, cost in found.costs.items()
    ]
    columns = ("Load", "Way", "Process", "CPU ms per 1,000 tokens", "peak MB")
    return Table("What the processes cost", columns, rows, texts=3, is_detail=True)


def byte_table(results: Results) -> Table:
    """Bytes by length and way."""
    documents = {
        (written.way, written.tokens): written.bytes_per_token
        for written in results.written
    }
    rows = [
        (
            f"{found.load.tokens:,}",
            TITLES[found.way],
            _number(found.pushed_per_token),
            _number(found.beyond_text),
            _number(found.deflated_per_token),
            _number(found.messages_per_token, 2),
            _number(documents.get((found.way, found.load.tokens))),
            _number(_physical(found)),
        )
        for found in results.bytes
    ]
    return Table(
        "Bytes per token",
        (
            *("Tokens", "Way", "pushed to a viewer", "beside the text", "compressed"),
            *("messages", "of documents written", "written by processes"),
        ),
        rows,
        texts=2,
        note="As on Convex, where appends are billed: with the flush interval that "
        "is the default there, 250 ms. Pushed: on the wire, the reply's end "
        "included. Compressed: what these messages would take as a browser has "
        "them from a real Convex, permessage-deflate. Of documents written: the "
        "texts of documents, each time one is stored. Written by processes: "
        "what those that store hand to the operating system, SQLite's pages and "
        "log included.",
    )


def _physical(found: Figures) -> float | None:
    """Bytes per token by the process that stores, whichever it is."""
    for name in ("deployment", "server"):
        if name in found.costs:
            return found.costs[name].written_per_token
    return None


def presence_table(results: Results) -> Table:
    """What became of viewers."""
    rows = [("joins in the middle", *_presence_row(seen)) for seen in results.late] + [
        ("is away for a while", *_presence_row(seen)) for seen in results.away
    ]
    columns = ("Viewer", "Way", "whole again", "never came live", "lost for good")
    return Table("Viewers that come and go", columns, rows, texts=3)


def _presence_row(seen: Presence) -> tuple[str, str, str, str]:
    if seen.seconds_until_whole is None:
        whole = "never"
    elif seen.whole_while_streaming:
        whole = f"after {seen.seconds_until_whole:.2f} s"
    else:
        whole = f"when the reply has ended, {seen.seconds_until_whole:.1f} s"
    return (
        TITLES[seen.way],
        whole,
        f"{seen.lost_live:,} of {seen.characters:,} characters",
        f"{seen.lost:,}",
    )


def _histories(results: Results) -> Table:
    rows = [
        (
            f"{found.load.history:,}",
            TITLES[found.way],
            _ms(found.latency, "p50"),
            _ms(found.latency, "p99"),
            _number(found.pushed_per_token),
        )
        for found in results.histories
    ]
    columns = ("Messages", "Way", "half, ms", "99 %, ms", "bytes pushed per token")
    return Table("Length of the conversation", columns, rows, texts=2)


def _intervals(results: Results) -> Table:
    rows = []
    for found in results.intervals:
        figures, latency = found.figures, found.figures.latency
        rows.append(
            (
                f"{found.milliseconds:g}",
                _ms(latency, "p50"),
                _ms(latency, "p99"),
                f"{found.appends_per_token:.2f}",
                _number(figures.beyond_text),
                _number(figures.deflated_per_token),
                _number(
                    sum(cost.cpu_ms_per_1000_tokens for cost in figures.costs.values())
                ),
            )
        )
    columns = (
        *("Flush interval, ms", "half, ms", "99 %, ms", "appends per token"),
        *("bytes pushed beside the text", "all, compressed"),
        "CPU ms per 1,000 tokens",
    )
    return Table("The kit's flush interval, at 50 tokens/s", columns, rows, texts=0)


def _fan_out(results: Results) -> Table:
    rows = [
        (
            f"{found.viewers}",
            f"{found.appends}",
            f"{found.executions}",
            f"{found.per_append:.2f}",
            _number(found.figures.pushed_per_token),
        )
        for found in results.fan_out
    ]
    columns = (
        *("Viewers", "appends", "query executions", "per append"),
        "bytes pushed per token and viewer",
    )
    return Table("Many viewers of one reply", columns, rows, texts=0)


def _appends(results: Results) -> Table:
    rows = [
        (cost.what, f"{cost.count:,}", f"{cost.microseconds:.0f}", f"{cost.ratio:.2f}")
        for cost in results.append_costs
    ]
    columns = ("There is more of", "count", "µs per append", "ratio to ten")
    return Table("What an append costs", columns, rows)


def _alone(results: Results) -> Table:
    return Table("By itself", ("What", "measured"), list(_alone_rows(results)), texts=2)


def _alone_rows(results: Results) -> Iterator[tuple[str, str]]:
    for name, times in (
        ("WebSocket echo, another process", results.echo),
        ("SQLite commit of a small row", results.commit),
    ):
        if times is not None:
            text = f"half within {times.p50:.3f} ms, 99 % within {times.p99:.3f} ms"
            yield name, text
    speed = results.deployment
    if speed is not None:
        text = (
            f"{speed.mutations_per_second:,.0f} per second; the deployment used "
            f"{speed.deployment_cores:.2f} cores, the asking process "
            f"{speed.client_cores:.2f}"
        )
        yield "Small mutations over 8 connections", text
    for cost in results.adapters:
        yield (
            f"Adapter {cost.wire}",
            f"{cost.adapter:.0f} µs per token, of which the SDK {cost.sdk:.0f} µs",
        )
    if results.tour is not None:
        found = results.tour
        held = "all held" if found.passed else "something did not hold"
        yield (
            "kit tour",
            f"{found.seconds:.0f} s, at most {found.peak_mb:.0f} MB, {held}",
        )


def _number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
