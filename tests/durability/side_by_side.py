"""Others' codes and ours under the same assumptions, theirs and ours: the table of docs/reliability.md, "Side by side".

A number of nines says what was assumed more than what was built: so every code is computed both ways.
``python -m tests.documented`` writes the table, ``python -m tests.durability.side_by_side`` prints it.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from erasure.durability_closed import loss_rate, nines, yearly
from erasure.durability_plan import Hazards, stripe_at
from erasure.scheme import Scheme
from tests.durability.published import kept_after_churn, loss_in_periods

# What Backblaze assumes of its drives: losses a year, and years until each is replaced.
DRIVE_LOSS, DRIVE_AWAY = 0.00405, 6.5 / 365
# What Storj's whitepaper assumes of its nodes: so many are gone after a month in which nothing is repaired.
CHURN = 0.1


class Code(NamedTuple):
    """A scheme, and who uses it."""

    scheme: Scheme
    whose: str


CODES = (
    Code(Scheme(17, 20), "Backblaze"),
    Code(Scheme(20, 40), "Storj, whitepaper"),
    Code(Scheme(1, 3), "Garage: three copies"),
    Code(Scheme(3, 10), "Tahoe-LAFS, default"),
    Code(Scheme(4, 6), "moorage, default"),
    Code(Scheme(10, 16), "moorage"),
)


def on_drives(scheme: Scheme) -> float:
    """Yearly loss as Backblaze computes it: independent drives, nothing else."""
    return loss_in_periods(scheme, DRIVE_LOSS, DRIVE_AWAY)


def on_nodes(scheme: Scheme) -> float:
    """Loss in a month without repair, as Storj's whitepaper computes it."""
    return 1.0 - kept_after_churn(scheme.needed, scheme.total, CHURN)


def on_hospitals(scheme: Scheme) -> float:
    """Yearly loss as ``moorage plan`` computes it, with a site for each share and one to spare."""
    stripe = stripe_at(scheme, (1,) * scheme.total, (1,) * (scheme.total + 1), Hazards())
    return yearly(loss_rate(stripe))


def _cell(probability: float) -> str:
    return f"{probability:.3e}, {nines(probability):.1f} nines"


def _row(code: Code) -> str:
    scheme = code.scheme
    losses = " | ".join(_cell(loss(scheme)) for loss in (on_drives, on_nodes, on_hospitals))
    return f"| {scheme} ({code.whose}) | {scheme.total / scheme.needed:.2f} | {losses} |"


@cache
def side_by_side_table() -> str:
    lines = [
        "| code | cost | a year on Backblaze's drives | a month of Storj's churn, unrepaired "
        "| a year on moorage's peers, a site each |",
        "|---|---|---|---|---|",
    ]
    lines += [_row(code) for code in CODES]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(side_by_side_table(), end="")
