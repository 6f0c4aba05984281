"""An operator that shows different histories to different witnesses, and one whose folder is an old copy."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import trio
import trio.testing

from anchor.checkpoint import Checkpoint, parse_checkpoint
from anchor.cosignature import verifier_of
from anchor.cosigning import believe
from anchor.merkle import check_consistency
from anchor.note import format_note, verify_note
from anchor.note import parse_note as parsed
from anchor.policy import parse_policy
from anchor.witness import LocalWitness
from anchor.writer import LogWriter
from core.errors import BadSignatureError, CorruptError, LedgerError, WitnessRefusedError
from tests.anchor.ledgers import COSIGNERS, FOUR, LOG, LOG_KEY, NOW_S, ORIGIN, copy_tree, leaf, leaves
from tests.ledger.consortium import NearWitness, check, create_log, near_witnesses, running
from tests.sim.disk import SimDisk

COMMON = 3


class Liar:
    """Signs whatever it is shown."""

    def __init__(self, number: int) -> None:
        self._cosigner = COSIGNERS[number]

    def add_checkpoint(self, old_size: int, proof: Sequence[bytes], checkpoint: bytes, *, now_s: int) -> str:
        return self._cosigner.sign(parsed(checkpoint).text, time_s=now_s).line


def writer_on(disk: SimDisk) -> LogWriter:
    return LogWriter.open(disk, "/ledger", key=LOG_KEY, policy=FOUR)


def signed_by(writer: LogWriter, witnesses: Sequence[LocalWitness | Liar]) -> bytes:
    """The newest checkpoint with every cosignature that the witnesses give: an operator that hides what they refuse."""
    commit = writer.latest
    found = []
    for witness in witnesses:
        seen = witness.latest(ORIGIN) if isinstance(witness, LocalWitness) else None
        old_size = min(seen.size, commit.checkpoint.size) if seen is not None else 0
        try:
            lines = witness.add_checkpoint(old_size, commit.consistency(old_size), commit.note, now_s=NOW_S)
        except WitnessRefusedError:
            continue
        found += believe(parse_policy(FOUR), commit.checkpoint, lines, NOW_S)
    return format_note(commit.checkpoint.text, [commit.log_signature, *(signature for signature, _ in found)])


def is_accepted(note: bytes) -> bool:
    try:
        parse_policy(FOUR).check_checkpoint(note)
    except BadSignatureError:
        return False
    return True


def two_branches() -> tuple[LogWriter, LogWriter, list[LocalWitness]]:
    """Two folders of one log with a common history, which all four witnesses have seen."""
    disk, other = SimDisk(), SimDisk()
    create_log(disk)
    witnesses = [near.witness for near in near_witnesses()]
    first = writer_on(disk)
    first.add(leaves(0, COMMON))
    first.settle()
    first.publish(signed_by(first, witnesses))
    copy_tree(disk, other, first.folder)
    return first, writer_on(other), witnesses


@pytest.mark.parametrize("split", range(5))
@pytest.mark.parametrize("liar", [None, 0, 1, 2, 3])
def test_two_histories_are_never_both_accepted(split: int, liar: int | None) -> None:
    """Splits 4/0, 3/1, 2/2, 1/3, 0/4 of the witnesses, with none or one (f of 3f + 1) that signs both."""
    first, second, honest = two_branches()
    both: list[LocalWitness | Liar] = [Liar(number) if number == liar else item for number, item in enumerate(honest)]
    groups = [
        [item for number, item in enumerate(both) if number < split or number == liar],
        [item for number, item in enumerate(both) if number >= split or number == liar],
    ]
    accepted = 0
    for branch, (writer, group) in enumerate(zip((first, second), groups, strict=True)):
        writer.add([b"branch %d entry 1" % branch])
        writer.settle()
        signed_by(writer, group)
        writer.add([b"branch %d entry 2" % branch])
        writer.settle()
        accepted += is_accepted(signed_by(writer, group))
    assert accepted <= 1
    if liar is None:
        assert accepted == (split != 2), "three of four honest witnesses make one history"
    # The operator asks again, everybody, for either branch.
    again = [is_accepted(signed_by(writer, both)) for writer in (first, second)]
    assert sum(again) <= 1
    if accepted:
        assert not all(again)


@pytest.mark.parametrize("liars", list(itertools.combinations(range(4), 2)))
def test_what_two_liars_of_four_can_do_is_what_the_quorum_does_not_promise(liars: tuple[int, int]) -> None:
    """With f + 1 liars two branches can be accepted: this is the bound, and the test that the tests above see it."""
    first, second, honest = two_branches()
    others = [number for number in range(4) if number not in liars]
    accepted = 0
    for writer, alone in zip((first, second), others, strict=True):
        writer.add([b"branch of %d" % alone])
        writer.settle()
        accepted += is_accepted(signed_by(writer, [honest[alone], *(Liar(number) for number in liars)]))
    assert accepted == 2


def test_a_refused_history_leaves_evidence_that_convinces_anybody() -> None:
    first, second, witnesses = two_branches()
    for writer, word in ((first, b"one"), (second, b"other")):
        writer.add([word])
        writer.settle()
        signed_by(writer, witnesses)
    witness = witnesses[0]
    seen = witness.remembered(first.folder.rpartition("/")[2])
    folder = first.folder.rpartition("/")[2]
    with witness._disk.open(f"/witness/{folder}/refused", "read") as file:
        refused = file.read_at(0, file.size())
    assert seen is not None
    heads: list[Checkpoint] = []
    for data in (seen, refused):
        verify_note(parsed(data), [verifier_of(LOG)])
        heads.append(parse_checkpoint(parsed(data).text))
    assert heads[0].size == heads[1].size
    with pytest.raises(CorruptError):
        check_consistency(heads[0].size, heads[1].size, heads[0].root, heads[1].root, ())


async def backup_and_original(witnesses: list[NearWitness], *, behind: int = 2) -> tuple[SimDisk, SimDisk]:
    """A log with ten leaves, and a copy from before the last ``behind``."""
    disk, backup = SimDisk(), SimDisk()
    create_log(disk)
    async with running(disk, witnesses) as operator:
        await operator.submit_all(leaves(0, 10 - behind), 5)
    copy_tree(disk, backup, "/ledger")
    async with running(disk, witnesses) as operator:
        await operator.submit_all(leaves(0, 10), 5)
    return disk, backup


async def test_a_log_restored_from_a_backup_signs_nothing_new(autojump_clock: trio.testing.MockClock) -> None:
    witnesses = near_witnesses()
    _, backup = await backup_and_original(witnesses)
    said: list[str] = []
    writer_size = None
    with pytest.RaisesGroup(pytest.RaisesExc(LedgerError, match="restored from a backup")):
        async with running(backup, witnesses, said=said) as operator:
            with pytest.raises(LedgerError, match="restored from a backup"):
                await operator.submit(b"new")
            writer_size = operator.committed_size
            await trio.sleep(1)
    assert writer_size == 8, "it committed a leaf before it had asked"
    for witness in witnesses:
        latest = witness.witness.latest(ORIGIN)
        assert latest is not None
        assert latest.size == 10


async def test_the_losing_branch_is_not_gone_on_with(autojump_clock: trio.testing.MockClock) -> None:
    first, second, honest = two_branches()
    for writer, word in ((first, b"one"), (second, b"other")):
        writer.add([word])
        writer.settle()
        writer.publish(signed_by(writer, honest))
        writer.close()
    witnesses = [NearWitness(witness) for witness in honest]
    with pytest.RaisesGroup(pytest.RaisesExc(LedgerError, match="another history")):
        async with running(second._disk, witnesses) as operator:
            await trio.sleep(5)
            assert operator.published_size == -1
    async with running(first._disk, witnesses) as operator:
        check([await operator.submit(leaf(50))])


class Boaster(NearWitness):
    """Says that it has seen more, and cannot show it."""

    async def add_checkpoint(self, request: object) -> str:
        raise WitnessRefusedError("more", status=409, witness_size=10**6)

    async def latest(self, origin: str) -> bytes | None:
        text = Checkpoint(ORIGIN, 10**6, bytes(32)).text
        return format_note(text, [COSIGNERS[0].sign(text, time_s=NOW_S)])


async def test_one_lying_witness_cannot_stop_a_log_by_its_word(autojump_clock: trio.testing.MockClock) -> None:
    disk = SimDisk()
    create_log(disk)
    witnesses = near_witnesses()
    async with running(disk, [Boaster(witnesses[0].witness), *witnesses[1:]]) as operator:
        check([await operator.submit(leaf(0))])
        await trio.sleep(60)
        check([await operator.submit(leaf(1))])
        assert operator.failure is None


def test_a_witness_whose_folder_is_an_old_copy_refuses_until_it_is_synchronised() -> None:
    disk, old = SimDisk(), SimDisk()
    create_log(disk)
    witness_disk = SimDisk()
    witness = LocalWitness.create(witness_disk, "/witness", [COSIGNERS[0]], {ORIGIN: [LOG]})
    others = [near.witness for near in near_witnesses()[1:]]
    writer = writer_on(disk)
    writer.add([leaf(0)])
    writer.settle()
    signed_by(writer, [witness])
    copy_tree(witness_disk, old, "/witness")
    writer.add([leaf(1)])
    writer.settle()
    note = signed_by(writer, [witness, *others])
    restored = LocalWitness.open(old, "/witness", [COSIGNERS[0]], {ORIGIN: [LOG]})
    assert "an old copy" in (restored.forgotten(ORIGIN, [b"garbage", note]) or "")
    assert witness.forgotten(ORIGIN, [note]) is None
    again = LocalWitness.resync(old, "/witness", [COSIGNERS[0]], {ORIGIN: [LOG]}, [b"garbage", note])
    assert again.forgotten(ORIGIN, [note]) is None
    latest = again.latest(ORIGIN)
    assert latest is not None
    assert latest.size == 2


def test_a_witness_is_not_synchronised_with_two_histories() -> None:
    first, second, _ = two_branches()
    notes: list[bytes] = []
    for writer, word in ((first, b"one"), (second, b"other")):
        writer.add([word])
        notes.append(writer.latest.note)
    with pytest.raises(LedgerError, match="two histories"):
        LocalWitness.resync(SimDisk(), "/witness", [COSIGNERS[0]], {ORIGIN: [LOG]}, notes)


def test_garbage_synchronises_no_witness() -> None:
    with pytest.raises(LedgerError, match="nobody tells"):
        LocalWitness.resync(SimDisk(), "/witness", [COSIGNERS[0]], {ORIGIN: [LOG]}, [b"garbage"])
    with pytest.raises(LedgerError, match="nobody tells"):
        LocalWitness.resync(SimDisk(), "/witness", [COSIGNERS[0]], {ORIGIN: [LOG]}, [], "another")
    LocalWitness.resync(SimDisk(), "/witness", [COSIGNERS[0]], {ORIGIN: [LOG]}, [], ORIGIN)
