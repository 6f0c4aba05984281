"""Defects of the ledger: log, witnesses, quorum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anchor.cosigning
import anchor.logfolder
import anchor.witness
from anchor.checkpoint import Checkpoint
from anchor.cosigning import collect_cosignatures
from anchor.files import folder_of, replace_file, replace_file_durably
from anchor.leafindex import LeafIndex
from anchor.log import Log
from anchor.logfolder import LogFolder, LogState
from anchor.note import Verified, format_note, parse_signature_line
from anchor.policy import QUORUM_NONE, Policy
from anchor.stage import Stage, encode_stage
from anchor.tiles import TileTree
from anchor.witness import LocalWitness
from core.errors import MalformedError, WitnessRefusedError
from core.ports import Disk
from tests.sim.planted.plant import plant, plants_of

KEPT = "an anchored leaf stays where it is"
ONE = "one history is signed"
QUORUM = "nothing is shown below the quorum"


def _replace(disk: Disk, path: str, data: bytes, *, sync: bool) -> None:
    beside = path + ".tmp"
    if disk.stat(beside) is not None:
        disk.unlink(beside)
    with disk.open(beside, "create") as file:
        file.write_at(0, data)
        if sync:
            file.sync()
    disk.rename(beside, path)


@plant(anchor.logfolder, "replace_file_durably", story="ledger", bug="the commit record is not synced", promise=KEPT)
def stage_not_synced(disk: Disk, path: str, data: bytes) -> None:
    _replace(disk, path, data, sync=False)
    disk.sync_folder(folder_of(path))


@plant(
    anchor.logfolder,
    "replace_file_durably",
    story="ledger",
    bug="the commit record's folder is not synced",
    promise=ONE,
)
def stage_folder_not_synced(disk: Disk, path: str, data: bytes) -> None:
    _replace(disk, path, data, sync=True)


@plant(
    anchor.logfolder, "replace_file", story="ledger", bug="tiles are not synced before the next commit", promise=KEPT
)
def tiles_not_synced(disk: Disk, path: str, data: bytes) -> None:
    _replace(disk, path, data, sync=path.endswith("/checkpoint"))


_write_files = LogFolder._write_files


@plant(
    LogFolder, "_write_files", story="ledger", bug="the commit record goes before its tiles are written", promise=KEPT
)
def stage_deleted_early(self: Any, stage: Stage) -> None:
    # Nothing but the checkpoint is left of it when the power goes amid the tiles.
    replace_file_durably(self._disk, self._path("stage"), encode_stage(Stage(stage.checkpoint, {})))
    _write_files(self, stage)


@plant(LogFolder, "_recover", story="ledger", bug="an open log does not finish what a crash left undone", promise=KEPT)
def not_recovered(self: Any) -> Any:
    return self._state(), self._published()


@plant(
    LogFolder, "_write_stage", story="ledger", bug="a leaf is proved before its commit record is written", promise=KEPT
)
def anchored_before_durable(self: Any, checkpoint: Checkpoint, files: Any) -> Any:
    signature = self._signer.sign(checkpoint.text)
    stage = Stage(format_note(checkpoint.text, [signature]), files)
    if checkpoint.size == 0 or checkpoint.size % 3:
        replace_file_durably(self._disk, self._path("stage"), encode_stage(stage))
    return LogState(stage, checkpoint, signature)


@plant(
    LeafIndex, "find", story="ledger", bug="a leaf that is there already is added again", promise="a leaf is in once"
)
def no_dedupe(self: Any, read: Any, size: int, wanted: Sequence[bytes]) -> dict[bytes, int]:
    del self, read, size, wanted
    return {}


_find = LeafIndex.find


@plant(LeafIndex, "find", story="ledger", bug="leaves are taken for equal by 3 bits of their hash", promise=KEPT)
def dedupe_by_wrong_key(self: Any, read: Any, size: int, wanted: Sequence[bytes]) -> dict[bytes, int]:
    _find(self, read, size, [])
    known = {self._hashes[at] & 7: at // 32 for at in range(0, len(self._hashes), 32)}
    return {item: known[item[0] & 7] for item in wanted if item[0] & 7 in known}


@plant(anchor.witness, "replace_file_durably", story="ledger", bug="a witness signs before it is durable", promise=ONE)
def witness_not_synced(disk: Disk, path: str, data: bytes) -> None:
    _replace(disk, path, data, sync=True)


@plant(LocalWitness, "_check_extends", story="ledger", bug="a witness signs whatever the log has signed", promise=ONE)
def witness_checks_nothing(*_: object) -> None:
    return


@plant(
    LocalWitness, "_check_extends", story="ledger", bug="a witness signs a smaller tree than it has seen", promise=ONE
)
def witness_goes_back(
    self: Any, latest: Checkpoint | None, old_size: int, proof: Sequence[bytes], wanted: Checkpoint, checkpoint: bytes
) -> None:
    if latest is None or wanted.size > latest.size:
        _check_extends(self, latest, old_size, proof, wanted, checkpoint)


_check_extends = LocalWitness._check_extends


@plant(LocalWitness, "_check_extends", story="ledger", bug="a witness compares sizes and no proof", promise=ONE)
def witness_ignores_proof(
    self: Any, latest: Checkpoint | None, old_size: int, proof: Sequence[bytes], wanted: Checkpoint, checkpoint: bytes
) -> None:
    del self, proof, checkpoint
    seen = latest.size if latest else 0
    if old_size != seen:
        raise WitnessRefusedError("another size", status=409, witness_size=seen)


@plant(Policy, "is_met", story="ledger", bug="a quorum is met with one cosignature less", promise=QUORUM)
def quorum_off_by_one(self: Any, cosigners: Any) -> bool:
    vkeys = {key.vkey for key in cosigners}
    met = {witness.name for witness in self.witnesses if witness.key.vkey in vkeys} | {QUORUM_NONE}
    for group in self.groups:
        if sum(member in met for member in group.members) >= group.needed - 1:
            met.add(group.name)
    return self.quorum in met


@plant(anchor.cosigning, "believe", story="ledger", bug="a witness' answer is not verified", promise=QUORUM)
def cosignature_unchecked(policy: Policy, checkpoint: Checkpoint, lines: str, now_s: int) -> Any:
    del checkpoint
    keys = {(witness.key.name, witness.key.key_id): witness.key for witness in policy.witnesses}
    found: list[Any] = []
    for line in lines.splitlines():
        try:
            signature = parse_signature_line(line)
            found.append((signature, Verified(keys[signature.name, signature.key_id], now_s)))
        except (MalformedError, KeyError):
            continue
    return found


@plant(Log, "_publish", story="ledger", bug="a commit is shown before its witnesses have signed it", promise=QUORUM)
def shown_before_cosigned(self: Any, state: Any, published: Any, now_s: int) -> bytes:
    if published is not None and published.checkpoint == state.checkpoint:
        return bytes(published.note)
    note = format_note(state.checkpoint.text, [state.log_signature])
    replace_file(self._disk, self._path("checkpoint"), note)
    tree = TileTree(self._reader(state), state.checkpoint.size)
    last_size = published.checkpoint.size if published else 0
    collect_cosignatures(
        self._policy, self._witnesses, state.checkpoint, state.log_signature, tree.hash_at,
        last_size=last_size, now_s=now_s,
    )  # fmt: skip
    return note


PLANTS = plants_of(globals())
