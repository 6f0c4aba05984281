"""Whole daemons that are ledger peers: frames and HTTP on one port, by homes as they lie on the disk."""

from __future__ import annotations

import dataclasses
import posixpath

import pytest
import trio
import trio.testing

from anchor.policy import make_policy, parse_policy
from anchor.proof import parse_proof
from anchor.witness import origin_folder
from client.home import SERVICE_LOG_FILE, SERVICE_WITNESS_FILE, HeldRoster, Home, LedgerKeys, load_home
from client.ledger import log_origin
from client.provision import NewHome
from client.service import create_service, service_keys
from client.submission import submit_leaves
from core.durable import write_file
from core.errors import HomeError, LedgerError, RefusedError
from core.ports import Address, Disk, Ports
from daemon.node import open_node
from daemon.settings import NetworkSettings, Settings
from tests.anchor.ledgers import POLICY, leaf
from tests.ledger.test_members import proofs
from tests.sim.clock import SimClock
from tests.sim.disk import SimDisk
from tests.sim.pool import FIRST_PORT, SimPool
from tests.sim.world import World
from wire.messages import LeavesAnchored, SubmitLeaves

HOST = "127.0.0.1"


def keys_of(number: int) -> LedgerKeys:
    return LedgerKeys(bytes([65 + number]) * 32, bytes([97 + number]) * 32)


def with_policies(home: Home) -> Home:
    """Its roster, as a consortium of three would have it: each organisation's first peer is its ledger peer."""
    names = [organisation.name for organisation in home.roster.organisations]
    origins = [log_origin(home.roster.pool_name, name) for name in names]
    service = [service_keys(origin, keys_of(number)) for number, origin in enumerate(origins)]
    places = [Address(HOST, FIRST_PORT + number) for number in range(len(names))]
    urls = {f"{origin}/witness": f"https://{place}/witness" for origin, place in zip(origins, places, strict=True)}
    vkeys = [vkey for item in service for vkey in item.witness]
    organisations = tuple(
        dataclasses.replace(
            organisation,
            policy=make_policy(
                item.log, vkeys, log_url=f"https://{place}/log{origin_folder('', origin)}", witness_urls=urls
            ),
        )
        for organisation, item, place, origin in zip(home.roster.organisations, service, places, origins, strict=True)
    )
    roster = dataclasses.replace(home.roster, organisations=organisations)
    return dataclasses.replace(home, held=HeldRoster(roster, home.roster_file))


def make_ledger_peer(disk: Disk, home: NewHome, number: int) -> None:
    keys = keys_of(number)
    for name, seed in ((SERVICE_LOG_FILE, keys.log_seed), (SERVICE_WITNESS_FILE, keys.witness_seed)):
        write_file(disk, posixpath.join(home.folder, name), seed, token="s")
    loaded = load_home(disk, home.folder, SimClock())
    create_service(disk, home.folder, log_origin(loaded.roster.pool_name, loaded.identity.organisation), keys)


async def run_peer(ports: Ports, home: NewHome, address: Address) -> None:
    loaded = with_policies(load_home(ports.disk, home.folder, ports.clock))
    settings = Settings(network=NetworkSettings(listen=address))
    async with open_node(ports, loaded, settings, lambda line: None):
        await trio.sleep_forever()


async def test_daemons_anchor_a_clients_leaves_and_refuse_strangers(autojump_clock: trio.testing.MockClock) -> None:
    world = World(3)
    pool = SimPool(world, peers=4, sites=3, peer_program=run_peer)
    for number, name in enumerate(("peer-1", "peer-2", "peer-3")):
        make_ledger_peer(SimDisk(pool.peers[name].drive), pool.homes[name], number)
    async with world.running():
        await pool.start()
        async with pool.client() as client:
            await client.find_peers()
            ids = {name: node.person.identity.peer for name, node in pool.peers.items()}
            leaves = (leaf(1), leaf(2))
            answer = await client.peers.request(ids["peer-1"], SubmitLeaves(10_000, leaves))
            assert isinstance(answer, LeavesAnchored)
            assert not answer.pending
            policy = parse_policy(with_policies(client.home).roster.organisations[0].policy)
            for item, data in zip(leaves, proofs(answer, leaves), strict=True):
                assert len(parse_proof(data).check(item, policy).cosigner_names) == 3
            submission = await submit_leaves(client.peers, policy, leaves)
            assert not submission.pending
            assert [item.leaf for item in submission.anchored] == list(leaves)
            for anchored in submission.anchored:
                parse_proof(anchored.proof_file()).check(anchored.leaf, policy)
            with pytest.raises(HomeError, match="no ledger peer"):
                await submit_leaves(client.peers, parse_policy(POLICY), leaves)
            again = await client.peers.request(ids["peer-1"], SubmitLeaves(10_000, leaves[::-1]))
            assert isinstance(again, LeavesAnchored)
            assert again.indices == answer.indices[::-1]
            for stranger, words in (("peer-2", "is the log of"), ("peer-4", "no ledger peer")):
                with pytest.raises(RefusedError, match=words):
                    await client.peers.request(ids[stranger], SubmitLeaves(1000, leaves))


def test_a_home_with_one_of_the_two_seeds_has_lost_something() -> None:
    pool = SimPool(World(3), peers=1, sites=1)
    node, home = pool.peers["peer-1"], pool.homes["peer-1"]
    disk = SimDisk(node.drive)
    assert load_home(disk, home.folder, SimClock()).service is None
    make_ledger_peer(disk, home, 0)
    assert load_home(disk, home.folder, SimClock()).service == keys_of(0)
    disk.unlink(posixpath.join(home.folder, SERVICE_WITNESS_FILE))
    with pytest.raises(HomeError, match=r"ledger-witness\.seed is missing"):
        load_home(disk, home.folder, SimClock())


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_ledger_is_not_begun_on_a_network_file_system(kind: str) -> None:
    disk = SimDisk()
    disk.drive.file_system = kind
    with pytest.raises(LedgerError, match="network file system"):
        create_service(disk, "/home", "pool/hospital/1", keys_of(0))
    disk.drive.file_system = "xfs"
    create_service(disk, "/home", "pool/hospital/1", keys_of(0))
    create_service(disk, "/home", "pool/hospital/1", keys_of(0))
