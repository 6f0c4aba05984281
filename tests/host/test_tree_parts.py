"""The temporary files of a restore hurt nobody: not the user's own files, not other entries, not long names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from core.errors import TargetError
from core.listing import Entry, Kind, RelativePath
from host.restore import UNNAMED_FILES_MAX, RestoreTree


def entry(path: bytes, kind: Kind = Kind.FILE) -> Entry:
    return Entry(RelativePath(path), kind, 0, 0, 0o755, b"", b"", ())


def restore(folder: Path, *entries: Entry) -> None:
    tree = RestoreTree(str(folder))
    tree.prepare(entries)
    tree.make_folders(entries)
    try:
        for item in entries:
            if item.kind is Kind.FILE:
                tree.write_at(item, 0, b"restored")
                tree.finish_file(item)
        tree.finish(entries)
    finally:
        tree.abandon()


def test_a_file_of_the_users_that_ends_in_part_survives(tmp_path: Path) -> None:
    (tmp_path / "scan.part").write_bytes(b"mine")
    restore(tmp_path, entry(b"scan"))
    assert (tmp_path / "scan.part").read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scan", "scan.part"]


@pytest.mark.parametrize("kind", [Kind.FILE, Kind.FOLDER])
def test_an_entry_may_be_called_as_another_with_part_behind(tmp_path: Path, kind: Kind) -> None:
    restore(tmp_path, entry(b"scan.part", kind), entry(b"scan"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scan", "scan.part"]


def test_a_name_may_be_as_long_as_names_can_be(tmp_path: Path) -> None:
    restore(tmp_path, entry(b"a/" + b"n" * 255))
    assert (tmp_path / "a" / ("n" * 255)).read_bytes() == b"restored"


def test_what_a_killed_restore_left_is_in_nobodys_way(tmp_path: Path) -> None:
    tree = RestoreTree(str(tmp_path))
    tree.write_at(entry(b"scan"), 0, b"half of a longer one")
    restore(tmp_path, entry(b"scan"))
    assert (tmp_path / "scan").read_bytes() == b"restored"
    assert [path.name for path in tmp_path.iterdir()] == ["scan"]
    tree.abandon()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def restore_into(tree: RestoreTree, items: Sequence[Entry]) -> None:
    for item in items:
        tree.write_at(item, 0, item.path.raw)
        tree.finish_file(item)


def test_a_file_gets_its_name_only_when_it_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, int | bytes]] = []
    fsync, link = os.fsync, os.link

    def seen_fsync(descriptor: int) -> None:
        calls.append(("sync", os.fstat(descriptor).st_ino))
        fsync(descriptor)

    def seen_link(source: bytes, target: bytes) -> None:
        calls.append(("name", os.stat(source).st_ino))
        link(source, target)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "link", seen_link)
    tree = RestoreTree(str(tmp_path))
    items = [entry(b"%03d" % number) for number in range(2 * UNNAMED_FILES_MAX + 5)]
    restore_into(tree, items)
    assert len(names(tmp_path)) == 2 * UNNAMED_FILES_MAX
    tree.finish(items)
    tree.abandon()
    named = [number for what, number in calls if what == "name"]
    assert len(set(named)) == len(items)
    assert all(calls.index(("sync", number)) < calls.index(("name", number)) for number in named)
    assert all((tmp_path / name).read_bytes() == name.encode() for name in names(tmp_path))


def test_what_has_no_name_yet_is_removed_when_the_restore_is_given_up(tmp_path: Path) -> None:
    tree = RestoreTree(str(tmp_path))
    restore_into(tree, [entry(b"whole"), entry(b"another")])
    tree.abandon()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_appeared_meanwhile_is_left_alone_and_named(tmp_path: Path) -> None:
    tree = RestoreTree(str(tmp_path))
    restore_into(tree, [entry(b"first"), entry(b"scan")])
    (tmp_path / "scan").write_bytes(b"mine")
    with pytest.raises(TargetError, match="scan"):
        tree.finish([])
    tree.abandon()
    assert (tmp_path / "scan").read_bytes() == b"mine"
    assert [path for path in tmp_path.iterdir() if path.suffix == ".part"] == []
