"""What was counted at growing sizes, and how it grows: the slope of a straight line on logarithmic paper. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from math import log
from typing import NamedTuple

from core.encoding import Value

# Below this slope a quantity is called constant, or at most logarithmic. n log n has 1.1 from a thousand on, and
# n log(n / 20), of a pool whose buckets have 20 contacts, has 1.27 between 300 and 3,000.
FLAT = 0.35
N_LOG_N = 1.3


class Count(NamedTuple):
    """One quantity at one size. ``by``: "peers" or "objects", of which there were ``n``; the rest stayed the same.

    ``model``: what the pure model says instead, None where there is none.
    """

    quantity: str
    unit: str
    by: str
    n: int
    value: float
    model: float | None = None


class Growth(NamedTuple):
    """A quantity at all its sizes, ascending. ``slope``: the value grows as n to this power over the larger sizes."""

    quantity: str
    unit: str
    by: str
    counts: tuple[Count, ...]
    slope: float

    @property
    def words(self) -> str:
        if self.slope < FLAT:
            return "flat"
        return "n log n or less" if self.slope <= N_LOG_N else "more than n log n"

    @property
    def off(self) -> float | None:
        """How far the model is off at worst, as a part of what was counted; None without a model."""
        parts = [
            abs(item.model - item.value) / item.value for item in self.counts if item.model is not None and item.value
        ]
        return max(parts, default=None)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares of log y over log x; 0 for fewer than two points. What is 0 is left out."""
    logs = [(log(x), log(y)) for x, y in points if x > 0 and y > 0]
    if len(logs) < 2:
        return 0.0
    mean_x = sum(x for x, _ in logs) / len(logs)
    mean_y = sum(y for _, y in logs) / len(logs)
    spread = sum((x - mean_x) ** 2 for x, _ in logs)
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / spread if spread else 0.0


def growths(counts: Iterable[Count]) -> list[Growth]:
    """By quantity, in the order in which they first come. Of two counts at one size the later one is taken.

    The slope is that of the last three sizes: small ones are ruled by what does not grow.
    """
    found: dict[tuple[str, str, str], dict[int, Count]] = {}
    for item in counts:
        found.setdefault((item.quantity, item.unit, item.by), {})[item.n] = item
    result: list[Growth] = []
    for (quantity, unit, by), sizes in found.items():
        ordered = tuple(sizes[n] for n in sorted(sizes))
        points = [(item.n, item.value) for item in ordered[-3:]]
        result.append(Growth(quantity, unit, by, ordered, slope(points)))
    return result


def to_line(item: Count) -> str:
    """One line of JSON."""
    fields: dict[str, Value | float] = {**item._asdict(), "value": float(f"{item.value:.4g}")}
    if item.model is not None:
        fields["model"] = float(f"{item.model:.4g}")
    return json.dumps(fields)


def from_line(line: str) -> Count:
    return Count(**json.loads(line))
