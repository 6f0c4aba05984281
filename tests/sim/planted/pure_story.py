"""What needs no disk: sealing, placement, and which records of peers are believed.

Promises: no key and nonce seal two messages, whatever release packed them; equal content of two organisations has two
keys; no peer gets two shares of an extent and no site or organisation more than may be lost; the newest unexpired
record counts, and only one that its publisher signed.
"""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from typing import Any

import core.sealing
from core.errors import MoorageError, NotEnoughPeersError
from core.ids import ObjectId, PeerId
from core.sealing import ChunkSealer
from dht.reader import RecordReader
from dht.records import ProviderRecord, make_provider_record, provider_key
from dht.store import RecordStore
from erasure.placement import Candidate, place, replace_holders
from erasure.scheme import Scheme
from tests.sim.chance import derive
from tests.sim.clock import START_S
from tests.sim.people import make_organisation

SCHEME = Scheme(4, 6)
CHUNKS = 40


def seal(seed: int) -> None:
    chance = derive(seed, "seal")
    secret, other, digest = (chance.randbytes(32) for _ in range(3))
    key = core.sealing.convergent_key(secret, digest)
    assert key != core.sealing.convergent_key(other, digest), "another organisation can tell what this one stores"
    assert key != core.sealing.convergent_key(secret, chance.randbytes(32))
    release: Any = core.sealing
    before = release.COMPRESSOR
    release.COMPRESSOR = "another release"
    try:
        assert key != core.sealing.convergent_key(secret, digest), (
            "two releases seal different bytes under one key and nonce"
        )
    finally:
        release.COMPRESSOR = before
    sealer = ChunkSealer(key)
    plain = chance.randbytes(chance.randint(1, 400))
    sealed: set[bytes] = set()
    target = memoryview(bytearray(len(plain) + 16))
    for chunk in range(CHUNKS):
        sealer.seal_into(chunk, 0, plain, target)
        sealed.add(bytes(target))
        assert sealer.open(chunk, 0, target) == plain
    assert len(sealed) == CHUNKS, "one nonce for two chunks"
    refused = 0
    for chunk, codec in ((chance.randrange(CHUNKS - 1), 0), (CHUNKS - 1, 1)):
        with suppress(MoorageError):
            sealer.open(chunk, codec, target)
            continue
        refused += 1
    assert refused == 2, "a chunk was opened as another one, or as packed by another codec"


def some_candidates(chance: random.Random) -> list[Candidate]:
    sites, organisations = chance.randint(3, 6), chance.randint(3, 6)
    return [
        Candidate(
            PeerId(chance.randbytes(32)), f"o{chance.randrange(organisations)}", f"s{chance.randrange(sites)}",
            chance.randint(0, 3),
        )
        for _ in range(chance.randint(6, 14))
    ]  # fmt: skip


def check_rule(holders: list[PeerId], candidates: list[Candidate]) -> None:
    known = {candidate.peer: candidate for candidate in candidates}
    assert len(set(holders)) == len(holders), "one peer counts twice"
    for attribute in ("site", "organisation"):
        most = Counter(getattr(known[peer], attribute) for peer in holders).most_common(1)
        assert most[0][1] <= SCHEME.spare, f"one {attribute} has more shares than may be lost"


def placement(seed: int) -> None:
    chance = derive(seed, "placement")
    for _ in range(10):
        candidates, object_seed = some_candidates(chance), chance.randbytes(32)
        try:
            holders = list(place(object_seed, SCHEME, candidates))
        except NotEnoughPeersError:
            continue
        check_rule(holders, candidates)
        assert all(candidate.weight for candidate in candidates if candidate.peer in holders), "a full peer got a share"
        lost = sorted(chance.sample(range(SCHEME.total), 2))
        good = {number: peer for number, peer in enumerate(holders) if number not in lost}
        left = [candidate for candidate in candidates if candidate.peer not in [holders[number] for number in lost]]
        homes = replace_holders(object_seed, SCHEME, good, lost, left)
        check_rule([*good.values(), *homes.values()], candidates)


class _Clock:
    def __init__(self) -> None:
        self.now_s = START_S

    def now(self) -> float:
        return self.now_s


def records(seed: int) -> None:
    chance, clock = derive(seed, "records"), _Clock()
    organisation = make_organisation()
    honest, thief = organisation.admit("honest", role="peer"), organisation.admit("thief", role="peer")
    store = RecordStore(RecordReader(lambda: organisation.issuers, clock), clock)
    name = ObjectId(chance.randbytes(32))
    newest, ends_s = -1, 0.0
    offered: list[bytes] = []
    for _ in range(12):
        clock.now_s += chance.choice([0.0, 60.0, 3600.0])
        if offered and chance.random() < 0.3:
            raw = chance.choice(offered)
        else:
            forged = chance.random() < 0.2
            sequence, life_s = chance.randrange(1000), chance.choice([600, 7200])
            raw = make_provider_record(
                (thief if forged else honest).key, honest.certificate, object_id=name, shards=[(0, 1)],
                sequence=sequence, now=clock.now_s, life_s=life_s,
            )  # fmt: skip
            if not forged:
                offered.append(raw)
                if sequence > newest:
                    newest, ends_s = sequence, int(clock.now_s) + life_s
            else:
                sequence = -2
        with suppress(MoorageError):
            store.offer(store.reader.read(raw))
        kept = [item for item in store.records(provider_key(name)) if isinstance(item, ProviderRecord)]
        assert all(item.raw in offered for item in kept), "a record was believed that its publisher did not sign"
        assert all(clock.now_s < item.expires_s for item in kept), "a record counts after its end"
        expected = [newest] if clock.now_s < ends_s else []
        assert [item.sequence for item in kept] == expected, "an older record counts"
