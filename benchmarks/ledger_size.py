"""What the ledger costs: bytes per study in a log, bytes of a receipt, CPU seconds per anchored entry.

``python -m benchmarks.ledger_size`` makes logs in a temporary folder with real leaves, for studies of 500 MB each, and
counts what lies on the disk after partial tiles are collected. Witnesses are folders beside the log: their work is in
the CPU time, no network is. Watts are not measured; joules are stated for an assumed power of a busy core.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from anchor.cosignature import Cosigner, Ed25519Cosigner, MLDSA44Cosigner, mldsa44_available
from anchor.leaf import manifest_leaf
from anchor.log import Log
from anchor.note import Ed25519Signer
from anchor.policy import make_policy
from anchor.receipt import Receipt, check_receipt, encode_receipt, make_receipt, parse_receipt
from anchor.roster import Organisation, sign_roster
from anchor.rosterfile import parse_roster_file
from anchor.tiles import TILE_WIDTH
from anchor.witness import LocalWitness
from core.identity import make_issuer, public_bytes
from core.ids import ObjectId
from core.ports import Address
from core.sealing import SEALING_SEED_BYTES, sealing_public_key
from erasure.scheme import Scheme
from host.disk import RealDisk
from tests.anchor.consortium_receipts import OBJECT, aged, anchored, in_a_long_log, panel_of

STUDY_BYTES = 500_000_000
NOW_S = 1_790_000_000
ORIGIN = "pool.example/hospital-1/1"
LEDGER_BAR_BYTES = 512
RECEIPT_BAR_BYTES = 16 * 1024
WATTS_ASSUMED = 10.0
LOG_KEY = Ed25519PrivateKey.from_private_bytes(b"L" * 32)
OWNER_KEY = Ed25519PrivateKey.from_private_bytes(b"O" * 32)
POOL_KEY = Ed25519PrivateKey.from_private_bytes(b"P" * 32)


class Profile(NamedTuple):
    """How a log is cosigned: by how many hospitals' witnesses, with which kinds of keys."""

    name: str
    witnesses: int
    hybrid: bool


PROFILES = (
    Profile("Ed25519, 1 witness", 1, hybrid=False),
    Profile("hybrid, 1 witness", 1, hybrid=True),
    Profile("Ed25519, 3 of 4", 4, hybrid=False),
    Profile("hybrid, 3 of 4", 4, hybrid=True),
)


class Ledger(NamedTuple):
    """A log in ``folder`` with its policy."""

    folder: str
    log: Log
    policy: str


def cosigners_of(number: int, *, hybrid: bool) -> list[Cosigner]:
    name = f"pool.example/hospital-{number}/1/witness"
    cosigners: list[Cosigner] = [Ed25519Cosigner(name, Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))]
    if hybrid:
        cosigners.append(MLDSA44Cosigner(name, MLDSA44PrivateKey.from_seed_bytes(bytes([100 + number]) * 32)))
    return cosigners


def make_ledger(folder: str, profile: Profile) -> Ledger:
    disk = RealDisk(private=True)
    key = Ed25519Signer(ORIGIN, LOG_KEY).key
    crews = [cosigners_of(number, hybrid=profile.hybrid) for number in range(1, profile.witnesses + 1)]
    witnesses = [
        LocalWitness.create(disk, f"{folder}/witness-{number}", crew, {ORIGIN: [key]})
        for number, crew in enumerate(crews)
    ]
    policy = make_policy(key.vkey, [cosigner.key.vkey for crew in crews for cosigner in crew])
    log = Log.create(disk, f"{folder}/anchor", key=LOG_KEY, policy=policy, witnesses=witnesses, now_s=NOW_S)
    return Ledger(folder, log, policy)


def leaves(first: int, count: int) -> list[bytes]:
    return [
        manifest_leaf(
            OWNER_KEY,
            organisation="hospital-1",
            object_id=ObjectId(blake3(b"%d" % number).digest()),
            size_bytes=STUDY_BYTES,
            scheme=Scheme(4, 6),
            time_s=NOW_S,
        )
        for number in range(first, first + count)
    ]


def files_below(folder: str) -> Iterator[tuple[str, int]]:
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), os.stat(path).st_size


def print_bytes(entries: int) -> None:
    """Per study and copy, and what a log costs however long it is."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = make_ledger(folder, PROFILES[1] if mldsa44_available() else PROFILES[0])
        for first in range(0, entries, TILE_WIDTH):
            ledger.log.append(leaves(first, TILE_WIDTH), NOW_S)
        parts = {"entries": 0, "hash tiles": 0, "leaf index": 0, "stage, checkpoint": 0}
        for name, size in files_below(ledger.log.folder):
            kind = "stage, checkpoint"
            if name.startswith("tile/"):
                kind = "entries" if name.startswith("tile/entries/") else "hash tiles"
            elif name.startswith("leaves/"):
                kind = "leaf index"
            parts[kind] += size
    per_study = (parts["entries"] + parts["hash tiles"] + parts["leaf index"]) / entries
    print(f"{entries} studies of {STUDY_BYTES / 1e6:.0f} MB in one log, partial tiles collected; per study and copy:")
    for kind, size in parts.items():
        grows = kind != "stage, checkpoint"
        print(f"  {kind:<18}{size / entries:8.1f} B" if grows else f"  {kind:<18}{size:8d} B in all, however many")
    verdict = "below" if per_study < LEDGER_BAR_BYTES else "NOT below"
    print(f"  {'together':<18}{per_study:8.1f} B: {verdict} the bar of {LEDGER_BAR_BYTES} B")
    print(f"  {'in four copies':<18}{4 * per_study:8.1f} B")


def roster_of(policies: Sequence[str]) -> bytes:
    """Of as many hospitals, as ``moorage pool up`` makes it."""
    organisations: list[Organisation] = []
    for number, policy in enumerate(policies, start=1):
        key = OWNER_KEY if number == 1 else Ed25519PrivateKey.from_private_bytes(bytes([50 + number]) * 32)
        name = f"hospital-{number}"
        issuer = make_issuer(
            key, organisation=name, now=NOW_S, valid_s=30 * 365.25 * 86400, serial=bytes([number]) * 19
        )
        sealing = sealing_public_key(bytes([number]) * SEALING_SEED_BYTES)
        organisations.append(Organisation(name, issuer, public_bytes(key), sealing, policy))
    seeds = [Address("archive.hospital-1.example", 7700)]
    return sign_roster(POOL_KEY, pool_name="pool.example", epoch=1, organisations=organisations, seeds=seeds)


def print_receipts() -> None:
    """Of the last of 1,024 entries: its proof has ten hashes."""
    print("a receipt in bytes: in all, of it proof, policy and roster; and deflated")
    for profile in PROFILES:
        if profile.hybrid and not mldsa44_available():
            print(f"  {profile.name:<20} no ML-DSA-44 here")
            continue
        with tempfile.TemporaryDirectory() as folder:
            ledger = make_ledger(folder, profile)
            anchored = ledger.log.append(leaves(0, 1024), NOW_S)[-1]
        others = [
            ledger.policy.replace("pool.example/hospital-1/1+", f"pool.example/hospital-{number}/1+", 1)
            for number in range(2, profile.witnesses + 1)
        ]
        roster = roster_of([ledger.policy, *others])
        receipt = Receipt(ObjectId(blake3(b"1023").digest()), anchored.proof_file(), ledger.policy, roster)
        data = encode_receipt(receipt)
        check_receipt(parse_receipt(data))
        verdict = "below" if len(data) < RECEIPT_BAR_BYTES else "NOT below"
        parts = f"{len(receipt.proof):6d} {len(receipt.policy):6d} {len(receipt.roster):6d}"
        deflated = len(zlib.compress(data, 9))
        print(f"  {profile.name:<20}{len(data):7d} = {parts}; {deflated:6d} deflated: {verdict} the bar of 16 KiB")


def print_versions() -> None:
    """Of a consortium: its receipts carry of the roster's history what leads from the first version to theirs."""
    if not mldsa44_available():
        return
    print("a consortium's receipt in bytes, hybrid, 3 of 4, by the version of its roster, in a log of 131,072 entries")
    for versions in (4, 20, 100):
        file = aged(versions)
        made = anchored(file, panel_of(file))
        began = time.perf_counter()
        receipt = make_receipt(OBJECT, made.proof, made.roster_file, made.roster.organisations[0])
        spent_s = time.perf_counter() - began
        check_receipt(parse_receipt(encode_receipt(receipt)))
        size, roots = len(in_a_long_log(receipt)), len(parse_roster_file(receipt.roster).roots)
        verdict = "below" if size < RECEIPT_BAR_BYTES else "NOT below"
        whole = f"{roots} of {versions} roots; the whole roster {len(made.roster_file)}"
        print(
            f"  version {versions:<12}{size:7d}, {whole}; made in {spent_s * 1000:.1f} ms: {verdict} the bar of 16 KiB"
        )


def print_work() -> None:
    """Append and cosign, in one process."""
    print("CPU seconds per anchored entry (log, witnesses and signing of leaves in one process, every file synced):")
    for profile in PROFILES:
        if profile.hybrid and not mldsa44_available():
            continue
        figures: list[str] = []
        for batch in (1, 100, 1000):
            rounds = max(2, 20 // batch)
            with tempfile.TemporaryDirectory() as folder:
                ledger = make_ledger(folder, profile)
                began = time.process_time()
                for number in range(rounds):
                    ledger.log.append(leaves(number * batch, batch), NOW_S)
                spent = (time.process_time() - began) / (rounds * batch)
            joules = f"{spent * WATTS_ASSUMED * 1000:.1f} mJ"
            figures.append(f"batches of {batch}: {spent * 1e6:.0f} us ({joules})")
        print(f"  {profile.name:<20}{'; '.join(figures)}")
    print(f"  joules: {WATTS_ASSUMED:.0f} W for a busy core are ASSUMED, not measured; CPU seconds are measured")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=20_480, help="studies in the log (default 20480)")
    arguments = parser.parse_args()
    entries = max(TILE_WIDTH, arguments.entries // TILE_WIDTH * TILE_WIDTH)
    print_bytes(entries)
    print_receipts()
    print_versions()
    print_work()


if __name__ == "__main__":
    main()
