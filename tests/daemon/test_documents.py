"""Manifests and receipts survive whole, and a manifest is never handed out under another's name."""

from __future__ import annotations

import pytest

from anchor.manifest import object_id
from core.errors import (
    CorruptError,
    MalformedError,
    NoSuchShardError,
    StoreFullError,
    StoreReadOnlyError,
)
from core.ids import ObjectId
from core.limits import MANIFEST_MAX_BYTES, RECEIPT_MAX_BYTES
from daemon.documents import DocumentKind
from daemon.store import ShardStore
from tests.daemon.shards import FixedClock
from tests.sim.disk import SimDisk
from tests.sim.drive import SimDrive
from tests.sim.life import Life, NodeDead

HOME = "/home/peer"
MANIFEST = b"as good as a manifest: the store compares digests, its caller signatures"
NAME = object_id(MANIFEST)


def open_store(drive: SimDrive, quota_bytes: int | None = None) -> ShardStore:
    store = ShardStore(SimDisk(drive, Life()), HOME, quota_bytes=quota_bytes, reserve_bytes=0, clock=FixedClock())
    store.start()
    return store


@pytest.fixture
def drive() -> SimDrive:
    return SimDrive()


def test_documents_come_back_and_are_listed_by_object(drive: SimDrive) -> None:
    documents = open_store(drive).documents
    documents.put("manifest", NAME, memoryview(MANIFEST))
    documents.put("receipt", NAME, b"receipt 1")
    documents.put("receipt", NAME, b"receipt 2, longer")
    drive.cut_power()
    store = open_store(drive)
    assert store.documents.get("manifest", NAME) == MANIFEST
    assert store.documents.get("receipt", NAME) == b"receipt 2, longer"
    assert store.documents.names("manifest") == (NAME,)
    assert store.statistics().used_bytes == len(MANIFEST) + len(b"receipt 2, longer")


def test_names_ascend_and_pass_over_foreign_files(drive: SimDrive) -> None:
    documents = open_store(drive).documents
    names = sorted(ObjectId(bytes([number]) * 32) for number in range(0, 250, 10))
    for name in names:
        documents.put("receipt", name, b"r")
    drive.plant(f"{HOME}/receipts/notes.txt", b"")
    drive.plant(f"{HOME}/receipts/{names[0]}.7.part", b"")
    assert documents.names("receipt") == tuple(names)
    assert documents.names("manifest") == ()


@pytest.mark.parametrize("kind", ["manifest", "receipt"])
def test_a_power_cut_leaves_the_old_document_or_the_new_one(kind: DocumentKind) -> None:
    old = MANIFEST if kind == "manifest" else b"old receipt " * 50
    new = MANIFEST if kind == "manifest" else b"new receipt, of another length " * 50
    for moment in range(1, 30):
        drive = SimDrive(seed=moment)
        open_store(drive).documents.put(kind, NAME, old)
        store = open_store(drive)
        drive.crash_at = drive.operations + moment
        try:
            store.documents.put(kind, NAME, new)
        except NodeDead:
            drive.crash_at = None
            assert open_store(drive).documents.get(kind, NAME) in (old, new)
            continue
        drive.crash_at = None
        drive.cut_power()
        assert open_store(drive).documents.get(kind, NAME) == new
        assert drive.durable_paths(f"{HOME}/{kind}s") == [f"{HOME}/{kind}s/{NAME}"]
        return
    pytest.fail("it never ended")


def test_a_manifest_under_another_name_is_neither_taken_nor_given(drive: SimDrive) -> None:
    documents = open_store(drive).documents
    other = object_id(b"something else")
    with pytest.raises(CorruptError):
        documents.put("manifest", other, MANIFEST)
    documents.put("manifest", NAME, MANIFEST)
    path = f"{HOME}/manifests/{NAME}"
    for at in range(len(MANIFEST)):
        drive.flip_bit(path, at)
        with pytest.raises(CorruptError):
            documents.get("manifest", NAME)
        drive.flip_bit(path, at)
    assert documents.get("manifest", NAME) == MANIFEST
    drive.break_sector(path, 0)
    with pytest.raises(CorruptError, match="cannot be read"):
        documents.get("manifest", NAME)


@pytest.mark.parametrize(("kind", "limit"), [("manifest", MANIFEST_MAX_BYTES), ("receipt", RECEIPT_MAX_BYTES)])
def test_documents_have_a_size_limit_both_ways(drive: SimDrive, kind: DocumentKind, limit: int) -> None:
    documents = open_store(drive).documents
    for size in (0, limit + 1):
        with pytest.raises(MalformedError):
            documents.put(kind, NAME, bytes(size))
        drive.plant(f"{HOME}/{kind}s/{NAME}", bytes(size))
        with pytest.raises(CorruptError, match="impossible"):
            documents.get(kind, NAME)


def test_what_is_not_held_is_missing_and_what_is_damaged_can_be_set_aside(drive: SimDrive) -> None:
    store = open_store(drive)
    with pytest.raises(NoSuchShardError):
        store.documents.get("receipt", NAME)
    assert not store.documents.quarantine("receipt", NAME)
    store.documents.put("receipt", NAME, b"bad")
    assert store.documents.quarantine("receipt", NAME)
    assert store.statistics().used_bytes == 0
    assert store.documents.names("receipt") == ()
    assert drive.durable_paths(f"{HOME}/quarantine") == [f"{HOME}/quarantine/receipt.{NAME}.0"]
    assert store.documents.discard_quarantined("receipt", NAME) == 1


def test_quota_and_read_only_disks_hold_for_documents_too(drive: SimDrive) -> None:
    documents = open_store(drive, quota_bytes=100).documents
    documents.put("manifest", NAME, MANIFEST)
    with pytest.raises(StoreFullError):
        documents.put("receipt", NAME, bytes(50))
    drive.faults.read_only = True
    with pytest.raises(StoreReadOnlyError):
        documents.put("receipt", NAME, bytes(10))
    assert documents.get("manifest", NAME) == MANIFEST
