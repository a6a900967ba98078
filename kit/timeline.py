"""When each part of a reply was seen to grow, as a drawing. Pure.

One row per part, one tick per update; above them, where the provider tells, the moment
at which it sent each token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["timeline"]

WIDTH, LEFT, RIGHT = 900, 170, 20
TOP, ROW = 16, 26
TICK = 14  # px
LABEL = 22  # characters
STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)
SENT, SEEN, INK, LINE = "#8a8f98", "#2f7ed8", "#222", "#ccc"


def timeline(rows: Mapping[str, Sequence[float]], sent: Sequence[float] = ()) -> str:
    """The drawing as the text of an SVG, on white.

    `rows`: by part id, in the order in which they are drawn, when it grew; `sent`:
    when the provider sent each token. Seconds, all on one clock.
    """
    moments = [*sent, *(at for row in rows.values() for at in row)]
    start = min(moments, default=0.0)
    span = max(moments, default=0.0) - start or 1.0
    scale = (WIDTH - LEFT - RIGHT) / span
    drawn: list[tuple[str, Sequence[float], str]] = [
        (name, row, SEEN) for name, row in rows.items()
    ]
    if sent:
        drawn.insert(0, ("sent by the provider", sent, SENT))
    bottom = TOP + ROW * len(drawn)
    height = bottom + 30
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="system-ui, sans-serif" '
        f'font-size="12" fill="{INK}">'
    )
    lines = [opening, f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>']
    for index, (name, row, colour) in enumerate(drawn):
        middle = TOP + ROW * index + ROW / 2
        lines += _row(name, [LEFT + (at - start) * scale for at in row], middle, colour)
    lines += [*_axis(span, scale, bottom + 4), "</svg>"]
    return "\n".join(lines)


def _row(name: str, ticks: Sequence[float], middle: float, colour: str) -> list[str]:
    top = middle - TICK / 2
    path = "".join(f"M{x:.1f} {top:g}v{TICK}" for x in ticks)
    label = escape(_shortened(name))
    return [
        f'<text x="{LEFT - 10}" y="{middle + 4:g}" text-anchor="end">{label}</text>',
        f'<path d="M{LEFT} {middle:g}H{WIDTH - RIGHT}" stroke="{LINE}"/>',
        f'<path d="{path}" stroke="{colour}" stroke-width="1.5"/>',
    ]


def _shortened(name: str) -> str:
    """Ids of tool calls are long, and end alike: their middle goes."""
    return name if len(name) <= LABEL else f"{name[: LABEL - 11]}…{name[-10:]}"


def _axis(span: float, scale: float, y: float) -> list[str]:
    step = next((step for step in STEPS if span / step <= 10), 120.0)
    lines = [f'<path d="M{LEFT} {y:g}H{WIDTH - RIGHT}" stroke="{INK}"/>']
    for index in range(int(span / step) + 1):
        x = LEFT + index * step * scale
        lines.append(
            f'<path d="M{x:.1f} {y:g}v5" stroke="{INK}"/>'
            f'<text x="{x:.1f}" y="{y + 19:g}" text-anchor="middle">'
            f"{index * step:g} s</text>"
        )
    return lines
