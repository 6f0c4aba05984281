"""The documents say what the code does: their bytes decode, their tables are the code's, their names exist."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import re
import struct
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from anchor.leaf import parse_leaf, sign_leaf
from anchor.manifest import Manifest, object_id, parse_manifest, sign_manifest
from anchor.policy import format_policy, parse_policy
from anchor.proof import format_proof, parse_proof
from anchor.receipt import check_receipt, encode_receipt, parse_receipt
from anchor.roster import parse_roster, sign_roster
from anchor.stage import encode_stage, parse_stage
from cli.main import EXIT_INTERRUPTED
from cli.parser import build_parser
from client.health import Health
from client.index import (
    encode_index,
    encode_listing,
    index_extent_key,
    listing_commitment,
    listing_salt,
    parse_index,
    parse_listing,
)
from client.status import PeerStatus
from core import errors
from core.compression import COMPRESSOR, Codec, decompress
from core.encoding import decode, encode
from core.errors import CorruptError, MalformedError, NewerVersionError
from core.findings import FindingKind
from core.identity import key_from_seed, public_bytes
from core.ids import PoolId
from core.sealing import SLOT_INFO, ChunkSealer, sealing_public_key, unwrap_key
from core.signing import sign
from daemon.jobs import encode_report
from daemon.journal import pack_event, parse_event
from daemon.settings import Settings, format_settings
from daemon.sweep import SweepReport
from dht.records import ProviderRecord, make_peer_record, make_provider_record, parse_record
from erasure.codec import join_shares
from erasure.merkle import check_share
from erasure.scheme import Scheme
from erasure.shardfile import pack_foot, pack_head, parse_head, read_layout, scan_shard
from tests import documented
from tests.documented import DOCS, documented_blocks, documented_slot
from wire.frames import FrameParser, frame_prefix
from wire.messages import message_head, message_kinds, parse_message

ROOT = DOCS.parent
LAYERS = ("core", "erasure", "anchor", "wire", "dht", "host", "client", "daemon", "cli")
BLOCKS = documented_blocks()
FORMAT = (DOCS / "format.md").read_text("utf-8")
DOCUMENTS = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in sorted(DOCS.rglob("*.md"))}
DOCUMENTS["README.md"] = (ROOT / "README.md").read_text("utf-8")
SHARDS = [name for name in BLOCKS if name.startswith("SHARD-")]


def read_at(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, length: data[offset : offset + length]


def manifest() -> Manifest:
    return parse_manifest(BLOCKS["MANIFEST"], expected=object_id(BLOCKS["MANIFEST"]))


# --- the bytes --------------------------------------------------------------------------------


def test_every_documented_block_is_made_and_every_made_block_is_documented() -> None:
    assert set(BLOCKS) == set(documented.build())


def test_the_documented_bytes_are_what_this_release_writes() -> None:
    compressor = re.search(r"`(zstd-[0-9.]+-[0-9]+-[0-9]+)`", FORMAT)
    assert compressor is not None
    if compressor[1] == COMPRESSOR:
        assert documented.build(documented_slot(BLOCKS["MANIFEST"])) == BLOCKS
    else:
        # Another release of zstd may pack the index into other bytes; what does not depend on it must still fit.
        assert documented.roster_file() == BLOCKS["ROSTER"]


@pytest.mark.parametrize("name", SHARDS)
def test_a_documented_shard_file_is_whole_and_packs_to_the_same_bytes(name: str) -> None:
    data = BLOCKS[name]
    head = parse_head(data[:64])
    head, layout = read_layout(read_at(data), len(data), head.root)
    assert pack_head(head) == data[:64]
    assert pack_foot(layout.lengths, layout.leaves) == data[layout.offsets[-1] :]
    assert scan_shard(read_at(data), len(data), head.root).whole


@pytest.mark.parametrize("name", SHARDS)
def test_every_changed_byte_of_a_documented_shard_file_shows(name: str) -> None:
    data = BLOCKS[name]
    root = parse_head(data[:64]).root
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert not scan_shard(read_at(changed), len(changed), root).whole, at


def test_the_documented_manifest_names_the_documented_shards_and_signs_to_the_same_bytes() -> None:
    found = manifest()
    assert sign_manifest(key_from_seed(documented.MANIFEST_SEED), found) == BLOCKS["MANIFEST"]
    names = [*found.extents[0].roots, *found.index[0].roots[:2]]
    assert names == [parse_head(BLOCKS[name][:64]).root for name in SHARDS]


def open_chunk(
    names: dict[int, str], scheme: Scheme, lengths: tuple[int, ...], codec: int, key: bytes, plain_bytes: int
) -> bytes:
    shares = {}
    for number, name in names.items():
        data = BLOCKS[name]
        head, layout = read_layout(read_at(data), len(data), parse_head(data[:64]).root)
        share = data[layout.offsets[0] : layout.offsets[1]]
        check_share(head.root, scheme, number, 1, 0, share, b"")
        shares[number] = share
    sealed = join_shares(shares, lengths[0], scheme)
    return bytes(decompress(codec, ChunkSealer(key).open(0, codec, sealed), chunk_bytes=plain_bytes))


def test_the_object_opens_from_the_documented_bytes_alone() -> None:
    found = manifest()
    index_key = unwrap_key(documented.SEALING_SEED, found.slots[0].wrapped)
    extent_key = index_extent_key(index_key, 0)
    index_names = {0: "SHARD-INDEX-0", 1: "SHARD-INDEX-1"}
    plain = open_chunk(
        index_names, found.scheme, found.index_lengths, found.index_codecs[0], extent_key, found.index_bytes
    )
    assert plain == BLOCKS["INDEX"]
    index = parse_index(plain)
    assert encode_index(index) == plain
    listed = parse_listing(encode_listing(index.entries))
    assert [entry.path for entry in listed] == [entry.path for entry in index.entries]
    assert listing_commitment(listing_salt(index_key), encode_listing(index.entries)) == found.listing
    sealed = index.extents[0]
    data_names = {0: "SHARD-DATA-0", 2: "SHARD-DATA-2"}
    stream = open_chunk(data_names, found.scheme, sealed.lengths, sealed.codecs[0], sealed.key, sealed.plain_bytes)
    file = next(entry for entry in index.entries if entry.path.raw == b"a/hello.txt")
    assert stream[file.spans[0].offset :][: file.spans[0].length] == documented.TEXT
    assert blake3(documented.TEXT).digest() == file.digest


def test_extent_keys_are_derived_as_documented() -> None:
    compressor = re.search(r"`(zstd-[0-9.]+-[0-9]+-[0-9]+)`", FORMAT)
    assert compressor is not None
    text = b"extent" + blake3(documented.TEXT).digest() + compressor[1].encode()
    key = blake3(text, key=documented.CONVERGENCE_SECRET).digest()
    assert parse_index(BLOCKS["INDEX"]).extents[0].key == key


def test_a_key_slot_is_hpke_with_x_wing_as_documented() -> None:
    """RFC 9180, sections 4 and 5.1, and draft-connolly-cfrg-xwing-kem, by hand."""
    slot, seed = manifest().slots[0].wrapped, documented.SEALING_SEED
    assert len(slot) == 1088 + 32 + 32 + 16
    mlkem = MLKEM768PrivateKey.from_seed_bytes(seed[:64]).decapsulate(slot[:1088])
    theirs = slot[1088:1120]
    x25519 = X25519PrivateKey.from_private_bytes(seed[64:]).exchange(X25519PublicKey.from_public_bytes(theirs))
    ours = sealing_public_key(seed)[1184:]
    shared = hashlib.sha3_256(mlkem + x25519 + theirs + ours + b"\\.//^\\").digest()
    suite = b"HPKE" + struct.pack(">HHH", 0x647A, 1, 2)

    def extract(salt: bytes, label: bytes, text: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + text, "sha256")

    def expand(secret: bytes, label: bytes, text: bytes, size: int) -> bytes:
        info = struct.pack(">H", size) + b"HPKE-v1" + suite + label + text
        return hmac.digest(secret, info + b"\1", "sha256")[:size]

    context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", SLOT_INFO)
    secret = extract(shared, b"secret", b"")
    key, nonce = expand(secret, b"key", context, 32), expand(secret, b"base_nonce", context, 12)
    assert AESGCM(key).decrypt(nonce, slot[1120:], b"") == unwrap_key(seed, slot)


def test_the_documented_roster_signs_to_the_same_bytes() -> None:
    roster = parse_roster(BLOCKS["ROSTER"])
    again = sign_roster(
        key_from_seed(documented.POOL_SEED),
        pool_name=roster.pool_name,
        epoch=roster.epoch,
        organisations=roster.organisations,
        seeds=roster.seeds,
    )
    assert again == BLOCKS["ROSTER"]
    assert roster.organisations[0].policy == BLOCKS["POLICY"].decode()


def test_the_documented_leaf_policy_proof_and_stage_format_to_the_same_bytes() -> None:
    leaf = parse_leaf(BLOCKS["LEAF"])
    key = key_from_seed(documented.MANIFEST_SEED)
    leaf.check(public_bytes(key))
    assert sign_leaf(key, leaf.signature.name, leaf.leaf) == BLOCKS["LEAF"]
    policy = BLOCKS["POLICY"].decode()
    assert format_policy(parse_policy(policy)) == policy
    proof = parse_proof(BLOCKS["PROOF"])
    assert format_proof(proof) == BLOCKS["PROOF"]
    assert proof.extra == BLOCKS["LEAF"]
    assert encode_stage(parse_stage(BLOCKS["STAGE"])) == BLOCKS["STAGE"]


def test_the_documented_receipt_proves_the_documented_manifest() -> None:
    receipt = parse_receipt(BLOCKS["RECEIPT"])
    assert encode_receipt(receipt) == BLOCKS["RECEIPT"]
    pool = PoolId.of_key(public_bytes(key_from_seed(documented.POOL_SEED)))
    statement = check_receipt(receipt, manifest_file=BLOCKS["MANIFEST"], pinned_pool=pool)
    assert (statement.origin, statement.index) == (documented.ORIGIN, 0)


def test_every_changed_byte_of_the_documented_receipt_shows() -> None:
    data = BLOCKS["RECEIPT"]
    for at in range(len(data)):
        with pytest.raises(CorruptError):
            parse_receipt(data[:at] + bytes([data[at] ^ 0x80]) + data[at + 1 :])


def test_the_documented_records_are_believed_and_sign_to_the_same_bytes() -> None:
    issuers = {"hospital-1": documented.issuer()}
    peer = parse_record(BLOCKS["PEER-RECORD"], issuers, documented.NOW_S)
    provider = parse_record(BLOCKS["PROVIDER-RECORD"], issuers, documented.NOW_S)
    assert isinstance(provider, ProviderRecord)
    assert provider.object == object_id(BLOCKS["MANIFEST"])
    assert provider.shards == ((0, 2), (1, 2))
    assert documented.records(provider.object) == (peer.raw, provider.raw)
    assert make_peer_record.__module__ == make_provider_record.__module__


def test_the_documented_journal_line_packs_to_the_same_bytes() -> None:
    event = parse_event(BLOCKS["JOURNAL"].rstrip(b"\n"))
    assert event.finding is not None
    assert pack_event(event) == BLOCKS["JOURNAL"]


def test_the_documented_codecs_are_the_codes() -> None:
    rows = re.findall(r"^ *\| ([0-9]+) \| ([a-z]+) \|", FORMAT, re.MULTILINE)
    assert {int(number): word.upper() for number, word in rows} == {codec.value: codec.name for codec in Codec}


@pytest.mark.parametrize("name", [name for name in BLOCKS if name.startswith("FRAME-")])
def test_a_documented_frame_parses_to_a_message_that_packs_to_the_same_bytes(name: str) -> None:
    parser = FrameParser()
    (frame,) = parser.feed(BLOCKS[name])
    assert parser.at_boundary
    number, message = parse_message(frame)
    body = bytes(message.body_of())
    assert frame_prefix(message_head(number, message), len(body)) + body == BLOCKS[name]
    assert name == f"FRAME-{message.KIND.upper()}"


# --- names ------------------------------------------------------------------------------------


def sources() -> dict[str, str]:
    paths = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in paths}


def table(document: str, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head."""
    after = document.split(f"\n{heading}\n", 1)[1]
    rows = [line for line in after[: after.index("\n\n", after.index("\n|"))].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[2:]]


def test_every_context_in_the_code_is_documented_and_no_other() -> None:
    used = {word for text in sources().values() for word in re.findall(r'"(moorage 2026 [^"]+)"', text)}
    assert {row[0].strip("` ") for row in table(FORMAT, "## Contexts")} == used


def test_every_prefix_of_a_keyed_digest_is_documented() -> None:
    used = {word for text in sources().values() for word in re.findall(r'blake3\(b"([^"]+)"', text)}
    paragraph = FORMAT.split("Two keyed uses have a prefix instead")[1].split("\n\n")[0]
    assert used == set(re.findall(r"`([a-z ]+)`", paragraph))


@pytest.mark.parametrize("document", sorted(DOCUMENTS))
def test_files_and_symbols_that_a_document_names_exist(document: str) -> None:
    text = DOCUMENTS[document]
    code = sources()
    for path, symbols in re.findall(r"`((?:[a-z]+/)+[a-z_0-9]+\.py)`((?:,? `[A-Za-z_.]+`)*)", text):
        assert (ROOT / path).exists(), f"{document}: {path}"
        for symbol in re.findall(r"`([A-Za-z_.]+)`", symbols):
            for name in symbol.split("."):
                assert re.search(rf"\b(def|class) {name}\b", code[path]), f"{document}: {path} has no {symbol}"


@pytest.mark.parametrize("document", sorted(DOCUMENTS))
def test_links_between_documents_lead_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", DOCUMENTS[document]):
        assert ((ROOT / document).parent / target).exists(), f"{document}: {target}"


# --- tables -----------------------------------------------------------------------------------


def test_generated_tables_are_the_codes() -> None:
    found = [item for text in DOCUMENTS.values() for item in documented.read_tables(text).items()]
    assert dict(found) == {name: make() for name, make in documented.TABLES.items()}
    assert len(found) == len(documented.TABLES)


def test_every_message_is_documented_with_its_fields_and_no_other() -> None:
    rows = {row[0].strip("`| "): row[1] for row in table(DOCUMENTS["docs/protocol.md"], "## Messages")}
    kinds = message_kinds()
    assert set(rows) == set(kinds)
    for kind, message in kinds.items():
        # A record to be stored is the whole body.
        body = {"body"} | ({"record"} if kind == "dht-store" else set())
        fields = {field.name for field in dataclasses.fields(message)} - body
        documented_fields = [word for word in re.findall(r"`([a-z_]+)`", rows[kind]) if word not in ("sweep", "repair")]
        assert set(documented_fields) == fields, kind


def toml_keys(document: dict[str, Any]) -> dict[str, object]:
    return {f"{table}.{key}": value for table, values in document.items() for key, value in values.items()}


def test_the_settings_table_has_every_key_with_its_default() -> None:
    rows = {row[0].strip("` "): row[1].strip("` ") for row in table(DOCUMENTS["docs/operations.md"], "## Settings")}
    written = toml_keys(tomllib.loads(format_settings(Settings())))
    assert {key: tomllib.loads(f"value = {default}")["value"] for key, default in rows.items()} == written


def test_every_command_and_no_other_is_documented() -> None:
    (commands,) = (action for action in build_parser()._actions if isinstance(action.choices, dict))
    rows = {row[0].strip("` ") for row in table(DOCUMENTS["docs/operations.md"], "## Commands")}
    assert rows == set(commands.choices or ())


def test_every_exit_status_is_documented() -> None:
    statuses = {value for name, value in vars(errors).items() if name.startswith("EXIT_")} | {EXIT_INTERRUPTED}
    assert set(re.findall(r"^\| ([0-9]+) \|", DOCUMENTS["docs/operations.md"], re.MULTILINE)) == set(map(str, statuses))


def test_every_finding_and_health_is_documented_and_no_other() -> None:
    section = DOCUMENTS["docs/operations.md"].split("## Reading a report")[1].split("\n## ")[0]
    first_cells = " ".join(re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE))
    assert set(re.findall(r"`([a-z-]+)`", first_cells)) == {*map(str, FindingKind), *map(str, Health)}


def test_documented_log_events_are_logged() -> None:
    section = DOCUMENTS["docs/operations.md"].split("## Logs and events")[1].split("\n## ")[0]
    code = "".join(sources().values())
    for event, level in re.findall(r"^\| `([a-z-]+)` \| ([a-z]+) \|", section, re.MULTILINE):
        assert f'"{level}", "{event}"' in code, event


def test_layers_are_documented_in_their_order() -> None:
    rows = [row[0].strip("| `") for row in table(DOCUMENTS["docs/architecture.md"], "## Layers")]
    assert tuple(rows) == LAYERS


def test_the_fields_of_status_and_report_are_documented() -> None:
    protocol = DOCUMENTS["docs/protocol.md"]
    report = decode(encode_report(SweepReport()), max_bytes=1000)
    assert isinstance(report, dict)
    for word, fields in (("Status", {field.name for field in dataclasses.fields(PeerStatus)}), ("Report", set(report))):
        paragraph = protocol.split(f"**{word}**, ")[1].split("\n\n")[0].split("): ", 1)[1]
        assert set(re.findall(r"`([a-z_]+)`", paragraph)) == fields


# --- version rules ----------------------------------------------------------------------------


def signed_again(name: str, seed: bytes, domain: str, change: dict[str, Any]) -> bytes:
    outer = decode(BLOCKS[name], max_bytes=2**20)
    assert isinstance(outer, dict)
    inner = decode(outer["body"], max_bytes=2**20)
    assert isinstance(inner, dict)
    body = encode(inner | change)
    return encode(outer | {"body": body, "signature": sign(key_from_seed(seed), domain, body)})


def parse_changed(name: str, change: dict[str, Any]) -> None:
    """Parse a documented structure with other fields, made by whoever may make it."""
    match name:
        case "MANIFEST":
            data = signed_again(name, documented.MANIFEST_SEED, "moorage 2026 manifest v1", change)
            parse_manifest(data, expected=object_id(data))
        case "ROSTER":
            parse_roster(signed_again(name, documented.POOL_SEED, "moorage 2026 roster v1", change))
        case "PEER-RECORD":
            data = signed_again(name, documented.PEER_SEEDS[0], "moorage 2026 peer record v1", change)
            parse_record(data, {"hospital-1": documented.issuer()}, documented.NOW_S)
        case "INDEX":
            value = decode(BLOCKS[name], max_bytes=2**20)
            assert isinstance(value, dict)
            parse_index(encode(value | change))
        case _:
            value = decode(BLOCKS["RECEIPT"][:-32], max_bytes=2**20)
            assert isinstance(value, dict)
            body = encode(value | change)
            parse_receipt(body + blake3(body).digest())


VERSIONED = ["MANIFEST", "ROSTER", "PEER-RECORD", "INDEX", "RECEIPT"]


@pytest.mark.parametrize("name", VERSIONED)
def test_a_later_version_is_told_from_damage(name: str) -> None:
    parse_changed(name, {})
    with pytest.raises(NewerVersionError):
        parse_changed(name, {"v": 4, "new": 1})


@pytest.mark.parametrize("name", VERSIONED)
@pytest.mark.parametrize("change", [{"v": 0}, {"new": 1}, {"v": True}], ids=["version 0", "unknown field", "no number"])
def test_what_no_version_has_is_refused(name: str, change: dict[str, Any]) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_changed(name, change)
    assert not isinstance(caught.value, NewerVersionError)
