"""Damage of every kind, planted in a whole pool, and the finding that each has to be."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from core.findings import Finding, FindingKind
from core.ids import PeerId
from erasure.shardfile import HEAD_BYTES
from tests.sim.drive import SimDrive
from tests.sim.truth import Acked, Truth

# Each in another shard of one extent: what a scheme of 4+2 can spare.
SHARDS = 2
# At other holders, so that a good copy is left.
PAPERS = 2


class Damage(NamedTuple):
    """``do`` to the file at a path. ``chunk``: where the damage can be told to lie."""

    do: Callable[[SimDrive, str], None]
    kind: FindingKind
    chunk: int | None = None


def _remove(drive: SimDrive, path: str) -> None:
    drive.remove(path)


def _flip(at: int) -> Callable[[SimDrive, str], None]:
    def do(drive: SimDrive, path: str) -> None:
        drive.flip_bit(path, at % len(_bytes(drive, path)), 3)

    return do


def _cut(keep: int) -> Callable[[SimDrive, str], None]:
    def do(drive: SimDrive, path: str) -> None:
        drive.plant(path, _bytes(drive, path)[:keep])

    return do


def _grow(drive: SimDrive, path: str) -> None:
    drive.plant(path, _bytes(drive, path) + b"\0")


def _swap_with_neighbour(drive: SimDrive, path: str) -> None:
    """Another shard's bytes under this name, where this peer has another."""
    others = [other for other in drive.durable_paths(path[: path.index("/shards/")] + "/shards") if other != path]
    drive.plant(path, _bytes(drive, others[0]) if others else b"")


def _bytes(drive: SimDrive, path: str) -> bytes:
    data = drive.durable_bytes(path)
    assert data is not None, path
    return data


OF_SHARDS = (
    Damage(_remove, FindingKind.MISSING),
    # Behind the head lies the share of the first chunk, of a byte or more.
    Damage(_flip(HEAD_BYTES), FindingKind.CORRUPT, chunk=0),
    Damage(_flip(0), FindingKind.CORRUPT),
    Damage(_flip(HEAD_BYTES - 1), FindingKind.CORRUPT),
    Damage(_flip(-1), FindingKind.CORRUPT),
    Damage(_cut(-1), FindingKind.CORRUPT),
    Damage(_cut(0), FindingKind.CORRUPT),
    Damage(_grow, FindingKind.CORRUPT),
    Damage(_swap_with_neighbour, FindingKind.CORRUPT),
)
OF_MANIFESTS = (
    Damage(_remove, FindingKind.MANIFEST_MISSING),
    Damage(_flip(20), FindingKind.MANIFEST_CORRUPT),
    Damage(_cut(-1), FindingKind.MANIFEST_CORRUPT),
    Damage(_cut(0), FindingKind.MANIFEST_CORRUPT),
)
OF_RECEIPTS = (
    Damage(_remove, FindingKind.RECEIPT_MISSING),
    Damage(_flip(40), FindingKind.RECEIPT_CORRUPT),
    Damage(_cut(-1), FindingKind.RECEIPT_CORRUPT),
    Damage(_cut(0), FindingKind.RECEIPT_CORRUPT),
)


def plant_damage(truth: Truth, acked: Acked, sweeper: PeerId, chance: random.Random) -> list[Finding]:
    """Damage shards of one extent, and papers of other holders; the findings that must come, no more and no less.

    ``sweeper`` keeps its papers: without a manifest of its own it would first fetch one, which is a story of its own.
    """
    # Where a put that was given up left a second copy, that one stands in at once: nothing is missing. A copy that was
    # moved and is damaged is two faults: that one, and what its first holder still lacks.
    firsts = {(number, share): truth.names[holder] for number, share, _, holder in acked.manifest.shards()}
    places = [
        place
        for place in truth.places(acked)
        if place.extent == 0 and truth.holders(place.root) == [firsts[place.extent, place.share]]
    ]
    expected: list[Finding] = []
    hurt: list[str] = []
    for place in chance.sample(places, min(SHARDS, len(places))):
        name = truth.holders(place.root)[0]
        damage = chance.choice(OF_SHARDS)
        damage.do(truth.node(name).drive, truth.shard_path(name, place.root))
        hurt.append(name)
        holder = truth.node(name).person.identity.peer
        expected.append(Finding(damage.kind, acked.object, holder, place.extent, place.share, damage.chunk, place.root))
    whole = [truth.names[peer] for peer in acked.manifest.holders() if peer != sweeper]
    for name in chance.sample([name for name in whole if name not in hurt], PAPERS):
        folder, damages = chance.choice((("manifests", OF_MANIFESTS), ("receipts", OF_RECEIPTS)))
        damage = chance.choice(damages)
        damage.do(truth.node(name).drive, truth.path(name, folder, str(acked.object)))
        expected.append(Finding(damage.kind, acked.object, truth.node(name).person.identity.peer))
    return expected
