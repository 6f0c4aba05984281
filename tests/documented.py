"""The examples in docs/, made from fixed seeds; ``python -m tests.documented`` writes them anew.

Everything here is deterministic but for the key slot, whose encapsulation is random: pass the documented one to get
the documented bytes again (with the documented release of zstd).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from anchor.cosignature import Ed25519Cosigner
from anchor.leaf import manifest_leaf
from anchor.log import Log
from anchor.manifest import Extent, KeySlot, Manifest, object_id, parse_manifest, sign_manifest
from anchor.note import Ed25519Signer
from anchor.policy import make_policy
from anchor.receipt import Receipt, check_receipt, encode_receipt, parse_receipt
from anchor.roster import Organisation, parse_roster, sign_roster
from anchor.witness import LocalWitness, origin_folder
from benchmarks import durability, scale_tables
from client.coding import code_batch
from client.index import (
    Index,
    SealedExtent,
    encode_index,
    encode_listing,
    index_extent_key,
    listing_commitment,
    listing_salt,
)
from core import limits
from core.errors import error_classes
from core.findings import Finding, FindingKind
from core.identity import issue_certificate, key_from_seed, make_issuer, public_bytes
from core.ids import ObjectId, PeerId, PoolId, ShardRoot
from core.listing import Entry, Kind, RelativePath, Span
from core.ports import Address
from core.sealing import convergent_key, sealing_key_id, sealing_public_key, unwrap_key, wrap_key
from daemon.journal import Event, pack_event
from dht.records import make_peer_record, make_provider_record
from erasure.scheme import Scheme
from erasure.shardfile import ShardHasher
from host.disk import RealDisk
from tests.durability.look_schedule import looks_table
from tests.durability.side_by_side import side_by_side_table
from tests.sim.totals import long_runs_table, soaks_table
from wire.frames import frame_prefix
from wire.messages import Failure, Hello, Message, Read, Shares, UploadBegin, message_head

NOW_S = 1_790_000_000
YEAR_S = 365 * 86_400
SCHEME = Scheme(2, 3)
TEXT = b"Hello, moorage!\n"
ORIGIN = "pool.example/hospital-1/1"

MANIFEST_SEED = bytes([1]) * 32
SEALING_SEED = bytes([2]) * 96
CONVERGENCE_SECRET = bytes([3]) * 32
POOL_SEED = bytes([4]) * 32
LOG_SEED = bytes([5]) * 32
WITNESS_SEED = bytes([6]) * 32
ISSUER_SEED = bytes([7]) * 32
PEER_SEEDS = tuple(bytes([16 + number]) * 32 for number in range(3))
SERIAL = bytes([8]) * 19


@dataclass(frozen=True)
class Coded:
    """One extent of one chunk: its shard files and what undoes them."""

    extent: Extent
    sealed: SealedExtent
    files: tuple[bytes, ...]


def peer_ids() -> tuple[PeerId, ...]:
    return tuple(PeerId.of_key(public_bytes(key_from_seed(seed))) for seed in PEER_SEEDS)


def code_extent(plain: bytes, key: bytes) -> Coded:
    batch = code_batch(plain, 0, 1, key, SCHEME)
    files: list[bytes] = []
    roots: list[ShardRoot] = []
    for index, body in enumerate(batch.bodies):
        hasher = ShardHasher(SCHEME, index)
        hasher.add(body)
        files.append(hasher.head() + body + hasher.foot())
        roots.append(hasher.root())
    sealed = SealedExtent(key, len(plain), batch.sealed_lengths, batch.codecs)
    return Coded(Extent(1, batch.sealed_lengths[0], 0, tuple(roots)), sealed, tuple(files))


def entries() -> tuple[Entry, ...]:
    folder = Entry(RelativePath(b"a"), Kind.FOLDER, 0, NOW_S * 10**9, 0o755, b"", b"", ())
    digest = blake3(TEXT).digest()
    file = Entry(
        RelativePath(b"a/hello.txt"), Kind.FILE, len(TEXT), NOW_S * 10**9, 0o644, digest, b"", (Span(0, len(TEXT)),)
    )
    link = Entry(RelativePath(b"a/link"), Kind.LINK, 0, NOW_S * 10**9, 0o777, b"", b"hello.txt", ())
    return folder, file, link


def policy() -> str:
    log = Ed25519Signer(ORIGIN, key_from_seed(LOG_SEED)).key.vkey
    return make_policy(log, [witness_cosigner().key.vkey])


def witness_cosigner() -> Ed25519Cosigner:
    return Ed25519Cosigner(f"{ORIGIN}/witness", key_from_seed(WITNESS_SEED))


def issuer() -> bytes:
    key = key_from_seed(ISSUER_SEED)
    return make_issuer(key, organisation="hospital-1", now=NOW_S, valid_s=30 * YEAR_S, serial=SERIAL)


def roster_file() -> bytes:
    organisation = Organisation(
        name="hospital-1",
        issuer=issuer(),
        manifest_key=public_bytes(key_from_seed(MANIFEST_SEED)),
        # A real roster has the 1,216 bytes of the sealing key here; its id keeps the example short.
        sealing_key=sealing_key_id(sealing_public_key(SEALING_SEED)),
        policy=policy(),
    )
    return sign_roster(
        key_from_seed(POOL_SEED),
        pool_name="pool.example",
        epoch=1,
        organisations=[organisation],
        seeds=[Address("192.0.2.1", 7711)],
    )


def make_object(wrapped: bytes | None) -> tuple[bytes, Coded, Coded, bytes]:
    """The manifest file, the data extent, the index extent and the plain index."""
    data = code_extent(TEXT, convergent_key(CONVERGENCE_SECRET, blake3(TEXT).digest()))
    plain = encode_index(Index(entries(), (data.sealed,)))
    index_key = convergent_key(CONVERGENCE_SECRET, blake3(plain).digest())
    index = code_extent(plain, index_extent_key(index_key, 0))
    public = sealing_public_key(SEALING_SEED)
    manifest = Manifest(
        pool=PoolId.of_key(public_bytes(key_from_seed(POOL_SEED))),
        epoch=1,
        owner_key=public_bytes(key_from_seed(MANIFEST_SEED)),
        created_s=NOW_S,
        scheme=SCHEME,
        degraded=False,
        groups=(peer_ids(),),
        extents=(data.extent,),
        index=(index.extent,),
        index_lengths=index.sealed.lengths,
        index_codecs=index.sealed.codecs,
        index_bytes=len(plain),
        listing=listing_commitment(listing_salt(index_key), encode_listing(entries())),
        slots=(KeySlot(sealing_key_id(public), wrapped or wrap_key(public, index_key)),),
    )
    return sign_manifest(key_from_seed(MANIFEST_SEED), manifest), data, index, plain


def anchor(leaf: bytes) -> tuple[bytes, bytes, dict[str, bytes]]:
    """The leaf's proof file, the log's stage, and all files of log and witness by path."""
    disk = RealDisk()
    log_key = key_from_seed(LOG_SEED)
    with tempfile.TemporaryDirectory() as folder:
        logs = {ORIGIN: [Ed25519Signer(ORIGIN, log_key).key]}
        witness = LocalWitness.create(disk, f"{folder}/witness", [witness_cosigner()], logs)
        log = Log.create(disk, f"{folder}/anchor", key=log_key, policy=policy(), witnesses=[witness], now_s=NOW_S)
        anchored = log.append([leaf], NOW_S + 1)[0]
        files: dict[str, bytes] = {}
        for top in (log.folder, origin_folder(f"{folder}/witness", ORIGIN)):
            files |= {path.removeprefix(f"{folder}/"): data for path, data in _files_below(disk, top)}
        return anchored.proof_file(), files[f"{log.folder.removeprefix(f'{folder}/')}/stage"], files


def _files_below(disk: RealDisk, folder: str) -> Iterator[tuple[str, bytes]]:
    for name in disk.list_folder(folder):
        path = f"{folder}/{name}"
        found = disk.stat(path)
        assert found is not None
        if found.is_folder:
            yield from _files_below(disk, path)
        elif name != "lock":
            with disk.open(path, "read") as file:
                yield path, file.read_at(0, file.size())


def peer_certificate() -> tuple[Ed25519PrivateKey, bytes]:
    key = key_from_seed(PEER_SEEDS[0])
    certificate = issue_certificate(
        key_from_seed(ISSUER_SEED),
        issuer(),
        key.public_key(),
        name="peer-1",
        site="site-1",
        role="peer",
        now=NOW_S,
        valid_s=2 * YEAR_S,
        serial=SERIAL,
    )
    return key, certificate


def records(name: ObjectId) -> tuple[bytes, bytes]:
    key, certificate = peer_certificate()
    peer = make_peer_record(
        key,
        certificate,
        address=Address("192.0.2.1", 7711),
        free_bytes=4 * 10**12,
        capacity_bytes=5 * 10**12,
        version=1,
        draining=False,
        sequence=NOW_S * 1000,
        now=NOW_S,
        life_s=48 * 3600,
    )
    provider = make_provider_record(
        key, certificate, object_id=name, shards=[(0, 2), (1, 2)], sequence=1, now=NOW_S, life_s=48 * 3600
    )
    return peer, provider


def journal_line(name: ObjectId, root: ShardRoot) -> bytes:
    finding = Finding(
        FindingKind.CORRUPT, object=name, holder=peer_ids()[0], extent=0, share=0, chunk=0, root=root, detail="leaf"
    )
    return pack_event(Event(1, NOW_S * 1000, "corrupt", "", finding, {}))


def frame(number: int, message: Message) -> bytes:
    body = bytes(message.body_of())
    return frame_prefix(message_head(number, message), len(body)) + body


def frames(data: Coded) -> dict[str, bytes]:
    file = data.files[0]
    share = file[64 : 64 + -(-data.extent.sealed_bytes // SCHEME.needed)]
    pool = PoolId.of_key(public_bytes(key_from_seed(POOL_SEED)))
    return {
        "FRAME-HELLO": frame(0, Hello(pool, 1, "moorage/0.1.0", 1)),
        "FRAME-UPLOAD-BEGIN": frame(1, UploadBegin(1, SCHEME.needed, SCHEME.total, 0, 1, len(share))),
        "FRAME-READ": frame(2, Read(data.extent.roots[0], 0, 1)),
        "FRAME-SHARES": frame(2, Shares((len(share),), (b"",), share)),
        "FRAME-FAILURE": frame(3, Failure("no-such-shard", "shard 000000000000 is not held here")),
    }


def build(wrapped: bytes | None = None) -> dict[str, bytes]:
    """Every documented block by name."""
    manifest_file, data, index, plain = make_object(wrapped)
    name = object_id(manifest_file)
    leaf = manifest_leaf(
        key_from_seed(MANIFEST_SEED),
        organisation="hospital-1",
        object_id=name,
        size_bytes=len(TEXT),
        scheme=SCHEME,
        time_s=NOW_S,
    )
    proof, stage, files = anchor(leaf)
    receipt = encode_receipt(Receipt(name, proof, policy(), roster_file()))
    pool = parse_roster(roster_file()).pool
    check_receipt(parse_receipt(receipt), manifest_file=manifest_file, pinned_pool=pool)
    peer, provider = records(name)
    blocks = {f"SHARD-DATA-{number}": file for number, file in enumerate(data.files)}
    blocks |= {f"SHARD-INDEX-{number}": file for number, file in enumerate(index.files[: SCHEME.needed])}
    blocks |= {"INDEX": plain, "MANIFEST": manifest_file, "ROSTER": roster_file(), "RECEIPT": receipt}
    blocks |= {"PEER-RECORD": peer, "PROVIDER-RECORD": provider, "STAGE": stage}
    blocks |= {"LEAF": leaf, "POLICY": policy().encode(), "PROOF": proof}
    blocks |= {"JOURNAL": journal_line(name, data.extent.roots[0])}
    blocks |= {"LOG-FILES": "".join(f"{len(data):>6}  {path}\n" for path, data in sorted(files.items())).encode()}
    return blocks | frames(data)


# --- in the documents -------------------------------------------------------------------------

DOCS = Path(__file__).resolve().parent.parent / "docs"
TEXT_BLOCKS = frozenset({"LEAF", "POLICY", "PROOF", "JOURNAL", "LOG-FILES"})
_BLOCK = re.compile(r"^```(hex|text) ([A-Z0-9-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def read_blocks(document: str) -> dict[str, bytes]:
    """The blocks of a document by name."""
    found = _BLOCK.findall(document)
    assert len({name for _, name, _ in found}) == len(found), "a block occurs twice"
    return {name: bytes.fromhex(body) if kind == "hex" else body.encode() for kind, name, body in found}


def write_blocks(document: str, blocks: dict[str, bytes]) -> str:
    """The document with each block's content replaced."""

    def write(match: re.Match[str]) -> str:
        kind, name, data = match[1], match[2], blocks[match[2]]
        if kind == "text":
            return f"```text {name}\n{data.decode()}```"
        lines = "".join(f"{data[at : at + 48].hex()}\n" for at in range(0, len(data), 48))
        return f"```hex {name}\n{lines}```"

    return _BLOCK.sub(write, document)


def documented_blocks() -> dict[str, bytes]:
    """The blocks of all documents."""
    found: dict[str, bytes] = {}
    for path in sorted(DOCS.glob("*.md")):
        found |= read_blocks(path.read_text("utf-8"))
    return found


def current_slot(manifest_file: bytes) -> bytes | None:
    """The documented slot, unless the example's index key is another one now."""
    wrapped = documented_slot(manifest_file)
    if wrapped is None:
        return None
    manifest_now = build()["MANIFEST"]
    fresh = parse_manifest(manifest_now, expected=object_id(manifest_now)).slots[0].wrapped
    same = unwrap_key(SEALING_SEED, wrapped) == unwrap_key(SEALING_SEED, fresh)
    return wrapped if same else None


def documented_slot(manifest_file: bytes) -> bytes | None:
    if not manifest_file:
        return None
    return parse_manifest(manifest_file, expected=object_id(manifest_file)).slots[0].wrapped


# --- tables that are the code's own -----------------------------------------------------------

_TABLE = re.compile(r"<!-- begin ([a-z-]+) -->\n(.*?)<!-- end \1 -->\n", re.DOTALL)
_UNITS = {"BYTES": " B", "S": " s"}


def limits_table() -> str:
    """``core/limits.py``: each constant, its value, and the comment above it."""
    rows = ["| name | value | why |", "|---|---|---|"]
    comment: list[str] = []
    reason = ""
    for line in (DOCS.parent / "core" / "limits.py").read_text("utf-8").splitlines():
        name = re.match(r"([A-Z_]+) = ", line)
        if line.startswith("# ---"):
            comment, reason = [], ""
        elif line.startswith("#"):
            comment.append(line.removeprefix("#").strip())
        elif name is not None and name[1] not in ("KIB", "MIB", "GIB"):
            reason = " ".join(comment) or (reason and "As above.")
            value: float = getattr(limits, name[1])
            unit = _UNITS.get(name[1].rpartition("_")[2], "")
            rows.append(f"| `{name[1]}` | {value:,}{unit} | {reason} |")
            comment = []
    return "\n".join(rows) + "\n"


def errors_table() -> str:
    """Every error class: its code, exit status and first sentences."""
    rows = ["| code | exit status | meaning |", "|---|---|---|"]
    for code, kind in error_classes().items():
        meaning = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        rows.append(f"| `{code}` | {kind.exit_status} | {meaning} |")
    return "\n".join(rows) + "\n"


TABLES: dict[str, Callable[[], str]] = {
    "limits": limits_table,
    "errors": errors_table,
    "durability-schemes": durability.schemes_table,
    "durability-common": durability.common_table,
    "durability-simulated": durability.simulated_table,
    "durability-looks": looks_table,
    "durability-side-by-side": side_by_side_table,
    "soaks": soaks_table,
    "long-runs": long_runs_table,
    "scale-peers": scale_tables.peers_table,
    "scale-objects": scale_tables.objects_table,
}


def read_tables(document: str) -> dict[str, str]:
    return dict(_TABLE.findall(document))


def write_tables(document: str) -> str:
    return _TABLE.sub(
        lambda match: f"<!-- begin {match[1]} -->\n{TABLES[match[1]]()}<!-- end {match[1]} -->\n", document
    )


if __name__ == "__main__":
    made = build(current_slot(documented_blocks().get("MANIFEST", b"")))
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text("utf-8")
        path.write_text(write_tables(write_blocks(text, made)), "utf-8")
