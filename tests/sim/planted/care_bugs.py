"""Defects of sweep and repair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import client.challenge
import daemon.decide
import daemon.sweep
from client.challenge import Challenger, Target
from client.health import Status, Verdict
from client.papers import Papers
from core.findings import Finding
from core.ids import PeerId, ShardRoot
from daemon.scrub import Scrubber
from daemon.silence import Silence
from erasure.placement import Candidate, replace_holders
from erasure.scheme import Scheme
from tests.sim.planted.plant import plant, plants_of
from wire.messages import Have, Held

FOUND = "every fault is found and mended"


@plant(
    Silence, "given_up", story="care", bug="silence counts as loss at once", promise="nothing is repaired needlessly"
)
def silence_is_loss(self: Any, grace_s: float) -> frozenset[PeerId]:
    del grace_s
    return frozenset(self._spells)


@plant(client.challenge, "read_leaves", story="care", bug="a holder's leaves are believed unread", promise=FOUND)
def leaves_believed(*_: object) -> Verdict:
    return Verdict(Status.OK)


@plant(Challenger, "check", story="care", bug="presence is taken for health", promise=FOUND)
async def presence_is_health(self: Any, target: Target) -> Verdict:
    answer = await self._asker.request(target.peer, Have((target.root,)))
    return Verdict(Status.OK if answer == Held((True,)) else Status.MISSING, sampled=1)


@plant(Scrubber, "_look", story="care", bug="a sweep does not re-read this peer's own shards", promise=FOUND)
async def own_shards_unread(self: Any, root: ShardRoot) -> Verdict:
    del self, root
    return Verdict(Status.OK)


@plant(Papers, "prove", story="care", bug="a receipt is not checked", promise=FOUND)
async def receipt_unchecked(self: Any, receipt_file: bytes) -> None:
    del self, receipt_file


@plant(
    daemon.decide,
    "replace_holders",
    story="care",
    bug="a repair forgets who holds the good shares",
    promise="one share to a peer",
)
def good_holders_forgotten(
    seed: bytes, scheme: Scheme, holders: Mapping[int, PeerId], lost: Sequence[int], candidates: Sequence[Candidate]
) -> dict[int, PeerId]:
    del holders
    return replace_holders(seed, scheme, {}, lost, candidates)


@plant(
    daemon.sweep,
    "once_each",
    story="care",
    bug="a fault that two looks see is two findings",
    promise="a fault is one finding",
)
def found_twice(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(findings) + tuple(findings)


PLANTS = plants_of(globals())
