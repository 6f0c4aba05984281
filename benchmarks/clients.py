"""Several clients at once, each with a file of its own: the time until the last one is done."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks.figures import MIB, Figure
from benchmarks.lab import Lab
from benchmarks.sources import make_source
from benchmarks.systems import System
from benchmarks.whole import Turn, figures_of, in_turns, print_turn

STEPS = ("put", "get")


def _take_turn(lab: Lab, system: System, clients: int) -> Turn:
    sources = [lab.work / f"source-{number}" for number in range(clients)]
    system.resume()
    with ThreadPoolExecutor(clients) as crew:
        stored, put = lab.timed(system, lambda: list(crew.map(system.put, sources)))
        folders = [lab.folder(f"restored-{number}") for number in range(clients)]
        restored, get = lab.timed(system, lambda: list(crew.map(system.get, stored, folders)))
    system.pause()
    for source, target in zip(sources, restored, strict=True):
        if not filecmp.cmp(source, target, shallow=False):
            raise SystemExit(f"{system.name} gave other bytes back")
    for folder in folders:
        shutil.rmtree(folder)
    turn = {"put": put, "get": get}
    print_turn(system, turn)
    return turn


def many_clients(
    lab: Lab, systems: Sequence[System], scheme: str, *, clients: int, size_bytes: int, rounds: int
) -> list[Figure]:
    """``clients`` at once, ``size_bytes`` each. restic's would wait for one another's locks: left out."""
    some = [system for system in systems if system.name != "restic"]
    turns: dict[str, list[Turn]] = {system.name: [] for system in some}
    for number in range(rounds):
        print(f"{scheme}, {clients} clients, round {number + 1} of {rounds}", flush=True)
        for client in range(clients):
            make_source(lab.work / f"source-{client}", size_bytes, seed=f"clients {number} {client}")
        for system in in_turns(some, number):
            turns[system.name].append(_take_turn(lab, system, clients))
    scenario = f"{scheme}, {clients} clients with {size_bytes // MIB} MiB each"
    return figures_of(scenario, STEPS, clients * size_bytes, turns)
