"""plan: what schemes cost and survive, from a model (docs/durability.md). Needs no home, no pool and no network."""

from __future__ import annotations

import argparse
import math
import random
import re
from collections.abc import Sequence

from cli.output import print_json, print_lines, size_text
from core.errors import EXIT_OK, NotEnoughPeersError, TargetError, UsageError
from core.limits import MIB
from erasure.durability_plan import (
    DAY,
    GRACE_HOURS_MAX,
    HOUR,
    REPAIR_HOURS_MAX,
    SWEEP_DAYS_MAX,
    Hazards,
    Outlook,
    outlook,
    recommend,
    sensible_schemes,
    worth_it,
)
from erasure.durability_stripe import peers_at_sites
from erasure.durability_trials import Estimate
from erasure.scheme import Scheme

# A larger pool places each object on some of its peers only: plan for as many as hold one object.
PEERS_DEFAULT = 6
PEERS_MAX = 64
SAMPLES_MAX = 1_000_000
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15} | {
    unit: 1024**power for power, unit in enumerate(("KIB", "MIB", "GIB", "TIB", "PIB"), start=1)
}
Capacities = Sequence[Sequence[int]]


def number_of(text: str, what: str, *, low: float, high: float) -> float:
    """A number, or one with a per cent sign. Raises UsageError."""
    digits, percent = (text[:-1], 100.0) if text.endswith("%") else (text, 1.0)
    try:
        value = float(digits) / percent
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise UsageError(f"{what} {text!r}: a number from {low:g} to {high:g} is needed")
    return value


def size_of(text: str) -> int:
    """``4 TB`` or ``500 GiB``. Raises UsageError."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None or float(match[1]) * unit < 1:
        raise UsageError(f"capacity {text!r}: an amount with a unit is needed, such as '4 TB'")
    return int(float(match[1]) * unit)


def layout_of(arguments: argparse.Namespace) -> Capacities:
    """The bytes of each peer by site. Raises UsageError."""
    if re.fullmatch(r"[0-9]+(,[0-9]+)*", arguments.sites) is None:
        raise UsageError(f"--sites {arguments.sites!r} is neither a number nor peers per site, such as 4,3,3")
    counts = [int(part) for part in arguments.sites.split(",")]
    peers = arguments.peers
    if peers is None:
        peers = sum(counts) if len(counts) > 1 else PEERS_DEFAULT
    if not 2 <= peers <= PEERS_MAX:
        raise UsageError(f"{peers} peers: 2 to {PEERS_MAX} can be planned for")
    here = tuple(counts) if len(counts) > 1 else peers_at_sites(peers, counts[0])
    if sum(here) != peers or min(here) < 1:
        raise UsageError(f"--sites {arguments.sites} does not make {peers} peers with no empty site")
    sizes = [size_of(part) for part in arguments.capacity.split(",")]
    if len(sizes) not in (1, peers):
        raise UsageError(f"--capacity has {len(sizes)} amounts: one for all, or one for each of {peers} peers")
    each = iter(sizes * peers if len(sizes) == 1 else sizes)
    return [[next(each) for _ in range(count)] for count in here]


def hazards_of(arguments: argparse.Namespace, capacities: Capacities) -> Hazards:
    """Raises UsageError."""

    def value(name: str, *, low: float = 0.0, high: float) -> float:
        return number_of(getattr(arguments, name), f"--{name.replace('_', '-')}", low=low, high=high)

    if arguments.repair_hours is not None:
        repair = value("repair_hours", low=0.01, high=REPAIR_HOURS_MAX) * HOUR
    else:
        pace = value("repair_mib_s", low=0.001, high=1e6) * MIB
        repair = max(max(site) for site in capacities) / pace / 3600 * HOUR
    return Hazards(
        loud=value("loud", high=100.0),
        silent=value("silent", high=100.0),
        sweep=value("sweep_days", low=0.0001, high=SWEEP_DAYS_MAX) * DAY,
        grace=value("grace_hours", high=GRACE_HOURS_MAX) * HOUR,
        repair=repair,
        replace=value("replace_days", high=3650) * DAY,
        site=value("site_loss", high=100.0),
        site_replace=value("site_replace_days", high=3650) * DAY,
        common=value("common", high=100.0),
        common_hit=value("common_hit", high=1.0),
        peer_up=value("peer_up", high=1.0),
        site_up=value("site_up", high=1.0),
    )


def run_plan(arguments: argparse.Namespace) -> int:
    """Raises UsageError, NotEnoughPeersError, TargetError."""
    capacities = layout_of(arguments)
    hazards = hazards_of(arguments, capacities)
    target = number_of(arguments.target_nines, "--target-nines", low=0.0, high=100.0)
    if not 0 <= arguments.samples <= SAMPLES_MAX or arguments.samples == 1:
        raise UsageError(f"--samples {arguments.samples}: 0 for none, or 2 to {SAMPLES_MAX}")
    outlooks = [outlook(scheme, capacities, hazards) for scheme in schemes_of(arguments, capacities)]
    shown = outlooks if arguments.scheme else worth_it(outlooks)
    shown = [
        outlook(
            item.scheme,
            capacities,
            hazards,
            draws=random.Random(f"{arguments.seed}/{item.scheme}"),  # noqa: S311 - a simulation that must repeat itself
            trials=arguments.samples,
        )
        for item in shown
    ]
    best = recommend(shown, target)
    if arguments.plot:
        _plot(arguments.plot, shown, target, capacities)
    if arguments.json:
        print_json(plan_value(shown, best, target, capacities))
    else:
        print_lines(plan_lines(shown, best, target, capacities))
    return EXIT_OK


def schemes_of(arguments: argparse.Namespace, capacities: Capacities) -> list[Scheme]:
    """Those asked for, else all sensible ones. Raises UsageError, NotEnoughPeersError."""
    if arguments.scheme:
        return [Scheme.parse(text) for text in arguments.scheme]
    limit = number_of(arguments.overhead_max, "--overhead-max", low=1.0, high=256.0)
    found = sensible_schemes([len(site) for site in capacities], overhead_max=limit)
    if not found:
        raise NotEnoughPeersError(
            f"no scheme fits on {sum(map(len, capacities))} peers at {len(capacities)} sites within an overhead of "
            f"{limit:g}: a site may hold no more shares than may be lost"
        )
    return found


def _plot(path: str, shown: Sequence[Outlook], target: float, capacities: Capacities) -> None:
    from cli.plan_plot import plot_svg

    text = plot_svg(shown, target, f"Yearly loss per object, {_pool_words(capacities)}")
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise TargetError(f"{path}: {error.strerror}") from error


# --- words --------------------------------------------------------------------------------------


def _pool_words(capacities: Capacities) -> str:
    return f"{sum(map(len, capacities))} peers at {len(capacities)} site{'s' if len(capacities) > 1 else ''}"


def probability_text(probability: float) -> str:
    return f"{probability:.2e}" if probability else "0"


def estimate_text(estimate: Estimate | None) -> str:
    return "-" if estimate is None else f"{estimate.rate:.2e} ±{estimate.error:.0e}"


def survives_text(item: Outlook) -> str:
    """``any 6 peers; any 1 site and 2 more``."""
    sites = f"any {item.lose_sites} site{'s' if item.lose_sites != 1 else ''}" if item.lose_sites else "no site"
    more = f" and {item.lose_more_peers} more" if item.lose_sites and item.lose_more_peers else ""
    return f"any {item.scheme.spare} peers; {sites}{more}" if item.scheme.spare > 1 else f"any 1 peer; {sites}{more}"


def plan_lines(shown: Sequence[Outlook], best: Outlook | None, target: float, capacities: Capacities) -> list[str]:
    """A table for a terminal, and the recommendation."""
    lines = [
        f"{'scheme':8}{'cost':>6}{'usable':>11}  {'may be lost at once':34}{'closed form':>12}{'Markov':>10}"
        f"{'Monte Carlo':>18}{'nines':>7}{'common mode':>13}{'unreadable':>12}"
    ]
    lines += [
        f"{item.scheme!s:8}{item.overhead:>6.2f}{size_text(item.usable_bytes):>11}  {survives_text(item):34}"
        f"{probability_text(item.closed):>12}{probability_text(item.markov):>10}{estimate_text(item.trials):>18}"
        f"{item.nines:>7.1f}{probability_text(item.common):>13}{probability_text(item.unreadable):>12}"
        for item in shown
    ]
    lines += ["", "yearly loss per object from peers and sites; common-mode events come on top and limit every scheme"]
    lines += [
        f"note: {item.scheme}: the Monte Carlo estimate is more than three standard errors away; try more --samples"
        for item in shown
        if not item.trials_agree
    ]
    if best is None:
        return [*lines, f"no scheme on {_pool_words(capacities)} reaches {target:g} nines: add peers, or sites"]
    return [
        *lines,
        f"for {target:g} nines: {best.scheme}, {best.nines:.1f} nines at {best.overhead:.2f} bytes stored per byte "
        f"({best.nines_with_common:.1f} nines with common-mode events)",
    ]


def plan_value(
    shown: Sequence[Outlook], best: Outlook | None, target: float, capacities: Capacities
) -> dict[str, object]:
    """The same for programs. Infinite nines are null."""
    return {
        "peers": sum(map(len, capacities)),
        "sites": len(capacities),
        "target_nines": target,
        "recommended": None if best is None else str(best.scheme),
        "schemes": [_outlook_value(item) for item in shown],
    }


def _outlook_value(item: Outlook) -> dict[str, object]:
    trials: dict[str, object] | None = None
    if item.trials is not None:
        trials = {"rate": item.trials.rate, "error": item.trials.error, "agrees": item.trials_agree}
    return {
        "scheme": str(item.scheme),
        "overhead": item.overhead,
        "usable_bytes": item.usable_bytes,
        "shares_per_site": list(item.stripe.sites),
        "may_lose_peers": item.scheme.spare,
        "may_lose_sites": item.lose_sites,
        "may_lose_more_peers": item.lose_more_peers,
        "loss": item.loss,
        "loss_closed": item.closed,
        "loss_markov": item.markov,
        "loss_monte_carlo": trials,
        "nines": None if math.isinf(item.nines) else item.nines,
        "loss_common_mode": item.common,
        "nines_with_common_mode": None if math.isinf(item.nines_with_common) else item.nines_with_common,
        "unreadable": item.unreadable,
    }
