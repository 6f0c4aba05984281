"""ledger chain: put the log's newest cosigned checkpoint on a chain, or compare the log with what the chain has."""

from __future__ import annotations

import argparse

from anchor.merkle import subtree_root
from anchor.tiles import TileTree
from cli.homes import read_home
from cli.ledger import read_small
from cli.output import print_json, print_lines
from client.logs import OpenedLog, open_home_log
from core.errors import EXIT_OK, CorruptError, UsageError
from host.disk import RealDisk
from host.evm import ChainHead, CheckpointChain, connect

_KEY_BYTES = 32


def run(arguments: argparse.Namespace) -> int:
    log = open_home_log(RealDisk(private=True), read_home(arguments.home))
    checkpoint = log.checkpoint
    key = _key(arguments.key) if arguments.key else b""
    if not key and not arguments.check:
        raise UsageError("give --key FILE (64 hexadecimal digits) to write to the chain, or --check to compare only")
    client = connect(arguments.rpc)
    if arguments.contract:
        chain = CheckpointChain(client, arguments.contract, key)
    elif key and not arguments.check:
        chain = CheckpointChain.deploy(client, key)
        chain.enroll(checkpoint.origin, client.eth.account.from_key(key).address)
    else:
        raise UsageError("--check needs --contract ADDRESS")
    transaction = ""
    head = chain.head(checkpoint.origin)
    _compare(log, head)
    if not arguments.check and checkpoint.size > head.size:
        transaction = chain.anchor(checkpoint, log.note)
        head = chain.head(checkpoint.origin)
    if arguments.json:
        value = {"origin": checkpoint.origin, "size": checkpoint.size, "contract": chain.address}
        print_json({**value, "chain_size": head.size, "block": head.height, "transaction": transaction or None})
    else:
        words = f"block {head.height} of the chain has {head.size} of its {checkpoint.size} entries, the same ones"
        print_lines([f"log {checkpoint.origin}: {words}", f"  contract {chain.address}"])
    return EXIT_OK


def _key(path: str) -> bytes:
    try:
        key = bytes.fromhex(read_small(path).decode("ascii", "replace").strip().removeprefix("0x"))
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise UsageError(f"{path} is not a key of {2 * _KEY_BYTES} hexadecimal digits")
    return key


def _compare(log: OpenedLog, head: ChainHead) -> None:
    """Raises CorruptError when the chain has entries that the log has not."""
    size = log.checkpoint.size
    if head.size > size:
        raise CorruptError(f"the chain has {head.size} entries of log {log.checkpoint.origin!r}, here are only {size}")
    if head.size and subtree_root(TileTree(log.read, size).hash_at, 0, head.size) != head.root:
        raise CorruptError(f"the first {head.size} entries of log {log.checkpoint.origin!r} are not those on the chain")
