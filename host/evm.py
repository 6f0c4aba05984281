"""Anchoring cosigned checkpoints on a chain that speaks Ethereum's JSON-RPC (Besu, Quorum, FISCO's Web3 endpoint).

An option beside the witnesses, never on the way of a write: one transaction for a whole log, whenever somebody asks.
It gives logs of different hospitals one order, and a court a chain that it may know. Needs web3 (the extra ``evm``).
"""

from __future__ import annotations

import json
from hashlib import sha256
from importlib import import_module
from typing import Any, NamedTuple

from anchor.checkpoint import Checkpoint
from core.errors import PeerUnavailableError, RefusedError, UsageError
from host.evm_contract import ABI, BYTECODE

RECEIPT_DEADLINE_S = 60.0


class ChainHead(NamedTuple):
    """What the chain has of a log: ``height`` is the block that took it; all zero when it has nothing."""

    size: int
    root: bytes
    height: int


def connect(rpc_url: str) -> Any:  # noqa: ANN401 - web3's own types are there only where it is installed
    """A web3 client. Raises UsageError (web3 is missing), PeerUnavailableError (nobody answers)."""
    try:
        web3 = import_module("web3")
    except ImportError as error:
        raise UsageError("anchoring on a chain needs the package web3: pip install 'moorage[evm]'") from error
    client = web3.Web3(web3.Web3.HTTPProvider(rpc_url))
    if not client.is_connected():
        raise PeerUnavailableError(f"{rpc_url}: no chain answers there")
    return client


class CheckpointChain:
    """The contract on a chain. Methods block on the chain.

    Args:
        client: of ``connect``.
        contract: its address; see ``deploy``.
        key: 32 bytes, the private key of whoever writes; none is needed to read.
    """

    def __init__(self, client: Any, contract: str, key: bytes = b"") -> None:  # noqa: ANN401 - see ``connect``
        self._client = client
        self._contract = client.eth.contract(address=contract, abi=json.loads(ABI))
        self._key = key

    @classmethod
    def deploy(cls, client: Any, key: bytes) -> CheckpointChain:  # noqa: ANN401 - see ``connect``
        """A new contract, which the key's account owns. Raises RefusedError, PeerUnavailableError."""
        factory = client.eth.contract(abi=json.loads(ABI), bytecode=BYTECODE)
        receipt = _send(client, factory.constructor(), key)
        return cls(client, str(receipt["contractAddress"]), key)

    @property
    def address(self) -> str:
        return str(self._contract.address)

    def enroll(self, origin: str, writer: str) -> None:
        """Let the account ``writer`` anchor this log. Only the contract's owner may. Raises RefusedError."""
        _send(self._client, self._contract.functions.enroll(_hashed(origin), writer), self._key)

    def anchor(self, checkpoint: Checkpoint, note: bytes) -> str:
        """Anchor a cosigned checkpoint; the transaction's hash. Raises RefusedError: not larger than the last one."""
        call = self._contract.functions.anchor(
            _hashed(checkpoint.origin), checkpoint.size, checkpoint.root, sha256(note).digest()
        )
        return str(_send(self._client, call, self._key)["transactionHash"].hex())

    def head(self, origin: str) -> ChainHead:
        """The newest checkpoint that the chain has of a log."""
        size, root, height = self._contract.functions.heads(_hashed(origin)).call()
        return ChainHead(int(size), bytes(root), int(height))


def _hashed(origin: str) -> bytes:
    return sha256(origin.encode()).digest()


def _send(client: Any, call: Any, key: bytes) -> Any:  # noqa: ANN401 - see ``connect``
    """The receipt of a transaction that took effect."""
    account = client.eth.account.from_key(key)
    exceptions = import_module("web3.exceptions")
    try:
        nonce = client.eth.get_transaction_count(account.address)
        wanted = {"from": account.address, "nonce": nonce, "gasPrice": client.eth.gas_price}
        signed = account.sign_transaction(call.build_transaction(wanted))
        sent = client.eth.send_raw_transaction(signed.raw_transaction)
        receipt = client.eth.wait_for_transaction_receipt(sent, timeout=RECEIPT_DEADLINE_S)
    except exceptions.TimeExhausted as error:
        raise PeerUnavailableError(f"chain: no block took the transaction in {RECEIPT_DEADLINE_S:.0f} s") from error
    except (exceptions.Web3Exception, ValueError) as error:
        raise RefusedError(f"chain: it refuses the transaction: {error}") from error
    if receipt["status"] != 1:
        raise RefusedError("chain: the transaction was taken back")
    return receipt
