"""Real trees: what is walked is stored as it is, and what is restored goes where it belongs and nowhere else."""

from __future__ import annotations

import errno
import os
import random
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from client.index import Index, encode_index, parse_index
from client.plan import plan_plain
from core.errors import MalformedError, SourceChangedError, SourceError, TargetError
from core.listing import Entry, Kind, RelativePath
from host import tree as tree_module
from host.restore import UNNAMED_FILES_MAX, RestoreTree
from host.tree import FileTree
from tests.client.test_index import extent

LONG_AGO_NS = 1_500_000_000_123_456_789
FOLDER_NS = 1_400_000_000_000_000_001


def read(tree: FileTree, entry: Entry) -> bytes:
    data = bytearray(entry.size_bytes)
    with tree.open(entry) as reader:
        reader.read_into(0, memoryview(data))
    return bytes(data)


def put_and_get(source: Path, target: Path, *, keep: Callable[[Entry], bool] = lambda entry: True) -> list[Entry]:
    """Walk ``source``, take the entries through plan and index as a put does, restore those that ``keep`` wants."""
    tree = FileTree([str(source)])
    plan = plan_plain(tree.walk())
    data = {entry.path: read(tree, entry) for entry in plan.entries if entry.kind is Kind.FILE}
    digested = [
        replace(entry, digest=blake3(data[entry.path]).digest()) if entry.kind is Kind.FILE else entry
        for entry in plan.entries
    ]
    extents = tuple(extent(item.plain_bytes) for item in plan.extents)
    entries = parse_index(encode_index(Index(tuple(digested), extents))).entries
    kept = [entry for entry in entries if keep(entry)]
    restore(target, kept, data)
    return kept


def restore(target: Path, entries: Sequence[Entry], data: Mapping[RelativePath, bytes]) -> None:
    restored = RestoreTree(str(target))
    restored.prepare(entries)
    restored.make_folders(entries)
    try:
        for item in entries:
            if item.kind is Kind.FILE:
                restored.write_at(item, 0, data[item.path])
                restored.finish_file(item)
        restored.finish(entries)
    finally:
        restored.abandon()


def finish(tree: RestoreTree, item: Entry) -> None:
    """The file gets its name now or at the end."""
    tree.finish_file(item)
    tree.finish([item])


def picture(top: Path) -> dict[bytes, tuple[object, ...]]:
    """Kind, mode, time and content of all below, and of the folder itself."""
    found: dict[bytes, tuple[object, ...]] = {}
    base = os.fsencode(top)
    paths = [base]
    while paths:
        path = paths.pop()
        seen = os.lstat(path)
        name = path[len(base) :]
        if stat.S_ISLNK(seen.st_mode):
            found[name] = ("link", os.readlink(path), seen.st_mtime_ns)
        elif stat.S_ISDIR(seen.st_mode):
            found[name] = ("folder", stat.S_IMODE(seen.st_mode), seen.st_mtime_ns)
            paths += [path + b"/" + child for child in os.listdir(path)]
        else:
            with open(path, "rb") as file:
                found[name] = ("file", stat.S_IMODE(seen.st_mode), seen.st_mtime_ns, file.read())
    return found


def entry(path: bytes, kind: Kind = Kind.FILE, *, target: bytes = b"", size: int = 0, mode: int = 0o644) -> Entry:
    return Entry(RelativePath(path), kind, size, LONG_AGO_NS, mode, b"", target, ())


# --- round trips ------------------------------------------------------------------------------


def test_a_tree_comes_back_with_modes_times_links_and_names(tmp_path: Path) -> None:
    top = tmp_path / "in" / "study"
    (top / "closed").mkdir(parents=True)
    (top / "closed" / "file").write_bytes(b"x")
    (top / "empty folder").mkdir()
    (top / "empty").touch()
    (top / "tool").write_bytes(b"#!/bin/sh\n")
    (top / "tool").chmod(0o2755)
    (top / "secret").write_bytes(b"s" * 100_000)
    (top / "secret").chmod(0o400)
    (top / "dangling").symlink_to("/nowhere/at/all")
    (top / "up").symlink_to("../../..")
    (top / "closed" / "to file").symlink_to("file")
    for path in ("empty", "tool", "secret", "closed/file"):
        os.utime(top / path, ns=(LONG_AGO_NS, LONG_AGO_NS))
    os.utime(top / "up", ns=(LONG_AGO_NS, LONG_AGO_NS), follow_symlinks=False)
    os.utime(top / "empty", ns=(-5, -5))
    (top / "closed").chmod(0o555)
    for folder in (top / "closed", top / "empty folder", top):
        os.utime(folder, ns=(FOLDER_NS, FOLDER_NS))
    put_and_get(top, tmp_path / "out")
    assert picture(tmp_path / "out" / "study") == picture(top)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["study"]


names = st.binary(min_size=1, max_size=255).filter(
    lambda name: not {0, ord("/")} & set(name) and name not in (b".", b"..")
)


@settings(max_examples=40, deadline=None)
@given(parts=st.lists(names, min_size=1, max_size=5, unique=True))
def test_names_of_any_bytes_come_back(tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]) -> None:
    top = tmp_path_factory.mktemp("names")
    os.mkdir(os.fsencode(top) + b"/in")
    for number, name in enumerate(parts):
        with open(os.fsencode(top) + b"/in/" + name, "wb") as file:
            file.write(bytes([number]))
    put_and_get(top / "in", top / "out")
    assert picture(top / "out" / "in") == picture(top / "in")


@pytest.mark.parametrize(
    "name", [b"-rf", b"\n", b"\xff\xfe", b"a" * 255, "运动".encode(), b" ", b"...", b"~", b"*?"], ids=repr
)
def test_odd_names_come_back(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "in").mkdir()
    folder = os.fsencode(tmp_path) + b"/in/" + name
    os.mkdir(folder)
    with open(folder + b"/" + name, "wb") as file:
        file.write(name)
    put_and_get(tmp_path / "in", tmp_path / "out")
    assert picture(tmp_path / "out" / "in") == picture(tmp_path / "in")


@pytest.fixture
def deep_path(tmp_path: Path) -> Iterator[Path]:
    """Emptied at the end: what clears temporary folders recurses."""
    yield tmp_path
    subprocess.run(["rm", "-rf", *tmp_path.iterdir()], check=True)


def test_a_tree_deeper_than_the_stack_comes_back(deep_path: Path) -> None:
    (deep_path / "in").mkdir()
    here = os.open(deep_path / "in", os.O_DIRECTORY)
    for _ in range(600):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    kept = put_and_get(deep_path / "in", deep_path / "out")
    assert len(kept) == 602
    assert os.path.exists(f"{deep_path}/out/in/{'d/' * 600}f")


def test_a_file_deeper_than_the_stack_comes_back_alone(deep_path: Path) -> None:
    item = entry(b"d/" * 1100 + b"f")
    restore(deep_path / "out", [item], {item.path: b"deep"})
    assert os.path.getsize(f"{deep_path}/out/{item.path}") == 4


def test_one_file_without_its_folders_gets_the_folders_it_needs(tmp_path: Path) -> None:
    (tmp_path / "in" / "a" / "b").mkdir(parents=True)
    (tmp_path / "in" / "a" / "b" / "file").write_bytes(b"deep")
    (tmp_path / "in" / "a" / "other").write_bytes(b"not wanted")
    (tmp_path / "in" / "a" / "b" / "link").symlink_to("file")
    put_and_get(tmp_path / "in", tmp_path / "out", keep=lambda item: item.path.raw == b"in/a/b/file")
    assert sorted(picture(tmp_path / "out")) == [b"", b"/in", b"/in/a", b"/in/a/b", b"/in/a/b/file"]
    put_and_get(tmp_path / "in", tmp_path / "links", keep=lambda item: item.kind is Kind.LINK)
    assert (tmp_path / "links" / "in" / "a" / "b" / "link").is_symlink()


# --- walking ----------------------------------------------------------------------------------


def test_entries_come_by_ascending_path_parents_first(tmp_path: Path) -> None:
    for name in ("b", "a/z", "a-", "a/b/c", "a.b"):
        (tmp_path / "top" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "top" / name).touch()
    paths = [str(item.path) for item in FileTree([str(tmp_path / "top")]).walk()]
    assert paths == ["top", "top/a", "top/a/b", "top/a/b/c", "top/a/z", "top/a-", "top/a.b", "top/b"]


def test_several_paths_keep_their_own_last_names(tmp_path: Path) -> None:
    for name in ("x/one", "y/two"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").touch()
    paths = [f"{tmp_path}/x/one/", f"{tmp_path}/y/./two", f"{tmp_path}/x/one/file"]
    found = [str(item.path) for item in FileTree(paths).walk()]
    assert found == ["file", "one", "one/file", "two", "two/file"]
    (tmp_path / "y" / "one").touch()
    with pytest.raises(SourceError, match="would be stored as one"):
        FileTree([f"{tmp_path}/x/one", f"{tmp_path}/y/one"]).walk()


def test_a_link_given_by_the_user_is_followed_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_bytes(b"x")
    (tmp_path / "real" / "out").symlink_to(tmp_path)
    (tmp_path / "name").symlink_to("real")
    entries = FileTree([str(tmp_path / "name")]).walk()
    assert [(str(item.path), item.kind) for item in entries] == [
        ("name", Kind.FOLDER),
        ("name/file", Kind.FILE),
        ("name/out", Kind.LINK),
    ]


def test_a_path_that_is_not_there_or_empty_is_said(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "dangling").symlink_to("nowhere")
    for path, words in (
        (f"{tmp_path}/none", "no such file"),
        (f"{tmp_path}/dangling", "no such file"),
        (f"{tmp_path}/folder", "nothing to store"),
        ("/", "no name of its own"),
    ):
        with pytest.raises(SourceError, match=words):
            FileTree([path]).walk()


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file_is_named(tmp_path: Path, kind: str) -> None:
    (tmp_path / "top").mkdir()
    path = tmp_path / "top" / "odd"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    else:
        try:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("only root makes devices")
    with pytest.raises(SourceError, match=f"top/odd is a {kind}"):
        FileTree([str(tmp_path / "top")]).walk()


def test_a_file_that_cannot_be_read_is_named_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """root reads everything, so the system's answer is put into its mouth."""
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "file").touch()

    def refuse(path: bytes, mode: int) -> bool:
        return not path.endswith(b"/file")

    monkeypatch.setattr(os, "access", refuse)
    with pytest.raises(SourceError, match="top/file cannot be read: permission denied"):
        FileTree([str(tmp_path / "top")]).walk()


def test_a_folder_that_cannot_be_read_is_named_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "top" / "folder").mkdir(parents=True)
    listdir = os.listdir

    def refuse(path: bytes) -> list[bytes]:
        if path.endswith(b"/folder"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(SourceError, match="top/folder cannot be read: Permission denied"):
        FileTree([str(tmp_path / "top")]).walk()


def test_a_link_that_vanishes_during_the_walk_is_an_error_of_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "link").symlink_to("x")

    def gone(path: bytes) -> bytes:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "readlink", gone)
    with pytest.raises(SourceError, match="top/link cannot be read"):
        FileTree([str(tmp_path / "top")]).walk()


def test_a_time_that_the_index_cannot_hold_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(tree_module, "TIME_MAX_NS", 1000)
    with pytest.raises(SourceError, match="file was last changed at an impossible time"):
        FileTree([str(tmp_path / "file")]).walk()


# --- files that change ------------------------------------------------------------------------


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path: Path) -> None:
    os.truncate(path, 10)


def rewrite(path: Path) -> None:
    before = path.stat()
    path.write_bytes(b"y" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap(path: Path) -> None:
    before = path.stat()
    path.rename(path.with_name("old"))
    path.write_bytes(b"z" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def remove(path: Path) -> None:
    path.unlink()


def link_to_another(path: Path) -> None:
    path.with_name("other").write_bytes(b"w" * path.stat().st_size)
    path.unlink()
    path.symlink_to("other")


def link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def become_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "change",
    [grow, shrink, rewrite, swap, remove, link_to_another, link_to_itself, become_a_pipe, become_a_folder],
)
def test_a_file_that_changed_since_the_walk_fails_the_put(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    tree = FileTree([str(path)])
    (found,) = tree.walk()
    assert read(tree, found) == b"x" * 1000
    change(path)
    with pytest.raises(SourceChangedError, match="file changed while it was being read"):
        read(tree, found)


@pytest.mark.parametrize("change", [grow, shrink, rewrite])
def test_a_file_that_changes_while_it_is_open_fails_the_put(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    tree = FileTree([str(path)])
    (found,) = tree.walk()
    with tree.open(found) as reader:
        reader.read_into(0, memoryview(bytearray(500)))
        change(path)
        with pytest.raises(SourceChangedError):
            reader.read_into(500, memoryview(bytearray(500)))


# --- restoring where something is -------------------------------------------------------------


@pytest.mark.parametrize("what", ["file", "link", "folder", "dangling"])
def test_nothing_that_exists_is_overwritten(tmp_path: Path, what: str) -> None:
    out = tmp_path / "out"
    (out / "study").mkdir(parents=True)
    path = out / "study" / "file"
    if what == "file":
        path.write_bytes(b"mine")
    elif what == "link":
        (tmp_path / "victim").write_bytes(b"mine")
        path.symlink_to(tmp_path / "victim")
    elif what == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    else:
        path.mkdir()
    before = picture(tmp_path)
    with pytest.raises(TargetError, match=r"study/file exists already: nothing was restored"):
        restore(out, [entry(b"study/file")], {RelativePath(b"study/file"): b"theirs"})
    assert picture(tmp_path) == before


def test_a_link_in_the_target_is_never_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "study").symlink_to(tmp_path / "outside")
    for item in (entry(b"study/file"), entry(b"study", Kind.FOLDER), entry(b"study/deep/er", Kind.FOLDER)):
        with pytest.raises(TargetError, match="out/study exists already"):
            restore(tmp_path / "out", [item], {item.path: b""})
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize(
    "entries",
    [
        [entry(b"a", Kind.LINK, target=b"/"), entry(b"a/moorage-test-file")],
        [entry(b"a/moorage-test-file"), entry(b"a", Kind.LINK, target=b"/")],
        [entry(b"a", Kind.LINK, target=b".."), entry(b"a", Kind.FOLDER), entry(b"a/moorage-test-file")],
    ],
)
def test_a_hostile_index_with_a_child_below_a_link_is_refused(tmp_path: Path, entries: list[Entry]) -> None:
    empty = blake3(b"").digest()
    digested = tuple(replace(item, digest=empty) if item.kind is Kind.FILE else item for item in entries)
    with pytest.raises(MalformedError):
        parse_index(encode_index(Index(digested, ())))
    # And were it not: links are made last, where no folder is.
    with pytest.raises(TargetError):
        restore(tmp_path / "out", entries, {item.path: b"" for item in entries})
    for folder in (Path("/"), tmp_path):
        assert not (folder / "moorage-test-file").exists()


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    item = entry(b"file")
    tree = RestoreTree(str(tmp_path))
    tree.prepare([item])
    tree.make_folders([item])
    tree.write_at(item, 0, b"theirs")
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(TargetError, match="exists"):
        finish(tree, item)
    tree.abandon()
    assert picture(tmp_path).keys() == {b"", b"/file"}
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_folders_that_are_there_already_are_used(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "mine").write_bytes(b"mine")
    items = [entry(b"study", Kind.FOLDER, mode=0o755), entry(b"study/theirs")]
    restore(tmp_path, items, {items[1].path: b"theirs"})
    assert sorted(path.name for path in (tmp_path / "study").iterdir()) == ["mine", "theirs"]


def test_a_restore_that_is_given_up_leaves_only_what_is_whole(tmp_path: Path) -> None:
    items = [entry(b"done", size=3), entry(b"half", size=6)]
    tree = RestoreTree(str(tmp_path))
    tree.prepare(items)
    tree.make_folders(items)
    tree.write_at(items[0], 0, b"abc")
    tree.finish_file(items[0])
    tree.write_at(items[1], 0, b"abc")
    tree.abandon()
    assert {path.name for path in tmp_path.iterdir()} <= {"done"}


def test_what_a_killed_restore_left_does_not_stop_the_next(tmp_path: Path) -> None:
    item = entry(b"study/file", size=6)
    killed = RestoreTree(str(tmp_path))
    killed.prepare([item])
    killed.make_folders([item])
    killed.write_at(item, 0, b"abc")
    (left,) = (tmp_path / "study").iterdir()
    assert left.name.endswith(".part")
    assert left.stat().st_mode & 0o777 == 0o600
    # As if another had put a link in its place.
    left.unlink()
    (tmp_path / "victim").write_bytes(b"mine")
    left.symlink_to(tmp_path / "victim")
    restore(tmp_path, [item], {item.path: b"abcdef"})
    assert [path.name for path in (tmp_path / "study").iterdir()] == ["file"]
    assert (tmp_path / "victim").read_bytes() == b"mine"


@pytest.mark.parametrize("left", [b"", b"abc"])
def test_a_stored_leftover_of_a_restore_is_a_file_like_any_other(tmp_path: Path, left: bytes) -> None:
    """Somebody put a folder in which a restore had been killed: the leftover is an entry now, beside its file."""
    (tmp_path / "in" / "study").mkdir(parents=True)
    killed = RestoreTree(str(tmp_path / "in"))
    item = entry(b"study/file", size=6)
    killed.prepare([item])
    killed.write_at(item, 0, left)
    (tmp_path / "in" / "study" / "file").write_bytes(b"abcdef")
    # Enough between them that the leftover has its name before the file comes.
    for number in range(UNNAMED_FILES_MAX + 1):
        (tmp_path / "in" / "study" / f"between {number}").touch()
    put_and_get(tmp_path / "in" / "study", tmp_path / "out")
    assert picture(tmp_path / "out" / "study") == picture(tmp_path / "in" / "study")
    killed.abandon()


def test_a_target_without_room_is_refused_before_the_first_byte(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"make room or restore elsewhere"):
        RestoreTree(str(tmp_path / "out")).prepare([entry(b"huge", size=2**60)])
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("error", "words"),
    [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "the disk is full"), (errno.EIO, "Input/output error")],
)
def test_a_disk_that_fails_in_the_middle_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, words: str
) -> None:
    def fail(*_: object) -> int:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "pwrite", fail)
    with pytest.raises(TargetError, match=f"out/file: .*{words}"):
        restore(tmp_path / "out", [entry(b"file", size=1)], {RelativePath(b"file"): b"x"})
    assert list((tmp_path / "out").iterdir()) == []


def test_a_target_below_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TargetError):
        restore(tmp_path / "file" / "out", [entry(b"x")], {RelativePath(b"x"): b""})


def test_a_disk_without_hard_links_still_gets_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAT and some network mounts have none."""

    def no_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    item = entry(b"file", size=1)
    restore(tmp_path / "out", [item], {item.path: b"x"})
    assert picture(tmp_path / "out").keys() == {b"", b"/file"}
    tree = RestoreTree(str(tmp_path / "other"))
    tree.prepare([item])
    tree.write_at(item, 0, b"theirs")
    (tmp_path / "other" / "file").write_bytes(b"mine")
    with pytest.raises(TargetError, match="exists"):
        finish(tree, item)
    tree.abandon()
    assert (tmp_path / "other" / "file").read_bytes() == b"mine"


def test_parts_of_a_file_may_come_in_any_order(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(10_000)
    item = entry(b"file", size=len(data))
    tree = RestoreTree(str(tmp_path))
    tree.prepare([item])
    for at in (5000, 0, 7500, 2500):
        tree.write_at(item, at, memoryview(data)[at : at + 2500])
    finish(tree, item)
    assert (tmp_path / "file").read_bytes() == data
