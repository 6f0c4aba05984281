"""The temporary files of a restore hurt nobody: not the user's own files, not other entries, not long names."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.listing import Entry, Kind, RelativePath
from host.tree import RestoreTree


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
