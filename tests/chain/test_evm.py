"""Checkpoints on a chain, in process: eth-tester with py-evm (`make evm`)."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from anchor.checkpoint import Checkpoint
from anchor.policy import parse_policy
from cli.main import main
from client.provision import Provisioner
from core.errors import RefusedError, UsageError
from host import evm
from host.chance import RealChance
from host.clock import RealClock
from host.disk import RealDisk
from host.evm_contract import BYTECODE
from tests.anchor.ledgers import NOW_S, ORIGIN, POLICY, create, leaves, new_witness
from tests.sim.disk import SimDisk

SOURCE = Path(evm.__file__).parent / "contract" / "checkpoints.vy"
OWNER, STRANGER = b"\1" * 32, b"\2" * 32
# web3 and what it needs warn about each other's releases.
quiet = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def client() -> Any:
    """A chain with two accounts that can pay."""
    for name in ("web3", "eth_tester", "eth"):
        pytest.importorskip(name, reason=f"no {name} here: `make evm` has it")
    web3 = import_module("web3")
    found = web3.Web3(web3.EthereumTesterProvider())
    for key in (OWNER, STRANGER):
        account = found.eth.account.from_key(key)
        found.eth.send_transaction({"from": found.eth.accounts[0], "to": account.address, "value": 10**18})
    return found


@quiet
@pytest.mark.slow
def test_a_chain_takes_growing_checkpoints_of_enrolled_logs_only(client: Any) -> None:
    log = create(SimDisk(), [new_witness()])
    chain = evm.CheckpointChain.deploy(client, OWNER)
    writer = client.eth.account.from_key(OWNER).address
    assert chain.head(ORIGIN) == (0, bytes(32), 0)
    notes: list[tuple[Checkpoint, bytes]] = []
    for first in (0, 10):
        log.append(leaves(first, first + 10), NOW_S)
        note = log.published()
        assert note is not None
        notes.append((parse_policy(POLICY).check_checkpoint(note).checkpoint, note))
    # eth-tester has an error of its own where a node's answer would be web3's.
    refused = (RefusedError, import_module("eth_tester.exceptions").TransactionFailed)
    with pytest.raises(refused):
        chain.anchor(*notes[0])
    chain.enroll(ORIGIN, writer)
    for checkpoint, note in notes:
        assert chain.anchor(checkpoint, note)
        head = chain.head(ORIGIN)
        assert (head.size, head.root) == (checkpoint.size, checkpoint.root)
    with pytest.raises(refused):
        chain.anchor(*notes[0])
    assert chain.head(ORIGIN).size == 20, "a log rolled back is refused"
    other = evm.CheckpointChain(client, chain.address, STRANGER)
    with pytest.raises(refused):
        other.enroll(ORIGIN, client.eth.account.from_key(STRANGER).address)
    with pytest.raises(refused):
        other.anchor(Checkpoint(ORIGIN, 30, bytes(32)), b"note")
    assert other.head(ORIGIN).size == 20


@quiet
@pytest.mark.slow
def test_the_command_anchors_and_finds_what_differs(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    homes = Provisioner(RealDisk(private=True), RealChance(), RealClock(), "pool.example").make(
        str(tmp_path / "pool"), peers=1, sites=1
    )
    monkeypatch.setenv("MOORAGE_HOME", homes[0].folder)
    monkeypatch.setattr("cli.ledger_chain.connect", lambda url: client)
    key, file = tmp_path / "key", tmp_path / "file"
    key.write_text(OWNER.hex() + "\n")
    file.write_text("a file\n")
    words = ["ledger", "chain", "--rpc", "http://chain", "--json"]
    assert main(words) == 2
    assert main([*words, "--check"]) == 2
    assert main([*words, "--key", str(file)]) == 2
    assert main(["anchor", str(file)]) == 0
    capsys.readouterr()
    assert main([*words, "--key", str(key)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["chain_size"], bool(found["transaction"])) == (1, True)
    there = [*words, "--contract", found["contract"]]
    assert main([*there, "--key", str(key)]) == 0
    assert json.loads(capsys.readouterr().out)["transaction"] is None
    chain = evm.CheckpointChain(client, found["contract"], OWNER)
    chain.anchor(Checkpoint(found["origin"], 2, b"x" * 32), b"another history")
    assert main([*there, "--check"]) == 4
    file.write_text("another\n")
    assert main(["anchor", str(file)]) == 0
    assert main([*there, "--check"]) == 4
    assert "are not those on the chain" in capsys.readouterr().err


@quiet
@pytest.mark.slow
def test_the_contract_is_what_its_source_compiles_to() -> None:
    vyper = pytest.importorskip("vyper", reason="no vyper here: pip install vyper==0.4.3")
    if vyper.__version__.split("+")[0] != "0.4.3":
        pytest.skip(f"vyper {vyper.__version__} here; the contract was compiled by 0.4.3")
    compiler = import_module("vyper.compiler")
    assert compiler.compile_code(SOURCE.read_text(), output_formats=["bytecode"])["bytecode"] == BYTECODE


def test_without_web3_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(evm, "import_module", missing)
    with pytest.raises(UsageError, match=r"moorage\[evm\]"):
        evm.connect("http://127.0.0.1:1")
