"""Four ledger peers that talk HTTP over the peers' port: simulated here, real in ``test_real_members``."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import trio
import trio.testing

from anchor.policy import parse_policy
from anchor.proof import Proof, format_proof, parse_proof
from anchor.roster import parse_roster
from client.web import WebClient
from core.ports import Net, Ports
from tests.anchor.ledgers import leaf
from tests.ledger.members import Member, folder_name, make_members, roster_of
from tests.sim.clock import START_S
from tests.sim.fabric import NetFaults
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
async def consortium(*, hybrid: bool = False, running: int = 4) -> AsyncGenerator[Consortium]:
    members = make_members(now=START_S)
    roster_file = roster_of(members, hybrid=hybrid)
    issuers = {name: item for member in members for name, item in member.hospital.issuers.items()}
    world = World(1, net=FAR)
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
