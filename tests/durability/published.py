"""What others publish, computed as they do: the figures that the tests hold this model to.

Sources: Backblaze, "erasure-coding-durability" (the README and its notebook, github.com/Backblaze); Storj, whitepaper
v3 (2018) and its calculation; the RAID formulas of Chen et al. (ACM Computing Surveys 26, 1994).
"""

from __future__ import annotations

import math

from erasure.durability_closed import binomial
from erasure.scheme import Scheme


def loss_in_periods(scheme: Scheme, rate: float, period: float) -> float:
    """Backblaze's yearly loss: whatever fails within a period is replaced at its end, ``period`` in years.

    It is exact for the shipped sweep where only silent losses occur and repair takes no time.
    """
    return -math.expm1(-loss_rate_in_periods(scheme, rate, period))


def loss_rate_in_periods(scheme: Scheme, rate: float, period: float) -> float:
    """The same as losses per year."""
    hit = binomial(scheme.total, -math.expm1(-rate * period))
    return -math.log1p(-sum(hit[scheme.spare + 1 :])) / period


def kept_after_churn(needed: int, total: int, churn: float) -> float:
    """Storj's probability that an object survives a month without repair, of whose ``total`` pieces a share ``churn``
    goes: at most ``total - needed`` events of a Poisson distribution."""
    mean = churn * total
    return math.exp(-mean) * math.fsum(mean**lost / math.factorial(lost) for lost in range(total - needed + 1))


def raid6_mean_time_to_loss(disks: int, rate: float, away: float) -> float:
    """First order, in years: ``MTTF**3 / (N (N-1) (N-2) MTTR**2)`` with one repair at a time."""
    return 1.0 / (disks * (disks - 1) * (disks - 2) * rate**3 * away**2)
