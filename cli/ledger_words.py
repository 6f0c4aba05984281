"""A log's entries and checkpoints in words."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from anchor.leaf import Leaf, ManifestLeaf, RelocateLeaf, SweepLeaf, parse_leaf
from anchor.note import Verified, encode_base64
from anchor.ownerleaves import DigestLeaf, RevokeLeaf
from anchor.policy import CheckedCheckpoint
from cli.output import size_text
from core.encoding import Value
from core.errors import MoorageError

_KEY_KINDS: Mapping[int, str] = {0x04: "Ed25519", 0x06: "ML-DSA-44"}
_UNREADABLE = "?"


def time_text(time_s: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time_s))


def key_words(cosigner: Verified) -> str:
    kind = _KEY_KINDS.get(cosigner.key.signature_type, "?")
    return f"{cosigner.key.name} ({kind})"


def checkpoint_value(checked: CheckedCheckpoint) -> dict[str, Value]:
    return {
        "origin": checked.checkpoint.origin,
        "size": checked.checkpoint.size,
        "root": encode_base64(checked.checkpoint.root),
        "time": checked.time_s,
        "log_key": checked.log.vkey,
        "cosigners": [
            {"name": item.key.name, "kind": _KEY_KINDS.get(item.key.signature_type, "?"), "time": item.time_s}
            for item in checked.cosigners
        ],
    }


def checkpoint_lines(checked: CheckedCheckpoint) -> list[str]:
    checkpoint = checked.checkpoint
    lines = [
        f"log {checkpoint.origin}: {checkpoint.size} entries, root {encode_base64(checkpoint.root)}",
        f"  signed by the log's key {checked.log.vkey}",
    ]
    lines += [f"  cosigned by {key_words(item)} at {time_text(item.time_s)}" for item in checked.cosigners]
    return lines if checked.cosigners else [*lines, "  cosigned by nobody: its policy asks for no witness"]


def entry_line(index: int, entry: bytes) -> str:
    try:
        signed = parse_leaf(entry)
    except MoorageError as error:
        return f"{index:>8}  {_UNREADABLE:<9} {len(entry)} bytes: {error}"
    return f"{index:>8}  {signed.leaf.TYPE:<9} {leaf_words(signed.leaf)}; by {signed.signature.name}"


def leaf_words(leaf: Leaf) -> str:
    """What the leaf says, without who says it."""
    match leaf:
        case ManifestLeaf():
            size = size_text(leaf.size_bytes)
            what = f"object {leaf.object.short} stored: {size} as {leaf.scheme}, version {leaf.version}"
        case RelocateLeaf():
            what = (
                f"object {leaf.object.short}: share {leaf.share} of extent {leaf.extent} moved from peer "
                f"{leaf.source.short} to {leaf.target.short}"
            )
        case SweepLeaf():
            what = (
                f"peer {leaf.peer.short} read {leaf.shards} shards ({size_text(leaf.size_bytes)}): "
                f"{leaf.findings} findings, {leaf.repairs} repairs"
            )
        case DigestLeaf():
            return f"a file of salted sha256 {leaf.sha256.hex()[:12]}"
        case RevokeLeaf():
            what = f"object {leaf.object.short}: entry {leaf.entry.hex()[:12]} revoked, version {leaf.version}"
        case _:
            what = f"object {leaf.object.short} deleted, version {leaf.version}"
    return f"{what}; {time_text(leaf.time_s)}"


def entry_value(index: int, entry: bytes) -> dict[str, Value]:
    """The entry's lines as fields; ``error`` instead where they are not a leaf's."""
    try:
        signed = parse_leaf(entry)
    except MoorageError as error:
        return {"index": index, "bytes": len(entry), "error": str(error)}
    fields = [_field(line) for line in signed.leaf.lines()]
    return {
        "index": index,
        "bytes": len(entry),
        "type": signed.leaf.TYPE,
        "signer": signed.signature.name,
        "fields": dict(fields),
    }


def _field(line: str) -> tuple[str, str]:
    word, _, value = line.rpartition(" ")
    return word, value


def wrapped(names: Sequence[str]) -> str:
    return ", ".join(names) or "nobody"
