"""The ledger at work: the log's commit record, tiles, checkpoint; the witness's memory and evidence."""

from __future__ import annotations

from anchor.checkpoint import Checkpoint
from anchor.log import Log
from anchor.note import Ed25519Signer, format_note
from core.errors import WitnessRefusedError
from core.ports import Disk
from tests.anchor import test_log_crash as log_crash
from tests.anchor.ledgers import (
    LOG_KEY,
    NOW_S,
    ORIGIN,
    create,
    leaf,
    new_witness,
    reopen,
    reopened_witness,
)
from tests.crash.enumerate import Story
from tests.ledger import test_writer_crash as writer_crash
from tests.sim.disk import SimDisk


class LogAppended(log_crash.AppendStory, Story):
    """A log fills its first tile; the witness lives elsewhere."""

    name = "log: append over a full tile"
    slow = 53

    def check(self, disk: Disk) -> None:
        super().check(disk)
        _nothing_beside(disk, "/anchor")


class LogAndWitness(log_crash.EmbeddedStory, Story):
    """Log and witness on one drive, from the first folder on."""

    name = "log and witness: create, append"
    slow = 17

    def check(self, disk: Disk) -> None:
        super().check(disk)
        _nothing_beside(disk, "/anchor")
        _nothing_beside(disk, "/witness")


class WitnessRemembers(Story):
    """A witness cosigns three checkpoints and refuses a fork, which it keeps as evidence."""

    name = "witness: checkpoint and evidence"
    slow = 15

    def __init__(self) -> None:
        self.log_disk = SimDisk()
        self.cosigned = 0
        self.refused = False

    def prepare(self, disk: Disk) -> None:
        new_witness(0, disk)

    def run(self, disk: Disk) -> None:
        witness = reopened_witness(0, disk)
        open_log = reopen if Log.exists(self.log_disk, "/anchor", ORIGIN) else create
        log = open_log(self.log_disk, [witness])
        for number in range(3):
            log.append([leaf(number)], NOW_S)
            self.cosigned = max(self.cosigned, number + 1)
        fork = Checkpoint(ORIGIN, 3, bytes(32))
        note = format_note(fork.text, [Ed25519Signer(ORIGIN, LOG_KEY).sign(fork.text)])
        try:
            witness.add_checkpoint(3, [], note, now_s=NOW_S)
        except WitnessRefusedError:
            self.refused = True
            return
        raise AssertionError("it cosigned a fork")

    def recover(self, disk: Disk) -> None:
        reopened_witness(0, disk).latest(ORIGIN)

    def check(self, disk: Disk) -> None:
        latest = reopened_witness(0, disk).latest(ORIGIN)
        assert latest is not None or not self.cosigned, "it forgot what it had signed"
        assert latest is None or latest.size >= self.cosigned, "it forgot what it had signed"
        folder = f"/witness/{disk.list_folder('/witness')[0]}"
        if self.refused:
            assert "refused" in disk.list_folder(folder), "the evidence is lost"
        # The log goes on with it.
        open_log = reopen if Log.exists(self.log_disk, "/anchor", ORIGIN) else create
        open_log(self.log_disk, [reopened_witness(0, disk)]).append([leaf(9)], NOW_S)
        _nothing_beside(disk, "/witness")


class OperatorCommits(writer_crash.OperatorStory, Story):
    """A log operator fills its first tile; the witness signs before the tiles are written, and lives elsewhere."""

    name = "log operator: commits over a full tile"
    slow = 29

    def again(self, disk: Disk) -> None:
        """A daemon that met an error of the disk begins anew with its log."""
        self.release()
        self.run(disk)

    def check(self, disk: Disk) -> None:
        self.release()
        super().check(disk)
        _nothing_beside(disk, "/anchor")


class WitnessSynchronised(writer_crash.ResyncStory, Story):
    """A witness that lost its folder remembers what others kept."""

    name = "witness: synchronised again"
    slow = 5

    def check(self, disk: Disk) -> None:
        super().check(disk)
        _nothing_beside(disk, "/witness")


def _nothing_beside(disk: Disk, folder: str) -> None:
    """No temporary file; those that a crash left are replaced by the next write of the same name."""
    for name in disk.list_folder(folder):
        path = f"{folder}/{name}"
        found = disk.stat(path)
        if found is not None and found.is_folder:
            _nothing_beside(disk, path)
        else:
            assert not name.endswith(".tmp"), f"leftover: {path}"


STORIES: tuple[type[Story], ...] = (LogAppended, LogAndWitness, WitnessRemembers, OperatorCommits, WitnessSynchronised)
