"""``python -m tests.sim``: hunt through seeds, replay one, or shorten a schedule that fails.

python -m tests.sim --seeds 1..20 [--profile storm|long|both]
python -m tests.sim --seconds 600 [--from SEED] [--jobs 2]
python -m tests.sim --seed 7 --profile storm [--schedule FILE] [--trace] [--minimise]
python -m tests.sim --sum FILE
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.sim.minimise import minimise
from tests.sim.nemesis import make_schedule, parse_schedule, schedule_text
from tests.sim.profiles import PROFILES, Profile
from tests.sim.swarm import EVENTS_SHOWN, Verdict, peer_names, run_seed
from tests.sim.totals import Totals, keep, kept
from tests.sim.trials import Trial, verdicts_of

SEED_BITS = 32


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim")
    parser.add_argument("--seeds", help="A..B: these seeds, both included")
    parser.add_argument("--seconds", type=float, help="fresh seeds for so long")
    parser.add_argument(
        "--from", dest="start", default="0", help="where fresh seeds begin: a number, or a commit's hash"
    )
    parser.add_argument("--seed", type=int, help="this seed alone")
    parser.add_argument("--profile", default="both", choices=(*PROFILES, "both"))
    parser.add_argument("--schedule", type=Path, help="faults from this file instead of the seed's")
    parser.add_argument("--write-schedule", type=Path, help="keep the seed's faults in this file")
    parser.add_argument("--minimise", action="store_true", help="look for the fewest faults that still fail")
    parser.add_argument("--trace", action="store_true", help="show all events of every seed")
    parser.add_argument("--jobs", type=int, default=1, help="so many universes at once, a process each")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first failure")
    parser.add_argument("--record", type=Path, help="append what the run came to to this file")
    parser.add_argument("--sum", type=Path, help="run nothing: show the runs of such a file, and their sum")
    arguments = parser.parse_args()
    if arguments.write_schedule and (arguments.seed is None or arguments.profile == "both"):
        parser.error("--write-schedule needs --seed and --profile storm or long")
    return arguments


def _seeds(arguments: argparse.Namespace) -> Iterator[int]:
    if arguments.seed is not None:
        yield arguments.seed
    elif arguments.seeds is not None:
        first, _, last = arguments.seeds.partition("..")
        yield from range(int(first), int(last or first) + 1)
    else:
        start = int(arguments.start, 16) % 2**SEED_BITS
        until = time.monotonic() + (arguments.seconds or 60.0)
        while time.monotonic() < until:
            yield start
            start += 1


def _profiles(arguments: argparse.Namespace, seed: int) -> list[Profile]:
    """Of both, every third fresh seed is a long one: it costs about twice a storm."""
    if arguments.profile != "both":
        return [PROFILES[arguments.profile]]
    if arguments.seed is not None:
        return list(PROFILES.values())
    return [PROFILES["long" if seed % 3 == 0 else "storm"]]


def _trials(arguments: argparse.Namespace) -> Iterator[Trial]:
    schedule = parse_schedule(arguments.schedule.read_text()) if arguments.schedule else None
    events_max = None if arguments.trace else EVENTS_SHOWN
    for seed in _seeds(arguments):
        for profile in _profiles(arguments, seed):
            yield Trial(seed, profile.name, schedule, events_max)


def _show(verdict: Verdict, *, trace: bool) -> None:
    hours = verdict.sim_s / 3600
    print(
        f"seed {verdict.seed} {verdict.profile}: {'FAILED' if verdict.failure else 'ok'}"
        f" digest {verdict.digest[:16]}, {verdict.objects} objects, {verdict.applied.total()} faults,"
        f" {hours:.1f} simulated hours in {verdict.wall_s:.1f} s ({verdict.cpu_s:.1f} s of CPU)",
        flush=True,
    )
    if verdict.failure or trace:
        print("".join(f"  {event}\n" for event in verdict.events), end="")
    if verdict.failure:
        print(f"  {verdict.failure}\n  replay: python -m tests.sim --seed {verdict.seed} --profile {verdict.profile}")


def _shorten(seed: int, profile: Profile, verdict: Verdict, schedule_file: Path | None) -> None:
    schedule = (
        parse_schedule(schedule_file.read_text())
        if schedule_file
        else make_schedule(seed, profile, peer_names(profile))
    )
    kept, runs = minimise(schedule, verdict.failure, lambda trial: run_seed(seed, profile, trial).failure)
    target = Path(f"schedule-{profile.name}-{seed}.jsonl")
    target.write_text(schedule_text(kept))
    print(f"  {len(schedule)} faults -> {len(kept)} in {runs} runs:")
    print("".join(f"    {fault}\n" for fault in kept), end="")
    print(f"  replay: python -m tests.sim --seed {seed} --profile {profile.name} --schedule {target}")


def _show_kept(path: Path) -> None:
    """Each run of the file, and all together."""
    runs = kept(path)
    for command, totals in runs:
        print(f"{command}\n{totals}\n")
    print(f"all {len(runs)} runs\n{sum((totals for _, totals in runs), Totals())}")


def main() -> int:
    arguments = _arguments()
    if arguments.sum:
        _show_kept(arguments.sum)
        return 0
    verdicts: list[Verdict] = []
    began = time.monotonic()
    if arguments.write_schedule:
        profile = PROFILES[arguments.profile]
        schedule = make_schedule(arguments.seed, profile, peer_names(profile))
        arguments.write_schedule.write_text(schedule_text(schedule))
    for verdict in verdicts_of(_trials(arguments), arguments.jobs):
        verdicts.append(verdict)
        _show(verdict, trace=arguments.trace)
        if verdict.failure and arguments.minimise:
            _shorten(verdict.seed, PROFILES[verdict.profile], verdict, arguments.schedule)
        if verdict.failure and not arguments.keep_going:
            break
    totals = Totals.of(verdicts, time.monotonic() - began)
    print(f"\n{totals}")
    if arguments.record:
        words = [word for word in sys.argv[1:] if word not in ("--record", str(arguments.record))]
        keep(arguments.record, totals, f"python -m tests.sim {shlex.join(words)}")
    return int(any(verdict.failure for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
