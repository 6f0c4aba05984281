"""One large file beside Tahoe-LAFS 1.20 and restic: same machine, same run, same bytes, same code, turn by turn.

    python -m benchmarks.against_tahoe [--scheme 4+2] [--size-mib 512] [--rounds 3] [--only tahoe|moorage]

Each round makes fresh random bytes, has every system put, get, verify and repair them, in an order that changes from
round to round, and compares what comes back. All processes share this machine's cores and disk, so figures show work
done per byte, not what a network of machines would reach.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.figures import MIB
from benchmarks.lab import Lab, Tools, find_tools, run_in_lab
from benchmarks.machine import describe_machine
from benchmarks.report import print_figures, write_result
from benchmarks.systems import System
from benchmarks.whole import whole_file
from erasure.scheme import Scheme

# Room on the disk for each byte of a round: a synced copy, an unsynced one, tahoe's, restic's, and what repair adds.
DISK_PER_BYTE = 7


def measure(words: argparse.Namespace, lab: Lab) -> int:
    """All rounds, printed and stored."""
    scheme: Scheme = words.scheme
    before = describe_machine()
    systems: list[System] = []
    if words.only != "moorage":
        systems += [*lab.grids(scheme), *lab.repositories()]
    if words.only != "tahoe":
        systems += lab.pools(scheme, unsynced=words.unsynced)
    size_bytes = words.size_mib * MIB
    with lab.started(systems):
        figures = whole_file(lab, systems, str(scheme), size_bytes=size_bytes, rounds=words.rounds)
        others = {system.name: system.version for system in systems}
    print_figures(figures, lab.tools)
    more = {"scheme": str(scheme), "size_bytes": size_bytes, "rounds": words.rounds}
    write_result("against-tahoe", figures, machine=before, others=others, private=lab.private, more=more)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.against_tahoe", description="Compare one large file with Tahoe-LAFS and restic."
    )
    parser.add_argument("--scheme", type=Scheme.parse, default=Scheme(4, 6))
    parser.add_argument("--size-mib", type=int, default=512, help="of each file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("tahoe", "moorage"), help="measure one of them (restic goes with tahoe)")
    parser.add_argument("--no-unsynced", dest="unsynced", action="store_false", help="leave out moorage without syncs")
    words = parser.parse_args()
    is_beside = words.only != "moorage"

    def find() -> Tools:
        return find_tools(tahoe=is_beside, restic=is_beside, unsynced=words.unsynced and words.only != "tahoe")

    free_bytes = int(words.size_mib * MIB * (words.rounds * DISK_PER_BYTE + 2))
    return run_in_lab("benchmarks.against_tahoe", find, lambda lab: measure(words, lab), free_bytes)


if __name__ == "__main__":
    sys.exit(main())
