"""Figures as lines for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.figures import MIB, OURS, Figure, Spread

NAME_WIDTH = 23
ROW_WIDTH = 88
NONE = "-"


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def _or_none(value: float, text: str) -> str:
    return text if value else NONE


def figure_lines(figures: Sequence[Figure]) -> list[str]:
    """Every figure of every system: seconds, rate, cost."""
    heads = ("median", "fastest", "slowest", "rate", "CPU per GB", "wire/stored", "client peak", "peer peak")
    lines: list[str] = []
    scenario = ""
    for figure in figures:
        if figure.scenario != scenario:
            scenario = figure.scenario
            lines += ["", scenario, f"  {'step':16}{'system':{NAME_WIDTH}}" + "".join(f"{head:>13}" for head in heads)]
        for system in figure.series:
            cells = "".join(f"{cell:>13}" for cell in _cells(figure, system))
            lines.append(f"  {figure.step:16}{system:{NAME_WIDTH}}{cells}")
        lines += [f"    {note}" for note in figure.notes]
    return lines


def _cells(figure: Figure, system: str) -> Iterator[str]:
    wall = figure.wall_s(system)
    yield from (_seconds(value) for value in (wall.middle, wall.low, wall.high))
    yield _or_none(figure.size_bytes, f"{figure.size_bytes / 1e6 / wall.middle:.1f} MB/s")
    cpu_s = figure.cpu_s_per_gb(system)
    yield _or_none(cpu_s, f"{cpu_s:.1f} s")
    wire = figure.wire_per_stored(system)
    yield _or_none(round(wire, 2), f"{wire:.2f}")
    for quantity in ("client_peak_bytes", "peer_peak_bytes"):
        peak = figure.median(system, quantity)
        yield _or_none(peak, f"{peak / MIB:.0f} MiB")


def _factor(spread: Spread | None) -> str:
    return NONE if spread is None else f"{spread.middle:.2f} ({spread.low:.2f} to {spread.high:.2f})"


def ratio_lines(figures: Sequence[Figure]) -> list[str]:
    """How many times as fast moorage is as each other system: by medians, with the least and most of the rounds.

    moorage in another way (unsynced, say) has a row of its own, and is compared with moorage as it is, too.
    """
    names = list(dict.fromkeys(name for figure in figures for name in figure.series))
    others = [name for name in names if not name.startswith(OURS)] + [OURS]
    lines = [f"{'times as fast as':{ROW_WIDTH}}" + "".join(f"{other:>26}" for other in others)]
    for figure in figures:
        for ours in sorted(name for name in figure.series if name.startswith(OURS)):
            factors = [figure.times_as_fast(other, ours) if other != ours else None for other in others]
            row = figure.name + ours.removeprefix(OURS)
            if any(factors):
                lines.append(f"  {row:{ROW_WIDTH - 2}}" + "".join(f"{_factor(factor):>26}" for factor in factors))
    return lines


def fraction_lines(fractions: Mapping[str, tuple[float, str]]) -> list[str]:
    """How much of its limit each flow reached, and what sets the limit."""
    return [f"  {name:42}{fraction:>25.0%} of {words}" for name, (fraction, words) in fractions.items()]
