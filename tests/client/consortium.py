"""A consortium of four hospitals in the simulator: each has one peer, its ledger peer; the first has a client."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

from anchor.draft import draft_of, sign_draft
from anchor.note import NoteKey
from anchor.organisation import Member
from anchor.rootchain import assemble
from anchor.rosterfile import encode_roster_file
from anchor.witness import origin_folder
from client.home import ROSTER_FILE, SERVICE_LOG_FILE, SERVICE_WITNESS_FILE, LedgerKeys, load_home
from client.ledger import log_origin
from client.service import create_service, service_keys
from core.durable import write_file
from core.identity import key_from_seed, public_bytes
from core.ports import Address
from tests.sim.clock import START_S, SimClock
from tests.sim.disk import SimDisk
from tests.sim.pool import FIRST_PORT, SimPool
from tests.sim.world import SimNode, World

YEAR_S = 365 * 86400
HOST = "127.0.0.1"


def keys_of(number: int) -> LedgerKeys:
    return LedgerKeys(bytes([65 + number]) * 32, bytes([97 + number]) * 32)


def _member(number: int, origin: str, *, hybrid: bool) -> Member:
    made = service_keys(origin, keys_of(number))
    place = Address(HOST, FIRST_PORT + number)
    return Member(
        admin_key=public_bytes(key_from_seed(bytes([1 + number]) * 32)),
        log_origin=origin,
        log_key=NoteKey.parse(made.log).public,
        log_url=f"https://{place}/log{origin_folder('', origin)}",
        witness_ed25519=NoteKey.parse(made.witness[0]).public,
        witness_mldsa44=NoteKey.parse(made.witness[1]).public if hybrid else b"",
        witness_url=f"https://{place}/witness",
    )


def found_consortium(pool: SimPool, *, hybrid: bool = False) -> None:
    """Give a pool that was made in one hand the roster of a consortium, and each peer a log and a witness.

    ``hybrid``: witnesses sign with ML-DSA-44 too, which takes time and changes little.
    """
    home = load_home(SimDisk(pool.client_node.drive), pool.client_home.folder, SimClock())
    origins = [log_origin(home.roster.pool_name, item.name) for item in home.roster.organisations]
    organisations = tuple(
        replace(item, policy="", member=_member(number, origins[number], hybrid=hybrid))
        for number, item in enumerate(home.roster.organisations)
    )
    roster = replace(home.roster, epoch=1, pool_key=b"", organisations=organisations, expires_s=int(START_S) + YEAR_S)
    draft = draft_of(roster)
    ballots = [sign_draft(draft, key_from_seed(bytes([1 + number]) * 32)) for number in range(len(organisations))]
    data = encode_roster_file(assemble(draft, ballots, None))
    write_file(SimDisk(pool.client_node.drive), posixpath.join(home.folder, ROSTER_FILE), data, token="r")
    for number, (name, node) in enumerate(pool.peers.items()):
        disk, folder, keys = SimDisk(node.drive), pool.homes[name].folder, keys_of(number)
        write_file(disk, posixpath.join(folder, ROSTER_FILE), data, token="r")
        for file, seed in ((SERVICE_LOG_FILE, keys.log_seed), (SERVICE_WITNESS_FILE, keys.witness_seed)):
            write_file(disk, posixpath.join(folder, file), seed, token="s")
        create_service(disk, folder, origins[number], keys)


@asynccontextmanager
async def consortium(seed: int = 3, *, hybrid: bool = False) -> AsyncGenerator[tuple[SimPool, list[SimNode]]]:
    """The pool, and its ledger peers in the order of their hospitals."""
    world = World(seed)
    pool = SimPool(world, peers=4, sites=4)
    found_consortium(pool, hybrid=hybrid)
    async with world.running():
        await pool.start()
        yield pool, list(pool.peers.values())
