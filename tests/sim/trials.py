"""Many universes, a process each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from itertools import islice
from multiprocessing import get_context
from typing import NamedTuple

from tests.sim.nemesis import Fault
from tests.sim.profiles import PROFILES
from tests.sim.swarm import Verdict, run_seed


class Trial(NamedTuple):
    """One universe to be run, here or in another process."""

    seed: int
    profile: str
    schedule: Sequence[Fault] | None
    events_max: int | None


def run_trial(trial: Trial) -> Verdict:
    return run_seed(trial.seed, PROFILES[trial.profile], trial.schedule, events_max=trial.events_max)


def verdicts_of(trials: Iterator[Trial], jobs: int) -> Iterator[Verdict]:
    """As they come; no trial is begun before it has a processor."""
    if jobs == 1:
        yield from map(run_trial, trials)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(run_trial, trial) for trial in islice(trials, jobs)}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(run_trial, trial) for trial in islice(trials, len(done))}
                yield from (future.result() for future in done)
        finally:
            pool.shutdown(cancel_futures=True)
