"""Another peer for an organisation that is there already: `pool add-peer`, `consortium add-peer`."""

from __future__ import annotations

import argparse
import os

import trio

from cli.clients import open_home
from cli.output import print_json, print_lines
from cli.pool import PoolPeer, peer_at, start_one
from client.bootstrap import parse_address
from client.context import open_client
from client.home import Home
from client.newpeer import PeerPlan, add_peer
from core.errors import EXIT_OK, HomeError, MoorageError, UsageError
from core.ports import Ports
from daemon.settings import EVERYWHERE
from host.chance import RealChance
from host.clock import RealClock
from host.disk import RealDisk

# To hear from the pool who is there already; without it the homes at hand have to do.
ASK_DEADLINE_S = 5.0


def run_add_peer(arguments: argparse.Namespace) -> int:
    """Raises UsageError, HomeError, MoorageError."""
    in_pool = arguments.command == "pool"
    home, ports = open_home(os.path.join(os.path.abspath(arguments.dir), "client") if in_pool else arguments.home)
    if home.identity.role != "client":
        raise HomeError(f"{home.folder} is a peer's home: give --home the client's, which has the issuing key")
    if not in_pool and not home.roster.is_consortium:
        raise UsageError(
            f"this pool is no consortium: `moorage pool add-peer --dir {os.path.dirname(home.folder)}` adds a peer"
        )
    listen = parse_address(arguments.listen) if arguments.listen else None
    if listen is not None and listen.host in EVERYWHERE and not arguments.advertise:
        raise UsageError(f"--listen {listen} is every address of this machine: say which with --advertise HOST:PORT")
    plan = PeerPlan(
        organisation=(arguments.organisation or "") if in_pool else "",
        site=arguments.site or "",
        name=arguments.name or "",
        folder=os.path.abspath(arguments.dir) if arguments.dir and not in_pool else "",
        listen=listen,
        address=parse_address(arguments.advertise) if arguments.advertise else listen,
    )
    taken = trio.run(_names_in_pool, home, ports)
    made = add_peer(RealDisk(private=True), RealChance(), RealClock(), home, plan, taken)
    if arguments.start:
        start_one(made.folder)
    _say(arguments, peer_at(made.folder), made.organisation)
    return EXIT_OK


async def _names_in_pool(home: Home, ports: Ports) -> list[str]:
    """Of all peers that the pool knows; of none when it does not answer. A later roster is taken on the way."""
    found: list[str] = []
    with trio.move_on_after(ASK_DEADLINE_S):
        try:
            async with open_client(ports, home) as client:
                found = [item.identity.name for item in await client.find_peers()]
        except MoorageError:
            return []
    return found


def _say(arguments: argparse.Namespace, peer: PoolPeer, organisation: str) -> None:
    if arguments.json:
        print_json({**peer.value(), "organisation": organisation})
    elif not arguments.quiet:
        state = f"runs at {peer.address}" if peer.pid else f"start it: moorage --home {peer.home} daemon"
        print_lines([f"{peer.name} of {organisation} at {peer.site} ({peer.home}): {state}"])
