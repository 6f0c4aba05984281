"""The model of docs/durability.md beside the shipped code, and the document's tables.

``python -m benchmarks.durability --simulate "4+2 on 6 peers, 3 sites" --seed 5`` runs production care at accelerated
failure rates and adds a line to benchmarks/durability-runs.jsonl; ``--plot FILE`` draws the document's plot;
``python -m tests.documented`` writes the tables into the document.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cli.plan import estimate_text, probability_text, survives_text
from cli.plan_plot import plot_svg
from erasure.durability_closed import loss_rate_between_looks, nines
from erasure.durability_plan import Hazards, Outlook, outlook, sensible_schemes, worth_it
from erasure.durability_stripe import Stripe, peers_at_sites, shares_per_site
from erasure.durability_trials import count_losses
from erasure.scheme import Scheme
from tests.daemon.accelerated import HOUR_S, YEAR_S, Trial, simulate

RUNS = Path(__file__).with_name("durability-runs.jsonl")
TERABYTE = 10**12
POOLS = ((Scheme(4, 6), 6, 3), (Scheme(10, 16), 16, 3), (Scheme(10, 16), 16, 5))
SAMPLES = 3000
# Short beside the hour of a roll call, long beside the seconds of a repair.
PERIOD_S = HOUR_S
# Per sweep interval: peers whose disk is swapped, sites all of whose disks are.
_RATES = ((0.30, 0.03), (0.30, 0.06), (0.35, 0.06))
REFERENCE_INTERVALS = 10_000


def trials() -> dict[str, Trial]:
    """The accelerated runs by name."""
    each = YEAR_S / PERIOD_S
    return {
        f"{scheme} on {peers} peers, {sites} sites": Trial(
            scheme, peers, sites, PERIOD_S, wipes=wipes * each, site_wipes=site_wipes * each
        )
        for (scheme, peers, sites), (wipes, site_wipes) in zip(POOLS, _RATES, strict=True)
    }


def stripe_of_trial(trial: Trial) -> Stripe:
    """The model of an accelerated run, its times in sweep intervals."""
    each = trial.period_s / YEAR_S
    return Stripe(
        needed=trial.scheme.needed,
        sites=shares_per_site(trial.scheme, peers_at_sites(trial.peers, trial.sites)),
        loud=0.0,
        loud_away=0.0,
        silent=trial.wipes * each,
        sweep=1.0,
        site=trial.site_wipes * each,
        site_noticed=False,
    )


class Run(NamedTuple):
    """One accelerated run, a line of durability-runs.jsonl."""

    trial: str
    seed: int
    object_periods: float
    failures: int
    losses: int
    cpu_s: float


def read_runs() -> list[Run]:
    return [Run(**json.loads(line)) for line in RUNS.read_text("utf-8").splitlines()]


def run_trial(name: str, seed: int, periods: float) -> Run:
    """Production care for so many object-intervals of virtual time."""
    trial = trials()[name]
    begun_s = time.process_time()
    tally = simulate(trial, seed=seed, losses=10**9, object_years=periods * trial.period_s / YEAR_S)
    cpu_s = round(time.process_time() - begun_s)
    return Run(name, seed, round(tally.object_s / trial.period_s, 3), tally.failures, tally.losses, cpu_s)


def poisson_interval(count: int) -> tuple[float, float]:
    """95 % limits of the mean of a Poisson count (Molenaar's square root approximation, within 1 % from 10 on)."""
    return (math.sqrt(count) - 0.98) ** 2 if count else 0.0, (math.sqrt(count + 1) + 0.98) ** 2


class Ratio(NamedTuple):
    """Losses of the shipped code for each that the model expects, with its 95 % interval."""

    value: float
    low: float
    high: float


def ratio_of(runs: Sequence[Run]) -> Ratio:
    rate = loss_rate_between_looks(stripe_of_trial(trials()[runs[0].trial]))
    expected = rate * sum(run.object_periods for run in runs)
    losses = sum(run.losses for run in runs)
    low, high = poisson_interval(losses)
    return Ratio(losses / expected, low / expected, high / expected)


# --- tables -------------------------------------------------------------------------------------


def _outlook(scheme: Scheme, peers: int, sites: int, hazards: Hazards) -> Outlook:
    capacities = [[4 * TERABYTE] * here for here in peers_at_sites(peers, sites)]
    return outlook(scheme, capacities, hazards, draws=random.Random(1), trials=SAMPLES)


@cache
def schemes_table() -> str:
    """What ``moorage plan`` says of the documented pools."""
    lines = [
        "| scheme, pool | cost | may be lost at once | closed form | Markov | Monte Carlo | nines "
        "| common mode | unreadable |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for scheme, peers, sites in POOLS:
        item = _outlook(scheme, peers, sites, Hazards())
        lines.append(
            f"| {scheme} on {peers} peers, {sites} sites | {item.overhead:.2f} | {survives_text(item)} "
            f"| {probability_text(item.closed)} | {probability_text(item.markov)} | {estimate_text(item.trials)} "
            f"| {item.nines:.1f} | {probability_text(item.common)} | {probability_text(item.unreadable)} |"
        )
    return "\n".join(lines) + "\n"


@cache
def simulated_table() -> str:
    """The shipped code at accelerated rates beside the model: losses per object and sweep interval."""
    lines = [
        "| pool | disks swapped, sites swapped | object-intervals | losses | shipped code | Markov | Monte Carlo "
        "| ratio (95 %) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    runs = read_runs()
    for name, trial in trials().items():
        mine = [run for run in runs if run.trial == name]
        stripe = stripe_of_trial(trial)
        intervals, losses = sum(run.object_periods for run in mine), sum(run.losses for run in mine)
        chain, reference = loss_rate_between_looks(stripe), count_losses(stripe, random.Random(1), REFERENCE_INTERVALS)
        ratio = ratio_of(mine)
        lines.append(
            f"| {name} | {stripe.silent:.2f}, {stripe.site:.2f} | {intervals:,.0f} | {losses} "
            f"| {losses / intervals:.3f} | {chain:.3f} | {reference.rate:.3f} ±{reference.error:.3f} "
            f"| {ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f}) |"
        )
    return "\n".join(lines) + "\n"


@cache
def common_table() -> str:
    """How many nines common-mode events leave, whatever else is done."""
    cases = ((0.01, 0.1), (0.05, 0.1), (0.05, 0.2), (0.05, 0.3))
    head = " | ".join(f"{common:.0%} a year, each site {hit:.0%}" for common, hit in cases)
    lines = [f"| scheme, pool | {head} |", "|---|---|---|---|---|"]
    for scheme, peers, sites in (*POOLS, (Scheme(8, 14), 14, 14), (Scheme(4, 6), 6, 6)):
        hazards = [Hazards(common=common, common_hit=hit) for common, hit in cases]
        capacities = [[4 * TERABYTE] * here for here in peers_at_sites(peers, sites)]
        cells = " | ".join(f"{nines(outlook(scheme, capacities, each).common):.1f}" for each in hazards)
        lines.append(f"| {scheme} on {peers} peers, {sites} sites | {cells} |")
    return "\n".join(lines) + "\n"


def plot() -> str:
    """The document's plot: 16 peers at 5 sites."""
    capacities = [[4 * TERABYTE] * here for here in peers_at_sites(16, 5)]
    schemes = sensible_schemes([len(site) for site in capacities])
    shown = worth_it([outlook(scheme, capacities, Hazards()) for scheme in schemes])
    return plot_svg(shown, 9.0, "Yearly loss per object, 16 peers at 5 sites")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulate", choices=list(trials()), help="run the shipped code at accelerated rates")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--intervals", type=float, default=90.0, help="object-intervals of virtual time (default 90)")
    parser.add_argument("--plot", type=Path, help="write the document's plot")
    arguments = parser.parse_args()
    if arguments.plot:
        arguments.plot.write_text(plot(), "utf-8")
        return
    if arguments.simulate:
        run = run_trial(arguments.simulate, arguments.seed, arguments.intervals)
        ratio = ratio_of([run])
        print(json.dumps(run._asdict()), f"ratio {ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})")
        with RUNS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(run._asdict()) + "\n")
        return
    print(schemes_table(), common_table(), simulated_table(), sep="\n")


if __name__ == "__main__":
    main()
