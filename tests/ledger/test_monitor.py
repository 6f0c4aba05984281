"""The monitor over the members' own network: four ledger peers that each run a log and witness the others'."""

from __future__ import annotations

from hashlib import sha256

import trio
import trio.testing

from anchor.evidence import AlarmKind, check_evidence
from anchor.leaf import peer_key_name, sign_leaf
from anchor.ownerleaves import DigestLeaf
from anchor.policy import parse_policy
from anchor.roster import parse_roster
from client.evidence import MonitorState, read_evidence
from client.membertiles import MemberTiles
from client.watch import Head, Target, Watcher
from core.ports import Disk
from tests.ledger.members import Member
from tests.ledger.test_members import Consortium, consortium
from tests.sim.chance import SimChance
from tests.sim.clock import SimClock
from tests.sim.disk import SimDisk
from tests.sim.threads import SimThreads
from wire.messages import SubmitLeaves


def target_of(made: Consortium, number: int) -> Target:
    member = made.members[number]
    policy = parse_roster(made.roster_file).organisations[number].policy
    parsed = parse_policy(policy)
    net, hashed = made.net(3), sha256(member.origin.encode()).hexdigest()
    urls = dict.fromkeys(item.url for item in parsed.witnesses)
    heads = tuple(Head(url, MemberTiles(net, f"{url}/{hashed}")) for url in urls)
    return Target(member.origin, policy, made.roster_file, MemberTiles(net, parsed.log_urls[0]), heads)


def watcher(disk: Disk) -> Watcher:
    return Watcher(MonitorState(disk, SimChance(1), "/monitor"), SimThreads(), SimClock())


def digest(member: Member, number: int) -> bytes:
    leaf = DigestLeaf(bytes([number]) * 32, bytes([number]) * 32)
    return sign_leaf(member.person.key, peer_key_name(member.person.identity.peer), leaf)


async def submit(made: Consortium, number: int, first: int, count: int) -> None:
    member = made.members[number]
    leaves = tuple(digest(member, at) for at in range(first, first + count))
    answer = await member.ledger.submit(member.person.identity, SubmitLeaves(5000, leaves))
    assert not answer.pending, member.said


async def test_a_consortium_is_followed_over_its_own_network(autojump_clock: trio.testing.MockClock) -> None:
    async with consortium(hybrid=True) as made:
        disk = SimDisk()
        await submit(made, 0, 0, 3)
        look = await watcher(disk).look(target_of(made, 0))
        assert (look.size, look.alarms, look.silent) == (3, (), "")
        await submit(made, 0, 3, 5)
        look = await watcher(disk).look(target_of(made, 0))
        assert (look.size, look.new_entries, look.alarms) == (8, 5, ())
        empty = await watcher(disk).look(target_of(made, 1))
        assert empty.alarms == ()


async def test_a_dead_operator_is_silent_and_a_dead_witness_is_a_note(autojump_clock: trio.testing.MockClock) -> None:
    async with consortium() as made:
        disk = SimDisk()
        await submit(made, 0, 0, 3)
        made.nodes[1].crash()
        look = await watcher(disk).look(target_of(made, 0))
        assert look.alarms == ()
        assert any("7001" in note for note in look.notes)
        made.nodes[0].crash()
        look = await watcher(disk).look(target_of(made, 0))
        assert look.silent


async def test_a_hospital_whose_peer_began_anew_is_caught_by_what_the_others_witnessed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    del autojump_clock
    async with consortium() as made, consortium() as other:
        disk = SimDisk()
        await submit(made, 0, 0, 3)
        await submit(other, 0, 100, 4)
        # The same keys, another history: the heads of one world beside the log of the other.
        lying = target_of(other, 0)._replace(heads=target_of(made, 0).heads)
        look = await watcher(disk).look(lying)
        (alarm,) = look.alarms
        assert alarm.evidence.kind is AlarmKind.FORK
        assert "signed 3 entries, and then 4" in check_evidence(read_evidence(disk, alarm.folder))[0]
