"""Every parser of outside bytes, as ``read``: bytes to the bytes that the parsed value makes, or MoorageError.

Nothing else may come out of ``read``: no other exception, no value that says something else than its bytes did. The
tests of this folder and the fuzzer (``tests.doubt.fuzz``) share the list.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple, cast

from blake3 import blake3

from anchor.ballots import encode_motion, parse_motion
from anchor.checkpoint import parse_checkpoint
from anchor.compact import Edge
from anchor.leaf import parse_leaf
from anchor.manifest import _parse_body, sign_manifest
from anchor.monitor import View, encode_view, parse_view
from anchor.note import NoteKey, format_note, parse_note
from anchor.organisation import Organisation
from anchor.policy import format_policy, parse_policy
from anchor.proof import format_proof, parse_proof
from anchor.receipt import encode_receipt, parse_receipt
from anchor.rootchain import verify_chain
from anchor.roster import ROSTER_DOMAIN, _body, parse_roster
from anchor.rosterfile import encode_roster_file
from anchor.rosterparts import parse_ledger, parse_members
from anchor.rules import ObjectState
from anchor.stage import encode_stage, parse_stage
from anchor.tiles import pack_entry, parse_bundle
from anchor.witness import AddCheckpoint, format_add_checkpoint, parse_add_checkpoint
from client.bootstrap import parse_addresses
from client.care import parse_report
from client.health import Health
from client.index import encode_index, encode_listing, parse_index, parse_listing
from client.invitation import format_token, parse_token
from client.lastlook import LastLook, parse_last_look
from client.memory import (
    CatalogueEntry,
    StoredExtent,
    encode_entry,
    encode_extent_record,
    parse_entry,
    parse_extent_record,
)
from client.status import PeerStatus, parse_status
from core.compression import ChunkCompressor, decompress
from core.encoding import CHECK_BYTES, Value, decode, encode
from core.errors import MalformedError, MoorageError
from core.findings import Finding, FindingKind
from core.identity import read_certificate
from core.ids import ObjectId, PeerId, ShardRoot
from core.signing import sign
from daemon.carebook import CareEntry, _pack_entry, _parse_entry
from daemon.journal import Event, pack_event, parse_event
from daemon.settings import Settings, format_settings, parse_settings
from daemon.silence import _parse as parse_silence
from daemon.trash import parse_unnamed
from dht.records import parse_record
from erasure.scheme import Scheme
from erasure.shardfile import (
    ShardHead,
    foot_bytes,
    pack_foot,
    pack_head,
    parse_foot,
    parse_head,
    scan_shard,
    shard_file_bytes,
)
from tests.anchor import test_consortium_receipt
from tests.anchor import test_receipt as papers
from tests.anchor.consortium import FOUR, founded, swapped
from tests.anchor.ledgers import BOTH_KEYS, LOG
from tests.client import test_invitation
from tests.daemon import test_motions
from tests.daemon.shards import sample
from tests.dht.people import ISSUERS, START, an_object, person
from tests.doubt.messages import MESSAGES
from wire.frames import Frame, FrameParser, frame_prefix
from wire.messages import message_head, parse_message

VECTORS = Path(__file__).parents[1] / "vectors"
LIMIT_BYTES = 2**20
NAME = b"n" * 32
SCHEME = Scheme(2, 3)
SHARD = sample(share_bytes=90)


class Target(NamedTuple):
    """``sealed``: nothing but the very samples is ever accepted (a digest or signature covers each byte).

    ``fixed``: formats for people or of others have many texts for one value; there, what a value makes must be read
    as that value again, and make the same bytes.
    """

    name: str
    read: Callable[[bytes], bytes]
    samples: tuple[bytes, ...]
    sealed: bool = False
    fixed: bool = False


def allowed(target: Target, data: bytes) -> bool:
    """Read ``data``: True when it was accepted, False when refused. AssertionError for anything else."""
    try:
        made = target.read(data)
    except MoorageError:
        return False
    if target.fixed:
        assert target.read(made) == made, f"{target.name}: {made!r} is not read as it was written"
    else:
        assert made == data, f"{target.name}: {data!r} was read as {made!r}"
    return True


def _checked(read: Callable[[bytes], bytes], data: bytes) -> bytes:
    """For what ends in its digest: a fuzzer would never find a fitting one."""
    return read(data + blake3(data).digest())[:-CHECK_BYTES]


def _read_frames(data: bytes) -> bytes:
    parser = FrameParser()
    made = b"".join(frame_prefix(frame.head, len(frame.body)) + bytes(frame.body) for frame in parser.feed(data))
    return made + data[len(made) :] if not parser.at_boundary else made


def _read_message(data: bytes) -> bytes:
    frames = list(FrameParser().feed(data))
    if len(frames) != 1:
        raise MalformedError("not one frame")
    number, message = parse_message(Frame(frames[0].head, bytes(frames[0].body)))
    body = bytes(message.body_of())
    made = frame_prefix(message_head(number, message), len(body)) + body
    # What follows is the beginning of another frame.
    return made + data[len(made) :]


def _write_message(number: int) -> bytes:
    message = MESSAGES[number]
    body = bytes(message.body_of())
    return frame_prefix(message_head(number, message), len(body)) + body


def _read_manifest_body(data: bytes) -> bytes:
    outer = decode(sign_manifest(papers.OWNER_KEY, _parse_body(data)), max_bytes=LIMIT_BYTES)
    return cast(bytes, cast("dict[str, Value]", outer)["body"])


def _read_roster_body(data: bytes) -> bytes:
    signed = encode({"body": data, "signature": sign(papers.POOL_KEY, ROSTER_DOMAIN, data)})
    return _body(parse_roster(signed))


def _body_of(signed: bytes) -> bytes:
    return cast(bytes, cast("dict[str, Value]", decode(signed, max_bytes=LIMIT_BYTES))["body"])


def _read_receipt(data: bytes) -> bytes:
    receipt = parse_receipt(data)
    papers.check(receipt)
    return encode_receipt(receipt)


def _read_leaf(data: bytes) -> bytes:
    leaf = parse_leaf(data)
    return format_note(leaf.text, [leaf.signature])


def _read_certificate(data: bytes) -> bytes:
    return read_certificate(data, ISSUERS, now=START)[0].certificate


def _text_of(read: Callable[[str], str]) -> Callable[[bytes], bytes]:
    def read_text(data: bytes) -> bytes:
        try:
            return read(data.decode()).encode()
        except UnicodeDecodeError as error:
            raise MalformedError("not UTF-8") from error

    return read_text


def _read_status(data: bytes) -> bytes:
    return encode(parse_status(decode(data, max_bytes=4096)).to_value())


def _read_last_look(data: bytes) -> bytes:
    return encode(parse_last_look(decode(data, max_bytes=4096)).to_value())


def _read_canonical(data: bytes) -> bytes:
    return encode(decode(data, max_bytes=LIMIT_BYTES))


def _read_stage(data: bytes) -> bytes:
    return encode_stage(parse_stage(data))


def _read_foot(data: bytes) -> bytes:
    lengths = [len(share) for share in SHARD.shares]
    head = ShardHead(SHARD.plan.scheme, SHARD.plan.index, len(lengths), SHARD.root)
    layout = parse_foot(data, head, shard_file_bytes(len(lengths), sum(lengths)))
    return pack_foot(layout.lengths, layout.leaves)


def _read_shard(data: bytes) -> bytes:
    report = scan_shard(lambda offset, length: data[offset : offset + length], len(data), SHARD.root)
    if not report.whole:
        raise MalformedError(report.problem or f"chunks {report.bad_chunks}")
    return data


def _shard_file() -> bytes:
    from erasure.merkle import leaf_digest

    head = pack_head(ShardHead(SHARD.plan.scheme, SHARD.plan.index, len(SHARD.shares), SHARD.root))
    return head + SHARD.data + pack_foot(SHARD.lengths, [leaf_digest(share) for share in SHARD.shares])


def _read_extent_record(data: bytes) -> bytes:
    return encode_extent_record(parse_extent_record(data, NAME, SCHEME), NAME)


def _read_extent_record_body(data: bytes) -> bytes:
    return _read_extent_record(data + blake3(data, key=NAME).digest())[:-CHECK_BYTES]


def _read_report(data: bytes) -> bytes:
    report = parse_report(data)
    assert all(Finding.from_value(item.to_value()) == item for item in (*report.findings, *report.repairs))
    return data


def _read_event(data: bytes) -> bytes:
    return pack_event(parse_event(data.removesuffix(b"\n")))


def _read_event_body(data: bytes) -> bytes:
    from zlib import crc32

    return _read_event(b"%08x %s\n" % (crc32(data), data))[9:-1]


def _read_settings(text: str) -> str:
    return format_settings(parse_settings(text))


def _read_chunk(data: bytes) -> bytes:
    for codec in (1, 2):
        try:
            assert len(decompress(codec, data, chunk_bytes=5000)) == 5000
        except MoorageError:
            continue
        return data
    raise MalformedError("neither")


def _read_policy(text: str) -> str:
    return format_policy(parse_policy(text))


def _read_note(data: bytes) -> bytes:
    note = parse_note(data)
    return format_note(note.text, note.signatures)


def _read_add_checkpoint(data: bytes) -> bytes:
    return format_add_checkpoint(parse_add_checkpoint(data))


def _read_bundle(data: bytes) -> bytes:
    return b"".join(pack_entry(entry) for entry in parse_bundle(data))


def _vector(file: str, key: str) -> bytes:
    return bytes.fromhex(json.loads((VECTORS / file).read_text())[key])


@cache
def targets() -> tuple[Target, ...]:
    return (*_wire(), *_papers(), *_consortium(), *_ledger(), *_small_files(), *_text())


def _wire() -> list[Target]:
    first, second = person("first"), person("second")
    records = (first.record(), second.provides(an_object(1), [(0, 1), (1, 1), (4, 2)]))
    frames = tuple(_write_message(number) for number in range(len(MESSAGES)))
    status = PeerStatus(
        uptime_s=1, shards=2, objects=3, at_risk=4, never_checked=5, oldest_verified_s=6, used_bytes=7,
        available_bytes=8, capacity_bytes=9, suspects=10, read_only="why", draining=True,
    )  # fmt: skip
    finding = Finding(FindingKind.CORRUPT, ObjectId(NAME), PeerId(NAME), 1, 2, 3, ShardRoot(NAME), "why")
    items: Value = [finding.to_value()]
    report: Value = {
        "checked": 1, "findings": items, "repairs": items, "unrepaired": 0, "findings_left_off": 0,
        "repairs_left_off": 1,
    }  # fmt: skip
    packed = bytes(ChunkCompressor().compress(b"moorage " * 625)[1])
    return [
        Target("frames", _read_frames, (frames[2] + frames[8],)),
        Target("message", _read_message, frames),
        Target("record", lambda data: parse_record(data, ISSUERS, START).raw, records, sealed=True),
        Target("certificate", _read_certificate, (first.certificate,), sealed=True),
        Target("status", _read_status, (encode(status.to_value()),)),
        Target("last-look", _read_last_look, (encode(LastLook(1, 2, Health.DEGRADED, 3, 4, 5).to_value()),)),
        Target("report", _read_report, (encode(report),)),
        Target("canonical", _read_canonical, (encode(report), encode([1, "a", b"b"]))),
        Target("chunk", _read_chunk, (packed,)),
    ]  # fmt: skip


def _papers() -> list[Target]:
    manifest, roster = papers.manifest_file(), papers.roster()
    receipt = encode_receipt(papers.scene().receipt)
    index = _vector("index.json", "index")
    listing = encode_listing(parse_index(index).entries)
    shard = _shard_file()
    return [
        Target("manifest", lambda data: _sealed_manifest(data, manifest), (manifest,), sealed=True),
        Target("manifest-body", _read_manifest_body, (_body_of(manifest),)),
        Target("roster", lambda data: (parse_roster(data), data)[1], (roster,), sealed=True),
        Target("roster-body", _read_roster_body, (_body_of(roster),)),
        Target("receipt", _read_receipt, (receipt,), sealed=True),
        Target(
            "receipt-body",
            lambda data: _checked(lambda whole: encode_receipt(parse_receipt(whole)), data),
            (receipt[:-CHECK_BYTES],),
        ),
        Target("index", lambda data: encode_index(parse_index(data)), (index,)),
        Target("listing", lambda data: encode_listing(parse_listing(data)), (listing,)),
        Target("shard", _read_shard, (shard,), sealed=True),
        Target("shard-head", lambda data: pack_head(parse_head(data)), (shard[:64],), sealed=True),
        Target("shard-foot", _read_foot, (shard[-foot_bytes(len(SHARD.shares)) :],)),
    ]


def _read_root(data: bytes) -> bytes:
    verify_chain(founded()._replace(roots=(data,)))
    return data


def _consortium() -> list[Target]:
    file = founded()
    token = format_token(test_invitation.invitation()).encode()
    short = encode_receipt(test_consortium_receipt.receipt())
    said = ObjectState("a", 2, 1, False, (NAME, NAME))
    view = encode_view(View(b"a note", Edge(3, (NAME, NAME)), {ObjectId(NAME): said}))
    return [
        Target(
            "consortium-roster",
            lambda data: (parse_roster(data), data)[1],
            (encode_roster_file(file), encode_roster_file(swapped())),
            sealed=True,
        ),
        Target("consortium-ledger", lambda data: (parse_ledger(data), data)[1], (file.ledger,)),
        Target(
            "root-metadata",
            _read_root,
            file.roots,
            sealed=True,
        ),
        Target(
            "motion",
            lambda data: encode_motion(parse_motion(data)),
            (test_motions.motion(test_motions.proposal(), FOUR[1]),),
        ),
        Target(
            "invitation",
            lambda data: format_token(parse_token(data.decode("utf-8", "replace"))).encode(),
            (token,),
            fixed=True,
        ),
        Target("consortium-members", _read_members, (file.members,)),
        Target("consortium-receipt", lambda data: encode_receipt(parse_receipt(data)), (short,), sealed=True),
        Target("view", lambda data: encode_view(parse_view(data)), (view,), sealed=True),
        Target(
            "view-body",
            partial(_checked, lambda data: encode_view(parse_view(data))),
            (view[:-CHECK_BYTES],),
        ),
    ]


@cache
def _founders() -> tuple[int, list[Organisation]]:
    _, epoch, organisations = parse_ledger(founded().ledger)
    return epoch, organisations


def _read_members(data: bytes) -> bytes:
    parse_members(data, *_founders())
    return data


def _sealed_manifest(data: bytes, manifest: bytes) -> bytes:
    from anchor.manifest import object_id, parse_manifest

    parse_manifest(data, expected=object_id(manifest))
    return data


def _ledger() -> list[Target]:
    log = papers.scene().log
    disk, folder = log._disk, log.folder
    with disk.open(f"{folder}/stage", "read") as file:
        stage = file.read_at(0, file.size())
    proof = papers.scene().receipt.proof
    note = log.published() or b""
    leaves = log.leaves(0, 6)
    request = format_add_checkpoint(AddCheckpoint(5, (NAME, NAME), note))
    return [
        Target("note", _read_note, (note, leaves[0]), fixed=True),
        Target("checkpoint", _text_of(lambda text: parse_checkpoint(text).text), (parse_note(note).text.encode(),)),
        Target("vkey", _text_of(lambda text: NoteKey.parse(text).vkey), (LOG.vkey.encode(),)),
        Target("proof", lambda data: format_proof(parse_proof(data)), (proof,), fixed=True),
        Target("policy", _text_of(_read_policy), (BOTH_KEYS.encode(),), fixed=True),
        Target("leaf", _read_leaf, tuple(leaves[:1])),
        Target("add-checkpoint", _read_add_checkpoint, (request,)),
        Target("bundle", _read_bundle, (b"".join(pack_entry(leaf) for leaf in (b"", b"a leaf", leaves[0])),)),
        Target("stage", _read_stage, (stage,), sealed=True),
        Target("stage-body", lambda data: _checked(_read_stage, data), (stage[:-CHECK_BYTES],)),
    ]  # fmt: skip


def _small_files() -> list[Target]:
    extent = StoredExtent((ShardRoot(NAME),) * 3, (PeerId(NAME),) * 3, (1000, 900), b"\0\1")
    record = encode_extent_record(extent, NAME)
    entry = encode_entry(CatalogueEntry(ObjectId(NAME), NAME, "study", 1, 2, 3, 4))
    care = _pack_entry(CareEntry(1000, 900, Health.DEGRADED, 1))
    silent = encode({"silent": [{"peer": NAME, "observed": 600}]})
    unnamed = encode({"unnamed": [{"root": NAME, "since": 600}]})
    event = pack_event(Event(7, 8, "test", "text", Finding(FindingKind.MISSING, ObjectId(NAME)), {"a": 1}))

    def read_silence(data: bytes) -> bytes:
        rows = parse_silence(data).items()
        body = encode({"silent": [{"peer": peer.raw, "observed": seconds} for peer, seconds in rows]})
        return body + blake3(body).digest()

    def read_unnamed(data: bytes) -> bytes:
        rows = parse_unnamed(data).items()
        body = encode({"unnamed": [{"root": root.raw, "since": seconds} for root, seconds in rows]})
        return body + blake3(body).digest()

    def read_entry(data: bytes) -> bytes:
        return encode_entry(parse_entry(ObjectId(NAME), data))

    def read_care(data: bytes) -> bytes:
        return _pack_entry(_parse_entry(data))

    found: list[Target] = [
        Target("extent-record", _read_extent_record, (record,), sealed=True),
        Target("extent-record-body", _read_extent_record_body, (record[:-CHECK_BYTES],)),
        # A check of 32 bits lets through what a mutator computes, and bit flips never.
        Target("journal-line", _read_event, (event,), fixed=True),
        Target("journal-body", _read_event_body, (event[9:-1],), fixed=True),
    ]
    for name, read, whole in (
        ("catalogue-entry", read_entry, entry),
        ("care-entry", read_care, care),
        ("silence", read_silence, silent + blake3(silent).digest()),
        ("unnamed", read_unnamed, unnamed + blake3(unnamed).digest()),
    ):
        found.append(Target(name, read, (whole,), sealed=True))
        found.append(Target(f"{name}-body", partial(_checked, read), (whole[:-CHECK_BYTES],)))
    return found


def _text() -> list[Target]:
    addresses = b"# ours\n10.0.0.1:7711\n[::1]:80\nhost.example:443\n"

    def read_addresses(data: bytes) -> bytes:
        return "".join(f"{address}\n" for address in parse_addresses(data)).encode()

    return [
        Target("settings", _text_of(_read_settings), (format_settings(Settings()).encode(),), fixed=True),
        Target("addresses", read_addresses, (addresses,), fixed=True),
    ]  # fmt: skip
