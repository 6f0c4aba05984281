"""What other people's code says of our logs and proofs: Go's sumdb/note and sumdb/tlog."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from anchor.digest import Opened, salted_digest
from anchor.leaf import peer_key_name, sign_leaf
from anchor.proof import format_proof
from anchor.receipt import parse_receipt
from client.logs import export_log, open_folder, proof_with_salt
from core.ids import PeerId
from host.disk import RealDisk
from tests.anchor.ledgers import BOTH_KEYS, LOG, NOW_S, create, hybrid_witness, leaves
from tests.client.test_bundle import papers
from tests.sim.disk import SimDisk
from tests.third_party.golang import build_checker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
# Three levels of tiles, with partial ones on each.
ENTRIES = 66_000
SALT = b"s" * 32


@pytest.fixture(scope="session")
def checker() -> Path:
    """Kept beside the environment: Go has 75 MB."""
    return build_checker(Path(__file__).resolve().parents[2] / ".venv" / "third_party")


def ask(checker: Path, *words: str | Path) -> tuple[int, str]:
    ran = subprocess.run([checker, *words], capture_output=True, text=True, timeout=300, check=False)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A log with both kinds of cosignatures, as ``ledger export`` writes it, and proofs of entries here and there."""
    folder = tmp_path_factory.mktemp("exported")
    disk = SimDisk()
    log = create(disk, [hybrid_witness()], BOTH_KEYS)
    key = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    salted = sign_leaf(key, peer_key_name(PeerId(bytes(32))), salted_digest(SALT, [b"a file"]))
    log.append([*leaves(0, 300), salted, *leaves(300, ENTRIES - 1)], NOW_S)
    opened = open_folder(disk, log.folder, BOTH_KEYS)
    export_log(opened, RealDisk(private=False), str(folder / "log"), BOTH_KEYS, token="t")
    proofs: list[Path] = []
    for index in (0, 255, 256, 300, 65_535, 65_536, ENTRIES - 1):
        proof = opened.prove(index)
        if index == 300:
            proof = proof_with_salt(proof, Opened(salted, SALT))
        proofs.append(folder / f"{index}.tlog-proof")
        proofs[-1].write_bytes(format_proof(proof))
    return folder / "log", proofs


def test_go_verifies_every_entry_and_proof_and_ignores_cosignatures_that_it_does_not_know(
    checker: Path, exported: tuple[Path, list[Path]]
) -> None:
    folder, proofs = exported
    status, said = ask(checker, LOG.vkey, folder, *proofs)
    assert status == 0, said
    assert f"log ok: {ENTRIES} entries" in said
    assert said.count("proof ok") == len(proofs)


def test_go_verifies_the_proof_in_a_receipt(checker: Path, exported: tuple[Path, list[Path]], tmp_path: Path) -> None:
    proof = tmp_path / "leaf.tlog-proof"
    proof.write_bytes(parse_receipt(papers().receipt).proof)
    status, said = ask(checker, LOG.vkey, exported[0], proof)
    assert status == 0, said
    assert "proof ok: entry 5 of 12" in said


@pytest.mark.parametrize("path", ["checkpoint", "tile/entries/000", "tile/0/000", "tile/1/000", "tile/2/000.p/1"])
def test_go_refuses_what_was_changed(checker: Path, exported: tuple[Path, list[Path]], path: str) -> None:
    folder, proofs = exported
    file = folder / path
    data = file.read_bytes()
    try:
        file.write_bytes(data[:20] + bytes([data[20] ^ 1]) + data[21:])
        assert ask(checker, LOG.vkey, folder)[0] == 1
    finally:
        file.write_bytes(data)
    proof = proofs[0].read_bytes()
    changed = proofs[0].with_suffix(".changed")
    changed.write_bytes(proof.replace(b"index 0", b"index 1"))
    assert ask(checker, LOG.vkey, folder, changed)[0] == 1
