"""A ledger peer as a process that may be killed: ``python -m tests.ledger.member_process NUMBER FOLDER NOW PORT...``.

The first member submits leaves without end and prints a line for each that was anchored: its number, its index, the
checkpoint's size and root.
"""

from __future__ import annotations

import itertools
import os
import sys

import trio

from anchor.checkpoint import parse_checkpoint
from anchor.note import encode_base64, parse_note
from core.errors import MoorageError
from core.ports import Address, Connection
from daemon.eventlog import EventLog
from daemon.ledger import LedgerPeer
from daemon.operator import Operator
from daemon.settings import LogSettings
from host.ports import real_ports
from tests.ledger.members import make_members, roster_of

HOST = "127.0.0.1"

OPEN_DEADLINE_S = 30.0


async def main(number: int, folder: str, now: float, ports_of: list[int]) -> None:
    members = make_members(len(ports_of), now=now, host=HOST)
    for each, port in zip(members, ports_of, strict=True):
        each.address = Address(HOST, port)
    member = members[number]
    issuers = {name: item for each in members for name, item in each.hospital.issuers.items()}
    ports = real_ports(lambda: member.person.certificate, member.person.key, lambda: issuers)
    home = member.home(folder, roster_of(members, hybrid=False))
    log = EventLog(LogSettings(), ports.clock, lambda line: print(line, file=sys.stderr), peer=member.name)
    peer = LedgerPeer(ports, home, member.keys, lambda: home.roster, log)
    async with trio.open_nursery() as nursery:
        web = await nursery.start(peer.run)

        async def serve(connection: Connection) -> None:
            await web.serve_connection(connection)

        await nursery.start(ports.net.serve, member.address, serve)
        print("ready", flush=True)
        if number == 0:
            with trio.fail_after(OPEN_DEADLINE_S):
                operator = await peer.opened()
            await submit_without_end(operator)
        else:
            await trio.sleep_forever()


async def submit_without_end(operator: Operator) -> None:
    """Groups of several sizes, each leaf of this life's own name; some of an earlier life's are sent again."""
    life = os.getpid()
    for turn in itertools.count():
        leaves = [b"life %d turn %d leaf %d" % (life, turn, number) for number in range(1 + turn % 7)]
        try:
            submitted = await operator.submit_all([*leaves, b"again %d" % (turn % 50)], 20)
        except MoorageError as error:
            print(f"refused: {error}", file=sys.stderr)
            continue
        if submitted.pending:
            continue
        for anchored in submitted.anchored:
            checkpoint = parse_checkpoint(parse_note(anchored.checkpoint).text)
            root = encode_base64(checkpoint.root)
            print(f"{anchored.index} {checkpoint.size} {root} {anchored.leaf.hex()}", flush=True)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), [int(port) for port in sys.argv[4:]])
