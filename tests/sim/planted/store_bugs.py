"""Defects of the store: how bytes get to the disk, and what is believed of them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import daemon.documents
import daemon.reader
from core.ids import ShardRoot
from core.ports import Buffer, Disk
from daemon.holdings import Holdings
from daemon.names import Names
from daemon.quarantine import Quarantine
from daemon.reader import ShardRead
from daemon.space import Reservation, Space
from daemon.store import ASIDE_SUFFIX, ShardStore
from daemon.uploads import Upload
from erasure.shardfile import ShardHead, pack_head
from tests.sim.planted.plant import plant, plants_of

DURABLE = "what is acknowledged is durable"
WHOLE = "under a final name lies a whole file or none"
TRUE = "wrong bytes are never served"


def _written(upload: Any, root: ShardRoot) -> int:
    """Foot and head; the file's size."""
    foot, plan = upload._hasher.foot(), upload._plan
    upload._file.write_at(upload._end, foot)
    upload._file.write_at(0, pack_head(ShardHead(plan.scheme, plan.index, plan.chunks, root)))
    return int(upload._end + len(foot))


def _placed(upload: Any, root: ShardRoot, size_bytes: int) -> int:
    upload._stack.close()
    upload._place(upload._path, root, size_bytes)
    upload._placed = True
    return size_bytes


@plant(Upload, "_finish", story="store", bug="a shard's file is not synced before it is acknowledged", promise=DURABLE)
def shard_not_synced(self: Any, root: ShardRoot) -> int:
    return _placed(self, root, _written(self, root))


@plant(Upload, "_finish", story="store", bug="a shard gets its name before its bytes are synced", promise=WHOLE)
def renamed_before_synced(self: Any, root: ShardRoot) -> int:
    size_bytes = _written(self, root)
    self._place(self._path, root, size_bytes)
    self._placed = True
    self._file.sync()
    self._stack.close()
    return size_bytes


@plant(Upload, "_finish", story="store", bug="the error of a shard's fsync is ignored", promise=DURABLE)
def sync_error_ignored(self: Any, root: ShardRoot) -> int:
    size_bytes = _written(self, root)
    with suppress(OSError):
        self._file.sync()
    return _placed(self, root, size_bytes)


@plant(Upload, "_finish", story="store", bug="a failed fsync is tried once more, and then believed", promise=DURABLE)
def sync_tried_again(self: Any, root: ShardRoot) -> int:
    size_bytes = _written(self, root)
    try:
        self._file.sync()
    except OSError:
        self._file.sync()
    return _placed(self, root, size_bytes)


@plant(Names, "settle", story="store", bug="the folder that a shard moves to is not synced", promise=DURABLE)
def folder_not_synced(self: Any, root: ShardRoot) -> None:
    self._settled.add(self._folders.shard_folder(root))
    self._disk.sync_folder(self._folders.incoming)
    self._moving.discard(root)


@plant(Names, "_make", story="store", bug="a fan-out folder that is there counts as durable", promise=DURABLE)
def fan_out_not_synced(self: Any, folder: str) -> None:
    if self._disk.stat(folder) is None:
        self._disk.make_folders(folder)


@plant(ShardStore, "have", story="store", bug="a name that nobody has synced yet is said to be held", promise=DURABLE)
def unsettled_name_held(self: Any, roots: Sequence[ShardRoot]) -> list[bool]:
    return list(self._reader.have(roots))


@plant(ShardStore, "_clean", story="store", bug="a start does not clear incoming", promise="no leftovers")
def incoming_not_cleared(self: Any) -> None:
    self.documents.clean()


@plant(
    ShardStore,
    "_clean",
    story="store",
    bug="a start deletes what was set aside for a removal that was not settled",
    promise=DURABLE,
)
def aside_deleted(self: Any) -> None:
    for name in self._disk.list_folder(self._folders.incoming):
        self._disk.unlink(f"{self._folders.incoming}/{name}")
    self._disk.sync_folder(self._folders.incoming)
    self.documents.clean()


@plant(Upload, "commit", story="store", bug="what arrived is not compared with its name", promise=WHOLE)
def commit_unchecked(self: Any, root: ShardRoot) -> int:
    try:
        with self._guard.writing():
            return int(self._finish(root))
    finally:
        self.abort()


@plant(Upload, "abort", story="store", bug="an upload that is given up leaves its file", promise="no leftovers")
def aborted_file_stays(self: Any) -> None:
    if not self._closed:
        self._closed = True
        self._stack.close()
        self._space.end(self._reservation)
        self._on_close()


@plant(Space, "end", story="store", bug="room promised to an upload is never given back", promise="no leaks")
def room_not_given_back(self: Any, reservation: Reservation) -> None:
    del reservation


@plant(ShardStore, "_upload_closed", story="store", bug="ended uploads go on being counted", promise="no leaks")
def uploads_not_counted_down(self: Any) -> None:
    del self


_init = Upload.__init__


@plant(Upload, "__init__", story="store", bug="all uploads share one temporary file", promise=WHOLE)
def temporary_name_shared(self: Any, disk: Any, path: str, *args: Any, **options: Any) -> None:
    shared = posixpath.join(posixpath.dirname(path), "1")
    if disk.stat(shared) is None:
        _init(self, disk, shared, *args, **options)
        return
    _init(self, disk, path, *args, **options)
    self._stack.close()
    disk.unlink(path)
    self._path = shared
    self._file = self._stack.enter_context(disk.open(shared, "update"))


@plant(
    daemon.reader, "_read_good", story="store", bug="a holder does not compare shares with their leaves", promise=TRUE
)
def holder_does_not_check(file: Any, layout: Any, root: ShardRoot, first: int, count: int) -> ShardRead:
    del root
    end = min(first + count, len(layout.lengths))
    offset, length = layout.run(first, end - first)
    paths = tuple(layout.tree.path(chunk) for chunk in range(first, end))
    return ShardRead(layout.lengths[first:end], paths, "", file.read_at(offset, length))


@plant(
    Quarantine,
    "take",
    story="store",
    bug="what should be set aside is deleted",
    promise="damage is kept until replaced",
)
def quarantine_deletes(self: Any, path: str, name: str) -> None:
    del name
    self._disk.unlink(path)
    self._disk.sync_folder(path.rpartition("/")[0])


@plant(
    Quarantine,
    "take",
    story="store",
    bug="a second damaged copy replaces the first one in quarantine",
    promise="damage is kept until replaced",
)
def quarantine_overwrites(self: Any, path: str, name: str) -> None:
    self._disk.rename(path, f"{self._folder}/{name}.0")
    self._disk.sync_folder(self._folder)
    self._disk.sync_folder(path.rpartition("/")[0])


@plant(
    ShardStore,
    "quarantine",
    story="store",
    bug="a suspect is set aside without a second look",
    promise="no needless loss",
)
def quarantined_unseen(self: Any, root: ShardRoot) -> bool:
    path = self._folders.shard(root)
    with self._mutex, self._guard.writing():
        found = self._disk.stat(path)
        if found is None:
            return False
        self._quarantine.take(path, str(root))
        self._forget(root, found.size_bytes)
    return True


@plant(
    ShardStore,
    "_put_back",
    story="store",
    bug="a shard whose removal is called off does not come back",
    promise=DURABLE,
)
def not_put_back(self: Any, aside: str, root: ShardRoot) -> None:
    assert aside.endswith(ASIDE_SUFFIX)
    del self, root


@plant(ShardStore, "_put_back", story="store", bug="a shard is put back without syncing its folder", promise=DURABLE)
def put_back_not_synced(self: Any, aside: str, root: ShardRoot) -> None:
    self._disk.rename(aside, self._folders.shard(root))


@plant(daemon.documents, "write_file", story="store", bug="a manifest is not synced", promise=DURABLE)
def manifest_not_synced(disk: Disk, path: str, data: Buffer, *, token: str) -> None:
    temporary = f"{path}.{token}.part"
    with disk.open(temporary, "create") as file:
        file.write_at(0, data)
    disk.rename(temporary, path)
    disk.sync_folder(posixpath.dirname(path))


@plant(daemon.documents, "write_file", story="store", bug="a manifest's folder is not synced", promise=DURABLE)
def manifest_folder_not_synced(disk: Disk, path: str, data: Buffer, *, token: str) -> None:
    temporary = f"{path}.{token}.part"
    with disk.open(temporary, "create") as file:
        file.write_at(0, data)
        file.sync()
    disk.rename(temporary, path)


@plant(daemon.documents, "write_file", story="store", bug="a manifest is overwritten in place", promise=WHOLE)
def manifest_in_place(disk: Disk, path: str, data: Buffer, *, token: str) -> None:
    del token
    with disk.open(path, "update") as file:
        file.write_at(0, data)
        file.sync()
    disk.sync_folder(posixpath.dirname(path))


@plant(
    daemon.documents, "remove_parts", story="store", bug="half written papers are never cleared", promise="no leftovers"
)
def parts_not_cleared(disk: Disk, folder: str) -> None:
    del disk, folder


@plant(Holdings, "recount", story="store", bug="a start does not count what is held", promise="true figures")
def nothing_counted(self: Any) -> Iterator[None]:
    del self
    return iter(())


PLANTS = plants_of(globals())
