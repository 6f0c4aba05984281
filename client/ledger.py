"""A home's own log with its local witness: the embedded ledger, one folder, no server (design in docs/architecture.md).

A client's home holds its organisation's log, whose policy the roster lists; a peer's home one of its own, for
relocations and sweep reports.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from anchor.cosignature import Cosigner, Ed25519Cosigner, MLDSA44Cosigner, mldsa44_available
from anchor.leaf import escape_name, manifest_leaf
from anchor.log import Anchored, Log
from anchor.manifest import Manifest, object_id
from anchor.note import TYPE_MLDSA44_COSIGNATURE, Ed25519Signer
from anchor.organisation import Organisation
from anchor.pending import check_pending, make_pending
from anchor.policy import make_policy, parse_policy
from anchor.receipt import check_receipt, encode_receipt, make_receipt, parse_receipt
from anchor.roster import Roster
from anchor.witness import LocalWitness
from client.context import Client
from client.home import Home, LedgerKeys
from client.submission import ANCHOR_PATIENCE_S, anchor_leaf, ledger_place, once_rosters_agree
from core.errors import HomeError
from core.identity import key_from_seed
from core.ids import derived_digest
from core.ports import Disk

LOG_FOLDER = "anchor"
WITNESS_FOLDER = "witness"


def log_origin(pool_name: str, organisation: str, peer_name: str = "", *, number: int = 1) -> str:
    """The name of an organisation's first log, or of one of its peers' own."""
    names = [pool_name, organisation, peer_name] if peer_name else [pool_name, organisation]
    return "/".join([*(escape_name(name) for name in names), str(number)])


def organisation_origin(roster: Roster, organisation: str) -> str:
    """The name of an organisation's log by the roster: it ends in the number of the newest."""
    known = roster.organisation(organisation)
    if known is not None and known.member is not None:
        return known.member.log_origin
    return log_origin(roster.pool_name, organisation)


def origin_of(home: Home) -> str:
    """The name of the home's own log."""
    # In a consortium the organisation's log is with its ledger peer.
    is_peer = home.identity.role == "peer" or home.roster.is_consortium
    return log_origin(home.roster.pool_name, home.identity.organisation, home.identity.name if is_peer else "")


def cosigners_of(origin: str, witness_seed: bytes) -> list[Cosigner]:
    """A witness signs with Ed25519 and, where the library has it, with ML-DSA-44 too. It is named after its log."""
    name = f"{origin}/witness"
    ed25519 = key_from_seed(derived_digest("moorage 2026 witness ed25519 seed v1", witness_seed))
    cosigners: list[Cosigner] = [Ed25519Cosigner(name, ed25519)]
    if mldsa44_available():
        seed = derived_digest("moorage 2026 witness ml-dsa-44 seed v1", witness_seed)
        cosigners.append(MLDSA44Cosigner(name, MLDSA44PrivateKey.from_seed_bytes(seed)))
    return cosigners


def witness_keys(origin: str, witness_seed: bytes) -> tuple[bytes, bytes]:
    """Public keys of a witness, Ed25519 and ML-DSA-44; the latter is empty where the library has none."""
    keys = {cosigner.key.signature_type: cosigner.key.public for cosigner in cosigners_of(origin, witness_seed)}
    mldsa44 = keys.pop(TYPE_MLDSA44_COSIGNATURE, b"")
    (ed25519,) = keys.values()
    return ed25519, mldsa44


def policy_of(origin: str, log_seed: bytes, witness_seed: bytes) -> str:
    """c2sp.org/tlog-policy text: this log, with its one local witness."""
    signer = Ed25519Signer(origin, key_from_seed(log_seed))
    return make_policy(signer.key.vkey, [cosigner.key.vkey for cosigner in cosigners_of(origin, witness_seed)])


def create_log(disk: Disk, folder: str, origin: str, keys: LedgerKeys, *, now_s: int) -> None:
    """Begin the log of a new home. Blocks; raises LedgerError when there is one."""
    key = key_from_seed(keys.log_seed)
    logs = {origin: [Ed25519Signer(origin, key).key]}
    witness = LocalWitness.create(disk, f"{folder}/{WITNESS_FOLDER}", cosigners_of(origin, keys.witness_seed), logs)
    policy = policy_of(origin, keys.log_seed, keys.witness_seed)
    Log.create(disk, f"{folder}/{LOG_FOLDER}", key=key, policy=policy, witnesses=[witness], now_s=now_s)


def open_log(disk: Disk, home: Home) -> Log:
    """The home's log. Blocks; raises LedgerError when its folder is gone or contradicts itself."""
    origin = origin_of(home)
    key = key_from_seed(home.ledger.log_seed)
    logs = {origin: [Ed25519Signer(origin, key).key]}
    cosigners = cosigners_of(origin, home.ledger.witness_seed)
    witness = LocalWitness.open(disk, home.path(WITNESS_FOLDER), cosigners, logs)
    return Log.open(disk, home.path(LOG_FOLDER), key=key, policy=home_policy(home), witnesses=[witness])


def home_policy(home: Home) -> str:
    """c2sp.org/tlog-policy text of the home's own log: the roster's where it has one."""
    return _policy_on_roster(home) or policy_of(origin_of(home), home.ledger.log_seed, home.ledger.witness_seed)


def _policy_on_roster(home: Home) -> str:
    """What verifiers will hold an organisation's log to; a peer's own log has no entry there."""
    if home.identity.role == "peer" or home.roster.is_consortium:
        return ""
    return next((item.policy for item in home.roster.organisations if item.name == home.identity.organisation), "")


def leaf_of(client: Client, manifest: Manifest, manifest_file: bytes, size_bytes: int) -> tuple[Organisation, bytes]:
    """The manifest's leaf, always the same, and in whose log it goes. Raises HomeError."""
    organisation = client.home.roster.organisation_of_key(manifest.owner_key)
    if organisation is None:
        raise HomeError("this home's organisation key is not on the pool's roster: ask for the current roster")
    return organisation, manifest_leaf(
        client.home.owner_keys().manifest_key,
        organisation=organisation.name,
        object_id=object_id(manifest_file),
        size_bytes=size_bytes,
        scheme=manifest.scheme,
        time_s=manifest.created_s,
    )


async def anchor_manifest(
    client: Client,
    manifest: Manifest,
    manifest_file: bytes,
    size_bytes: int,
    *,
    patience_s: float = ANCHOR_PATIENCE_S,
    pending: Callable[[bytes], Awaitable[None]] | None = None,
) -> bytes:
    """Anchor a manifest that all its holders have, and return its receipt, checked as any verifier would.

    In a consortium the organisation's ledger peer anchors it, else the log in this home. ``pending`` is given the
    pending receipt, checked, when the log has the leaf and no quorum is there yet.

    Raises LedgerError, HomeError (the home's log is not the one on the roster), and as ``anchor_leaf``.
    """

    async def anchor_once() -> bytes:
        return await _anchor_once(client, manifest, manifest_file, size_bytes, patience_s, pending)

    return await once_rosters_agree(client.home, anchor_once)


async def _anchor_once(
    client: Client,
    manifest: Manifest,
    manifest_file: bytes,
    size_bytes: int,
    patience_s: float,
    pending: Callable[[bytes], Awaitable[None]] | None,
) -> bytes:
    roster, roster_file = client.home.held.both
    organisation, leaf = leaf_of(client, manifest, manifest_file, size_bytes)

    def parts_of(anchored: Anchored) -> bytes:
        parts = make_pending(object_id(manifest_file), anchored.proof_file(), roster_file)
        check_pending(parts, manifest_file=manifest_file, pinned_pool=roster.pool)
        return encode_receipt(parts)

    async def tell(anchored: Anchored) -> None:
        if pending is not None:
            await pending(await client.ports.threads.cpu(parts_of, anchored))

    policy = parse_policy(organisation.policy)
    if ledger_place(policy) is not None:
        anchored = await anchor_leaf(client.peers, policy, leaf, patience_s=patience_s, pending=tell)
    else:
        anchored = await client.ports.threads.disk(append_to_own_log, client, leaf)

    def check() -> bytes:
        receipt = make_receipt(object_id(manifest_file), anchored.proof_file(), roster_file, organisation)
        data = encode_receipt(receipt)
        check_receipt(parse_receipt(data), manifest_file=manifest_file, pinned_pool=roster.pool, known_roster=roster)
        return data

    return await client.ports.threads.cpu(check)


def append_to_own_log(client: Client, leaf: bytes) -> Anchored:
    """Blocks. Raises as ``Log.append``."""
    return open_log(client.ports.disk, client.home).append([leaf], int(client.ports.clock.now()))[0]
