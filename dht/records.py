"""Signed, expiring records: where a peer is, and what it holds that placement does not say.

A record carries its publisher's certificate, so whoever receives one can check it with nothing but the roster,
whichever peer passed it on. The idea is that of BEP 44's mutable items (a signature, a rising sequence number,
about 1000 bytes) and of libp2p's signed peer records.

A record is canonical MessagePack ``{"body": bytes, "kind": text, "signature": 64 bytes}``, at most
DHT_RECORD_MAX_BYTES. The signature is Ed25519 over the body, under the kind's own domain, by the key in the
certificate. The body is a map:

| field | of kind | value |
|---|---|---|
| ``v`` | both | 1 |
| ``certificate`` | both | DER of the publisher's certificate; its role is ``peer`` |
| ``sequence`` | both | 0 to 2^63 - 1; of two records of one publisher under one key the higher is the newer |
| ``issued``, ``expires`` | both | seconds since 1970; at most DHT_RECORD_LIFE_MAX_S apart |
| ``host``, ``port`` | peer | where it listens |
| ``free``, ``capacity`` | peer | bytes |
| ``version`` | peer | highest protocol version it speaks |
| ``draining`` | peer | true when it wants to hand its shards over |
| ``object`` | provider | 32 bytes |
| ``runs`` | provider | up to RUNS_MAX of ``[share, first extent, extents]``, ascending |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.encoding import Value, decode, encode
from core.errors import MalformedError, NewerVersionError, PeerRefusedError, StaleRecordError
from core.identity import CERTIFICATE_MAX_BYTES, ED25519_SIGNATURE_BYTES, read_certificate
from core.ids import DIGEST_BYTES, ObjectId, PeerId, derived_digest
from core.limits import CLOCK_SKEW_MAX_S, DHT_RECORD_LIFE_MAX_S, DHT_RECORD_MAX_BYTES, SECONDS_MAX
from core.ports import Address, Identity
from core.schema import Fields
from core.signing import check_signature, sign
from dht.addresses import HOST_MAX_CHARACTERS, check_address
from dht.runs import RUNS_MAX, SHARDS_MAX, ShardRun, parse_run, runs_of, shards_of

RECORD_VERSION = 1
PROVIDER_KEY_CONTEXT = "moorage 2026 provider key v1"
SEQUENCE_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """Where a peer listens and how much room it has, as it said itself. All sizes are bytes."""

    KIND: ClassVar[str] = "peer"
    DOMAIN: ClassVar[str] = "moorage 2026 peer record v1"

    identity: Identity = field(repr=False)
    address: Address
    free_bytes: int
    capacity_bytes: int
    version: int
    draining: bool
    sequence: int
    issued_s: int
    expires_s: int
    raw: bytes = field(repr=False)

    @property
    def peer(self) -> PeerId:
        return self.identity.peer


@dataclass(frozen=True, slots=True)
class ProviderRecord:
    """A peer's word that it holds shards of ``object`` that the object's placement does not name it for.

    It is a hint: ask the peer with ``Have`` before relying on it, also for shards that are not listed.
    """

    KIND: ClassVar[str] = "provider"
    DOMAIN: ClassVar[str] = "moorage 2026 provider record v1"

    identity: Identity = field(repr=False)
    object: ObjectId
    runs: tuple[ShardRun, ...]
    sequence: int
    issued_s: int
    expires_s: int
    raw: bytes = field(repr=False)

    @property
    def peer(self) -> PeerId:
        return self.identity.peer

    @property
    def shards(self) -> tuple[tuple[int, int], ...]:
        """All (extent, share) pairs, ascending; at most SHARDS_MAX."""
        return shards_of(self.runs)


Record: TypeAlias = PeerRecord | ProviderRecord
Believe: TypeAlias = Callable[[bytes], tuple[Identity, bytes]]
"""From a certificate (DER) to its holder and raw Ed25519 key; raises PeerRefusedError."""


def peer_key(peer: PeerId) -> bytes:
    """The key of a peer's own record: its id, so that looking for a peer leads to the peer itself."""
    return peer.raw


def provider_key(object_id: ObjectId) -> bytes:
    """The key of an object's provider records: 32 bytes that do not reveal the object's id."""
    return derived_digest(PROVIDER_KEY_CONTEXT, object_id.raw)


def key_for(record: Record) -> bytes:
    """The 32-byte key under which ``record`` is kept."""
    match record:
        case PeerRecord():
            return peer_key(record.peer)
        case ProviderRecord():
            return provider_key(record.object)


def supersedes(new: Record, old: Record) -> bool:
    """Whether ``new`` replaces ``old`` of the same publisher under the same key; a total order on both sides."""
    return (new.sequence, new.raw) > (old.sequence, old.raw)


def _seal(key: Ed25519PrivateKey, kind: type[Record], fields: Mapping[str, Value]) -> bytes:
    body = encode({"v": RECORD_VERSION, **fields})
    raw = encode({"kind": kind.KIND, "body": body, "signature": sign(key, kind.DOMAIN, body)})
    if len(raw) > DHT_RECORD_MAX_BYTES:
        raise MalformedError(f"{kind.KIND} record of {len(raw)} bytes, at most {DHT_RECORD_MAX_BYTES} allowed")
    return raw


def make_peer_record(
    key: Ed25519PrivateKey,
    certificate: bytes,
    *,
    address: Address,
    free_bytes: int,
    capacity_bytes: int,
    version: int,
    draining: bool,
    sequence: int,
    now: float,
    life_s: int,
) -> bytes:
    """A signed peer record. Raises MalformedError when the address is unusable or the certificate too long."""
    check_address(address)
    assert 0 < life_s <= DHT_RECORD_LIFE_MAX_S, life_s
    return _seal(
        key,
        PeerRecord,
        {
            "certificate": certificate,
            "sequence": sequence,
            "issued": int(now),
            "expires": int(now) + life_s,
            "host": address.host,
            "port": address.port,
            "free": free_bytes,
            "capacity": capacity_bytes,
            "version": version,
            "draining": draining,
        },
    )


def make_provider_record(
    key: Ed25519PrivateKey,
    certificate: bytes,
    *,
    object_id: ObjectId,
    shards: Iterable[tuple[int, int]],
    sequence: int,
    now: float,
    life_s: int,
) -> bytes:
    """A signed provider record of these (extent, share) pairs.

    Lists as many as fit (RUNS_MAX runs, SHARDS_MAX shards): readers ask the peer for all shards anyway.
    """
    assert 0 < life_s <= DHT_RECORD_LIFE_MAX_S, life_s
    return _seal(
        key,
        ProviderRecord,
        {
            "certificate": certificate,
            "sequence": sequence,
            "issued": int(now),
            "expires": int(now) + life_s,
            "object": object_id.raw,
            "runs": [[run.share, run.first_extent, run.extents] for run in runs_of(shards)],
        },
    )


def parse_record(raw: bytes, issuers: Mapping[str, bytes], now: float) -> Record:
    """A record that may be believed.

    Args:
        raw: at most DHT_RECORD_MAX_BYTES.
        issuers: DER of each organisation's issuer certificate, by organisation name (the roster's).
        now: seconds since 1970.

    Raises:
        MalformedError: not a record, or over a limit; NewerVersionError for a later format.
        StaleRecordError: expired, or issued more than CLOCK_SKEW_MAX_S from now.
        PeerRefusedError: the certificate is not of this pool, out of its time, or a client's.
        BadSignatureError: not signed by the certificate's key.
    """
    return parse_with(raw, lambda certificate: read_certificate(certificate, issuers, now=now), now)


def parse_with(raw: bytes, believe: Believe, now: float) -> Record:
    """``parse_record`` with the certificate check as an argument. What is cheap is checked first."""
    outer = Fields(decode(raw, max_bytes=DHT_RECORD_MAX_BYTES), what="record")
    kind = outer.text("kind", max_characters=16)
    body = outer.blob("body", max_bytes=DHT_RECORD_MAX_BYTES)
    signature = outer.exact("signature", ED25519_SIGNATURE_BYTES)
    outer.end()
    fields = Fields(decode(body, max_bytes=DHT_RECORD_MAX_BYTES), what=f"{kind} record")
    version = fields.integer("v", low=1, high=2**31)
    if version > RECORD_VERSION:
        raise NewerVersionError(f"{kind} record of version {version}; this release knows {RECORD_VERSION}")
    match kind:
        case PeerRecord.KIND:
            return _parse_peer(fields, _Envelope(raw, body, signature, believe, now))
        case ProviderRecord.KIND:
            return _parse_provider(fields, _Envelope(raw, body, signature, believe, now))
        case _:
            raise MalformedError(f"no record is called {kind!r}")


class _Envelope(NamedTuple):
    """What surrounds the fields of a record that is being parsed."""

    raw: bytes
    body: bytes
    signature: bytes
    believe: Believe
    now: float

    def span(self, fields: Fields) -> tuple[int, int]:
        issued_s, expires_s = fields.integer("issued", high=SECONDS_MAX), fields.integer("expires", high=SECONDS_MAX)
        if not 0 < expires_s - issued_s <= DHT_RECORD_LIFE_MAX_S:
            raise MalformedError(f"a record lives up to {DHT_RECORD_LIFE_MAX_S} s, not {expires_s - issued_s}")
        if not issued_s - CLOCK_SKEW_MAX_S <= self.now < expires_s:
            when = "expired" if self.now >= expires_s else "is from the future: is a clock wrong?"
            raise StaleRecordError(f"record {when} (issued {issued_s}, expires {expires_s}, now {int(self.now)})")
        return issued_s, expires_s

    def publisher(self, certificate: bytes, domain: str) -> Identity:
        identity, key = self.believe(certificate)
        if identity.role != "peer":
            raise PeerRefusedError(f"a {identity.role} of {identity.organisation!r} published a record; only peers may")
        check_signature(key, self.signature, domain, self.body)
        return identity


def _parse_peer(fields: Fields, envelope: _Envelope) -> PeerRecord:
    certificate = fields.blob("certificate", max_bytes=CERTIFICATE_MAX_BYTES)
    sequence = fields.integer("sequence", high=SEQUENCE_MAX)
    issued_s, expires_s = envelope.span(fields)
    host = fields.text("host", max_characters=HOST_MAX_CHARACTERS)
    address = Address(host, fields.integer("port", low=1, high=65535))
    capacity_bytes = fields.integer("capacity", high=2**63 - 1)
    free_bytes = fields.integer("free", high=2**63 - 1)
    version, draining = fields.integer("version", high=2**16), fields.flag("draining")
    fields.end()
    check_address(address)
    return PeerRecord(
        identity=envelope.publisher(certificate, PeerRecord.DOMAIN),
        address=address,
        free_bytes=free_bytes,
        capacity_bytes=capacity_bytes,
        version=version,
        draining=draining,
        sequence=sequence,
        issued_s=issued_s,
        expires_s=expires_s,
        raw=envelope.raw,
    )


def _parse_provider(fields: Fields, envelope: _Envelope) -> ProviderRecord:
    certificate = fields.blob("certificate", max_bytes=CERTIFICATE_MAX_BYTES)
    sequence = fields.integer("sequence", high=SEQUENCE_MAX)
    issued_s, expires_s = envelope.span(fields)
    object_id = ObjectId(fields.exact("object", DIGEST_BYTES))
    runs = tuple(parse_run(item) for item in fields.items("runs", max_items=RUNS_MAX))
    fields.end()
    if list(runs) != sorted(runs) or sum(run.extents for run in runs) > SHARDS_MAX:
        raise MalformedError(f"provider record: runs not ascending, or more than {SHARDS_MAX} shards")
    return ProviderRecord(
        identity=envelope.publisher(certificate, ProviderRecord.DOMAIN),
        object=object_id,
        runs=runs,
        sequence=sequence,
        issued_s=issued_s,
        expires_s=expires_s,
        raw=envelope.raw,
    )
