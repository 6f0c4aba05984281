"""A plot of what grows with what, on logarithmic paper, as SVG written by hand: one file, no library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log10

from benchmarks.scale_growth import Growth

_WIDTH, _HEIGHT = 960, 400
_TOP, _BOTTOM = 48, 120
_PANEL_WIDTH, _MARGIN = 370, 70
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#8c564b", "#e377c2")

PANELS: dict[str, tuple[str, ...]] = {
    "peers": (
        "questions of a search",
        "contacts of a peer",
        "questions of a crawl",
        "questions of one look",
    ),
    "objects": (
        "plan of a period: all turns and notes",
        "start: read the care book",
        "`ls`: read the catalogue",
        "`put`: is this content stored already",
        "`put`: time for that",
    ),
}
"""What is drawn: counts over peers at the left, seconds over objects at the right."""


def plot_svg(found: Sequence[Growth]) -> str:
    """Counts over peers beside seconds over objects; both axes logarithmic."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="11">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for number, (by, names) in enumerate(PANELS.items()):
        chosen = [item for name in names for item in found if item.quantity == name and item.by == by]
        unit = "messages, contacts" if by == "peers" else "seconds"
        lines += _panel(chosen, _MARGIN + number * (_PANEL_WIDTH + 2 * _MARGIN), f"{unit} by {by}")
    return "\n".join([*lines, "</svg>", ""])


def _panel(chosen: Sequence[Growth], left: float, title: str) -> list[str]:
    points = [(log10(count.n), log10(count.value)) for item in chosen for count in item.counts if count.value > 0]
    low_x, high_x = min(x for x, _ in points), max(x for x, _ in points)
    low_y, high_y = int(min(y for _, y in points) - 1), int(max(y for _, y in points) + 1)
    bottom = _HEIGHT - _BOTTOM

    def at(x: float, y: float) -> str:
        across = left + (x - low_x) / max(high_x - low_x, 1e-9) * _PANEL_WIDTH
        return f"{across:.1f},{bottom - (y - low_y) / (high_y - low_y) * (bottom - _TOP):.1f}"

    lines = [
        _text(left, _TOP - 20, title, "start"),
        f'<path d="M{left} {_TOP}V{bottom}H{left + _PANEL_WIDTH}" fill="none" stroke="black"/>',
    ]
    for power in range(low_y, high_y + 1):
        y = float(at(low_x, power).split(",")[1])
        lines.append(f'<path d="M{left} {y}H{left + _PANEL_WIDTH}" stroke="#dddddd"/>')
        lines.append(_text(left - 6, y + 4, f"{10.0**power:g}", "end"))
    for power in range(int(low_x), int(high_x) + 1):
        if power >= low_x:
            x = float(at(power, low_y).split(",")[0])
            lines.append(_text(x, bottom + 16, f"{10**power:,}", "middle"))
    for number, item in enumerate(chosen):
        colour = _COLOURS[number % len(_COLOURS)]
        line = " ".join(at(log10(count.n), log10(count.value)) for count in item.counts if count.value > 0)
        lines.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for point in line.split():
            across, down = point.split(",")
            lines.append(f'<circle cx="{across}" cy="{down}" r="3" fill="{colour}"/>')
        key_y = bottom + 36 + 14 * number
        lines.append(f'<path d="M{left} {key_y - 4}H{left + 20}" stroke="{colour}" stroke-width="2"/>')
        lines.append(_text(left + 26, key_y, f"{item.quantity.replace('`', '')}: slope {item.slope:.2f}", "start"))
    return lines


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
