"""From what was seen of each shard to one word, and what the word may claim."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor.manifest import Extent
from client.challenge import Target, read_leaves, status_of
from client.health import Examination, Health, ShardState, Status, Verdict, shard_findings
from core.errors import (
    BusyError,
    CorruptError,
    MalformedError,
    MoorageError,
    NewerVersionError,
    NoSuchShardError,
    PeerUnavailableError,
    ProtocolError,
    StoreReadOnlyError,
)
from core.findings import Finding, FindingKind
from core.ids import ObjectId, PeerId, ShardRoot
from core.limits import EXTENT_CHUNKS
from erasure.merkle import leaf_digest, root_of_leaves
from erasure.scheme import Scheme
from erasure.spread import Spread
from wire.messages import Done, Leaves

SCHEME = Scheme(4, 6)
OBJECT = ObjectId(b"o" * 32)
OK, MISSING, CORRUPT, SILENT, NEWER = Status
SPREAD = Spread(True, 2, True, True, 0, "readable after losing any one site")


def seen(*rows: tuple[Status, ...], full: bool = True) -> Examination:
    states = tuple(
        ShardState(extent, share, ShardRoot(bytes([extent, share]) * 16), PeerId(bytes([share]) * 32), Verdict(status))
        for extent, row in enumerate(rows)
        for share, status in enumerate(row)
    )
    findings = tuple(finding for state in states for finding in shard_findings(OBJECT, state))
    return Examination(OBJECT, SCHEME, full, states, findings, SPREAD, 120, 12_288, 20)


@pytest.mark.parametrize(
    ("row", "health", "spare"),
    [
        ((OK,) * 6, Health.FULL, 2),
        ((OK, OK, OK, OK, OK, MISSING), Health.DEGRADED, 1),
        ((OK, OK, OK, OK, SILENT, SILENT), Health.DEGRADED, 0),
        ((OK, OK, OK, OK, MISSING, CORRUPT), Health.CRITICAL, 0),
        ((OK, OK, OK, OK, MISSING, SILENT), Health.DEGRADED, 0),
        ((OK, OK, OK, SILENT, SILENT, SILENT), Health.CRITICAL, -1),
        ((OK, OK, OK, SILENT, MISSING, MISSING), Health.CRITICAL, -1),
        ((OK, OK, OK, CORRUPT, MISSING, MISSING), Health.LOST, -1),
        ((OK, OK, OK, OK, OK, NEWER), Health.DEGRADED, 1),
    ],
)
def test_health_says_no_more_than_was_seen(row: tuple[Status, ...], health: Health, spare: int) -> None:
    examination = seen((OK,) * 6, row)
    assert (examination.health, examination.spare) == (health, spare)


def test_silence_that_counts_as_loss_is_loss() -> None:
    two = replace(seen((OK, OK, OK, OK, SILENT, SILENT)), silent_is_loss=True)
    three = replace(seen((OK, OK, OK, SILENT, SILENT, SILENT)), silent_is_loss=True)
    assert (two.health, three.health) == (Health.CRITICAL, Health.LOST)


def test_a_bad_paper_or_a_broken_placement_is_never_full() -> None:
    whole = seen((OK,) * 6)
    assert replace(whole, findings=(Finding(FindingKind.RECEIPT_MISSING),)).health is Health.DEGRADED
    assert replace(whole, spread=replace(SPREAD, ok=False)).health is Health.DEGRADED


def test_a_sample_says_what_may_have_escaped() -> None:
    words = seen((OK,) * 6, full=False).confidence_words
    assert words == (
        "sampled 120 of 12,288 shares; a holder that lost 5 % of its shares escapes with probability 35.8 %"
    )
    assert "less than 0.1 %" in replace(seen((OK,) * 6, full=False), least_sampled=1000).confidence_words


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NoSuchShardError(""), MISSING),
        (CorruptError(""), CORRUPT),
        (MalformedError(""), CORRUPT),
        (ProtocolError(""), CORRUPT),
        (NewerVersionError(""), NEWER),
        (StoreReadOnlyError(""), SILENT),
        (BusyError(""), SILENT),
        (PeerUnavailableError(""), SILENT),
    ],
)
def test_only_what_a_holder_admits_is_a_loss(error: MoorageError, status: Status) -> None:
    assert status_of(error) is status


LEAVES = [leaf_digest(bytes([number])) for number in range(5)]
ROOT = root_of_leaves(SCHEME, 2, LEAVES)
TARGET = Target(0, Extent(5, 500, 0, (ROOT,) * 6), 2, PeerId(b"h" * 32))


def test_leaves_that_make_the_root_prove_the_shard() -> None:
    assert read_leaves(Leaves((), "", b"".join(LEAVES)), TARGET, SCHEME).status is OK


@given(st.lists(st.integers(0, EXTENT_CHUNKS - 1)), st.text(max_size=50), st.binary(max_size=200).map(lambda b: b * 32))
def test_no_other_leaves_do(bad: list[int], problem: str, column: bytes) -> None:
    answer = Leaves(tuple(bad), problem, column[: len(column) // 32 * 32])
    verdict = read_leaves(answer, TARGET, SCHEME)
    assert verdict.status is CORRUPT
    assert all(chunk < 5 for chunk in verdict.chunks)
    assert read_leaves(Done(), TARGET, SCHEME).status is CORRUPT
