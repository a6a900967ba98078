"""The timeline of one run as an SVG: what each viewer showed, and what struck when.

One band per viewer: its height is the length of the reply that it showed, its colour
the state of that reply. Faults are vertical lines through all bands. Pure.
"""

from __future__ import annotations

from html import escape

from kit.drill.history import Frame, RunSeen, ViewerSeen

__all__ = ["timeline"]

WIDTH, LEFT, RIGHT = 1100, 90, 20
BAND, GAP = 46, 14
LABELS = 15  # px per line of fault labels
COLOURS = {
    "streaming": "#2f7ed8",
    "stopping": "#e08e0b",
    "complete": "#3a9d5d",
    "stopped": "#8a8f98",
    "failed": "#c8443c",
}


def timeline(run: RunSeen) -> str:
    """The picture, as the text of an SVG file; stands on white."""
    end = max([run.seconds, *(f.at for v in run.viewers for f in v.frames)]) or 1.0
    longest = max((len(f.said) for v in run.viewers for f in v.frames), default=1) or 1
    scale = (WIDTH - LEFT - RIGHT) / end
    faults = sorted((f for f in run.faults if f.struck), key=lambda f: f.at)
    top = 62 + LABELS * len(faults)
    height = top + (BAND + GAP) * len(run.viewers) + 34
    lines = [
        _opening(height),
        f"<title>Drill run {run.plan.seed}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        _heading(run, len(faults)),
        *_legend(),
    ]
    for index, viewer in enumerate(run.viewers):
        base = top + (BAND + GAP) * index + BAND
        lines += _band(viewer, base, end, scale, BAND / longest)
    for index, fault in enumerate(faults):
        x = LEFT + fault.at * scale
        y = 62 + LABELS * index
        anchor = "end" if x > WIDTH * 0.8 else "start"
        shift = -5 if anchor == "end" else 5
        lines.append(
            f'<line x1="{x:.1f}" y1="{y - 8}" x2="{x:.1f}" y2="{height - 30}" '
            'stroke="#7b2d8b" stroke-dasharray="4 3"/>'
            f'<text x="{x + shift:.1f}" y="{y}" text-anchor="{anchor}" fill="#7b2d8b">'
            f"{escape(fault.fault.kind)} {fault.at:.2f} s</text>"
        )
    lines += [*_axis(end, scale, height - 30), "</svg>"]
    return "\n".join(lines) + "\n"


def _opening(height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="system-ui, sans-serif" '
        'font-size="12" fill="#222">'
    )


def _heading(run: RunSeen, faults: int) -> str:
    return (
        f'<text x="{LEFT}" y="22" font-size="15" font-weight="600">'
        f"Run {run.plan.seed} ({run.plan.reach}): what {len(run.viewers)} viewers "
        f"showed, {faults} faults</text>"
    )


def _legend() -> list[str]:
    return [
        f'<rect x="{LEFT + 100 * i}" y="32" width="11" height="11" fill="{colour}"/>'
        f'<text x="{LEFT + 100 * i + 16}" y="42">{status}</text>'
        for i, (status, colour) in enumerate(COLOURS.items())
    ]


def _band(
    viewer: ViewerSeen, base: float, end: float, scale: float, unit: float
) -> list[str]:
    """One viewer: a bar from each frame to the next."""
    joined = LEFT + viewer.joined_at * scale
    name = escape(viewer.name)
    lines = [
        f'<text x="{LEFT - 8}" y="{base - 4}" text-anchor="end">{name}</text>',
        f'<path d="M{joined:.1f} {base}H{WIDTH - RIGHT}" stroke="#bbb"/>',
    ]
    frames = viewer.frames
    for index, frame in enumerate(frames):
        until = frames[index + 1].at if index + 1 < len(frames) else end
        lines.append(_bar(frame, until, base, scale, unit))
    return lines


def _bar(frame: Frame, until: float, base: float, scale: float, unit: float) -> str:
    height = max(2.0, len(frame.said) * unit)
    colour = COLOURS.get(frame.status, "#222")
    return (
        f'<rect x="{LEFT + frame.at * scale:.1f}" y="{base - height:.1f}" '
        f'width="{max(0.6, (until - frame.at) * scale):.1f}" height="{height:.1f}" '
        f'fill="{colour}"/>'
    )


def _axis(end: float, scale: float, y: float) -> list[str]:
    step = next((s for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0) if end / s <= 12), 10.0)
    ticks = [step * i for i in range(int(end / step) + 1)]
    return [
        f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="#222"/>',
        *(
            f'<line x1="{LEFT + t * scale:.1f}" y1="{y}" x2="{LEFT + t * scale:.1f}" '
            f'y2="{y + 5}" stroke="#222"/><text x="{LEFT + t * scale:.1f}" '
            f'y="{y + 18}" text-anchor="middle">{t:g} s</text>'
            for t in ticks
        ),
    ]
