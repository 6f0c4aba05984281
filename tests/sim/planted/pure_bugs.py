"""Defects of sealing, placement and records."""

from __future__ import annotations

from typing import Any

from blake3 import blake3
from cryptography.exceptions import InvalidTag

import core.sealing
import dht.records
import dht.store
from core.errors import CorruptError
from core.ports import Buffer
from core.sealing import ChunkSealer
from dht.records import Record
from dht.store import RecordStore
from erasure.placement import Candidate, _Draft
from tests.sim.planted.plant import plant, plants_of

ONCE = "a key and nonce seal one message"
APART = "what is lost together is survivable"
NEWEST = "the newest record of a peer counts"


@plant(core.sealing, "_nonce", story="seal", bug="all chunks have one nonce", promise=ONCE)
def nonce_reused(chunk: int) -> bytes:
    del chunk
    return bytes(12)


@plant(core.sealing, "_nonce", story="seal", bug="chunks are numbered anew in each batch", promise=ONCE)
def chunk_number_per_batch(chunk: int) -> bytes:
    return (chunk % 32).to_bytes(12, "big")


@plant(core.sealing, "convergent_key", story="seal", bug="keys are derived without the compressor", promise=ONCE)
def key_without_compressor(secret: bytes, plaintext_digest: bytes) -> bytes:
    return blake3(b"extent" + plaintext_digest, key=secret).digest()


@plant(ChunkSealer, "open", story="seal", bug="a chunk's codec is not authenticated", promise="wrong bytes are refused")
def codec_not_bound(self: Any, chunk: int, codec: int, sealed: Buffer) -> bytes:
    del codec
    try:
        return bytes(self._cipher.decrypt(chunk.to_bytes(12, "big"), sealed, bytes([0])))
    except InvalidTag as error:
        raise CorruptError(f"chunk {chunk}") from error


@plant(_Draft, "pick", story="placement", bug="the cap of a site and an organisation is ignored", promise=APART)
def cap_ignored(self: Any) -> bool:
    free = self._free()
    if free:
        self._count(free[0], 1)
        self.picks.append(free[0])
    return bool(free)


@plant(_Draft, "_free", story="placement", bug="a retry counts one peer twice", promise=APART)
def peer_counted_twice(self: Any) -> list[Candidate]:
    return list(self._order)


@plant(_Draft, "keep", story="placement", bug="shares that stay where they are do not count", promise=APART)
def kept_shares_forgotten(self: Any, peer: Any, candidate: Candidate | None) -> None:
    del self, peer, candidate


@plant(dht.store, "supersedes", story="records", bug="the record with the lower sequence wins", promise=NEWEST)
def older_sequence_wins(new: Record, old: Record) -> bool:
    return new.sequence < old.sequence


@plant(dht.store, "supersedes", story="records", bug="the record that comes last wins", promise=NEWEST)
def last_record_wins(new: Record, old: Record) -> bool:
    return new.raw != old.raw


@plant(RecordStore, "records", story="records", bug="expired records are handed out", promise=NEWEST)
def expired_handed_out(self: Any, key: bytes) -> list[Record]:
    return list(self._of.get(key, {}).values())


@plant(
    dht.records, "check_signature", story="records", bug="records are not checked for their signature",
    promise="only what its publisher signed is believed",
)  # fmt: skip
def signature_unchecked(*_: object) -> None:
    return


PLANTS = plants_of(globals())
