"""What was counted, as it is kept and as docs/scale.md shows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.scale_growth import Count, Growth, from_line, growths

RUNS = Path(__file__).with_name("scale-runs.jsonl")


def read_runs() -> list[Count]:
    return [from_line(line) for line in RUNS.read_text("utf-8").splitlines()]


def amount(value: float, unit: str) -> str:
    """Short, for a table: four digits at most."""
    if unit == "s":
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    if unit == "bytes":
        for size, word in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
            if value >= size:
                return f"{value / size:.3g} {word}"
        return f"{value:.0f} B"
    return f"{value:,.1f}" if value < 100 and value % 1 else f"{value:,.0f}"


def growth_table(by: str, found: Sequence[Growth] | None = None) -> str:
    """The table of docs/scale.md: every quantity at its sizes, its slope, and how far its model is off."""
    rows = [f"| quantity | counted at so many {by} | slope | grows | model off by |", "|---|---|---|---|---|"]
    for item in found if found is not None else growths(read_runs()):
        if item.by != by:
            continue
        sizes = ", ".join(f"{count.n:,}: {amount(count.value, item.unit)}" for count in item.counts)
        off = "" if item.off is None else f"{100 * item.off:.0f} %"
        rows.append(f"| {item.quantity} | {sizes} | {item.slope:.2f} | {item.words} | {off} |")
    return "\n".join(rows) + "\n"


def peers_table() -> str:
    return growth_table("peers")


def objects_table() -> str:
    return growth_table("objects")
