"""Four ledger peers that talk HTTP over the peers' port: simulated here, real in ``test_real_members``."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import random
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest
import trio
import trio.testing

from anchor.checkpoint import parse_checkpoint
from anchor.files import read_file
from anchor.log import Log
from anchor.merkle import leaf_hash, node_hash, subtree_root
from anchor.note import parse_note
from anchor.policy import parse_policy
from anchor.proof import Proof, format_proof, parse_proof
from anchor.roster import parse_roster
from client.web import WebClient
from core.errors import BusyError, MoorageError, PeerUnavailableError, RefusedError
from core.identity import key_from_seed
from core.ports import Net, Ports
from tests.anchor.ledgers import copy_tree, leaf
from tests.ledger.members import Member, folder_name, make_members, roster_of
from tests.sim.clock import START_S
from tests.sim.disk import SimDisk
from tests.sim.fabric import NetFaults
from tests.sim.life import NodeDead
from tests.sim.net import SimNet
from tests.sim.world import Program, SimNode, World
from wire.messages import LeavesAnchored, SubmitLeaves
from wire.web import WebPlace

HOME = "/home"
# One way.
FAR = NetFaults(latency_s=(0.015, 0.015))


@dataclass
class Consortium:
    world: World
    members: list[Member]
    nodes: list[SimNode]
    roster_file: bytes

    def net(self, number: int = 0) -> Net:
        node = self.nodes[number]
        return SimNet(self.world.fabric, "asker", node.person.identity, None)


def program_of(member: Member, roster_file: bytes) -> Program:
    async def program(ports: Ports) -> None:
        if ports.disk.stat(f"{HOME}/ledger/log") is None:
            member.create(ports.disk, HOME)
        await member.run(ports, HOME, roster_file)

    return program


@contextlib.asynccontextmanager
async def consortium(*, hybrid: bool = False, running: int = 4, seed: int = 1) -> AsyncGenerator[Consortium]:
    members = make_members(now=START_S)
    roster_file = roster_of(members, hybrid=hybrid)
    issuers = {name: item for member in members for name, item in member.hospital.issuers.items()}
    world = World(seed, net=FAR)
    nodes = [
        world.add(member.name, member.person, lambda: issuers, program_of(member, roster_file)) for member in members
    ]
    async with world.running():
        made = Consortium(world, members, nodes, roster_file)
        for node in nodes[:running]:
            node.start()
        await trio.sleep(0.5)
        yield made


def proofs(answer: LeavesAnchored, leaves: tuple[bytes, ...]) -> list[bytes]:
    return [
        format_proof(Proof(index, path, answer.checkpoint, item))
        for index, path, item in zip(answer.indices, answer.paths, leaves, strict=True)
    ]


async def test_a_leaf_is_anchored_by_the_others_over_http(autojump_clock: trio.testing.MockClock) -> None:
    async with consortium(hybrid=True) as made:
        member = made.members[0]
        leaves = (leaf(1), leaf(2))
        answer = await member.ledger.submit(member.person.identity, SubmitLeaves(5000, leaves))
        assert not answer.pending, member.said
        policy = parse_policy(parse_roster(made.roster_file).organisations[0].policy)
        for item, data in zip(leaves, proofs(answer, leaves), strict=True):
            assert len(parse_proof(data).check(item, policy).cosigner_names) >= 3
        web = WebClient(made.net(1), WebPlace(member.address, f"/log/{folder_name(member.origin)}"))
        found = await web.get("/checkpoint", max_bytes=10**6)
        assert found.status == 200
        assert policy.check_checkpoint(found.body).checkpoint.size == 2
        await web.aclose()


async def anchored(member: Member, *items: bytes) -> LeavesAnchored:
    return await member.ledger.submit(member.person.identity, SubmitLeaves(5000, items))


def witness_folder(member: Member) -> str:
    return f"{HOME}/ledger/witness/{folder_name(member.origin)}"


async def test_a_witness_that_lost_its_folder_signs_again_only_when_synchronised(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with consortium() as made:
        member, lost = made.members[0], made.members[3]
        await anchored(member, leaf(0))
        await trio.sleep(5)
        made.nodes[3].kill()
        disk = SimDisk(made.nodes[3].drive)
        disk.unlink(f"{HOME}/ledger/witness/witness")
        disk.unlink(f"{witness_folder(member)}/checkpoint")
        made.nodes[3].start()
        await trio.sleep(100)
        assert not (await anchored(member, leaf(1))).pending, "three of four are enough"
        assert lost.ledger.witness is None
        assert any("ledger-stopped" in line and "no witness" in line for line in lost.said)
        made.nodes[3].kill()
        with SimDisk(made.nodes[3].drive).open(f"{HOME}/ledger/resync", "create"):
            pass
        made.nodes[3].start()
        await trio.sleep(100)
        assert not (await anchored(member, leaf(2))).pending
        await trio.sleep(5)
        assert lost.ledger.witness is not None
        assert (await remembered(lost, member)).startswith(f"{member.origin}\n3\n".encode())
        assert SimDisk(made.nodes[3].drive).stat(f"{HOME}/ledger/resync") is None


async def test_an_organisation_that_leaves_the_roster_writes_no_more_and_may_come_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with consortium() as made:
        member = made.members[0]
        await anchored(member, leaf(0))
        whole = member.roster
        assert whole is not None
        member.roster = dataclasses.replace(whole, organisations=whole.organisations[1:])
        await trio.sleep(5)
        assert member.ledger.operator is None
        assert any("ledger-stopped" in line and "left the roster" in line for line in member.said)
        with pytest.raises(BusyError):
            await anchored(member, leaf(1))
        member.roster = whole
        await trio.sleep(10)
        assert not (await anchored(member, leaf(1))).pending


async def test_a_witness_is_not_synchronised_by_a_minority(autojump_clock: trio.testing.MockClock) -> None:
    async with consortium() as made:
        await anchored(made.members[0], leaf(0))
        await trio.sleep(5)
        for node in made.nodes[1:]:
            node.kill()
        lost, disk = made.members[3], SimDisk(made.nodes[3].drive)
        disk.unlink(f"{HOME}/ledger/witness/witness")
        disk.unlink(f"{witness_folder(made.members[0])}/checkpoint")
        with disk.open(f"{HOME}/ledger/resync", "create"):
            pass
        made.nodes[3].start()
        await trio.sleep(100)
        assert lost.ledger.witness is None
        assert lost.ledger.operator is not None
        assert any("1 of 3" in line for line in lost.said)
        for node in made.nodes[1:3]:
            node.start()
        await trio.sleep(150)
        assert (await remembered(lost, made.members[0])).startswith(f"{made.members[0].origin}\n1\n".encode())


async def remembered(witness: Member, log: Member) -> bytes:
    assert witness.ledger.witness is not None
    return await witness.ledger.witness.latest(log.origin) or b""


async def test_a_witness_restored_from_a_snapshot_signs_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Its own later signature, in what the log publishes, tells it so."""
    async with consortium() as made:
        member, old = made.members[0], made.members[3]
        await anchored(member, leaf(0))
        await trio.sleep(5)
        # A running peer's drive is its own.
        made.nodes[3].kill()
        backup = SimDisk()
        copy_tree(SimDisk(made.nodes[3].drive), backup, witness_folder(member))
        made.nodes[3].start()
        await trio.sleep(20)
        await anchored(member, leaf(1))
        await trio.sleep(5)
        made.nodes[3].kill()
        disk = SimDisk(made.nodes[3].drive)
        disk.unlink(f"{witness_folder(member)}/checkpoint")
        disk.unlink(f"{witness_folder(member)}/lock")
        copy_tree(backup, disk, witness_folder(member))
        made.nodes[3].start()
        await trio.sleep(30)
        assert not (await anchored(member, leaf(2))).pending
        await trio.sleep(30)
        assert old.ledger.witness is not None
        assert old.ledger.witness.failure is not None
        assert "an old copy" in str(old.ledger.witness.failure)
        assert (await remembered(old, member)).startswith(f"{member.origin}\n1\n".encode())


async def test_on_a_network_file_system_nothing_is_opened_until_it_is_moved(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A home that was moved there after it was made."""
    async with consortium(running=0) as made:
        member = made.members[0]
        member.create(SimDisk(made.nodes[0].drive), HOME)
        made.nodes[0].drive.file_system = "nfs4"
        made.nodes[0].start()
        await trio.sleep(100)
        assert member.ledger.witness is None
        assert member.ledger.operator is None
        with trio.move_on_after(10) as patience:
            await member.ledger.opened()
        assert patience.cancelled_caught
        assert any("ledger-stopped" in line and "network file system (nfs4)" in line for line in member.said)
        made.nodes[0].drive.file_system = "xfs"
        with trio.fail_after(100):
            assert await member.ledger.opened() is member.ledger.operator
        assert member.ledger.witness is not None


async def test_a_witness_signs_for_others_while_its_own_log_is_lost(autojump_clock: trio.testing.MockClock) -> None:
    async with consortium(running=3) as made:
        member, lost = made.members[0], made.members[3]
        disk = SimDisk(made.nodes[3].drive)
        lost.create(disk, HOME)
        folder = f"{HOME}/ledger/log/{folder_name(lost.origin)}"
        for name in disk.list_folder(folder):
            disk.unlink(f"{folder}/{name}")
        made.nodes[3].start()
        await trio.sleep(5)
        made.nodes[2].kill()
        assert not (await anchored(member, leaf(0))).pending, "three of four, the one without a log among them"
        assert (await remembered(lost, member)).startswith(f"{member.origin}\n1\n".encode())
        assert lost.ledger.operator is None
        assert any("ledger-stopped" in line and "no log" in line for line in lost.said)


async def test_only_its_own_organisation_may_write_a_log(autojump_clock: trio.testing.MockClock) -> None:
    async with consortium() as made:
        stranger = made.members[1].person.identity
        with pytest.raises(RefusedError):
            await made.members[0].ledger.submit(stranger, SubmitLeaves(1000, (leaf(0),)))


async def test_one_submitter_cannot_bring_more_than_is_taken(autojump_clock: trio.testing.MockClock) -> None:
    async with consortium(running=1) as made:
        member = made.members[0]

        async def flood() -> None:
            for number in range(200):
                leaves = tuple(b"%d %d" % (number, each) for each in range(256))
                with contextlib.suppress(PeerUnavailableError):
                    await member.ledger.submit(member.person.identity, SubmitLeaves(0, leaves))

        with pytest.raises(BusyError):
            await flood()


@pytest.mark.parametrize("seed", range(3))
async def test_power_cuts_and_kills_of_whole_peers_make_no_fork(
    seed: int, autojump_clock: trio.testing.MockClock
) -> None:
    """Un-synced writes vanish and reorder; each life of a peer ends at a random moment."""
    chance = random.Random(seed)
    acknowledged: list[tuple[int, bytes, bytes]] = []
    async with consortium(seed=seed) as made:
        first = made.members[0]

        async def submit_without_end() -> None:
            for number in itertools.count():
                # Whoever asks here outlives the peer that is asked.
                with contextlib.suppress(MoorageError, AssertionError, NodeDead):
                    items = tuple(b"%d of %d" % (each, number) for each in range(1 + number % 5))
                    answer = await anchored(first, *items)
                    if not answer.pending:
                        acknowledged.extend(
                            (index, item, answer.checkpoint) for index, item in zip(answer.indices, items, strict=True)
                        )
                await trio.sleep(chance.uniform(0.1, 1.5))

        made.world.nursery.start_soon(submit_without_end)
        for _ in range(8):
            await trio.sleep(chance.uniform(0.2, 3))
            node = made.nodes[chance.choice((0, 0, 0, 1, 2, 3))]
            if node.is_up:
                (node.crash if chance.random() < 0.6 else node.kill)()
            await trio.sleep(chance.uniform(0, 1))
            node.start()
        await trio.sleep(40)
        answer = await anchored(first, b"the last")
        assert not answer.pending, first.said[-5:]
        made.nodes[0].kill()
        check_history(made, acknowledged)
    assert len(acknowledged) > 20


def check_history(made: Consortium, acknowledged: list[tuple[int, bytes, bytes]]) -> None:
    first = made.members[0]
    key = key_from_seed(first.keys.log_seed)
    policy = parse_roster(made.roster_file).organisations[0].policy
    log = Log.open(SimDisk(made.nodes[0].drive), f"{HOME}/ledger/log", key=key, policy=policy, witnesses=[])
    size = log.check()
    leaves = log.leaves(0, size)
    assert len(set(leaves)) == size, "a leaf is in twice"
    hashes = [leaf_hash(item) for item in leaves]

    def hash_at(level: int, index: int) -> bytes:
        return node_hash(hash_at(level - 1, 2 * index), hash_at(level - 1, 2 * index + 1)) if level else hashes[index]

    notes = [note for _, _, note in acknowledged]
    for node in made.nodes:
        data = read_file(SimDisk(node.drive), f"{witness_folder(first)}/checkpoint")
        notes += [data] if data is not None else []
        assert SimDisk(node.drive).stat(f"{witness_folder(first)}/refused") is None, "a second history was shown"
    for index, item, _ in acknowledged:
        assert leaves[index] == item, "an acknowledged leaf is lost"
    for note in dict.fromkeys(notes):
        seen = parse_checkpoint(parse_note(note).text)
        assert seen.root == subtree_root(hash_at, 0, seen.size), "two histories"
