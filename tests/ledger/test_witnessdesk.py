"""A witness' desk: what keeps it from signing for a moment, and what for good."""

from __future__ import annotations

import pytest

from anchor.files import replace_file_durably
from anchor.merkle import EMPTY_ROOT
from anchor.note import Ed25519Signer, encode_base64, format_note
from anchor.witness import AddCheckpoint, LocalWitness, origin_folder
from core.errors import LedgerError, WitnessRefusedError
from daemon.witnessdesk import WitnessDesk
from tests.anchor.ledgers import COSIGNERS, LOG, LOG_KEY, NOW_S, ORIGIN
from tests.ledger.consortium import NowClock
from tests.sim.disk import SimDisk
from tests.sim.threads import SimThreads


def note(size: int, root: bytes = EMPTY_ROOT) -> bytes:
    text = f"{ORIGIN}\n{size}\n{encode_base64(root)}\n"
    return format_note(text, [Ed25519Signer(ORIGIN, LOG_KEY).sign(text)])


def witness_on(disk: SimDisk) -> LocalWitness:
    return LocalWitness.create(disk, "/witness", [COSIGNERS[0]], {ORIGIN: [LOG]})


def desk_of(witness: LocalWitness, said: list[str], *notes: bytes) -> WitnessDesk:
    async def look_back(_: str) -> tuple[bytes, ...]:
        return notes

    desk = WitnessDesk(witness, SimThreads(), NowClock(), look_back, said.append)
    desk.use_logs({ORIGIN: [LOG]})
    return desk


async def test_a_disk_that_fails_for_a_moment_keeps_no_witness_from_signing_later() -> None:
    disk, said = SimDisk(), list[str]()
    witness = witness_on(disk)
    witness.add_checkpoint(0, (), note(0), now_s=NOW_S)
    desk = desk_of(witness, said, note(0))
    path = f"{origin_folder('/witness', ORIGIN)}/checkpoint"
    with disk.open(path, "read") as file:
        whole = file.read_at(0, file.size())
    replace_file_durably(disk, path, b"unreadable")
    await desk.look_back()
    for _ in range(2):
        with pytest.raises(LedgerError, match="damaged"):
            await desk.add_checkpoint(AddCheckpoint(0, (), note(0)))
    assert len(said) == 1
    assert "damaged" in said[0]
    replace_file_durably(disk, path, whole)
    assert await desk.add_checkpoint(AddCheckpoint(0, (), note(0)))
    assert desk.failure is None


async def test_an_old_copy_is_said_and_signs_nothing_for_good() -> None:
    before = witness_on(SimDisk())
    before.add_checkpoint(0, (), note(3, bytes(32)), now_s=NOW_S)
    newer = before.remembered(origin_folder("", ORIGIN).strip("/"))
    assert newer is not None
    said: list[str] = []
    desk = desk_of(witness_on(SimDisk()), said, newer)
    await desk.look_back()
    assert len(said) == 1
    assert "an old copy" in said[0]
    with pytest.raises(LedgerError, match="an old copy"):
        await desk.add_checkpoint(AddCheckpoint(0, (), note(0)))


async def test_a_log_that_left_the_roster_amid_a_look_back_harms_no_other() -> None:
    said: list[str] = []
    witness = witness_on(SimDisk())
    witness.add_checkpoint(0, (), note(0), now_s=NOW_S)

    async def look_back(_: str) -> tuple[bytes, ...]:
        if not said:
            desk.use_logs({})
        return (note(0),)

    desk = WitnessDesk(witness, SimThreads(), NowClock(), look_back, said.append)
    desk.use_logs({ORIGIN: [LOG]})
    await desk.look_back()
    with pytest.raises(WitnessRefusedError) as refused:
        await desk.add_checkpoint(AddCheckpoint(0, (), note(0)))
    assert refused.value.status == 404
    assert desk.failure is None
    desk.use_logs({ORIGIN: [LOG]})
    assert await desk.add_checkpoint(AddCheckpoint(0, (), note(0)))
