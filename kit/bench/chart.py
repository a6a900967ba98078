"""A line chart as SVG: series over one x axis, either axis linear or logarithmic. Pure.

What the bench draws needs nothing more, and a plotting library would be the heaviest
package of the kit. Stands on white, needs no script and no network: as a file, in a
notebook, in a report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["line_chart"]

WIDTH, HEIGHT = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 64, 176, 40, 50
COLOURS = ("#8a8f98", "#d98200", "#c8443c", "#2f7ed8", "#7b2d8b", "#3a9d5d")
"""By the place of a series; told apart also without colour, by their dashes."""
DASHES = ("2 3", "7 3", "12 4", "", "5 2 1 2", "1 2")
MARKED = 20
"""A series of more points is a line without dots."""
UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))

Points = Sequence[tuple[float, float]]


def line_chart(
    title: str,
    series: Mapping[str, Points],
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    log_y: bool = False,
    limit: tuple[float, str] | None = None,
) -> str:
    """The picture, as the text of an SVG element.

    `limit` is the height of a horizontal line, and its name. What a logarithmic axis
    cannot show (zero and below) is left out. Raises ValueError without any point.
    """
    shown = {name: _visible(points, log_x, log_y) for name, points in series.items()}
    xs = [x for points in shown.values() for x, _ in points]
    ys = [y for points in shown.values() for _, y in points]
    if not xs:
        raise ValueError(f"{title}: there is nothing to draw")
    x_axis = _Axis(xs, log_x, LEFT, WIDTH - RIGHT)
    limits = [] if limit is None else [limit]
    y_axis = _Axis([*ys, *(at for at, _ in limits)], log_y, HEIGHT - BOTTOM, TOP)
    middle, height = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    parts = [
        _opening(title),
        _text(LEFT, 20, title, 'font-size="14" font-weight="600"'),
        *_x_grid(x_axis),
        *_y_grid(y_axis),
        _line(f"M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}", "#222"),
        _text(middle, HEIGHT - 12, x_label, 'text-anchor="middle"'),
        _text(
            *(-height, 16, y_label),
            'text-anchor="middle" transform="rotate(-90)"',
        ),
    ]
    for at, name in limits:
        y = y_axis.place(at)
        parts.append(_line(f"M{LEFT} {y:.1f}H{WIDTH - RIGHT}", "#222", dash="1 4"))
        parts.append(_text(WIDTH - RIGHT + 6, y + 4, name))
    for index, (name, points) in enumerate(shown.items()):
        places = [(x_axis.place(x), y_axis.place(y)) for x, y in points]
        parts += _series(index, name, places)
    return "\n".join([*parts, "</svg>"])


def _visible(points: Points, log_x: bool, log_y: bool) -> Points:
    return [(x, y) for x, y in points if (x > 0 or not log_x) and (y > 0 or not log_y)]


class _Axis:
    """Where a value lies between two pixels, and which values are marked."""

    def __init__(
        self, values: Sequence[float], log: bool, start: float, end: float
    ) -> None:
        self._log = log
        self._start, self._end = start, end
        low, high = min(values), max(values)
        if log:
            first = math.floor(math.log10(low))
            last = max(math.ceil(math.log10(high)), first + 1)
            low, high = 10.0**first, 10.0**last
            self.ticks = [10.0**power for power in range(first, last + 1)]
        else:
            low = min(low, 0.0)
            self.ticks = _round_steps(low, high if high > low else low + 1.0)
            high = self.ticks[-1]
        self._low, self._high = self._scaled(low), self._scaled(high)

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self._log else value

    def place(self, value: float) -> float:
        share = (self._scaled(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)


def _round_steps(low: float, high: float) -> list[float]:
    """Round values from `low` to at least `high`, about five of them."""
    rough = (high - low) / 5
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= rough * 0.999)
    count = math.ceil((high - low) / step - 1e-9)
    return [low + step * i for i in range(count + 1)]


# --- pieces of SVG ----------------------------------------------------------------


def _opening(title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#222">'
        f"<title>{escape(title)}</title>"
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
    )


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(text)}</text>'


def _line(path: str, colour: str, *, width: int = 1, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}"'
        f"{dashes}/>"
    )


def _x_grid(axis: _Axis) -> list[str]:
    bottom = HEIGHT - BOTTOM
    parts = []
    for tick in axis.ticks:
        x = axis.place(tick)
        parts.append(_line(f"M{x:.1f} {TOP}V{bottom}", "#e5e5e5"))
        parts.append(_text(x, bottom + 16, _short(tick), 'text-anchor="middle"'))
    return parts


def _y_grid(axis: _Axis) -> list[str]:
    parts = []
    for tick in axis.ticks:
        y = axis.place(tick)
        parts.append(_line(f"M{LEFT} {y:.1f}H{WIDTH - RIGHT}", "#e5e5e5"))
        parts.append(_text(LEFT - 6, y + 4, _short(tick), 'text-anchor="end"'))
    return parts


def _short(value: float) -> str:
    for size, unit in UNITS:
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:.6g}"


def _series(index: int, name: str, places: Points) -> list[str]:
    """A line in the picture, with dots if they are few, and its name beside it."""
    colour, dash = COLOURS[index % len(COLOURS)], DASHES[index % len(DASHES)]
    x, y = WIDTH - RIGHT + 12, TOP + 8 + 20 * index
    parts = [
        _line(f"M{x} {y}h24", colour, width=2, dash=dash),
        _text(x + 30, y + 4, name),
    ]
    if len(places) > 1:
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(_line(path, colour, width=2, dash=dash))
    if len(places) <= MARKED:
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
            for x, y in places
        ]
    return parts
