"""How long it takes until a quorum has signed an entry, and what that costs: four organisations on this machine.

    python -m benchmarks.ledger                    the full table, about five minutes on an idle machine
    python -m benchmarks.ledger --seconds 3 --rates 5 1000
    python -m benchmarks.ledger --disk DIR         where the ledgers lie; fsync is on, so this counts

One process each, TLS over loopback, each far witness 30 ms away (``--rtt-ms``). Arrivals are open-loop: percentiles
are from the time at which an entry was due, not from when there was time to send it. Entries are submitted in the
operator's own process, in ticks of 5 ms. CPU is that of all processes, the load generator's included.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.processes import cpu_s, free_ports

ORGANISATIONS = 4
PATIENCE_S = 60.0
# What the consortium promises, for p99 on an otherwise idle machine of two cores: (rate, hybrid) -> seconds.
BARS_S = {(5.0, False): 1.0, (5.0, True): 1.0, (5000.0, False): 0.4, (5000.0, True): 0.6}
# One file of a tile or bundle takes whole blocks; what a log of whole tiles holds is what counts.
STUDY_BAR_BYTES = 512


@dataclass(frozen=True, slots=True)
class Run:
    rate_per_s: float
    hybrid: bool
    dead: int
    """Witnesses that are killed before the load begins."""


@dataclass(frozen=True, slots=True)
class Result:
    run: Run
    report: dict[str, Any]
    cpu_per_entry_s: float
    disk_bytes_per_entry: float

    @property
    def line(self) -> str:
        run, report = self.run, self.report
        kind = "Ed25519+ML-DSA-44" if run.hybrid else "Ed25519"
        bar_s = BARS_S.get((run.rate_per_s, run.hybrid))
        verdict = "" if bar_s is None else f"  bar {bar_s:g} s: {'met' if report['p99_s'] < bar_s else 'MISSED'}"
        return (
            f"{run.rate_per_s:>6g}/s  {kind:<18} {run.dead} dead  {report['entries']:>7} entries  "
            f"p50 {report['p50_s'] * 1000:6.0f} ms  p99 {report['p99_s'] * 1000:6.0f} ms  "
            f"max {report['max_s'] * 1000:6.0f} ms  CPU {self.cpu_per_entry_s * 1e6:8.0f} us/entry  "
            f"{self.disk_bytes_per_entry:7.0f} B/entry{verdict}"
        )


def start(number: int, plan: dict[str, Any]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.ledger_member", str(number), json.dumps(plan)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def say(process: subprocess.Popen[str], line: str = "go\n") -> None:
    assert process.stdin is not None
    process.stdin.write(line)
    process.stdin.flush()


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"a member ended with status {process.wait(PATIENCE_S)}")
    return line.strip()


def measure(run: Run, *, seconds: float, rtt_s: float, disk: str) -> Result:
    folder = tempfile.mkdtemp(prefix="ledger-", dir=disk)
    plan = {
        "ports": free_ports(ORGANISATIONS),
        "folder": folder,
        "now": time.time(),
        "hybrid": run.hybrid,
        "rtt_s": rtt_s,
    }
    load = {"rate_per_s": run.rate_per_s, "seconds": seconds, "warm_s": max(1.0, min(2.0, 10 / run.rate_per_s))}
    members = [start(number, plan | (load if number == 0 else {})) for number in range(ORGANISATIONS)]
    try:
        for member in members:
            assert heard(member) == "ready"
        for member in members[ORGANISATIONS - run.dead :]:
            member.kill()
            member.wait(PATIENCE_S)
        living = [member.pid for member in members if member.poll() is None]
        say(members[0])
        assert heard(members[0]) == "warm"
        before = cpu_s(living)
        report = json.loads(heard(members[0]))
        cpu = cpu_s(living) - before
        used = used_bytes(Path(folder, "0", "ledger", "log"))
        say(members[0])
        return Result(run, report, cpu / report["entries"], used / report["log_entries"])
    finally:
        for member in members:
            member.kill()
            member.wait(PATIENCE_S)
            for stream in (member.stdin, member.stdout):
                assert stream is not None
                stream.close()
        shutil.rmtree(folder)


def used_bytes(folder: Path) -> int:
    """Of a log's files, as long as they are; the commit record and what is only an index left out."""
    return sum(
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and path.name != "stage" and path.parent.name != "leaves"
    )


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger")
    parser.add_argument("--seconds", type=float, default=20.0, help="load of each run, after a second of warming up")
    parser.add_argument("--rates", type=float, nargs="+", default=[5.0, 1000.0, 5000.0], help="entries a second")
    parser.add_argument("--rtt-ms", type=float, default=30.0, help="round trip to each far witness")
    parser.add_argument("--kinds", nargs="+", choices=("ed25519", "hybrid"), default=["ed25519", "hybrid"])
    parser.add_argument("--dead", type=int, nargs="+", choices=(0, 1), default=[0, 1], help="witnesses killed")
    parser.add_argument("--disk", default=None, help="folder for the ledgers (default: the system's temporary one)")
    arguments = parser.parse_args(words)
    machine = describe_machine()
    print("measured on:", ", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"{ORGANISATIONS} organisations, quorum 3; fsync on; {arguments.rtt_ms:g} ms to each far witness")
    missed = 0
    for rate in arguments.rates:
        for kind in arguments.kinds:
            for dead in arguments.dead:
                run = Run(rate, kind == "hybrid", dead)
                disk = arguments.disk or tempfile.gettempdir()
                result = measure(run, seconds=arguments.seconds, rtt_s=arguments.rtt_ms / 1000, disk=disk)
                print(result.line, flush=True)
                missed += "MISSED" in result.line
    print("Watts are not measured: at an assumed 10 W per busy core, 100 us of CPU are 1 mJ.")
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
