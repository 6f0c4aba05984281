"""A plot of what safety costs, as SVG written by hand: one file, no library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from erasure.durability_plan import Outlook

_WIDTH, _HEIGHT = 720, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 150, 40, 50
_NINES_SHOWN_MAX = 30.0


def plot_svg(outlooks: Sequence[Outlook], target_nines: float, title: str) -> str:
    """Overhead across, nines up: losses of peers and sites as dots, with common-mode events as rings.

    ``outlooks`` are drawn in their order, cheapest first.
    """
    low = min(item.overhead for item in outlooks)
    high = max(max(item.overhead for item in outlooks), low + 0.1)
    top = max([min(item.nines, _NINES_SHOWN_MAX) for item in outlooks] + [target_nines + 1])

    def x(overhead: float) -> float:
        return _LEFT + (overhead - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(nines: float) -> float:
        return _HEIGHT - _BOTTOM - min(nines, top) / top * (_HEIGHT - _TOP - _BOTTOM)

    lines = _frame(title, x(low), x(high), y(target_nines), target_nines)
    every = max(1, round(top / 8))
    for tick in range(0, int(top) + 1, every):
        lines.append(_text(_LEFT - 8, y(tick) + 4, str(tick), "end"))
    steps = 5
    for number in range(steps + 1):
        overhead = low + (high - low) * number / steps
        lines.append(_text(x(overhead), _HEIGHT - _BOTTOM + 18, f"{overhead:.2f}", "middle"))
    points = " ".join(f"{x(item.overhead):.1f},{y(item.nines):.1f}" for item in outlooks)
    lines.append(f'<polyline points="{points}" fill="none" stroke="#1f77b4"/>')
    for item in outlooks:
        at, label = x(item.overhead), f"{item.scheme}: {item.nines:.1f} nines"
        lines.append(
            f'<circle cx="{at:.1f}" cy="{y(item.nines):.1f}" r="4" fill="#1f77b4"><title>{label}</title></circle>'
        )
        lines.append(_text(at + 6, y(item.nines) + 12, str(item.scheme), "start"))
        lines.append(f'<circle cx="{at:.1f}" cy="{y(item.nines_with_common):.1f}" r="4" fill="none" stroke="#d62728"/>')
    return "\n".join([*lines, "</svg>", ""])


def _frame(title: str, left: float, right: float, target_y: float, target_nines: float) -> list[str]:
    bottom = _HEIGHT - _BOTTOM
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="11">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, 22, title, "start"),
        f'<path d="M{_LEFT} {_TOP}V{bottom}H{_WIDTH - _RIGHT}" fill="none" stroke="black"/>',
        f'<path d="M{left:.1f} {target_y:.1f}H{right:.1f}" stroke="gray" stroke-dasharray="4 4"/>',
        _text(right + 8, target_y + 4, f"target: {target_nines:g} nines", "start"),
        _text((left + right) / 2, _HEIGHT - 10, "bytes stored per byte", "middle"),
        _text(_LEFT - 45, _TOP - 6, "nines a year", "start"),
        f'<circle cx="{right + 14:.1f}" cy="{_TOP + 8}" r="4" fill="#1f77b4"/>',
        _text(right + 24, _TOP + 12, "peers and sites", "start"),
        f'<circle cx="{right + 14:.1f}" cy="{_TOP + 26}" r="4" fill="none" stroke="#d62728"/>',
        _text(right + 24, _TOP + 30, "with common mode", "start"),
    ]


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
