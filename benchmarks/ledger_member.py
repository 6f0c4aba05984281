"""One organisation's ledger peer as a process, for ``benchmarks.ledger``: a witness, or the operator under load.

    python -m benchmarks.ledger_member NUMBER '{"ports": [...], "folder": ..., "now": ..., "hybrid": ..., ...}'

A witness answers every request ``rtt_s`` late: the round trip to another hospital. The operator has its own witness
near. It prints one line of JSON when the load is over.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from dataclasses import dataclass
from math import ceil

import trio

from core.ports import Address, Connection, Ports
from daemon.eventlog import EventLog
from daemon.ledger import LedgerPeer
from daemon.ledgerweb import is_large
from daemon.operator import Operator
from daemon.settings import LogSettings
from daemon.web import WebServer
from host.ports import real_ports
from tests.ledger.members import Member, make_members, roster_of
from wire.web import WebAnswer, WebRequest

HOST = "127.0.0.1"
# Leaves that are due within one tick are submitted together, as a gateway would; each is timed from its own due time.
TICK_S = 0.005
# A signed leaf of a manifest has so many bytes (docs/format.md).
LEAF_BYTES = 450
DRAIN_S = 30.0

OPEN_DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What one process is told."""

    ports: list[int]
    folder: str
    now: float
    hybrid: bool
    rtt_s: float
    rate_per_s: float = 0.0
    seconds: float = 0.0
    warm_s: float = 1.0


def members_of(plan: Plan) -> list[Member]:
    members = make_members(len(plan.ports), now=plan.now, host=HOST)
    for member, port in zip(members, plan.ports, strict=True):
        member.address = Address(HOST, port)
    return members


def leaf(number: int) -> bytes:
    return (b"entry %d " % number).ljust(LEAF_BYTES, b".")


async def load(operator: Operator, plan: Plan, first: int, seconds: float) -> list[float]:
    """Open loop: entry i is due at i / rate, whatever became of those before. Seconds from due to anchored."""
    total = max(1, round(plan.rate_per_s * seconds))
    took: list[float] = []
    began = trio.current_time()

    async def submit(start: int, end: int) -> None:
        submitted = await operator.submit_all([leaf(first + number) for number in range(start, end)], DRAIN_S)
        assert not submitted.pending, "no quorum"
        now = trio.current_time()
        took.extend(now - began - number / plan.rate_per_s for number in range(start, end))

    async with trio.open_nursery() as nursery:
        done = 0
        while done < total:
            due = min(total, int((trio.current_time() - began) * plan.rate_per_s) + 1)
            for start in range(done, due, 256):
                nursery.start_soon(submit, start, min(due, start + 256))
            done = max(done, due)
            next_s = began + done / plan.rate_per_s
            await trio.sleep(max(TICK_S, next_s - trio.current_time()))
    return took


def percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, ceil(part * len(ordered)) - 1)]


async def serve(ports: Ports, member: Member, web: WebServer, rtt_s: float) -> None:
    async def late(request: WebRequest) -> WebAnswer:
        await trio.sleep(rtt_s)
        return await answer(request)

    answer = web.handler
    delayed = WebServer(late, is_large=is_large)

    async def converse(connection: Connection) -> None:
        await delayed.serve_connection(connection)

    await ports.net.serve(member.address, converse)


async def main(number: int, plan: Plan) -> None:
    members = members_of(plan)
    member = members[number]
    issuers = {name: item for each in members for name, item in each.hospital.issuers.items()}
    ports = real_ports(lambda: member.person.certificate, member.person.key, lambda: issuers)
    folder = f"{plan.folder}/{number}"
    ports.disk.make_folders(folder)
    home = member.home(folder, roster_of(members, hybrid=plan.hybrid))
    member.create(ports.disk, folder)
    log = EventLog(LogSettings(), ports.clock, lambda line: print(line, file=sys.stderr), peer=member.name)
    peer = LedgerPeer(ports, home, member.keys, lambda: home.roster, log)
    async with trio.open_nursery() as nursery:
        web = await nursery.start(peer.run)
        nursery.start_soon(serve, ports, member, web, plan.rtt_s)
        print("ready", flush=True)
        if plan.rate_per_s:
            await trio.to_thread.run_sync(sys.stdin.readline)
            await measure(peer, plan)
            nursery.cancel_scope.cancel()


async def measure(peer: LedgerPeer, plan: Plan) -> None:
    with trio.fail_after(OPEN_DEADLINE_S):
        operator = await peer.opened()
    warm = await load(operator, plan, 0, plan.warm_s)
    print("warm", flush=True)
    own = time.process_time()
    began = time.perf_counter()
    took = await load(operator, plan, len(warm), plan.seconds)
    report = {
        "entries": len(took),
        "seconds": time.perf_counter() - began,
        "p50_s": percentile(took, 0.5),
        "p99_s": percentile(took, 0.99),
        "max_s": max(took),
        "own_cpu_s": time.process_time() - own,
        "log_entries": len(took) + len(warm),
    }
    print(json.dumps(report), flush=True)
    await trio.to_thread.run_sync(sys.stdin.readline)


if __name__ == "__main__":
    # As ``cli.main`` has it for the daemon.
    gc.freeze()
    trio.run(main, int(sys.argv[1]), Plan(**json.loads(sys.argv[2])))
